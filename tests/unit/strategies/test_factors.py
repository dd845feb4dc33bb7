"""Fixed factors: orthonormal, the same everywhere, and what merging adds."""

import numpy as np
import pytest

from shared.adapters import AdapterSpec
from shared.errors import BadInput
from strategies.factors import (
    delta,
    factors,
    initial,
    lora_pair,
    seeded_factors,
    singular_factors,
)

WEIGHT = np.random.default_rng(3).standard_normal((12, 8)).astype(np.float32)


@pytest.mark.parametrize("kind", ["rxr", "ffa"])
def test_factors_are_orthonormal(kind: str) -> None:
    b, a = factors(kind, 4, 12, 8, 7, WEIGHT, "w")
    assert b.shape == (12, 4)
    assert a.shape == (4, 8)
    assert b.dtype == a.dtype == np.float32
    np.testing.assert_allclose(b.T @ b, np.eye(4), atol=1e-6)
    np.testing.assert_allclose(a @ a.T, np.eye(4), atol=1e-6)


@pytest.mark.parametrize("kind", ["rxr", "ffa"])
def test_every_machine_gets_the_same_factors(kind: str) -> None:
    for first, second in zip(
        factors(kind, 4, 12, 8, 7, WEIGHT, "w"),
        factors(kind, 4, 12, 8, 7, WEIGHT.copy(), "w"),
        strict=True,
    ):
        np.testing.assert_array_equal(first, second)


def test_singular_factors_span_the_strongest_directions_with_fixed_signs() -> None:
    b, a = singular_factors(WEIGHT, 8)
    singular = np.linalg.svd(WEIGHT.astype(np.float64), compute_uv=False)
    np.testing.assert_allclose(b.T @ WEIGHT @ a.T, np.diag(singular), atol=1e-5)
    assert all(column[np.abs(column).argmax()] > 0 for column in b.T)


def test_seed_and_name_each_change_seeded_factors() -> None:
    base = seeded_factors((12, 8), 4, 1, "w")[0]
    assert not np.allclose(base, seeded_factors((12, 8), 4, 2, "w")[0])
    assert not np.allclose(base, seeded_factors((12, 8), 4, 1, "v")[0])


@pytest.mark.parametrize("rank", [0, 9])
@pytest.mark.parametrize("kind", ["rxr", "ffa"])
def test_a_rank_that_does_not_fit_is_refused(kind: str, rank: int) -> None:
    with pytest.raises(BadInput, match="does not fit"):
        factors(kind, rank, 12, 8, 7, WEIGHT, "w")


def test_rxr_needs_the_weight() -> None:
    with pytest.raises(BadInput, match="is needed"):
        factors("rxr", 4, 12, 8, 7, None, "w")


@pytest.mark.parametrize(("kind", "shape"), [("rxr", (4, 4)), ("ffa", (12, 4))])
def test_the_pair_gives_what_the_adapter_adds(kind: str, shape: tuple[int, int]) -> None:
    trained = np.random.default_rng(5).standard_normal(shape).astype(np.float32)
    b, a = fixed = factors(kind, 4, 12, 8, 7, WEIGHT, "w")
    lora_b, lora_a = lora_pair(kind, "w", {"w": trained}, fixed)
    assert lora_b.shape == (12, 4)
    assert lora_a.shape == (4, 8)
    exact = b @ trained @ a if kind == "rxr" else trained @ a
    added = delta(lora_b, lora_a, 2.0)
    assert added.dtype == np.float32
    np.testing.assert_allclose(added, 2.0 * exact, rtol=1e-5, atol=1e-5)


def spec(kind: str, shapes: dict[str, tuple[int, ...]], rank: int = 4) -> AdapterSpec:
    return AdapterSpec(
        kind=kind,  # type: ignore[arg-type]
        rank=rank,
        scale=1.0,
        upper_layers=1,
        targets=("w",),
        factor_seed=7,
        base_digest="",
        shapes=shapes,
    )


@pytest.mark.parametrize("kind", ["rxr", "ffa", "lora"])
def test_the_initial_adapter_adds_nothing(kind: str) -> None:
    shape = {"rxr": (4, 4), "ffa": (12, 4)}.get(kind)
    shapes = {"w": shape} if shape else {"w.lora_A": (4, 8), "w.lora_B": (12, 4)}
    start = initial(spec(kind, shapes))
    spec(kind, shapes).check(start, sender="test")
    fixed = factors(kind, 4, 12, 8, 7, WEIGHT, "w")
    assert not delta(*lora_pair(kind, "w", start, fixed), 1.0).any()


def test_lora_starts_from_the_seeded_a_of_each_weight() -> None:
    start = initial(spec("lora", {"w.lora_A": (4, 8), "w.lora_B": (12, 4)}))
    np.testing.assert_array_equal(start["w.lora_A"], seeded_factors((12, 8), 4, 7, "w")[1])
    assert not start["w.lora_B"].any()


def test_the_pair_of_lora_is_what_is_trained() -> None:
    rng = np.random.default_rng(5)
    tensors = {
        name: rng.standard_normal(shape).astype(np.float32)
        for name, shape in {"w.lora_A": (4, 8), "w.lora_B": (12, 4)}.items()
    }
    b, a = lora_pair("lora", "w", tensors, factors("lora", 4, 12, 8, 7, None, "w"))
    np.testing.assert_array_equal(b, tensors["w.lora_B"])
    np.testing.assert_array_equal(a, tensors["w.lora_A"])


def test_the_mean_of_adapters_is_the_mean_of_what_they_add() -> None:
    rng = np.random.default_rng(6)
    fixed = factors("rxr", 4, 12, 8, 7, WEIGHT, "w")
    cores = [rng.standard_normal((4, 4)).astype(np.float32) for _ in range(3)]
    each = [delta(*lora_pair("rxr", "w", {"w": core}, fixed), 1.0) for core in cores]
    mean = np.mean(cores, axis=0, dtype=np.float32)
    of_mean = delta(*lora_pair("rxr", "w", {"w": mean}, fixed), 1.0)
    np.testing.assert_allclose(of_mean, np.mean(each, axis=0), atol=1e-5)
