"""The streaming mean: the bits of the plain one, in memory that does not grow with the stores."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.mean import noisy_mean
from strategies.stream import StreamingMean

QUICK = settings(max_examples=40, deadline=None)
SHAPES = {"a": (3, 4), "b": (7,)}
Updates = list[dict[str, np.ndarray]]


def updates_of(seed: int, count: int) -> Updates:
    rng = np.random.default_rng(seed)
    sizes = 10.0 ** rng.uniform(-6, 6, count)
    return [
        {n: (size * rng.normal(size=s)).astype(np.float32) for n, s in SHAPES.items()}
        for size in sizes
    ]


WEIGHTS = st.lists(st.sampled_from([1.0, 0.1, 0.7, 20.0, 300.0]), max_size=5)


@QUICK
@given(seed=st.integers(0, 10**6), weights=WEIGHTS, missing=st.floats(0, 3))
def test_it_is_the_plain_mean_bit_for_bit(seed: int, weights: list[float], missing: float) -> None:
    updates, denominator = updates_of(seed, len(weights)), sum(weights) + missing or 1.0
    stream = StreamingMean(SHAPES, denominator)
    for update, weight in zip(updates, weights, strict=True):
        stream.add(update, weight)
    assert stream.weight == pytest.approx(sum(weights))
    for name, expected in noisy_mean(updates, denominator, SHAPES, weights).items():
        found = stream.result()[name]
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


@QUICK
@given(data=st.data(), seed=st.integers(0, 10**6), weights=WEIGHTS.filter(bool))
def test_parts_may_be_cut_anywhere_and_interleave(
    data: st.DataObject, seed: int, weights: list[float]
) -> None:
    updates = updates_of(seed, len(weights))
    parts: list[tuple[str, int, np.ndarray, float]] = []
    for update, weight in zip(updates, weights, strict=True):
        for name, array in update.items():
            flat = array.reshape(-1)
            cuts = data.draw(st.lists(st.integers(0, flat.size), max_size=3))
            edges = [0, *sorted(cuts), flat.size]
            parts += [(name, low, flat[low:high], weight) for low, high in pairwise(edges)]
    stream = StreamingMean(SHAPES, sum(weights))
    for part in data.draw(st.permutations(parts)):
        stream.add_part(*part)
    assert stream.weight == pytest.approx(sum(weights))
    for name, found in stream.result().items():
        values = [update[name].astype(float) for update in updates]
        scale = max(np.abs(value).max() for value in values)
        expected = np.average(values, axis=0, weights=weights)
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7 * scale)


def test_a_part_too_many_is_refused_and_changes_nothing() -> None:
    first, second = updates_of(1, 2)
    stream = StreamingMean(SHAPES, 1)
    stream.add_part("b", 0, first["b"][:4])
    with pytest.raises(ValueError, match="denominator 1"):
        stream.add_part("b", 3, second["b"][3:])
    with pytest.raises(ValueError, match="denominator 1"):
        stream.add(second)
    stream.add_part("b", 4, first["b"][4:])
    stream.add_part("a", 0, first["a"].reshape(-1))
    np.testing.assert_array_equal(stream.result()["a"], first["a"])
    np.testing.assert_array_equal(stream.result()["b"], first["b"])
    with pytest.raises(ValueError, match="denominator 1"):
        stream.add(second)


@pytest.mark.parametrize(
    ("name", "start", "end"), [("b", 0, 4), ("b", 3, 7), ("b", 2, 5), ("a", 0, 12)]
)
def test_half_an_update_has_no_mean(name: str, start: int, end: int) -> None:
    first, second = updates_of(1, 2)
    stream = StreamingMean(SHAPES, 3)
    stream.add(first)
    stream.add_part(name, start, second[name].reshape(-1)[start:end])
    with pytest.raises(ValueError, match="in part only"):
        stream.result()


def test_a_tensor_alone_in_part_has_no_mean() -> None:
    stream = StreamingMean({"a": (4,)}, 2)
    stream.add_part("a", 0, np.ones(2, np.float32))
    with pytest.raises(ValueError, match="in part only"):
        stream.result()


def test_a_result_is_taken_without_ending_the_sum() -> None:
    stream = StreamingMean({"a": (2,)}, 2)
    stream.add({"a": np.ones(2, np.float32)})
    np.testing.assert_array_equal(stream.result()["a"], [0.5, 0.5])
    stream.add({"a": np.ones(2, np.float32)})
    np.testing.assert_array_equal(stream.result()["a"], [1, 1])


def test_memory_is_one_sum_whatever_the_number_of_stores() -> None:
    size, chunk = 400_000, 50_000
    part = np.ones(chunk, np.float32)
    tracemalloc.start()
    try:
        stream = StreamingMean({"a": (size,)}, 40)
        for _ in range(40):
            for offset in range(0, size, chunk):
                stream.add_part("a", offset, part)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * size + 4 * chunk
    assert (stream.result()["a"] == 1).all()


def test_what_does_not_fit_is_an_error() -> None:
    stream = StreamingMean(SHAPES, 2)
    with pytest.raises(ValueError, match="denominator 0"):
        StreamingMean(SHAPES, 0)
    with pytest.raises(ValueError, match="expected"):
        stream.add({"a": np.zeros((3, 4), np.float32)})
    with pytest.raises(ValueError, match="unknown"):
        stream.add_part("c", 0, np.zeros(1, np.float32))
    for offset, chunk in [(-1, (1,)), (6, (2,)), (0, (2, 2)), (8, (0,))]:
        with pytest.raises(ValueError, match="7 values"):
            stream.add_part("b", offset, np.zeros(chunk, np.float32))
    for weight in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="weight"):
            stream.add_part("b", 0, np.zeros(7, np.float32), weight)
    assert stream.weight == 0


def test_parts_of_different_weights_make_no_update() -> None:
    stream = StreamingMean({"a": (4,)}, 9)
    stream.add_part("a", 0, np.ones(2, np.float32), 2.0)
    stream.add_part("a", 2, np.ones(2, np.float32), 3.0)
    with pytest.raises(ValueError, match="in part only"):
        stream.result()


def test_a_weight_beyond_what_is_left_is_refused() -> None:
    stream = StreamingMean({"a": (2,)}, 320)
    stream.add({"a": np.ones(2, np.float32)}, 300)
    with pytest.raises(ValueError, match="denominator 320"):
        stream.add({"a": np.ones(2, np.float32)}, 21)
    stream.add({"a": np.ones(2, np.float32)}, 20)
    assert (stream.result()["a"] == 1).all()
