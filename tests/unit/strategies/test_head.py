"""The linear head: gradients are those of the cross entropy, and a customer's part is bounded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import head
from strategies.head import accuracy, clipped_sum

LABELS, WIDTH = 5, 7


def world(texts: int, seed: int, people: int | None = None) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(LABELS, WIDTH)).astype(np.float32)
    features = rng.normal(size=(texts, WIDTH)).astype(np.float32)
    labels = rng.integers(0, LABELS, texts)
    customers = np.sort(rng.integers(0, people or texts, texts))
    return weights, features, labels, customers


def loss(weights: np.ndarray, features: np.ndarray, labels: np.ndarray) -> float:
    logits = features @ weights.T
    own = logits[np.arange(len(labels)), labels]
    return float((np.log(np.exp(logits).sum(axis=1)) - own).sum())


def test_without_a_bound_it_is_the_gradient_of_the_cross_entropy() -> None:
    weights, features, labels, _ = (np.asarray(part) for part in world(30, 1))
    exact = weights.astype(np.float64)
    found = clipped_sum(weights, features, labels, np.inf)
    for place in [(0, 0), (2, 3), (4, 6)]:
        step = np.zeros_like(exact)
        step[place] = 1e-5
        slope = (loss(exact + step, features, labels) - loss(exact - step, features, labels)) / 2e-5
        assert found[place] == pytest.approx(slope, rel=1e-3, abs=1e-3)


@given(seed=st.integers(0, 10_000), clip=st.floats(0.01, 3), people=st.integers(1, 20))
def test_a_customer_moves_the_sum_by_no_more_than_the_clip(
    seed: int, clip: float, people: int
) -> None:
    weights, features, labels, customers = world(25, seed, people)
    whole = clipped_sum(weights, features, labels, clip, customers)
    for gone in np.unique(customers):
        rest = customers != gone
        part = clipped_sum(weights, features[rest], labels[rest], clip, customers[rest])
        assert np.linalg.norm(whole - part) <= clip * (1 + 1e-3) + 1e-5


@given(seed=st.integers(0, 10_000), clip=st.floats(0.01, 3))
def test_one_text_a_customer_needs_no_gradient_of_its_own(seed: int, clip: float) -> None:
    weights, features, labels, _ = world(25, seed)
    quick = clipped_sum(weights, features, labels, clip)
    slow = clipped_sum(weights, features, labels, clip, np.arange(25))
    np.testing.assert_allclose(quick, slow, atol=1e-4)


@pytest.mark.parametrize("values", [1, 35 * 3, 35 * 1000])
def test_memory_changes_nothing(values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, features, labels, customers = world(60, 3, 9)
    wanted = clipped_sum(weights, features, labels, 0.5, customers)
    monkeypatch.setattr(head, "_CHUNK_VALUES", values)
    np.testing.assert_allclose(
        clipped_sum(weights, features, labels, 0.5, customers), wanted, atol=1e-5
    )


def test_nobody_gives_zeros_and_accuracy_is_a_share() -> None:
    weights, features, labels, customers = world(8, 2)
    nobody = clipped_sum(weights, features[:0], labels[:0], 1.0, customers[:0])
    assert not nobody.any()
    best = (features @ weights.T).argmax(axis=1)
    assert accuracy(weights, features, best) == 1.0
    best[:2] = (best[:2] + 1) % LABELS
    assert accuracy(weights, features, best) == 0.75
