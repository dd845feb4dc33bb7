"""A round of training at one store, on a tiny random model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from shared.adapters import AdapterSpec
from shared.base_models import adapter_spec
from shared.config import ModelSettings, PerformanceSettings
from shared.errors import NotFinite, Refused
from shared.hashing import digest_folder
from shared.ids import CustomerKey
from shared.rounds import Mechanism
from store_node.ports import Sample
from store_node.samples.desensitize import restore
from store_node.training.trainer import DpTrainer, TrainerParts
from strategies.factors import initial
from tests.tiny_model import make_tiny_model


@dataclass
class FakeSamples:
    """Samples of some customers, two each."""

    customers: int

    def all(self) -> Iterator[Sample]:
        for person in range(self.customers):
            for text, kind in enumerate(("reply", "intent")):
                yield Sample(
                    sample_id=f"{person:03}-{text}",
                    customer=CustomerKey(f"{person:03}"),
                    lang="en",
                    kind=kind,
                    prompt=restore(f"Customer: where is parcel {person}?\nAgent:", "1"),
                    target=restore(f" It comes on day {person}.\n", "1"),
                    detector_version="1",
                    masked_digest="",
                )

    def add(self, samples: Sequence[Sample]) -> int:
        return len(samples)

    def stats(self) -> Mapping[str, int]:
        return {}

    def forget(self, customer: CustomerKey) -> int:
        return 0


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("base"), "gemma3")


@pytest.fixture(scope="module", params=["rxr", "ffa", "lora"])
def spec(base: Path, request: pytest.FixtureRequest) -> AdapterSpec:
    model = ModelSettings(adapter=request.param, rank=4, upper_layers=2)
    return adapter_spec(model, base, digest_folder(base))


def mechanism(**changes: object) -> Mechanism:
    values: dict[str, object] = {
        "sampling": "whole",
        "sample_rate": 1.0,
        "batch_cap": 0,
        "steps": 2,
        "sigma": 0.5,
        "clip": 1.0,
        "texts_per_customer": 2,
        "batch_constant": 6,
        "learning_rate": 0.1,
    }
    return Mechanism.from_dict(values | changes)


def trainer(base: Path, home: Path, customers: int = 6, **performance: object) -> DpTrainer:
    return DpTrainer(
        TrainerParts(
            base=base,
            samples=FakeSamples(customers),
            states=home / "states",
            digests=home / "states" / "base.json",
            min_customers=6,
            performance=PerformanceSettings(threads=1, device="cpu", **performance),
        )
    )


def ignore(_done: int, _total: int) -> None:
    """Nobody watches."""


@pytest.mark.parametrize("keep", ["memory", "disk"])
def test_the_update_is_finite_not_zero_and_of_the_planned_shape(
    base: Path, spec: AdapterSpec, tmp_path: Path, keep: str
) -> None:
    seen: list[tuple[int, int]] = []
    result = trainer(base, tmp_path, keep_states=keep).train(
        spec=spec,
        adapter=initial(spec),
        mechanism=mechanism(),
        on_step=lambda done, total: seen.append((done, total)),
    )
    spec.check(result.update, sender="store")
    assert all(np.isfinite(a).all() and np.abs(a).sum() > 0 for a in result.update.values())
    assert result.steps == 2
    assert seen == [(1, 2), (2, 2)]
    assert bool(list(tmp_path.glob("states/*.states"))) == (keep == "disk")


def test_the_update_is_the_change_from_the_given_adapter(
    base: Path, spec: AdapterSpec, tmp_path: Path
) -> None:
    adapter = {name: value + np.float32(3.0) for name, value in initial(spec).items()}
    result = trainer(base, tmp_path).train(
        spec=spec,
        adapter=adapter,
        mechanism=mechanism(steps=1, learning_rate=1e-4),
        on_step=ignore,
    )
    assert all(np.abs(array).max() < 0.1 for array in result.update.values())


def test_another_base_model_is_refused(base: Path, spec: AdapterSpec, tmp_path: Path) -> None:
    other = AdapterSpec.from_dict({**spec.as_dict(), "base_digest": "0" * 64})
    with pytest.raises(Refused, match="another base model"):
        trainer(base, tmp_path).train(
            spec=other, adapter=initial(spec), mechanism=mechanism(), on_step=ignore
        )


def test_too_few_customers_are_refused(base: Path, spec: AdapterSpec, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="fewer customers") as caught:
        trainer(base, tmp_path, customers=5).train(
            spec=spec, adapter=initial(spec), mechanism=mechanism(), on_step=ignore
        )
    # The true number is private: the refusal travels to HQ.
    assert "5" not in str(caught.value)


def test_a_round_without_noise_is_refused(base: Path, spec: AdapterSpec, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="without noise"):
        trainer(base, tmp_path).train(
            spec=spec, adapter=initial(spec), mechanism=mechanism(sigma=0.0), on_step=ignore
        )


def test_a_diverged_update_is_not_returned(base: Path, spec: AdapterSpec, tmp_path: Path) -> None:
    with pytest.raises(NotFinite):
        trainer(base, tmp_path).train(
            spec=spec,
            adapter=initial(spec),
            mechanism=mechanism(learning_rate=3e38, sigma=100.0, batch_constant=1),
            on_step=ignore,
        )
