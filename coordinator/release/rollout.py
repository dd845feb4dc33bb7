"""A release on its way to the customers: staged, warmed, given traffic by steps, or taken back."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coordinator.ports import ServingControl
from shared.config import ServingSettings
from shared.errors import GateClosed, Refused, StoreWeaveError
from shared.prompts import reply_prompt
from shared.releases import Release, RolloutStage

WARM_PROMPTS = tuple(
    reply_prompt([("user", text)])
    for text in (
        "Hello, where is my order?",
        "你好，我的订单到哪里了？",
        "مرحبا، أين طلبي؟",
        "Hallo, wo ist meine Bestellung?",
        "Hola, ¿dónde está mi pedido?",
        "こんにちは、注文はどこですか？",
    )
)
"""Asked before customers are, and where a step saw no customer."""

OnEvent = Callable[[str, Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What a canary did during one step; ``p99_s`` is the time to the first token."""

    requests: int
    errors: int
    p99_s: float

    @property
    def success_rate(self) -> float:
        """Share of requests that did not fail; 1 where there was none."""
        return 1.0 - self.errors / self.requests if self.requests else 1.0


def watched(before: Mapping[str, Any], after: Mapping[str, Any]) -> Watched:
    """Return what lies between two ``SlotStatus`` of one slot."""
    return Watched(
        requests=int(after["requests"]) - int(before["requests"]),
        errors=int(after["errors"]) - int(before["errors"]),
        p99_s=float(after["p99_s"]),
    )


def violation(seen: Watched, rules: ServingSettings) -> str:
    """Return why the canary must go, or nothing where it may stay."""
    if not seen.requests:
        return "no request was answered"
    if seen.success_rate < rules.success_rate_min:
        return (
            f"success rate {seen.success_rate:.2%} of {seen.requests} requests is below "
            f"{rules.success_rate_min:.2%}"
        )
    if seen.p99_s > rules.p99_max_s:
        return f"P99 {seen.p99_s:.3f} s is above {rules.p99_max_s:.3f} s"
    return ""


def push(
    controls: Mapping[str, ServingControl],
    release: Release,
    registry: str,
    rules: ServingSettings,
    *,
    on_event: OnEvent,
    warm_prompts: Sequence[str] = WARM_PROMPTS,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Mapping[str, Any]]:
    """Bring a release to all inference services, or leave every one with what it had.

    Each service stages and warms it; then, for each of ``rules.step_weights``, all give it that
    share, are watched for ``rules.interval_s``, and it is taken back everywhere if one violates
    the thresholds or cannot be reached; at the end it is promoted. A service whose stable release
    it is already is left alone.

    Args:
        controls: the services by name.
        release: a signed release whose gates passed.
        registry: where the services fetch it from.
        rules: ``[serving]``.
        on_event: called with ``staged``, ``warm``, ``weight``, ``watched``, ``promoted``,
            ``rolled_back``, ``not_rolled_back`` and facts, the service's name among them.
        warm_prompts: asked before traffic comes, and again where a step saw none.
        sleep: waits so many seconds.

    Returns:
        The status of each service afterwards.

    Raises:
        GateClosed: thresholds were violated; the release was taken back.
        Refused: no service, or the gates did not pass.
        StoreWeaveError: a service refused or could not be reached; taken back elsewhere.
    """
    if not controls:
        raise Refused("no inference service to push to", remedy="set [hq] inference")
    if release.gates.get("passed") is not True:
        raise GateClosed("the release did not pass its gates", where=release.release_id)
    lacking = {
        name: control
        for name, control in controls.items()
        if control.status()["stable"] != release.release_id
    }
    try:
        _prepare(lacking, release, registry, warm_prompts, on_event)
        for percent in rules.step_weights:
            _step(lacking, release, percent, rules, warm_prompts, on_event, sleep)
        for name, control in lacking.items():
            control.promote(release.release_id)
            on_event("promoted", {"service": name, "release": release.release_id})
    except StoreWeaveError as error:
        _take_back(lacking, release.release_id, str(error), on_event)
        raise
    return {name: control.status() for name, control in controls.items()}


def rollback(
    controls: Mapping[str, ServingControl], reason: str, *, on_event: OnEvent
) -> dict[str, Mapping[str, Any]]:
    """Send all traffic of every service back to its former stable release, or drop its canary.

    Every service is tried before the first failure is raised.

    Raises:
        StoreWeaveError: a service refused or could not be reached.
    """
    out: dict[str, Mapping[str, Any]] = {}
    failures: list[StoreWeaveError] = []
    for name, control in controls.items():
        try:
            out[name] = control.rollback(reason)
        except StoreWeaveError as error:
            failures.append(error)
            on_event("not_rolled_back", {"service": name, "code": error.code, "why": str(error)})
        else:
            on_event("rolled_back", {"service": name, "stable": out[name]["stable"]})
    if failures:
        raise failures[0]
    return out


def slot_of(status: Mapping[str, Any], release_id: str) -> Mapping[str, Any]:
    """Return the slot of a release in a ``ServingStatus``.

    Raises:
        Refused: the service does not hold it any more.
    """
    for slot in status["slots"]:
        if slot["release_id"] == release_id:
            found: Mapping[str, Any] = slot
            return found
    raise Refused(
        f"release {release_id} is no longer loaded", remedy="see who rolled it back, push again"
    )


def _prepare(
    controls: Mapping[str, ServingControl],
    release: Release,
    registry: str,
    prompts: Sequence[str],
    on_event: OnEvent,
) -> None:
    for name, control in controls.items():
        slot = control.stage(release, registry)
        on_event(
            "staged",
            {"service": name, "release": release.release_id, "load_s": slot.get("load_s", 0.0)},
        )
    for name, control in controls.items():
        slot = control.warm(release.release_id, prompts)
        on_event("warm", {"service": name, "p99_s": slot.get("p99_s", 0.0)})


def _step(
    controls: Mapping[str, ServingControl],
    release: Release,
    percent: int,
    rules: ServingSettings,
    prompts: Sequence[str],
    on_event: OnEvent,
    sleep: Callable[[float], None],
) -> None:
    """Give the canary ``percent`` everywhere, wait, and raise where a threshold is violated."""
    wanted = release.release_id
    before = {}
    for name, control in controls.items():
        before[name] = slot_of(control.set_weight(wanted, percent), wanted)
        on_event("weight", {"service": name, "release": wanted, "percent": percent})
    if before:
        sleep(rules.interval_s)
    for name, slot in before.items():
        seen = watched(slot, slot_of(controls[name].status(), wanted))
        if not seen.requests:
            seen = watched(slot, controls[name].warm(wanted, prompts))
        reason = violation(seen, rules)
        facts = {"requests": seen.requests, "errors": seen.errors, "p99_s": seen.p99_s}
        on_event("watched", {"service": name, "percent": percent, "violation": reason, **facts})
        if reason:
            raise GateClosed(
                f"the canary at {percent} % was taken back: {reason}",
                where=name,
                remedy="the former release serves all traffic; see the events of the rollout",
                **facts,
            )


def _take_back(
    controls: Mapping[str, ServingControl], release_id: str, reason: str, on_event: OnEvent
) -> None:
    """Leave every service that can be reached without the release; say which could not."""
    for name, control in controls.items():
        try:
            status = control.status()
            if status["canary"] == release_id:
                slot = slot_of(status, release_id)
                if slot["stage"] == RolloutStage.CANARY:
                    control.set_weight(release_id, 0)
            elif status["stable"] != release_id:
                continue
            status = control.rollback(reason)
        except StoreWeaveError as error:
            on_event("not_rolled_back", {"service": name, "code": error.code, "why": str(error)})
        else:
            on_event("rolled_back", {"service": name, "stable": status["stable"]})
