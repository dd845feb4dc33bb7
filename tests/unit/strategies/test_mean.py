"""The mean of a round and its baseline."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.fedavg import fedavg, payload_bytes, round_bytes
from strategies.mean import noisy_mean, partway, server_step

SHAPES = {"a": (2, 3), "b": (4,)}


def arrays(value: float) -> dict[str, np.ndarray]:
    return {name: np.full(shape, value, np.float32) for name, shape in SHAPES.items()}


@given(values=st.lists(st.floats(-5, 5, width=32), max_size=6), extra=st.integers(0, 4))
def test_mean_divides_by_the_plan_not_by_who_came(values: list[float], extra: int) -> None:
    denominator = len(values) + extra or 1
    mean = noisy_mean([arrays(v) for v in values], denominator, SHAPES)
    for name, shape in SHAPES.items():
        assert mean[name].dtype == np.float32
        assert mean[name].shape == shape
        assert np.allclose(mean[name], sum(values) / denominator, atol=1e-5)


def test_one_update_moves_the_mean_by_its_share_whoever_else_is_there() -> None:
    few = noisy_mean([arrays(1.0)], 4, SHAPES)["a"]
    many = noisy_mean([arrays(1.0), arrays(0.0), arrays(0.0)], 4, SHAPES)["a"]
    assert np.array_equal(few, many)


@given(
    stores=st.lists(st.tuples(st.integers(1, 500), st.floats(-5, 5, width=32)), min_size=1),
    missing=st.integers(0, 300),
)
def test_planned_batch_sizes_as_weights_give_the_mean_over_all_customers(
    stores: list[tuple[int, float]], missing: int
) -> None:
    sizes = [size for size, _ in stores]
    whole = sum(sizes) + missing
    mean = noisy_mean([arrays(value) for _, value in stores], whole, SHAPES, sizes)
    wanted = sum(size * value for size, value in stores) / whole
    assert np.allclose(mean["a"], wanted, atol=1e-5)


def test_more_updates_than_planned_are_an_error() -> None:
    with pytest.raises(ValueError, match="denominator 1"):
        noisy_mean([arrays(1.0), arrays(1.0)], 1, SHAPES)
    with pytest.raises(ValueError, match="denominator 10"):
        noisy_mean([arrays(1.0)], 10, SHAPES, [11])


@given(start=st.floats(-5, 5, width=32), end=st.floats(-5, 5, width=32), weight=st.floats(0, 2))
def test_partway_is_on_the_line_from_start_to_end(start: float, end: float, weight: float) -> None:
    found = partway(arrays(start), arrays(end), weight)
    for array in found.values():
        assert array.dtype == np.float32
        assert np.allclose(array, start + weight * (end - start), atol=1e-4)


def test_momentum_is_that_of_fedavgm() -> None:
    adapter, velocity = server_step(arrays(0.0), arrays(1.0), None, 0.5)
    assert np.allclose(adapter["a"], 1.0)
    adapter, velocity = server_step(adapter, arrays(1.0), velocity, 0.5)
    assert np.allclose(velocity["a"], 1.5)
    assert np.allclose(adapter["a"], 2.5)


def test_without_momentum_the_mean_is_added() -> None:
    adapter, _velocity = server_step(arrays(1.0), arrays(2.0), arrays(9.0), 0.0)
    assert np.allclose(adapter["b"], 3.0)


def test_fedavg_weights_by_examples() -> None:
    assert np.allclose(fedavg([arrays(0.0), arrays(4.0)], [3, 1])["a"], 1.0)
    with pytest.raises(ValueError, match="weights"):
        fedavg([arrays(0.0)], [0])


def test_bytes_of_the_baseline() -> None:
    assert payload_bytes(SHAPES) == 4 * 10
    assert round_bytes(10, 3) == 2 * 3 * 40
