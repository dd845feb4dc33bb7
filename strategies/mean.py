"""The mean of a round: noise is already in the updates, the denominator is public and fixed."""

from collections.abc import Mapping, Sequence

import numpy as np

from shared.adapters import Arrays

Floats = dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]


def noisy_mean(
    updates: Sequence[Arrays], denominator: int, shapes: Mapping[str, tuple[int, ...]]
) -> Floats:
    """Return the sum of the noised ``updates`` over ``denominator``, float32, for each tensor.

    ``denominator`` is the planned cohort, so that one customer's influence does not depend on who
    else answered: a missing store adds nothing. Sums run in float64.

    Raises:
        ValueError: ``denominator`` is less than the number of updates or than one.
    """
    if denominator < max(1, len(updates)):
        raise ValueError(f"denominator {denominator} for {len(updates)} updates")
    out: Floats = {}
    for name, shape in shapes.items():
        total = np.zeros(shape, dtype=np.float64)
        for update in updates:
            total += update[name]
        out[name] = (total / denominator).astype(np.float32)
    return out


def partway(start: Arrays, end: Arrays, weight: float) -> Floats:
    """Return ``start + weight * (end - start)``; 0 is ``start``, 1 ``end``, above 1 beyond it."""
    share = np.float32(weight)
    return {name: (start[name] + share * (end[name] - start[name])) for name in end}


def server_step(
    adapter: Arrays, mean: Arrays, velocity: Arrays | None, momentum: float
) -> tuple[Floats, Floats]:
    """Return the next adapter and velocity: ``v = momentum * v + mean``; ``adapter + v``.

    This is FedAvgM with server learning rate 1 (Hsu, Qi, Brown 2019); ``momentum`` 0 adds the mean.
    """
    after: Floats = {}
    moved: Floats = {}
    for name, value in mean.items():
        before = velocity[name] if velocity is not None else np.zeros_like(value)
        moved[name] = (np.float32(momentum) * before + value).astype(np.float32)
        after[name] = (adapter[name] + moved[name]).astype(np.float32)
    return after, moved
