"""Headquarters with real ledger, registers and registry; only transport and model are made up."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from coordinator.jobs import JobRunner, OnEvent
from coordinator.operations import Outside
from coordinator.ports import EnrolledStore
from coordinator.release.sign import sign_release
from coordinator.wiring import Hq, open_hq, operator_app
from shared.adapters import AdapterSpec
from shared.config import Settings
from shared.errors import GateClosed, Refused, Unavailable
from shared.hashing import digest_file
from shared.releases import Release
from shared.rounds import RoundOutcome, RoundState

LOCAL = "http://127.0.0.1"
KEY_A, KEY_B = "aa" * 32, "bb" * 32

SPEC = AdapterSpec(
    kind="rxr",
    rank=2,
    scale=1.0,
    upper_layers=1,
    targets=("q_proj",),
    factor_seed=1,
    base_digest="0" * 64,
    shapes={"model.layers.0.self_attn.q_proj": (2, 2)},
)


def enrolment(store_id: str = "leeds", **changes: object) -> dict[str, Any]:
    return {
        "store_id": store_id,
        "name": "Leeds",
        "lang": "en",
        "cohort": f"{store_id}-2026",
        "ledger_key": KEY_A,
        "node_key": "ecdsa-sha2-nistp256 AAAA",
        "public_customers": 2000,
        **changes,
    }


class FakeService:
    """An inference service as HQ sees it: ``stage``, ``warm``, weights, and taking back."""

    def __init__(self) -> None:
        self.stable = "base"
        self.former = ""
        self.canary = ""
        self.errors_each_step = 0
        self.down = False
        self.slots: dict[str, dict[str, Any]] = {"base": self._slot("base", "stable")}

    @staticmethod
    def _slot(release_id: str, stage: str) -> dict[str, Any]:
        return {
            "release_id": release_id,
            "stage": stage,
            "requests": 0,
            "errors": 0,
            "p99_s": 0.1,
            "load_s": 0.2,
        }

    def stage(self, release: Release, registry: str) -> Mapping[str, Any]:
        assert registry.startswith("file:")
        self.canary = release.release_id
        self.slots[release.release_id] = self._slot(release.release_id, "staged")
        return dict(self.slots[release.release_id])

    def warm(self, release_id: str, prompts: Sequence[str]) -> Mapping[str, Any]:
        slot = self.slots[release_id]
        slot["requests"] += len(prompts)
        slot["errors"] += self.errors_each_step
        return dict(slot)

    def set_weight(self, release_id: str, percent: int) -> Mapping[str, Any]:
        self.slots[release_id]["stage"] = "canary"
        return self.status()

    def promote(self, release_id: str) -> Mapping[str, Any]:
        self.former, self.stable, self.canary = self.stable, release_id, ""
        return self.status()

    def rollback(self, reason: str) -> Mapping[str, Any]:
        self._reach()
        if self.canary:
            self.canary = ""
        elif self.former:
            self.stable, self.former = self.former, ""
        else:
            raise Refused("nothing to go back to")
        return self.status()

    def _reach(self) -> None:
        if self.down:
            raise Unavailable("the service does not answer")

    def status(self) -> Mapping[str, Any]:
        self._reach()
        return {
            "stable": self.stable,
            "canary": self.canary,
            "slots": [dict(slot) for slot in self.slots.values()],
        }


@dataclass
class Rig:
    """What a test holds on to."""

    hq: Hq
    runner: JobRunner
    client: TestClient
    service: FakeService
    launched: list[str] = field(default_factory=list)
    admitted: list[str] = field(default_factory=list)
    transport_down: bool = False
    gates_passed: bool = True

    def close_first_round(self, run_id: str) -> None:
        """Do by hand what a federation would: reserve, dispatch and close round 1."""
        runs = self.hq.runs
        for state in (RoundState.RESERVED, RoundState.DISPATCHED):
            runs.move(run_id, 1, state)
        outcome = RoundOutcome(
            round_id=f"{run_id}.r1",
            state=RoundState.CLOSED,
            contributed=("leeds",),
            refused=(),
            adapter_digest="1" * 64,
            bytes_up={"leeds": 1234},
            bytes_down={"leeds": 1200},
            seconds={"total": 2.0},
        )
        runs.close(run_id, 1, outcome, self.hq.home / "runs" / run_id / "round-1.safetensors")

    def wait(self, job_id: str) -> dict[str, Any]:
        """Let the jobs asked for so far end, and return this one."""
        self.runner.close(timeout_s=20)
        found: dict[str, Any] = self.client.get(f"/v1/jobs/{job_id}").json()
        return found


@contextlib.contextmanager
def rig(home: Path, settings: Settings, *, host: str = "127.0.0.1") -> Iterator[Rig]:
    """Open headquarters in ``home`` with a client that calls from ``host``."""
    holder: list[Rig] = []

    def launch(run_id: str) -> None:
        if holder[0].transport_down:
            raise Unavailable("the SuperLink does not answer", remedy="start it")
        holder[0].launched.append(run_id)

    def admit(store: EnrolledStore) -> None:
        holder[0].admitted.append(store.store_id)

    def build(run_id: str, tell: OnEvent) -> Release:
        tell("merged", {"run": run_id})
        made = _register(holder[0].hq, run_id, passed=holder[0].gates_passed)
        if not holder[0].gates_passed:
            raise GateClosed("worse in zh", where=made.release_id, release=made.release_id)
        return made

    outside = Outside(spec=lambda: SPEC, launch=launch, admit=admit)
    with open_hq(settings, home, outside=outside, build=build) as hq:
        service = FakeService()
        hq.releases._controls = {"store-a": service}
        runner = JobRunner(hq.jobs, hq.work())
        app = operator_app(hq, runner)
        client = TestClient(app, base_url=LOCAL, client=(host, 4000), raise_server_exceptions=False)
        holder.append(Rig(hq=hq, runner=runner, client=client, service=service))
        yield holder[0]
        runner.close()


def _register(hq: Hq, run_id: str, *, passed: bool) -> Release:
    files = hq.home / "work" / run_id
    files.mkdir(parents=True, exist_ok=True)
    (files / "adapter.safetensors").write_bytes(b"weights")
    release = Release(
        release_id=f"rel-{run_id}",
        created="2026-11-23T12:00:00.000Z",
        base="tiny",
        base_digest="0" * 64,
        parent="",
        run_id=run_id,
        round_id=f"{run_id}.r1",
        ledger_head=hq.ledger.sign_head().hash,
        ledger_entries=(),
        data_scope=("leeds:leeds-2026",),
        adapter_digest="1" * 64,
        files={"adapter.safetensors": digest_file(files / "adapter.safetensors")},
        metrics={},
        gates={"passed": passed},
        epsilon={"leeds-2026": {"epsilon": 1.8, "unit": "customer"}},
    )
    return hq.registry.put(sign_release(release, hq.key), files)
