"""Merging adapters: the results of peft, and what each rule keeps of what it was given."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft.utils import merge_utils

from strategies.merging import (
    SignVote,
    dare_linear,
    dare_mask,
    dare_ties,
    linear,
    magnitude_prune,
    ties,
)

QUICK = settings(max_examples=25, deadline=None)
SEEDS = st.integers(0, 10**6)
WEIGHTS = [0.5, 0.25, 1.5]
SHAPE = (6, 7)
Deltas = list[dict[str, np.ndarray]]


def deltas(seed: int, count: int = 3) -> Deltas:
    """Return deltas of distinct magnitudes that float32 adds without rounding."""
    rng = np.random.default_rng(seed)
    size = int(np.prod(SHAPE))
    return [
        {
            "w": (rng.permutation(np.arange(1, size + 1)) * rng.choice([-1, 1], size) / 8)
            .astype(np.float32)
            .reshape(SHAPE)
        }
        for _ in range(count)
    ]


def by_peft(merge: Callable[..., torch.Tensor], many: Deltas, *more: object) -> np.ndarray:
    tensors = [torch.from_numpy(delta["w"]) for delta in many]
    return merge(tensors, torch.tensor(WEIGHTS), *more).numpy()


@QUICK
@given(seed=SEEDS)
def test_linear_is_task_arithmetic(seed: int) -> None:
    many = deltas(seed)
    expected = by_peft(merge_utils.task_arithmetic, many)
    np.testing.assert_array_equal(linear(many, WEIGHTS)["w"], expected)


@QUICK
@given(seed=SEEDS, density=st.floats(0.01, 0.99))
def test_magnitude_prune_is_that_of_peft(seed: int, density: float) -> None:
    many = deltas(seed)
    expected = by_peft(merge_utils.magnitude_prune, many, density)
    np.testing.assert_array_equal(magnitude_prune(many, WEIGHTS, density)["w"], expected)


@pytest.mark.parametrize("vote", ["total", "frequency"])
@QUICK
@given(seed=SEEDS, density=st.floats(0.01, 0.99))
def test_ties_is_that_of_peft(seed: int, density: float, vote: SignVote) -> None:
    many = deltas(seed)
    expected = by_peft(merge_utils.ties, many, density, vote)
    found = ties(many, WEIGHTS, density, vote=vote)["w"]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def masks_for(density: float, seed: int) -> Iterator[torch.Tensor]:
    for index in range(3):
        mask = dare_mask(SHAPE, density, seed=seed, name="w", index=index)
        yield torch.from_numpy(mask.astype(np.float32))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("density", [0.25, 0.6])
@pytest.mark.parametrize("vote", [None, "total", "frequency"])
def test_dare_is_that_of_peft_with_the_same_masks(
    seed: int, density: float, vote: SignVote | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = deltas(seed)
    masks = masks_for(density, seed)
    monkeypatch.setattr(torch, "bernoulli", lambda _: next(masks))
    if vote is None:
        expected = by_peft(merge_utils.dare_linear, many, density)
        found = dare_linear(many, WEIGHTS, density, seed=seed)
    else:
        expected = by_peft(merge_utils.dare_ties, many, density, vote)
        found = dare_ties(many, WEIGHTS, density, seed=seed, vote=vote)
    np.testing.assert_allclose(found["w"], expected, rtol=1e-5, atol=1e-5)


@QUICK
@given(seed=SEEDS)
def test_at_full_density_nothing_is_pruned(seed: int) -> None:
    many = deltas(seed)
    expected = linear(many, WEIGHTS)["w"]
    np.testing.assert_array_equal(magnitude_prune(many, WEIGHTS, 1.0)["w"], expected)
    np.testing.assert_array_equal(dare_linear(many, WEIGHTS, 1.0, seed=seed)["w"], expected)
    alone = ties(many[:1], [1.0], 1.0)["w"]
    np.testing.assert_array_equal(alone, many[0]["w"])


@QUICK
@given(seed=SEEDS, density=st.floats(0.05, 1))
def test_magnitude_keeps_exactly_its_share_and_the_largest(seed: int, density: float) -> None:
    delta = deltas(seed, 1)
    found = magnitude_prune(delta, [1.0], density)["w"]
    kept = found != 0
    assert kept.sum() == int(density * found.size)
    if kept.any() and not kept.all():
        assert np.abs(found[kept]).min() > np.abs(delta[0]["w"][~kept]).max()


def test_equal_magnitudes_are_kept_in_order() -> None:
    equal = [{"w": np.array([1, -1, 1, -1], np.float32)}]
    np.testing.assert_array_equal(magnitude_prune(equal, [1.0], 0.5)["w"], [1, -1, 0, 0])


@QUICK
@given(seed=SEEDS, density=st.floats(0.2, 1))
def test_ties_lies_between_the_values_of_the_elected_sign(seed: int, density: float) -> None:
    many = deltas(seed)
    found = ties(many, [1.0] * 3, density)["w"]
    stacked = np.stack([magnitude_prune([delta], [1.0], density)["w"] for delta in many])
    elected = np.where(stacked.sum(axis=0) >= 0, 1, -1)
    agreeing = np.where(np.sign(stacked) == elected, stacked, np.nan)
    some = ~np.isnan(agreeing).all(axis=0)
    assert (found[~some] == 0).all()
    assert (np.sign(found[some]) == elected[some]).all()
    assert (np.nanmin(agreeing[:, some], axis=0) <= found[some] + 1e-6).all()
    assert (found[some] <= np.nanmax(agreeing[:, some], axis=0) + 1e-6).all()


def test_over_seeds_dare_is_the_linear_merge() -> None:
    many = deltas(3)
    mean = np.mean([dare_linear(many, WEIGHTS, 0.5, seed=s)["w"] for s in range(3000)], axis=0)
    deviation = np.sqrt(sum((w * d["w"]) ** 2 for w, d in zip(WEIGHTS, many, strict=True)))
    error = np.abs(mean - linear(many, WEIGHTS)["w"]) / deviation
    assert error.max() < 5 / np.sqrt(3000)


def test_dare_draws_anew_for_each_seed_delta_and_tensor() -> None:
    masks = [
        dare_mask((50, 50), 0.5, seed=seed, name=name, index=index)
        for seed, name, index in [(1, "w", 0), (2, "w", 0), (1, "v", 0), (1, "w", 1)]
    ]
    again = dare_mask((50, 50), 0.5, seed=1, name="w", index=0)
    np.testing.assert_array_equal(masks[0], again)
    for other in masks[1:]:
        assert 0.4 < (masks[0] != other).mean() < 0.6


@pytest.mark.parametrize("density", [0.0, -0.5, 1.01, float("nan")])
def test_a_density_out_of_range_is_an_error(density: float) -> None:
    merges: Sequence[Callable[[], object]] = (
        lambda: magnitude_prune(deltas(1), WEIGHTS, density),
        lambda: ties(deltas(1), WEIGHTS, density),
        lambda: dare_linear(deltas(1), WEIGHTS, density, seed=1),
        lambda: dare_ties(deltas(1), WEIGHTS, density, seed=1),
    )
    for merge in merges:
        with pytest.raises(ValueError, match="density"):
            merge()


def test_deltas_and_weights_that_do_not_fit_are_errors() -> None:
    with pytest.raises(ValueError, match="2 weights"):
        linear(deltas(1), [1.0, 1.0])
    with pytest.raises(ValueError, match="nothing"):
        linear([], [])
    with pytest.raises(ValueError, match="entry 1"):
        linear([{"w": np.ones(2, np.float32)}, {"w": np.ones(3, np.float32)}], [1.0, 1.0])
