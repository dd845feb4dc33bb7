"""Adaptive server optimizers on the noised mean, as pure steps with explicit state.

FedAdam, FedAdagrad and FedYogi (Reddi et al. 2021, "Adaptive Federated Optimization") and Adam
with its second moment corrected for the noise (Tang et al. 2024). FedAvgM is
:func:`strategies.mean.server_step`.

Law: a step reads the noised mean of the round, public constants and its own state, which came from
earlier means; it is post-processing and costs no privacy. It cannot tell noise from signal by
itself: where noise is larger than the mean, ``sqrt(v)`` is about the noise's standard deviation in
every coordinate, and FedAdam is FedAvgM with another learning rate. Epsilon says nothing about
how well such a step converges.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.adapters import Arrays
from strategies.checks import check_alike
from strategies.mean import Floats

_Wide = NDArray[np.float64]
_SecondMoment = Callable[[_Wide, _Wide, float], _Wide]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Public constants of a step; ``beta_1``, ``beta_2`` in 0 to 1, ``tau`` above 0."""

    learning_rate: float
    beta_1: float = 0.9
    beta_2: float = 0.99
    tau: float = 1e-3
    """Adaptivity: added to the root of the second moment, in the mean's unit."""

    def __post_init__(self) -> None:
        """Refuse what no step can use."""
        decays = (self.beta_1, self.beta_2)
        positive = (self.learning_rate, self.tau)
        if not all(0 <= beta < 1 for beta in decays) or not all(v > 0 for v in positive):
            raise ValueError(f"not usable: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """What a step hands to the next: two moments for each tensor, float32, and their age."""

    first: Floats
    second: Floats
    steps: int


def initial_state(shapes: Mapping[str, tuple[int, ...]], *, tau: float = 0.0) -> ServerState:
    """Return ``m = 0`` and ``v = tau^2``, as Reddi et al. begin; :func:`noised_adam` wants 0."""
    return ServerState(
        first={name: np.zeros(shape, np.float32) for name, shape in shapes.items()},
        second={name: np.full(shape, tau**2, np.float32) for name, shape in shapes.items()},
        steps=0,
    )


def fed_adam(
    adapter: Arrays, mean: Arrays, state: ServerState, options: ServerOptions
) -> tuple[Floats, ServerState]:
    """Return the next adapter and state of FedAdam (Reddi et al. 2021), without bias correction.

    ``m = beta_1 m + (1 - beta_1) mean``; ``v = beta_2 v + (1 - beta_2) mean^2``;
    ``adapter + learning_rate * m / (sqrt(v) + tau)``.

    Args:
        adapter: the adapter of the round, any shapes, float32.
        mean: the noised mean of the updates, same shapes.
        state: of the step before, or :func:`initial_state`.
        options: public constants.

    Raises:
        ValueError: adapter, mean and state do not hold the same tensors.
    """
    return _step(adapter, mean, state, options, _adam)


def fed_adagrad(
    adapter: Arrays, mean: Arrays, state: ServerState, options: ServerOptions
) -> tuple[Floats, ServerState]:
    """Return the next adapter and state of FedAdagrad: :func:`fed_adam` with ``v = v + mean^2``.

    Steps only shrink: noise of every round stays in ``v``. Reddi et al. use ``beta_1 = 0``.
    """
    return _step(adapter, mean, state, options, _adagrad)


def fed_yogi(
    adapter: Arrays, mean: Arrays, state: ServerState, options: ServerOptions
) -> tuple[Floats, ServerState]:
    """Return the next adapter and state of FedYogi: :func:`fed_adam` with another ``v``.

    ``v = v - (1 - beta_2) mean^2 sign(v - mean^2)``: it moves towards ``mean^2`` by at most
    ``(1 - beta_2) mean^2``, so one loud round does not take the step size away from the next.
    """
    return _step(adapter, mean, state, options, _yogi)


def noised_adam(
    adapter: Arrays,
    mean: Arrays,
    state: ServerState,
    options: ServerOptions,
    *,
    variance: float,
    floor: float,
) -> tuple[Floats, ServerState]:
    """Return the next adapter and state of Adam corrected for noise of known variance.

    DP-AdamBC (Tang, Shpilevskiy, Lécuyer 2024, "DP-AdamBC: Your DP-Adam Is Actually DP-SGD (Unless
    You Apply Bias Correction)"), here on the mean of a round: with ``m'`` and ``v'`` corrected for
    their age, ``adapter + learning_rate * m' / sqrt(max(v' - variance, floor))``. The expectation
    of ``v' - variance`` is the second moment without noise. ``tau`` is not used.

    Args:
        adapter: the adapter of the round, any shapes, float32.
        mean: the noised mean of the updates, same shapes.
        state: of the step before, or :func:`initial_state` with ``tau`` 0.
        options: public constants.
        variance: of the noise in each value of ``mean``, public; see
            :func:`strategies.noise.mean_variance`.
        floor: least value under the root, above 0; no step is longer than
            ``learning_rate * |m'| / sqrt(floor)``.

    Raises:
        ValueError: the variance or floor is out of range, or tensors do not fit.
    """
    if not variance >= 0 or not floor > 0:
        raise ValueError(f"variance {variance}, floor {floor}")
    moved = _advance(adapter, mean, state, options, _adam)
    first_age = 1 - options.beta_1**moved.steps
    second_age = 1 - options.beta_2**moved.steps
    after: Floats = {}
    for name, value in adapter.items():
        second = moved.second[name].astype(np.float64) / second_age - variance
        ahead = moved.first[name] / first_age / np.sqrt(np.maximum(second, floor))
        after[name] = (value + options.learning_rate * ahead).astype(np.float32)
    return after, moved


def _step(
    adapter: Arrays,
    mean: Arrays,
    state: ServerState,
    options: ServerOptions,
    second_moment: _SecondMoment,
) -> tuple[Floats, ServerState]:
    moved = _advance(adapter, mean, state, options, second_moment)
    after: Floats = {}
    for name, value in adapter.items():
        root = np.sqrt(moved.second[name].astype(np.float64)) + options.tau
        after[name] = (value + options.learning_rate * moved.first[name] / root).astype(np.float32)
    return after, moved


def _advance(
    adapter: Arrays,
    mean: Arrays,
    state: ServerState,
    options: ServerOptions,
    second_moment: _SecondMoment,
) -> ServerState:
    check_alike((adapter, mean, state.first, state.second))
    keep = options.beta_1
    first: Floats = {}
    second: Floats = {}
    for name, value in mean.items():
        wide = value.astype(np.float64)
        first[name] = (keep * state.first[name] + (1 - keep) * wide).astype(np.float32)
        before = state.second[name].astype(np.float64)
        second[name] = second_moment(before, wide**2, options.beta_2).astype(np.float32)
    return ServerState(first=first, second=second, steps=state.steps + 1)


def _adam(second: _Wide, square: _Wide, beta_2: float) -> _Wide:
    return beta_2 * second + (1 - beta_2) * square


def _adagrad(second: _Wide, square: _Wide, beta_2: float) -> _Wide:
    return second + square


def _yogi(second: _Wide, square: _Wide, beta_2: float) -> _Wide:
    return second - (1 - beta_2) * square * np.sign(second - square)
