"""Stacking is exact; redistribution is the best there is, and never holds a full weight."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import BadInput
from strategies.stacking import product_svd, redistribute, stack, truncate
from tests.unit.strategies.pairs import D_IN, D_OUT, dense, random_pairs

QUICK = settings(max_examples=30, deadline=None)
SEEDS = st.integers(0, 10**6)
RANKS = st.lists(st.integers(1, 5), min_size=1, max_size=5)


@QUICK
@given(seed=SEEDS, ranks=RANKS, data=st.data())
def test_the_stacked_product_is_the_weighted_sum_of_products(
    seed: int, ranks: list[int], data: st.DataObject
) -> None:
    weights = [data.draw(st.floats(-2, 2)) for _ in ranks]
    pairs = random_pairs(seed, ranks)
    b, a = stack(pairs, weights)
    assert (b.shape, a.shape) == ((D_OUT, sum(ranks)), (sum(ranks), D_IN))
    assert b.dtype == a.dtype == np.float32
    expected = sum(w * dense(pair) for w, pair in zip(weights, pairs, strict=True))
    np.testing.assert_allclose(dense((b, a)), expected, atol=1e-4)


def test_weights_that_float32_holds_make_it_exact_to_the_bit() -> None:
    pairs = [(np.round(8 * b) / 8, np.round(8 * a) / 8) for b, a in random_pairs(3, [2, 4])]
    expected = 0.25 * dense(pairs[0]) + 0.75 * dense(pairs[1])
    np.testing.assert_array_equal(dense(stack(pairs, [0.25, 0.75])), expected)


@QUICK
@given(seed=SEEDS, rank=st.integers(1, 20))
def test_the_factored_svd_is_the_dense_one(seed: int, rank: int) -> None:
    pair = random_pairs(seed, [rank])[0]
    u, s, vt = product_svd(*pair)
    inner = min(rank, D_OUT, D_IN)
    np.testing.assert_allclose(s, np.linalg.svd(dense(pair), compute_uv=False)[:inner], atol=1e-9)
    np.testing.assert_allclose((u * s) @ vt, dense(pair), atol=1e-9)
    np.testing.assert_allclose(u.T @ u, np.eye(inner), atol=1e-10)
    np.testing.assert_allclose(vt @ vt.T, np.eye(inner), atol=1e-10)
    assert all(column[np.abs(column).argmax()] > 0 for column in u.T)


@QUICK
@given(seed=SEEDS, ranks=RANKS)
def test_the_error_of_each_rank_is_the_tail_of_singular_values(seed: int, ranks: list[int]) -> None:
    weights = [1 / len(ranks)] * len(ranks)
    pairs = random_pairs(seed, ranks)
    exact = sum(w * dense(pair) for w, pair in zip(weights, pairs, strict=True))
    singular = np.linalg.svd(exact, compute_uv=False)
    for rank, pair in zip(ranks, redistribute(pairs, weights, ranks), strict=True):
        assert (pair[0].shape, pair[1].shape) == ((D_OUT, rank), (rank, D_IN))
        left = exact - dense(pair)
        tail = np.sqrt((singular[rank:] ** 2).sum())
        assert np.linalg.norm(left) == pytest.approx(tail, abs=1e-4)
        beyond = singular[rank] if rank < singular.size else 0.0
        assert np.linalg.norm(left, 2) == pytest.approx(beyond, abs=1e-4)


def test_a_weight_is_never_formed() -> None:
    rng = np.random.default_rng(1)
    size = 3000
    pairs = [
        (
            rng.standard_normal((size, 4), dtype=np.float32),
            rng.standard_normal((4, size), dtype=np.float32),
        )
        for _ in range(2)
    ]
    tracemalloc.start()
    try:
        redistribute(pairs, [0.5, 0.5], [4, 2])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * size * size / 8


def test_truncation_to_the_full_rank_keeps_the_product() -> None:
    pair = random_pairs(5, [6])[0]
    np.testing.assert_allclose(dense(truncate(*pair, 6)), dense(pair), atol=1e-5)


@pytest.mark.parametrize("rank", [0, 4])
def test_a_rank_that_does_not_fit_is_refused(rank: int) -> None:
    with pytest.raises(BadInput, match="choose 1 to 3"):
        redistribute(random_pairs(1, [1, 2]), [0.5, 0.5], [rank])


def test_pairs_that_do_not_fit_are_an_error() -> None:
    b, a = random_pairs(1, [2])[0]
    with pytest.raises(ValueError, match="0 pairs"):
        stack([], [])
    with pytest.raises(ValueError, match="2 weights"):
        stack([(b, a)], [1.0, 1.0])
    with pytest.raises(ValueError, match="shapes"):
        stack([(b, a), (b[:5], a)], [1.0, 1.0])
    with pytest.raises(ValueError, match="shapes"):
        stack([(b, a[:1])], [1.0])
