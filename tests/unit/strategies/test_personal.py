"""Personal adapters: between two, and never worse in public than the shared one."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import BadInput
from strategies.personal import choose_weight, personal

QUICK = settings(max_examples=40, deadline=None)
LOSSES = st.floats(0, 10)


@QUICK
@given(shared=st.floats(-9, 9, width=32), own=st.floats(-9, 9, width=32), weight=st.floats(0, 1))
def test_a_personal_adapter_is_between_the_two(shared: float, own: float, weight: float) -> None:
    found = personal(
        {"a": np.full((2, 2), shared, np.float32)}, {"a": np.full((2, 2), own, np.float32)}, weight
    )["a"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, (1 - weight) * shared + weight * own, atol=1e-5)


@QUICK
@given(others=st.dictionaries(st.floats(0.01, 1), LOSSES, max_size=6), alone=LOSSES)
def test_the_choice_is_never_worse_in_public_than_the_shared_adapter(
    others: dict[float, float], alone: float
) -> None:
    losses = {0.0: alone, **others}
    assert losses[choose_weight(losses)] == min(losses.values()) <= alone


@QUICK
@given(
    losses=st.dictionaries(st.floats(0.01, 1), LOSSES, max_size=6),
    alone=LOSSES,
    margin=st.floats(0, 3),
)
def test_a_margin_keeps_closer_to_the_shared_adapter_at_a_bounded_price(
    losses: dict[float, float], alone: float, margin: float
) -> None:
    tried = {**losses, 0.0: alone}
    chosen = choose_weight(tried, margin=margin)
    assert chosen <= choose_weight(tried)
    assert tried[chosen] <= min(tried.values()) + margin
    assert all(tried[w] > min(tried.values()) + margin for w in tried if w < chosen)


@pytest.mark.parametrize("losses", [{}, {0.5: 1.0}, {0.0: math.nan}, {0.0: 1.0, 0.5: math.inf}])
def test_losses_that_do_not_compare_are_refused(losses: dict[float, float]) -> None:
    with pytest.raises(BadInput):
        choose_weight(losses)


def test_weights_and_margins_out_of_range_are_errors() -> None:
    one = {"a": np.ones(1, np.float32)}
    for weight in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="weight"):
            personal(one, one, weight)
    with pytest.raises(ValueError, match="margin"):
        choose_weight({0.0: 1.0}, margin=-1.0)
