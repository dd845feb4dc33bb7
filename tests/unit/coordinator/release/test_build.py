"""Tests of building: nothing unpaid becomes a release, and nothing worse is let through."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch

from coordinator.adapters.registry import FolderRegistry
from coordinator.release.build import (
    Candidate,
    Evaluator,
    Payment,
    ReleaseBuilder,
    RowSet,
    Served,
    payment_of,
)
from coordinator.release.evaluate import Evaluation, ReplyScore
from coordinator.release.merge import merged_weights
from coordinator.release.tensors import Tensors, differences
from shared.adapters import AdapterSpec
from shared.base_models import adapter_spec
from shared.clock import FixedClock
from shared.config import ModelSettings
from shared.errors import GateClosed, NotVerified, Refused, WrongDigest
from shared.hashing import digest_arrays, digest_folder
from shared.keys import SigningKey
from shared.privacy.entries import FIRST_PREV, Entry, Kind, seal
from shared.rounds import Mechanism, RoundOutcome, RoundState, RunPlan, StoreShare
from tests.tiny_model import make_tiny_model

KEY = SigningKey.generate()


def evaluation(nll: float) -> Evaluation:
    rng = np.random.default_rng(0)
    return Evaluation(
        replies=tuple(
            ReplyScore(
                item=f"{lang}{n}",
                conversation=f"{lang}{n}",
                lang=lang,
                nll=10 * (nll + rng.normal(0, 0.01)),
                tokens=10,
            )
            for lang in ("ar", "en")
            for n in range(30)
        ),
        intents=(),
    )


def scores(*changed: float) -> Evaluator:
    """Return a judge that gives the current model 3.0 and its variants the figures named."""
    return lambda _rows, _folder, variants: [
        evaluation(nll) for nll in (3.0, *changed[: len(variants)])
    ]


def entries(*bodies: dict[str, str], key: SigningKey = KEY) -> list[Entry]:
    out: list[Entry] = []
    for body in bodies:
        out.append(
            seal(
                seq=len(out),
                prev=out[-1].hash if out else FIRST_PREV,
                kind=Kind.COMMIT if "store_id" in body else Kind.GENESIS,
                time="2026-11-23T10:00:00.000Z",
                body=body,
                key=key,
            )
        )
    return out


def commit(store: str, number: int = 1, run: str = "run-1") -> dict[str, str]:
    return {"run_id": run, "round_id": f"{run}.r{number}", "store_id": store}


@dataclass
class Setting:
    """A base model, a run's adapter over it, and a builder."""

    base: Path
    candidate: Candidate
    builder: ReleaseBuilder
    registry: FolderRegistry
    events: list[str]

    def paid(self) -> Payment:
        """Return a good payment for both stores."""
        ledger = entries({"owner": "hq"}, commit("s1"), commit("s2"), commit("s1", run="run-2"))
        return payment_of("run-1", ledger, KEY.public_hex)

    @property
    def current(self) -> Served:
        """The base model, in service."""
        return Served(name="tiny", folder=self.base)


def plan_of(spec: AdapterSpec) -> RunPlan:
    mechanism = Mechanism(
        sampling="whole",
        sample_rate=1.0,
        batch_cap=300,
        steps=4,
        sigma=2.0,
        clip=1.0,
        texts_per_customer=1,
        batch_constant=300,
        learning_rate=0.1,
    )
    return RunPlan(
        run_id="run-1",
        federation="f",
        created="2026-11-23T10:00:00.000Z",
        rounds=1,
        shares=tuple(
            StoreShare(
                store_id=store,
                cohort=f"cohort-{store}",
                public_customers=300,
                delta=1e-6,
                mechanism=mechanism,
                epsilon=1.8,
            )
            for store in ("s1", "s2")
        ),
        unit="customer",
        adjacency="add-or-remove-one",
        noise="store",
        spec=spec.as_dict(),
        privacy_digest="0" * 64,
        quorum=2,
        deadline_s=60.0,
        server_momentum=0.0,
        estimated_minutes=1.0,
        bytes_up=1,
        bytes_down=1,
    )


@pytest.fixture
def setting(tmp_path: Path) -> Iterator[Setting]:
    base = make_tiny_model(tmp_path / "base", seed=6)
    model = ModelSettings(rank=4, upper_layers=2)
    spec = adapter_spec(model, base, digest_folder(base))
    arrays = {name: np.full(shape, 0.125, np.float32) for name, shape in spec.shapes.items()}
    start = {name: np.full(shape, -0.25, np.float32) for name, shape in spec.shapes.items()}
    outcome = RoundOutcome(
        round_id="run-1.r1",
        state=RoundState.CLOSED,
        contributed=("s1", "s2"),
        refused=(),
        adapter_digest=digest_arrays(arrays),
        bytes_up={},
        bytes_down={},
        seconds={},
    )
    registry = FolderRegistry(tmp_path / "registry", trusted_key=KEY.public_hex)
    events: list[str] = []
    builder = ReleaseBuilder(
        base=Served(name="tiny", folder=base),
        registry=registry,
        key=KEY,
        evaluator=scores(2.9),
        clock=FixedClock(datetime(2026, 11, 23, tzinfo=UTC)),
        work=tmp_path / "work",
        on_event=lambda name, _: events.append(name),
    )
    candidate = Candidate(plan=plan_of(spec), outcomes=(outcome,), start=start, arrays=arrays)
    yield Setting(base=base, candidate=candidate, builder=builder, registry=registry, events=events)
    assert not list((tmp_path / "work").glob("*"))


def test_a_paid_and_better_adapter_becomes_a_signed_release(setting: Setting) -> None:
    release = setting.builder.build(setting.candidate, setting.paid(), setting.current)
    assert setting.registry.get(release.release_id) == release
    assert setting.registry.folder(release.release_id).is_dir()
    assert release.gates["passed"] is True
    assert release.parent == ""
    assert release.data_scope == ("s1:cohort-s1", "s2:cohort-s2")
    assert len(release.ledger_entries) == 2
    assert release.ledger_head == setting.paid().head
    assert release.epsilon["cohort-s1"]["run_epsilon"] == 1.8
    assert setting.events == ["merged", "evaluated", "evaluated", "gated", "registered"]


def test_the_tuning_rows_choose_how_much_of_the_adapter_is_merged(setting: Setting) -> None:
    asked: list[tuple[str, int]] = []

    def judge(rows: RowSet, folder: Path, variants: Sequence[Tensors]) -> list[Evaluation]:
        assert folder == setting.base
        asked.append((rows, len(variants)))
        return scores(2.95, 2.9, 3.1)(rows, folder, variants)

    builder = replace(setting.builder, evaluator=judge, weights=(0.25, 0.5, 1.0))
    release = builder.build(setting.candidate, setting.paid(), setting.current)
    assert asked == [("tuning", 3), ("gate", 1)]
    assert release.metrics["merge_weight"] == 0.5
    assert list(release.metrics["tuning"]) == ["0.25", "0.5", "1"]
    half = np.float32(0.5)
    start, end = setting.candidate.start, setting.candidate.arrays
    arrays = {name: half * start[name] + half * end[name] for name in end}
    spec = AdapterSpec.from_dict(setting.candidate.plan.spec)
    wanted = merged_weights(setting.base, spec, arrays)
    found = differences(setting.base, setting.registry.folder(release.release_id))
    assert set(wanted) <= set(found)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    # What was trained and paid for is what the ledger names, whatever share of it is merged.
    assert release.adapter_digest == digest_arrays(setting.candidate.arrays)


def test_a_closed_gate_registers_the_rejected_release_and_names_the_languages(
    setting: Setting,
) -> None:
    builder = replace(setting.builder, evaluator=scores(3.0))
    with pytest.raises(GateClosed, match=r"ar: .*; en: ") as caught:
        builder.build(setting.candidate, setting.paid(), setting.current)
    assert caught.value.facts["languages"] == ["ar", "en"]
    (rejected,) = setting.registry.all()
    assert rejected.release_id == caught.value.facts["release"]
    assert rejected.gates["passed"] is False


def test_what_the_ledger_did_not_pay_for_is_refused(setting: Setting) -> None:
    for bodies, message in (
        ([commit("s1", run="run-2")], "no commit"),
        ([commit("s1")], "s2"),
        ([commit("s1"), commit("s2", number=2)], "s2"),
    ):
        payment = payment_of("run-1", entries({"owner": "hq"}, *bodies), KEY.public_hex)
        with pytest.raises(Refused, match=message):
            setting.builder.build(setting.candidate, payment, setting.current)
    assert setting.registry.all() == []


def test_another_adapter_or_base_than_the_runs_is_refused(setting: Setting) -> None:
    other = {name: array + 1 for name, array in setting.candidate.arrays.items()}
    with pytest.raises(WrongDigest):
        setting.builder.build(
            replace(setting.candidate, arrays=other), setting.paid(), setting.current
        )
    (setting.base / "config.json").write_text("{}")
    with pytest.raises(NotVerified, match="base model"):
        setting.builder.build(setting.candidate, setting.paid(), setting.current)


def test_a_ledger_that_was_changed_pays_for_nothing() -> None:
    good = entries({"owner": "hq"}, commit("s1"), commit("s2"))
    assert len(payment_of("run-1", good, KEY.public_hex).commits) == 2
    with pytest.raises(NotVerified, match="entry 2 does not follow"):
        payment_of("run-1", [good[0], good[2]], KEY.public_hex)
    with pytest.raises(NotVerified):
        payment_of("run-1", [good[0], replace(good[1], body=commit("s9")), good[2]], KEY.public_hex)
    foreign = entries({"owner": "hq"}, commit("s1"), key=SigningKey.generate())
    with pytest.raises(NotVerified, match="not signed by HQ"):
        payment_of("run-1", foreign, KEY.public_hex)
