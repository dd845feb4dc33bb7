"""Norms and senders."""

import math

import numpy as np
import pytest

from shared.errors import BadUpdate, NotFinite, UnplannedContribution
from shared.rounds import Mechanism
from strategies.checks import (
    check_alike,
    check_finite,
    check_norm,
    check_sender,
    l2_norm,
    norm_bound,
)

MECHANISM = Mechanism(
    sampling="whole",
    sample_rate=1.0,
    batch_cap=0,
    steps=8,
    sigma=10.0,
    clip=1.0,
    texts_per_customer=1,
    batch_constant=1000,
    learning_rate=0.5,
)


def test_norm_is_over_all_tensors() -> None:
    assert l2_norm({"a": np.full(9, 1, np.float32), "b": np.full(16, 1, np.float32)}) == 5.0


def test_honest_noise_with_momentum_stays_within_the_bound() -> None:
    rng = np.random.default_rng(1)
    step = rng.normal(0, 10.0, (8, 3000)).sum(axis=0) / 1000 * 0.5 / (1 - 0.9)
    check_norm({"a": step}, norm_bound(MECHANISM, customers=1000, parameters=3000), sender="berlin")


@pytest.mark.parametrize("value", [1e6, math.inf, math.nan])
def test_blown_up_update_is_refused(value: float) -> None:
    bound = norm_bound(MECHANISM, customers=1000, parameters=4)
    with pytest.raises(BadUpdate, match="norm"):
        check_norm({"a": np.full(4, value, np.float32)}, bound, sender="berlin")


def test_strangers_and_duplicates_are_named() -> None:
    check_sender("a", {"a", "b"}, {"b"})
    with pytest.raises(UnplannedContribution, match="not in the plan"):
        check_sender("c", {"a"}, ())
    with pytest.raises(UnplannedContribution, match="already"):
        check_sender("a", {"a"}, {"a"})


def test_what_does_not_match_cannot_be_combined() -> None:
    check_alike([{"a": np.ones(2, np.float32)}, {"a": np.zeros(2, np.float32)}])
    with pytest.raises(ValueError, match="nothing"):
        check_alike([])
    for odd in ({"b": np.ones(2, np.float32)}, {"a": np.ones(3, np.float32)}, {}):
        with pytest.raises(ValueError, match="entry 1"):
            check_alike([{"a": np.ones(2, np.float32)}, odd])


def test_infinity_is_refused_by_name() -> None:
    check_finite({"a": np.ones(2, np.float32)}, sender="berlin")
    with pytest.raises(NotFinite, match="berlin: tensor 'a'"):
        check_finite({"a": np.full(2, np.inf, np.float32)}, sender="berlin")
