"""The FedProx term: a gradient, a minimiser, a pull that cannot overshoot."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.proximal import proximal_gradient, proximal_step

QUICK = settings(max_examples=40, deadline=None)
SEEDS = st.integers(0, 10**6)
RATES = st.floats(0, 100)


def two(seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    shapes = {"a": (3, 2), "b": (5,)}
    first, second = (
        {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        for _ in range(2)
    )
    return first, second


@QUICK
@given(seed=SEEDS, mu=st.floats(0, 10))
def test_gradient_is_that_of_the_penalty(seed: int, mu: float) -> None:
    weights, anchor = two(seed)
    found = proximal_gradient(weights, anchor, mu)
    assert found["a"].dtype == np.float32
    wide, start, step = weights["b"].astype(float), anchor["b"].astype(float), 1e-3
    for index in range(5):
        nudge = np.eye(5)[index] * step
        up, down = (mu / 2 * np.sum((wide + s - start) ** 2) for s in (nudge, -nudge))
        assert found["b"][index] == pytest.approx((up - down) / (2 * step), abs=1e-4)


@QUICK
@given(seed=SEEDS, mu=st.floats(1e-3, 10), rate=st.floats(1e-3, 10))
def test_step_is_where_the_gradient_of_its_objective_vanishes(
    seed: int, mu: float, rate: float
) -> None:
    weights, anchor = two(seed)
    found = proximal_step(weights, anchor, mu, rate)
    for name, pull in proximal_gradient(found, anchor, mu).items():
        balance = (found[name] - weights[name]) / rate + pull
        np.testing.assert_allclose(balance, 0, atol=2e-6 * (1 / rate + mu) * 10)


@QUICK
@given(seed=SEEDS, mu=RATES, rate=RATES)
def test_distance_to_the_anchor_shrinks_and_never_overshoots(
    seed: int, mu: float, rate: float
) -> None:
    weights, anchor = two(seed)
    found = proximal_step(weights, anchor, mu, rate)
    for name in anchor:
        shrunk = (weights[name] - anchor[name]) / (1 + mu * rate)
        np.testing.assert_allclose(found[name] - anchor[name], shrunk, atol=1e-5)


@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_a_push_away_is_an_error(value: float) -> None:
    weights, anchor = two(1)
    with pytest.raises(ValueError, match="mu"):
        proximal_gradient(weights, anchor, value)
    with pytest.raises(ValueError, match="learning rate"):
        proximal_step(weights, anchor, 1.0, value)
