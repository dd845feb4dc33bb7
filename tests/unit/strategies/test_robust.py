"""Robust rules: what faulty stores can and cannot do, and what that does to sensitivity."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from shared.errors import NotFinite, Refused
from strategies import robust
from strategies.checks import l2_norm
from strategies.mean import noisy_mean
from strategies.robust import (
    bound_norm,
    cosine_filter,
    krum,
    krum_order,
    median,
    multi_krum,
    trimmed_mean,
)

QUICK = settings(max_examples=40, deadline=None)
SEEDS = st.integers(0, 10**6)
FAULTS = st.integers(0, 3)
SHAPES = {"a": (3, 2), "b": (5,)}
Updates = list[dict[str, np.ndarray]]


def honest(seed: int, count: int) -> Updates:
    rng = np.random.default_rng(seed)
    return [
        {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
        for _ in range(count)
    ]


def mixed(seed: int, good: Updates, faults: int) -> Updates:
    """Return ``good`` with hostile updates of any size among them."""
    rng = np.random.default_rng(seed + 1)
    bad = [
        {n: (size * rng.normal(size=s)).astype(np.float32) for n, s in SHAPES.items()}
        for size in 10.0 ** rng.uniform(-3, 15, faults)
    ]
    both = good + bad
    return [both[index] for index in rng.permutation(len(both))]


def far_apart(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    return l2_norm({name: one[name] - other[name] for name in one})


@QUICK
@given(seed=SEEDS, bound=st.floats(1e-3, 30), size=st.sampled_from([1e-3, 1.0, 1e6, 1e15]))
def test_bounded_updates_keep_direction_and_never_pass_the_bound(
    seed: int, bound: float, size: float
) -> None:
    update = {n: np.float32(size) * v for n, v in honest(seed, 1)[0].items()}
    found = bound_norm(update, bound)
    norm = l2_norm(update)
    assert l2_norm(found) <= bound
    assert found["a"].dtype == np.float32
    for name, array in found.items():
        assert_allclose(array, update[name] * min(1.0, bound / norm), rtol=1e-5, atol=1e-37)


@QUICK
@given(seed=SEEDS, bound=st.floats(0.1, 5))
def test_bounding_moves_no_two_updates_apart(seed: int, bound: float) -> None:
    one, other = honest(seed, 2)
    apart = far_apart(bound_norm(one, bound), bound_norm(other, bound))
    assert apart <= far_apart(one, other) * (1 + 1e-5)


def test_an_update_within_the_bound_or_of_zeros_is_left_as_it_is() -> None:
    update = honest(1, 1)[0]
    np.testing.assert_array_equal(bound_norm(update, 1e3)["a"], update["a"])
    zeros = {"a": np.zeros(3, np.float32)}
    np.testing.assert_array_equal(bound_norm(zeros, 1.0)["a"], zeros["a"])


@QUICK
@given(seed=SEEDS, least=st.floats(-1, 1))
def test_filter_keeps_those_that_go_the_public_way(seed: int, least: float) -> None:
    *updates, direction = honest(seed, 6)
    flat = [np.concatenate([u["a"].ravel(), u["b"]]).astype(float) for u in (*updates, direction)]
    cosines = [v @ flat[-1] / np.linalg.norm(v) / np.linalg.norm(flat[-1]) for v in flat[:-1]]
    kept = cosine_filter(updates, direction, least=least)
    assert list(kept) == [index for index, cosine in enumerate(cosines) if cosine >= least]


def test_a_zero_update_has_cosine_zero() -> None:
    zero = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
    direction = honest(1, 1)[0]
    assert cosine_filter([zero], direction, least=0.0) == (0,)
    assert cosine_filter([zero], direction, least=0.1) == ()
    with pytest.raises(ValueError, match="norm 0"):
        cosine_filter([direction], zero, least=0.0)


@QUICK
@given(seed=SEEDS, faults=FAULTS, spare=st.integers(0, 3))
def test_trimming_and_median_stay_within_the_honest_values(
    seed: int, faults: int, spare: int
) -> None:
    good = honest(seed, faults + 1 + spare)
    updates = mixed(seed, good, faults)
    for found in (trimmed_mean(updates, faults), median(updates, faults)):
        for name, array in found.items():
            values = np.stack([update[name] for update in good])
            assert array.dtype == np.float32
            assert array.shape == SHAPES[name]
            assert (array >= values.min(axis=0)).all()
            assert (array <= values.max(axis=0)).all()


@QUICK
@given(seed=SEEDS, count=st.integers(1, 8))
def test_median_is_the_median_and_no_trimming_the_mean(seed: int, count: int) -> None:
    updates = honest(seed, count)
    stacked = np.stack([update["a"] for update in updates])
    assert_allclose(median(updates)["a"], np.median(stacked, axis=0), atol=1e-6)
    assert_allclose(trimmed_mean(updates, 0)["a"], stacked.mean(axis=0), atol=1e-6)


@QUICK
@given(seed=SEEDS, faults=st.integers(0, 2))
def test_one_customer_moves_a_trimmed_mean_by_its_share_of_those_kept(
    seed: int, faults: int
) -> None:
    updates = honest(seed, 7)
    changed = [dict(update) for update in updates]
    push = honest(seed + 1, 1)[0]
    changed[0] = {name: updates[0][name] + push[name] for name in push}
    moved = far_apart(trimmed_mean(updates, faults), trimmed_mean(changed, faults))
    assert moved <= l2_norm(push) / (7 - 2 * faults) + 1e-6


def test_noise_sized_for_the_mean_does_not_cover_the_median() -> None:
    levels = (-100.0, 0.0, 0.0, 0.0, 100.0)
    updates = [{"a": np.full(1, level, np.float32)} for level in levels]
    for index in (1, 2, 3):
        updates[index]["a"] += np.float32(index - 2)
    changed = [dict(update) for update in updates]
    changed[2] = {"a": np.full(1, 0.9, np.float32)}
    shapes = {"a": (1,)}
    by_mean = far_apart(noisy_mean(updates, 5, shapes), noisy_mean(changed, 5, shapes))
    by_median = far_apart(median(updates), median(changed))
    assert by_median == pytest.approx(5 * by_mean, rel=1e-5)


@QUICK
@given(seed=SEEDS, faults=FAULTS, spare=st.integers(0, 3), distance=st.floats(50, 1e12))
def test_krum_never_selects_from_a_far_minority_even_one_that_agrees(
    seed: int, faults: int, spare: int, distance: float
) -> None:
    good = honest(seed, faults + 3 + spare)
    bad = [{n: np.full(s, distance, np.float32) for n, s in SHAPES.items()}] * faults
    updates = bad + good
    order = krum_order(updates, faults)
    assert sorted(order) == list(range(len(updates)))
    assert set(order[: len(good)]) == set(range(faults, len(updates)))
    np.testing.assert_array_equal(krum(updates, faults)["a"], updates[order[0]]["a"])
    keep = len(updates) - faults - 2
    mean = np.mean([updates[index]["b"] for index in order[:keep]], axis=0)
    assert_allclose(multi_krum(updates, faults, keep=keep)["b"], mean, atol=1e-5)


@QUICK
@given(seed=SEEDS)
def test_krum_scores_are_sums_over_the_nearest_others(seed: int) -> None:
    updates = honest(seed, 7)
    scores = []
    for one in updates:
        distances = sorted(far_apart(one, other) ** 2 for other in updates if other is not one)
        scores.append(sum(distances[: 7 - 1 - 2]))
    assert list(krum_order(updates, 1)) == list(np.argsort(scores, kind="stable"))


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    updates = honest(9, 7)
    whole = (trimmed_mean(updates, 2), median(updates), multi_krum(updates, 2, keep=3))
    monkeypatch.setattr(robust, "_BLOCK", 14)
    parts = (trimmed_mean(updates, 2), median(updates), multi_krum(updates, 2, keep=3))
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one["a"], other["a"])
        np.testing.assert_array_equal(one["b"], other["b"])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number_is_refused_and_named(value: float) -> None:
    updates = honest(1, 5)
    updates[3]["b"][2] = value
    for rule in (
        lambda: trimmed_mean(updates, 1),
        lambda: median(updates, 1),
        lambda: krum(updates, 1),
        lambda: cosine_filter(updates, updates[0], least=0.0),
    ):
        with pytest.raises(NotFinite, match="update 3: tensor 'b'"):
            rule()
    with pytest.raises(NotFinite, match="'b'"):
        bound_norm(updates[3], 1.0)


def test_too_few_stores_are_refused() -> None:
    with pytest.raises(Refused, match="at least 5"):
        krum(honest(1, 4), 1)
    with pytest.raises(Refused, match="at least 3"):
        trimmed_mean(honest(1, 2), 1)
    with pytest.raises(Refused, match="at least 3"):
        median(honest(1, 2), 1)


def test_arguments_out_of_range_are_errors() -> None:
    updates = honest(1, 5)
    for keep in (0, 3):
        with pytest.raises(ValueError, match="keep"):
            multi_krum(updates, 1, keep=keep)
    with pytest.raises(ValueError, match="bound"):
        bound_norm(updates[0], float("nan"))
    with pytest.raises(ValueError, match="least"):
        cosine_filter(updates, updates[0], least=1.5)
    with pytest.raises(ValueError, match="nothing"):
        median([])
    with pytest.raises(ValueError, match="entry 1"):
        median([updates[0], {"a": updates[1]["a"]}])
