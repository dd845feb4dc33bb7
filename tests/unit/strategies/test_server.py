"""Server optimizers: the published recurrences, bounded steps, and the correction for noise."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.server import (
    ServerOptions,
    ServerState,
    fed_adagrad,
    fed_adam,
    fed_yogi,
    initial_state,
    noised_adam,
)

SHAPES = {"a": (3, 2), "b": (4,)}
OPTIONS = ServerOptions(learning_rate=0.5, beta_1=0.8, beta_2=0.9, tau=0.01)
STEPS = {"adam": fed_adam, "adagrad": fed_adagrad, "yogi": fed_yogi}
QUICK = settings(max_examples=30, deadline=None)


def second_moment(kind: str, v: np.ndarray, d: np.ndarray) -> np.ndarray:
    """The lines of algorithm 2 of Reddi et al. 2021, to compare with."""
    if kind == "adam":
        return OPTIONS.beta_2 * v + (1 - OPTIONS.beta_2) * d**2
    if kind == "adagrad":
        return v + d**2
    return v - (1 - OPTIONS.beta_2) * d**2 * np.sign(v - d**2)


@pytest.mark.parametrize("kind", STEPS)
@QUICK
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-4, 1e-2, 1.0, 30.0]))
def test_steps_are_the_published_recurrence(kind: str, seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    adapter = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
    state = initial_state(SHAPES, tau=OPTIONS.tau)
    x, m, v = np.zeros(4), np.zeros(4), np.full(4, OPTIONS.tau**2)
    for _ in range(4):
        mean = {n: (scale * rng.normal(size=s)).astype(np.float32) for n, s in SHAPES.items()}
        adapter, state = STEPS[kind](adapter, mean, state, OPTIONS)
        d = mean["b"].astype(float)
        m = OPTIONS.beta_1 * m + (1 - OPTIONS.beta_1) * d
        v = second_moment(kind, v, d)
        x = x + OPTIONS.learning_rate * m / (np.sqrt(v) + OPTIONS.tau)
    assert state.steps == 4
    assert adapter["b"].dtype == state.first["b"].dtype == state.second["b"].dtype == np.float32
    np.testing.assert_allclose(adapter["b"], x, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(state.second["b"], v, rtol=1e-4)


@pytest.mark.parametrize("kind", STEPS)
@QUICK
@given(size=st.floats(2.0**-20, 2.0**20, width=32), age=st.integers(1, 5))
def test_without_momentum_no_blow_up_makes_a_long_step(kind: str, size: float, age: int) -> None:
    options = ServerOptions(learning_rate=0.5, beta_1=0.0, beta_2=0.9)
    adapter = {"a": np.zeros(1, np.float32)}
    state = initial_state({"a": (1,)}, tau=options.tau)
    for turn in range(age):
        mean = {"a": np.full(1, size * (-1) ** turn, np.float32)}
        moved, state = STEPS[kind](adapter, mean, state, options)
        longest = options.learning_rate / np.sqrt(1 - options.beta_2)
        assert abs(moved["a"] - adapter["a"])[0] <= longest * (1 + 1e-5)
        adapter = moved


@QUICK
@given(seed=st.integers(0, 10**6))
def test_yogi_moves_its_second_moment_by_a_share_of_the_square(seed: int) -> None:
    rng = np.random.default_rng(seed)
    adapter = {"a": np.zeros(50, np.float32)}
    second = (rng.random(50) * 4).astype(np.float32)
    state = ServerState(first=dict(adapter), second={"a": second}, steps=3)
    mean = {"a": rng.normal(size=50).astype(np.float32)}
    _, after = fed_yogi(adapter, mean, state, OPTIONS)
    square = mean["a"].astype(float) ** 2
    change = after.second["a"].astype(float) - second
    assert (np.abs(change) <= (1 - OPTIONS.beta_2) * square + 1e-6).all()
    assert (change * (square - second) >= 0).all()


def test_a_step_changes_nothing_that_it_was_given() -> None:
    given_arrays = {"a": np.ones(3, np.float32)}
    state = initial_state({"a": (3,)}, tau=0.1)
    fed_adam(given_arrays, given_arrays, state, OPTIONS)
    assert (given_arrays["a"] == 1).all()
    assert (state.first["a"] == 0).all()


def test_subtracting_the_noise_gives_back_the_second_moment_of_the_signal() -> None:
    rng = np.random.default_rng(4)
    signal, deviation, options = 0.3, 1.5, ServerOptions(learning_rate=1.0, beta_1=0.0, beta_2=0.9)
    adapter = {"a": np.zeros(200_000, np.float32)}
    state = initial_state({"a": (200_000,)})
    for _ in range(3):
        mean = {"a": (signal + deviation * rng.normal(size=200_000)).astype(np.float32)}
        _, state = noised_adam(adapter, mean, state, options, variance=deviation**2, floor=1e-9)
    corrected = state.second["a"] / (1 - options.beta_2**3) - deviation**2
    assert corrected.mean() == pytest.approx(signal**2, abs=0.03)


@QUICK
@given(signal=st.floats(0.05, 4), deviation=st.floats(0, 3))
def test_correction_makes_the_step_that_of_the_signal(signal: float, deviation: float) -> None:
    # A mean whose square is signal^2 + deviation^2 is what noise makes of the signal's square.
    loud = np.full(1, np.hypot(signal, deviation), np.float32)
    options = ServerOptions(learning_rate=1.0, beta_1=0.0, beta_2=0.9)
    adapter, state = {"a": np.zeros(1, np.float32)}, initial_state({"a": (1,)})
    moved, _ = noised_adam(adapter, {"a": loud}, state, options, variance=deviation**2, floor=1e-12)
    assert moved["a"][0] == pytest.approx(loud[0] / signal, rel=0.01)


@QUICK
@given(value=st.floats(-3, 3, width=32), variance=st.floats(0, 20), floor=st.floats(1e-4, 1))
def test_the_floor_bounds_a_step_where_noise_is_all_there_is(
    value: float, variance: float, floor: float
) -> None:
    options = ServerOptions(learning_rate=0.5)
    state = initial_state({"a": (1,)})
    zero = {"a": np.zeros(1, np.float32)}
    moved, _ = noised_adam(
        zero, {"a": np.full(1, value, np.float32)}, state, options, variance=variance, floor=floor
    )
    assert abs(moved["a"][0]) <= 0.5 * abs(value) / np.sqrt(floor) * (1 + 1e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ServerOptions(learning_rate=0.0),
        lambda: ServerOptions(learning_rate=1.0, beta_1=1.0),
        lambda: ServerOptions(learning_rate=1.0, beta_2=-0.1),
        lambda: ServerOptions(learning_rate=1.0, tau=float("nan")),
    ],
)
def test_options_that_no_step_can_use_are_an_error(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="not usable"):
        make()


def test_state_of_another_adapter_is_an_error() -> None:
    one = {"a": np.zeros(3, np.float32)}
    with pytest.raises(ValueError, match="tensors"):
        fed_adam(one, one, initial_state({"a": (4,)}), OPTIONS)
    with pytest.raises(ValueError, match="floor"):
        noised_adam(one, one, initial_state({"a": (3,)}), OPTIONS, variance=1.0, floor=0.0)
