"""Merging what several adapters add to a weight, of one language each for example, into one change.

A delta is what an adapter adds, at full size (:func:`strategies.factors.delta`). The results are
those of ``peft.utils.merge_utils`` of peft 0.21, whose function names are kept; equal magnitudes,
which it keeps at random, are kept here in C order.

Law: deltas that were released carry their noise already, so every merge is post-processing: for a
customer it costs what the runs cost that she was in, and nothing more. Weights and density are
public constants, or chosen on public text. Only the weighted sum is linear: after pruning by
magnitude or a vote on signs, noise no longer averages out as it does in a mean, and with noise
larger than the signal, magnitude prunes at random. A delta trained without noise stays private
whatever is pruned from it.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shared.adapters import Arrays
from strategies.checks import check_alike
from strategies.mean import Floats
from strategies.seeds import seeded_rng

SignVote = Literal["total", "frequency"]
_Values = NDArray[np.float32]
_Prune = Callable[[_Values, str, int], _Values]
_Combine = Callable[[_Values, _Values], NDArray[np.floating]]


def linear(deltas: Sequence[Arrays], weights: Sequence[float]) -> Floats:
    """Return ``sum_i weights_i * deltas_i`` (task arithmetic, Ilharco et al. 2023).

    Args:
        deltas: at least one; the same tensors, any shapes, float32.
        weights: one public constant each.

    Raises:
        ValueError: none given, or they do not fit.
    """
    return _merge(deltas, weights, lambda delta, _name, _index: delta, _sum)


def magnitude_prune(deltas: Sequence[Arrays], weights: Sequence[float], density: float) -> Floats:
    """Return the weighted sum of the strongest ``density`` of each delta's tensors.

    Args:
        deltas: as in :func:`linear`.
        weights: as in :func:`linear`.
        density: the share of values kept, above 0 to 1; ``int(density * size)`` of each tensor.

    Raises:
        ValueError: none given, they do not fit, or the density is out of range.
    """
    return _merge(deltas, weights, _by_magnitude(density), _sum)


def ties(
    deltas: Sequence[Arrays], weights: Sequence[float], density: float, *, vote: SignVote = "total"
) -> Floats:
    """Return the TIES merge (Yadav et al. 2023, "TIES-Merging"): trim, elect signs, mean of those.

    Each delta keeps its strongest ``density``; each value's sign is elected; the weighted values of
    the elected sign are summed, and divided by how many there are.

    Args:
        deltas: as in :func:`linear`.
        weights: as in :func:`linear`; they have no vote.
        density: as in :func:`magnitude_prune`.
        vote: ``total``: the sign of the sum; ``frequency``: of more deltas. A draw is positive.

    Raises:
        ValueError: none given, they do not fit, or the density is out of range.
    """
    return _merge(deltas, weights, _by_magnitude(density), _disjoint(vote))


def dare_linear(
    deltas: Sequence[Arrays], weights: Sequence[float], density: float, *, seed: int
) -> Floats:
    """Return the weighted sum of randomly thinned deltas (DARE, Yu et al. 2024).

    "Language Models are Super Mario": each value is kept with probability ``density`` and divided
    by it, else zero; over seeds, the expectation is :func:`linear`. The mask hides nothing.

    Args:
        deltas: as in :func:`linear`.
        weights: as in :func:`linear`.
        density: probability with which a value is kept, above 0 to 1.
        seed: public; the same seed gives the same result everywhere.

    Raises:
        ValueError: none given, they do not fit, or the density is out of range.
    """
    return _merge(deltas, weights, _at_random(density, seed), _sum)


def dare_ties(
    deltas: Sequence[Arrays],
    weights: Sequence[float],
    density: float,
    *,
    seed: int,
    vote: SignVote = "total",
) -> Floats:
    """Return :func:`ties` with the thinning of :func:`dare_linear` in place of the trimming.

    Raises:
        ValueError: none given, they do not fit, or the density is out of range.
    """
    return _merge(deltas, weights, _at_random(density, seed), _disjoint(vote))


def dare_mask(
    shape: tuple[int, ...], density: float, *, seed: int, name: str, index: int
) -> NDArray[np.bool_]:
    """Return which values of the ``index``-th delta's tensor ``name`` DARE keeps."""
    rng = seeded_rng("dare", seed, name, index, shape)
    return np.asarray(rng.random(shape, dtype=np.float32) < density)


def _merge(
    deltas: Sequence[Arrays], weights: Sequence[float], prune: _Prune, combine: _Combine
) -> Floats:
    check_alike(deltas)
    if len(weights) != len(deltas):
        raise ValueError(f"{len(deltas)} deltas, {len(weights)} weights")
    out: Floats = {}
    for name, first in deltas[0].items():
        pruned = np.stack([prune(delta[name], name, i) for i, delta in enumerate(deltas)])
        shares = np.asarray(weights, dtype=np.float32).reshape(-1, *(1,) * first.ndim)
        out[name] = combine(pruned, shares).astype(np.float32, copy=False)
    return out


def _by_magnitude(density: float) -> _Prune:
    _check_density(density)

    def prune(delta: _Values, _name: str, _index: int) -> _Values:
        size = np.abs(delta).reshape(-1)
        keep = int(density * size.size)
        if not keep:
            return np.zeros_like(delta)
        least = np.partition(size, size.size - keep)[size.size - keep]
        mask = size > least
        mask[np.flatnonzero(size == least)[: keep - np.count_nonzero(mask)]] = True
        return np.where(mask.reshape(delta.shape), delta, np.float32(0))

    return prune


def _at_random(density: float, seed: int) -> _Prune:
    _check_density(density)

    def prune(delta: _Values, name: str, index: int) -> _Values:
        kept = delta * dare_mask(delta.shape, density, seed=seed, name=name, index=index)
        return kept / np.float32(density)

    return prune


def _sum(pruned: _Values, shares: _Values) -> NDArray[np.floating]:
    return np.asarray((pruned * shares).sum(axis=0))


def _disjoint(vote: SignVote) -> _Combine:
    def combine(pruned: _Values, shares: _Values) -> NDArray[np.floating]:
        signs = np.sign(pruned)
        elected = np.where((pruned if vote == "total" else signs).sum(axis=0) >= 0, 1, -1)
        mask = signs == elected
        total = (pruned * shares * mask).sum(axis=0)
        return np.asarray(total / np.maximum(mask.sum(axis=0), 1))

    return combine


def _check_density(density: float) -> None:
    if not 0 < density <= 1:
        raise ValueError(f"density {density}")
