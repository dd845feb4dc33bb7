"""How much noise is in an update and in a mean: from the plan alone, so it is public."""

from collections.abc import Sequence

from shared.rounds import Mechanism


def update_variance(mechanism: Mechanism, *, momentum: float = 0.0) -> float:
    """Return the variance of the noise in each value of a store's update.

    Each of ``steps`` adds ``learning_rate * N(0, (sigma clip / batch_constant)^2)`` to a velocity
    that keeps ``momentum`` of itself and starts at 0 in each round, so noise of a step with ``k``
    more to go counts ``(1 - momentum^(k + 1)) / (1 - momentum)`` times. Steps that damp or project
    otherwise need another figure.

    Raises:
        ValueError: the momentum is not in 0 to 1.
    """
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum {momentum}")
    step = mechanism.learning_rate * mechanism.sigma * mechanism.clip / mechanism.batch_constant
    gains = ((1 - momentum**k) / (1 - momentum) for k in range(1, mechanism.steps + 1))
    return step**2 * sum(gain**2 for gain in gains)


def mean_variance(
    variances: Sequence[float], denominator: float, weights: Sequence[float] | None = None
) -> float:
    """Return the variance of the noise in each value of :func:`strategies.mean.noisy_mean`.

    ``sum_i weights_i^2 variances_i / denominator^2``: stores draw their noise independently.

    Args:
        variances: of each update that is in the mean.
        denominator: the weights of the whole planned cohort, summed.
        weights: one for each update; ``None``: 1 each.

    Raises:
        ValueError: the denominator is not above 0, or weights do not fit.
    """
    shares = [1.0] * len(variances) if weights is None else weights
    if not denominator > 0:
        raise ValueError(f"denominator {denominator}")
    total = sum(share**2 * one for share, one in zip(shares, variances, strict=True))
    return total / denominator**2
