"""New factors between rounds: the same product, orthonormal rows, and no more than that."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import BadInput
from strategies.factors import factors, lora_pair
from strategies.refactor import carry, next_frozen, reorthogonalise
from strategies.stacking import stack
from tests.unit.strategies.pairs import D_IN, D_OUT, dense, random_pairs

QUICK = settings(max_examples=30, deadline=None)
SEEDS = st.integers(0, 10**6)


def projector(rows: np.ndarray) -> np.ndarray:
    return np.linalg.pinv(rows.astype(float)) @ rows.astype(float)


@QUICK
@given(seed=SEEDS, rank=st.integers(1, 8))
def test_the_product_stays_and_a_becomes_orthonormal(seed: int, rank: int) -> None:
    pair = random_pairs(seed, [rank])[0]
    b, a = reorthogonalise(*pair)
    assert (b.shape, a.shape) == ((D_OUT, rank), (rank, D_IN))
    np.testing.assert_allclose(dense((b, a)), dense(pair), atol=1e-4)
    np.testing.assert_allclose(a @ a.T, np.eye(rank), atol=1e-5)
    gram = b.T @ b
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-2)


@QUICK
@given(seed=SEEDS)
def test_gradients_and_noise_pass_unstretched(seed: int) -> None:
    rng = np.random.default_rng(seed)
    _, a = reorthogonalise(*random_pairs(seed, [4])[0])
    gradient, noise = rng.normal(size=(D_OUT, D_IN)), rng.normal(size=(D_OUT, 4))
    assert np.linalg.norm(gradient @ a.T) <= np.linalg.norm(gradient) * (1 + 1e-5)
    assert np.linalg.norm(noise @ a) == pytest.approx(np.linalg.norm(noise), rel=1e-5)


def test_an_adapter_that_adds_nothing_yet_keeps_its_rows() -> None:
    a = random_pairs(2, [3])[0][1]
    b_after, a_after = reorthogonalise(np.zeros((D_OUT, 3), np.float32), a)
    assert not b_after.any()
    np.testing.assert_allclose(a_after @ a_after.T, np.eye(3), atol=1e-5)
    np.testing.assert_allclose(projector(a_after), projector(a), atol=1e-5)


@QUICK
@given(seed=SEEDS)
def test_one_frozen_a_for_all_is_only_rotated(seed: int) -> None:
    fixed = factors("ffa", 3, D_OUT, D_IN, 7, None, "w")
    trained = np.random.default_rng(seed).standard_normal((D_OUT, 3)).astype(np.float32)
    b, a = next_frozen({"w": lora_pair("ffa", "w", {"w": trained}, fixed)}, 3)
    np.testing.assert_allclose(b["w"] @ a["w"], trained @ fixed[1], atol=1e-5)
    np.testing.assert_allclose(projector(a["w"]), projector(fixed[1]), atol=1e-5)


def test_products_of_different_a_give_the_strongest_rows_of_their_sum() -> None:
    stacked = stack(random_pairs(8, [3, 3]), [0.5, 0.5])
    b, a = next_frozen({"w": stacked}, 3)
    _, singular, right = np.linalg.svd(dense(stacked))
    np.testing.assert_allclose(projector(a["w"]), projector(right[:3]), atol=1e-4)
    left = np.linalg.norm(dense(stacked) - b["w"] @ a["w"])
    assert left == pytest.approx(np.sqrt((singular[3:] ** 2).sum()), rel=1e-4)


@QUICK
@given(seed=SEEDS)
def test_momentum_is_carried_into_the_new_coordinates(seed: int) -> None:
    b, a = random_pairs(seed, [4])[0]
    velocity = np.random.default_rng(seed).standard_normal(b.shape).astype(np.float32)
    _, after = next_frozen({"w": (b, a)}, 4)
    moved = carry({"w": velocity}, {"w": a}, after)["w"]
    assert moved.dtype == np.float32
    np.testing.assert_allclose(moved @ after["w"], velocity @ a, atol=1e-4)


def test_a_rank_beyond_the_weight_is_refused() -> None:
    with pytest.raises(BadInput, match="does not fit"):
        reorthogonalise(*random_pairs(1, [D_IN + 1])[0])
