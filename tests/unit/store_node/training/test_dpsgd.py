"""The guarantee of a step: bounded per customer, noised once, Poisson where it says so."""

from pathlib import Path

import numpy as np
import pytest
import torch

from shared.adapters import AdapterSpec
from shared.base_models import adapter_spec
from shared.config import ModelSettings
from shared.errors import Refused
from shared.ids import CustomerKey
from shared.rounds import Mechanism
from store_node.training.dpsgd import CustomerDpSgd, fold_rows, sample_customers
from store_node.training.model import Parts, load_parts, read_adapter, write_adapter
from store_node.training.states import KeptStates, keep_states
from store_node.training.texts import CustomerTexts, Row, pack
from tests.tiny_model import make_tiny_model

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def spec(base: Path) -> AdapterSpec:
    return adapter_spec(ModelSettings(rank=4, upper_layers=2), base, "digest")


@pytest.fixture
def parts(base: Path, spec: AdapterSpec) -> Parts:
    return load_parts(base, spec, CPU)


def people(count: int, texts: int = 2, seed: int = 0) -> list[CustomerTexts]:
    rng = np.random.default_rng(seed)
    return [
        CustomerTexts(
            customer=CustomerKey(f"{person:04x}"),
            rows=tuple(
                Row(
                    key=f"{person}-{text}",
                    # Few enough targets that all are predicted: steps can be compared.
                    tokens=tuple(rng.integers(3, 200, size=int(rng.integers(6, 12))).tolist()),
                    target_start=4,
                )
                for text in range(texts)
            ),
        )
        for person in range(count)
    ]


def mechanism(**changes: object) -> Mechanism:
    values: dict[str, object] = {
        "sampling": "whole",
        "sample_rate": 1.0,
        "batch_cap": 1000,
        "steps": 1,
        "sigma": 0.0,
        "clip": 0.5,
        "texts_per_customer": 2,
        "batch_constant": 1,
        "learning_rate": 1.0,
    }
    return Mechanism.from_dict(values | changes)


def states_of(parts: Parts, customers: list[CustomerTexts]) -> KeptStates:
    return keep_states(
        [row for customer in customers for row in customer.rows],
        trunk=lambda: parts.trunk,
        hidden=32,
        identity="tiny",
        folder=None,
        budget_tokens=256,
        device=CPU,
    )


def one_step(
    base: Path, spec: AdapterSpec, customers: list[CustomerTexts], budget: int = 4096, **how: object
) -> np.ndarray:
    """Return the flat change of one step; with the defaults, minus the sum of clipped gradients."""
    parts = load_parts(base, spec, CPU)
    sgd = CustomerDpSgd(parts.upper, states_of(parts, customers), mechanism(**how), budget)
    sgd.step(customers)
    sgd.close()
    return np.concatenate([array.ravel() for array in read_adapter(parts.sites).values()])


def test_a_step_changes_the_adapter(base: Path, spec: AdapterSpec) -> None:
    assert np.linalg.norm(one_step(base, spec, people(5))) > 0


def test_one_customer_moves_the_sum_by_no_more_than_the_bound(
    base: Path, spec: AdapterSpec
) -> None:
    everyone = people(6)
    with_all = one_step(base, spec, everyone)
    for absent in range(6):
        without = one_step(base, spec, [c for i, c in enumerate(everyone) if i != absent])
        assert np.linalg.norm(with_all - without) <= 0.5 * 1.001


def test_many_texts_of_one_customer_count_as_one_customer(base: Path, spec: AdapterSpec) -> None:
    loud = people(1, texts=40)
    assert np.linalg.norm(one_step(base, spec, loud, texts_per_customer=40)) <= 0.5 * 1.001


def test_the_size_of_a_micro_batch_changes_nothing(base: Path, spec: AdapterSpec) -> None:
    np.testing.assert_allclose(
        one_step(base, spec, people(7), budget=64),
        one_step(base, spec, people(7), budget=100_000),
        rtol=0.05,
        atol=0.01,
    )


def test_packing_never_splits_a_customer() -> None:
    customers = people(30, texts=3)
    seen = 0
    for batch in pack([c.rows for c in customers], 64):
        owners = [row.key.split("-")[0] for row in batch.rows]
        assert len(set(owners)) == batch.customers
        assert all(owners.count(owner) == 3 for owner in owners)
        seen += batch.customers
    assert seen == 30


def test_noise_is_added_once_and_divided_by_the_public_constant(base: Path) -> None:
    wide = adapter_spec(ModelSettings(adapter="ffa", rank=8, upper_layers=2), base, "digest")
    # A small budget: several micro-batches, and still noise of one step.
    how = {"batch_constant": 50, "budget": 32}
    quiet = one_step(base, wide, people(3), **how)
    noisy = np.stack([one_step(base, wide, people(3), sigma=20.0, **how) for _ in range(6)])
    expected = 20.0 * 0.5 / 50
    assert (noisy - quiet).std() == pytest.approx(expected, rel=0.05)
    assert abs((noisy - quiet).mean()) < 6 * expected / np.sqrt(noisy.size)


def test_a_trained_adapter_that_is_loaded_again_gives_the_same_model(
    base: Path, spec: AdapterSpec, parts: Parts
) -> None:
    customers = people(4)
    states = states_of(parts, customers)
    sgd = CustomerDpSgd(parts.upper, states, mechanism(sigma=1.0), 4096)
    sgd.step(customers)
    sgd.close()
    again = load_parts(base, spec, CPU)
    write_adapter(again.sites, read_adapter(parts.sites))
    (batch,) = pack([c.rows for c in customers], 4096)
    given = (states.padded(batch.rows), batch.mask, batch.where_row, batch.where_column)
    with torch.inference_mode():
        assert torch.equal(parts.upper(*given), again.upper(*given))


def test_nobody_sampled_still_adds_noise(base: Path, spec: AdapterSpec) -> None:
    changed = one_step(
        base, spec, people(3), sampling="poisson_truncated", sample_rate=1e-12, sigma=1.0
    )
    assert np.linalg.norm(changed) > 0


def test_a_customer_with_a_nan_adds_nothing(parts: Parts) -> None:
    customers = people(3, texts=1)
    (batch,) = pack([c.rows for c in customers], 4096)
    parameter = torch.nn.Parameter(torch.zeros(2, 2))
    parameter.grad_sample = torch.ones(3, 2, 2)  # type: ignore[attr-defined]
    parameter.grad_sample[1, 0, 0] = float("nan")
    fold_rows(parameter, batch)
    assert torch.isfinite(parameter.grad_sample).all()
    assert parameter.grad_sample[1].abs().sum() == 0
    assert parameter.grad_sample[0].abs().sum() > 0


def test_a_tensor_without_gradients_for_each_text_is_refused() -> None:
    (batch,) = pack([people(1)[0].rows], 4096)
    with pytest.raises(Refused, match="gradient for each text"):
        fold_rows(torch.nn.Parameter(torch.zeros(2)), batch)


def test_a_model_with_nothing_to_train_is_refused(parts: Parts) -> None:
    parts.upper.requires_grad_(requires_grad=False)
    with pytest.raises(Refused, match="nothing would be trained"):
        CustomerDpSgd(parts.upper, states_of(parts, people(1)), mechanism(), 256)


def test_customers_are_sampled_independently_at_the_public_rate() -> None:
    how = mechanism(sampling="poisson_truncated", sample_rate=0.3, batch_cap=10_000)
    sizes = [len(sample_customers(1000, how)) for _ in range(400)]
    assert np.mean(sizes) == pytest.approx(300, abs=4)
    # A shuffled loader would give the same size each time; Poisson's varies by sqrt(N q (1 - q)).
    assert np.std(sizes) == pytest.approx(np.sqrt(1000 * 0.3 * 0.7), rel=0.2)


def test_a_poisson_batch_is_truncated_at_its_cap() -> None:
    how = mechanism(sampling="poisson_truncated", sample_rate=0.9, batch_cap=10)
    chosen = sample_customers(100, how)
    assert len(chosen) == 10
    assert len(set(chosen)) == 10
