"""Tests of the rollout against a fake service that counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from coordinator.release.rollout import Watched, push, rollback, violation, watched
from shared.config import ServingSettings
from shared.errors import GateClosed, IllegalMove, Refused, Unavailable
from shared.keys import SigningKey
from shared.releases import Release
from tests.release_maker import make_release

RULES = ServingSettings(step_weights=(10, 50, 100), interval_s=3.0)


@dataclass
class FakeService:
    """A service whose canary answers ``requests`` a step, of which ``errors`` fail."""

    requests: int = 100
    errors: int = 0
    p99_s: float = 0.1
    broken: str = ""
    stable: str = "base"
    former: str = ""
    canary: str = ""
    stage_now: str = ""
    weights: list[int] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=lambda: {"requests": 0, "errors": 0})

    def stage(self, release: Release, registry: str) -> Mapping[str, Any]:
        self._fail("stage")
        assert registry == "registry"
        self.canary, self.stage_now = release.release_id, "staged"
        return self._slot()

    def warm(self, release_id: str, prompts: Sequence[str]) -> Mapping[str, Any]:
        self._fail("warm")
        assert release_id == self.canary
        self.stage_now = "warm" if self.stage_now == "staged" else self.stage_now
        self.seen["requests"] += len(prompts)
        return self._slot()

    def set_weight(self, release_id: str, percent: int) -> Mapping[str, Any]:
        self._fail("weight")
        assert release_id == self.canary
        self.stage_now = "canary"
        self.weights.append(percent)
        return self.status()

    def promote(self, release_id: str) -> Mapping[str, Any]:
        self._fail("promote")
        self.former, self.stable, self.canary = self.stable, release_id, ""
        return self.status()

    def rollback(self, reason: str) -> Mapping[str, Any]:
        if self.canary:
            self.canary = ""
        elif self.former:
            self.stable, self.former = self.former, ""
        else:
            raise IllegalMove("nothing to go back to")
        return self.status()

    def status(self) -> Mapping[str, Any]:
        return {"slots": [self._slot()], "stable": self.stable, "canary": self.canary}

    def serve(self) -> None:
        """Let one interval pass."""
        self.seen["requests"] += self.requests
        self.seen["errors"] += self.errors

    def _slot(self) -> dict[str, Any]:
        name = self.canary or self.stable
        return {"release_id": name, "stage": self.stage_now, "p99_s": self.p99_s, **self.seen}

    def _fail(self, at: str) -> None:
        if self.broken == at:
            raise Unavailable("cannot be reached", where="fake")


@pytest.fixture
def release(tmp_path: Path) -> Release:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    return make_release(tmp_path, SigningKey.generate(), "rel-1")


def run(
    services: dict[str, FakeService], release: Release, events: list[str]
) -> dict[str, Mapping[str, Any]]:
    def sleep(seconds: float) -> None:
        assert seconds == 3.0
        for service in services.values():
            service.serve()

    return push(
        services,
        release,
        "registry",
        RULES,
        on_event=lambda name, facts: events.append(f"{name} {facts['service']}"),
        sleep=sleep,
    )


def test_every_step_is_taken_on_every_service(release: Release) -> None:
    services, events = {"a": FakeService(), "b": FakeService()}, []
    after = run(services, release, events)
    assert {status["stable"] for status in after.values()} == {"rel-1"}
    assert services["a"].weights == services["b"].weights == [10, 50, 100]
    assert events[:4] == ["staged a", "staged b", "warm a", "warm b"]
    assert events[-2:] == ["promoted a", "promoted b"]


@pytest.mark.parametrize(
    ("fault", "message"),
    [({"errors": 2}, "success rate 98"), ({"p99_s": 0.6}, "P99"), ({"broken": "weight"}, "reach")],
)
def test_a_violation_on_one_service_takes_it_back_on_all(
    release: Release, fault: dict[str, Any], message: str
) -> None:
    services, events = {"a": FakeService(), "b": FakeService(**fault)}, []
    with pytest.raises((GateClosed, Unavailable), match=message):
        run(services, release, events)
    assert all((s.stable, s.canary) == ("base", "") for s in services.values())
    assert services["a"].weights[-1] == 0
    assert "rolled_back a" in events


def test_a_failed_promotion_takes_back_the_services_that_had_it(release: Release) -> None:
    services, events = {"a": FakeService(), "b": FakeService(broken="promote")}, []
    with pytest.raises(Unavailable):
        run(services, release, events)
    assert all((s.stable, s.canary) == ("base", "") for s in services.values())


def test_a_step_without_customers_is_judged_on_prompts(release: Release) -> None:
    services: dict[str, FakeService] = {"a": FakeService(requests=0)}
    run(services, release, [])
    assert services["a"].stable == "rel-1"
    assert services["a"].seen["requests"] == 6 * 4


def test_a_service_that_has_it_is_left_alone_even_when_another_fails(release: Release) -> None:
    services = {
        "a": FakeService(stable="rel-1", former="base"),
        "b": FakeService(broken="stage"),
    }
    with pytest.raises(Unavailable):
        run(services, release, [])
    assert services["a"].stable == "rel-1"


def test_without_services_or_passed_gates_nothing_starts(release: Release, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no inference service"):
        run({}, release, [])
    closed = make_release(tmp_path, SigningKey.generate(), "rel-2", gates={"passed": False})
    service = FakeService()
    with pytest.raises(GateClosed):
        run({"a": service}, closed, [])
    assert service.canary == ""


def test_rollback_tries_every_service_and_raises_the_first_failure() -> None:
    services = {"a": FakeService(), "b": FakeService(stable="rel-1", former="base")}
    events: list[str] = []
    with pytest.raises(IllegalMove):
        rollback(services, "bad answers", on_event=lambda name, _: events.append(name))
    assert services["b"].stable == "base"
    assert events == ["not_rolled_back", "rolled_back"]


def test_the_decision_is_pure_and_on_the_edge() -> None:
    rules = ServingSettings(success_rate_min=0.99, p99_max_s=0.5)
    assert violation(Watched(requests=100, errors=1, p99_s=0.5), rules) == ""
    assert "98.00%" in violation(Watched(requests=100, errors=2, p99_s=0.1), rules)
    assert "0.501" in violation(Watched(requests=1, errors=0, p99_s=0.501), rules)
    assert "no request" in violation(Watched(requests=0, errors=0, p99_s=0), rules)
    seen = watched(
        {"requests": 5, "errors": 1, "p99_s": 9}, {"requests": 9, "errors": 2, "p99_s": 0.2}
    )
    assert seen == Watched(requests=4, errors=1, p99_s=0.2)
