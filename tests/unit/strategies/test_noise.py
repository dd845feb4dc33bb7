"""The variance of the noise: what a simulated store's optimizer really does to it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.rounds import Mechanism
from strategies.mean import noisy_mean
from strategies.noise import mean_variance, update_variance

MECHANISM = Mechanism(
    sampling="whole",
    sample_rate=1.0,
    batch_cap=0,
    steps=6,
    sigma=3.0,
    clip=0.5,
    texts_per_customer=1,
    batch_constant=10,
    learning_rate=0.2,
)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_variance_is_that_of_sgd_over_pure_noise(momentum: float) -> None:
    rng = np.random.default_rng(1)
    weights = np.zeros(40_000)
    velocity = np.zeros_like(weights)
    for _ in range(MECHANISM.steps):
        gradient = rng.normal(0, MECHANISM.sigma * MECHANISM.clip, weights.size) / 10
        velocity = momentum * velocity + gradient
        weights -= MECHANISM.learning_rate * velocity
    assert np.var(weights) == pytest.approx(update_variance(MECHANISM, momentum=momentum), rel=0.05)


@settings(max_examples=25, deadline=None)
@given(steps=st.integers(1, 40), factor=st.floats(0.5, 4))
def test_without_momentum_it_grows_with_steps_and_with_sigma_squared(
    steps: int, factor: float
) -> None:
    one = update_variance(replace(MECHANISM, steps=1))
    more = replace(MECHANISM, steps=steps, sigma=factor * MECHANISM.sigma)
    assert update_variance(more) == pytest.approx(steps * factor**2 * one)


@pytest.mark.parametrize("weights", [None, [3.0, 1.0, 20.0]])
def test_a_mean_averages_the_noise_by_its_weights(weights: list[float] | None) -> None:
    rng = np.random.default_rng(2)
    scales = [1.0, 2.0, 0.5]
    updates = [{"a": rng.normal(0, s, 40_000).astype(np.float32)} for s in scales]
    mean = noisy_mean(updates, 30, {"a": (40_000,)}, weights)["a"]
    expected = mean_variance([s**2 for s in scales], 30, weights)
    assert np.var(mean) == pytest.approx(expected, rel=0.05)


def test_what_no_plan_says_is_an_error() -> None:
    with pytest.raises(ValueError, match="momentum 1"):
        update_variance(MECHANISM, momentum=1.0)
    with pytest.raises(ValueError, match="denominator 0"):
        mean_variance([1.0, 1.0], 0)
    with pytest.raises(ValueError, match="zip"):
        mean_variance([1.0, 1.0], 3, [1.0])
