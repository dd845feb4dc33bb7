"""Means that withstand faulty or hostile stores; read :mod:`strategies.rules` before using one.

Law: all of them need updates that stores noised themselves, see there for what happens otherwise.
None divides by the plan as :func:`strategies.mean.noisy_mean` does, but for the norm bound and the
filter, whose survivors go into it; so a missing store changes the others' share. NaN and infinity
are refused, never dropped. A rule withstands ``faults`` stores among the fewest that its entry in
:data:`strategies.rules.RULES` names; with fewer it is refused.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform

from shared.adapters import Arrays
from strategies.checks import check_alike, check_finite, l2_norm
from strategies.mean import Floats, noisy_mean
from strategies.rules import RULES

_BLOCK = 1 << 20
"""Values of all updates together that are held at once."""
_ROUNDED_DOWN = 1 - 2.0**-22
"""Keeps a clipped norm within its bound whatever float32 rounds up."""
_Block = NDArray[np.float32]


def bound_norm(update: Arrays, bound: float) -> Floats:
    """Return the nearest update of L2 norm at most ``bound``, over all tensors together.

    Sun et al. 2019, "Can You Really Backdoor Federated Learning?". ``bound`` must be public, from
    :func:`strategies.checks.norm_bound` for example; a quantile of the updates' norms is not. It
    is a projection on a ball, which moves no two updates apart: before noise or after, sensitivity
    does not grow. Faulty stores then move the mean by at most their share of its weights times the
    bound.

    Args:
        update: any shapes, float32.
        bound: above 0.

    Raises:
        NotFinite: the update holds NaN or infinity.
        ValueError: the bound is not above 0.
    """
    if not bound > 0:
        raise ValueError(f"bound {bound}")
    check_finite(update, sender="update")
    norm = l2_norm(update)
    share = np.float32(bound / norm * _ROUNDED_DOWN if norm > bound else 1.0)
    return {name: array * share for name, array in update.items()}


def cosine_filter(updates: Sequence[Arrays], direction: Arrays, *, least: float) -> tuple[int, ...]:
    """Return the indices of updates whose cosine with a public direction is at least ``least``.

    After FLTrust (Cao et al. 2021), whose direction is a step on a public set. The kept ones go
    into :func:`strategies.mean.noisy_mean` with the planned denominator. Beware of noise: with
    ``d`` values of noise ``s`` and a signal of norm ``g``, an honest cosine is about
    ``g / (s sqrt(d))``, so a threshold well above 0 drops honest stores first.

    Args:
        updates: at least one; the same tensors, any shapes, float32.
        direction: public, same shapes; not zero.
        least: -1 to 1. A zero update has cosine 0.

    Raises:
        NotFinite: an update or the direction holds NaN or infinity.
        ValueError: shapes differ, the direction is zero, or ``least`` is out of range.
    """
    _check((*updates, direction))
    length = l2_norm(direction)
    if not length or not -1 <= least <= 1:
        raise ValueError(f"direction of norm {length}, least cosine {least}")
    return tuple(
        index
        for index, update in enumerate(updates)
        if _dot(update, direction) >= least * length * (l2_norm(update) or 1.0)
    )


def trimmed_mean(updates: Sequence[Arrays], faults: int) -> Floats:
    """Return, for each value, the mean without the ``faults`` largest and smallest.

    Yin et al. 2018, "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates".
    Each value lies between the least and the greatest of the honest stores' values.

    Args:
        updates: at least ``2 * faults + 1``; the same tensors, any shapes, float32.
        faults: faulty stores to withstand; 0 is the mean over those who answered.

    Raises:
        Refused: too few updates.
        NotFinite: an update holds NaN or infinity.
        ValueError: no update, or shapes differ.
    """
    _check(updates)
    RULES["trimmed_mean"].require(len(updates), faults)
    return _by_value(updates, lambda block: _middle(block, faults))


def median(updates: Sequence[Arrays], faults: int = 0) -> Floats:
    """Return the median of each value (Yin et al. 2018), the hardest trimming there is.

    Each value lies within the honest stores' values as long as they are the majority. Noise of the
    updates is averaged less than in a mean: its variance is about pi / 2 times as large.

    Args:
        updates: at least ``2 * faults + 1``; the same tensors, any shapes, float32.
        faults: faulty stores to withstand; only checked.

    Raises:
        Refused: too few updates.
        NotFinite: an update holds NaN or infinity.
        ValueError: no update, or shapes differ.
    """
    _check(updates)
    RULES["median"].require(len(updates), faults)
    return _by_value(updates, lambda block: _middle(block, (len(block) - 1) // 2))


def krum(updates: Sequence[Arrays], faults: int) -> Floats:
    """Return the update that is nearest to its neighbours: the first of :func:`krum_order`."""
    return multi_krum(updates, faults, keep=1)


def multi_krum(updates: Sequence[Arrays], faults: int, *, keep: int) -> Floats:
    """Return the mean of the first ``keep`` of :func:`krum_order`.

    Args:
        updates: at least ``2 * faults + 3``; the same tensors, any shapes, float32.
        faults: faulty stores to withstand.
        keep: 1 to ``len(updates) - faults - 2``.

    Raises:
        Refused: too few updates.
        NotFinite: an update holds NaN or infinity.
        ValueError: no update, shapes differ, or ``keep`` is out of range.
    """
    order = krum_order(updates, faults)
    if not 1 <= keep <= len(updates) - faults - 2:
        raise ValueError(f"keep {keep} of {len(updates)} updates with {faults} faults")
    shapes = {name: array.shape for name, array in updates[0].items()}
    return noisy_mean([updates[index] for index in order[:keep]], keep, shapes)


def krum_order(updates: Sequence[Arrays], faults: int) -> tuple[int, ...]:
    """Return indices of the updates, most trusted first, ties by index.

    Blanchard et al. 2017, "Machine Learning with Adversaries": an update's score is the sum of its
    squared distances to the ``m - faults - 2`` nearest others. Costs ``O(m^2 d)``. A store's own
    drift from the others counts as a fault: with stores of different languages it drops the rare.

    Args:
        updates: at least ``2 * faults + 3``; the same tensors, any shapes, float32.
        faults: faulty stores to withstand.

    Raises:
        Refused: too few updates.
        NotFinite: an update holds NaN or infinity.
        ValueError: no update, or shapes differ.
    """
    _check(updates)
    count = len(updates)
    RULES["krum"].require(count, faults)
    distances = sum(
        pdist(block, "sqeuclidean") for name in updates[0] for _, block in _blocks(updates, name)
    )
    nearest = np.sort(squareform(distances), axis=1)[:, 1 : count - faults - 1]
    scores = nearest.sum(axis=1)
    return tuple(int(index) for index in np.argsort(scores, kind="stable"))


def _by_value(updates: Sequence[Arrays], rule: Callable[[_Block], _Block]) -> Floats:
    out: Floats = {}
    for name, first in updates[0].items():
        flat = np.empty(first.size, dtype=np.float32)
        for where, block in _blocks(updates, name):
            flat[where] = rule(block)
        out[name] = flat.reshape(first.shape)
    return out


def _blocks(updates: Sequence[Arrays], name: str) -> Iterator[tuple[slice, _Block]]:
    """Yield stretches of a tensor as ``(updates, values)``, so that no copy of all is made."""
    rows = [update[name].reshape(-1) for update in updates]
    width = max(1, _BLOCK // len(rows))
    for start in range(0, rows[0].size, width):
        where = slice(start, start + width)
        yield where, np.stack([row[where] for row in rows])


def _middle(block: _Block, trim: int) -> _Block:
    kept = np.sort(block, axis=0)[trim : len(block) - trim]
    return np.asarray(kept.mean(axis=0, dtype=np.float64), dtype=np.float32)


def _dot(left: Arrays, right: Arrays) -> float:
    return sum(
        float(np.vdot(left[name].astype(np.float64), right[name].astype(np.float64)))
        for name in left
    )


def _check(updates: Sequence[Arrays]) -> None:
    check_alike(updates)
    for index, update in enumerate(updates):
        check_finite(update, sender=f"update {index}")
