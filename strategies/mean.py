"""The mean of a round: noise is already in the updates, the denominator is public and fixed."""

from collections.abc import Mapping, Sequence

import numpy as np

from shared.adapters import Arrays

Floats = dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]


def noisy_mean(
    updates: Sequence[Arrays],
    denominator: float,
    shapes: Mapping[str, tuple[int, ...]],
    weights: Sequence[float] | None = None,
) -> Floats:
    """Return the weighted sum of the noised ``updates`` over ``denominator``, float32.

    Weights and denominator are public constants of the plan, so that one customer's influence does
    not depend on who else answered: a missing store adds nothing. With the planned batch sizes as
    weights the mean is that of all customers in one place; equal weights would give a store of
    twenty customers the say, and sixteen times the noise, of one of three hundred. Sums run in
    float64.

    Args:
        updates: of the stores that answered.
        denominator: the weights of the whole planned cohort, summed.
        shapes: of each tensor.
        weights: one for each update; ``None``: 1 each.

    Raises:
        ValueError: ``denominator`` is less than the weights of the updates, or not above 0.
    """
    shares = [1.0] * len(updates) if weights is None else [float(weight) for weight in weights]
    if denominator <= 0 or denominator * (1 + 1e-12) < sum(shares):
        raise ValueError(f"denominator {denominator} for {len(updates)} updates")
    out: Floats = {}
    for name, shape in shapes.items():
        total = np.zeros(shape, dtype=np.float64)
        for update, share in zip(updates, shares, strict=True):
            total += update[name] if share == 1 else np.multiply(update[name], share, dtype=float)
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
