"""Starts a planned run through Flower and follows it to its end."""

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from coordinator.wiring_rounds import Rounds, open_rounds
from deploy.federation import CONNECTION, flwr_json, submit_run
from shared.errors import Refused, Unavailable
from shared.rounds import RoundOutcome

_POLL_S = 0.25
_ALIVE_EVERY_S = 15.0
_LOCK_S = 2.0
_ENDED = frozenset({"run.finished", "run.stopped"})
OnEvent = Callable[[Mapping[str, Any]], None]


def launch_run(
    hq_home: Path,
    run_id: str,
    *,
    timeout_s: float | None = None,
    on_event: OnEvent = lambda _event: None,
) -> tuple[RoundOutcome, ...]:
    """Run, or resume, the planned run ``run_id`` and return how its rounds ended.

    The SuperLink of ``hq_home`` must be up. ``on_event`` gets each progress event of the run.

    Raises:
        BadInput: there is no such run.
        Refused: HQ's ledger or a store refused the run; nothing is spent.
        Unavailable: the SuperLink cannot be reached, the ServerApp died, or ``timeout_s`` is over;
            the run may be resumed.
    """
    with open_rounds(hq_home) as rounds:
        rounds.service.plan(run_id)
        seen = max((event["seq"] for event in rounds.runs.events(run_id)), default=0)
        _stop_dead(rounds, run_id)
        flower_id = submit_run(hq_home, run_id)
        now = time.monotonic()
        end = None if timeout_s is None else now + timeout_s
        check_at = now + _ALIVE_EVERY_S
        gone = False
        while True:
            for event in rounds.runs.events(run_id, after=seen):
                seen = event["seq"]
                on_event(event)
                if event["event"] in _ENDED:
                    return _ended(event, run_id, tuple(rounds.runs.outcomes(run_id)))
            now = time.monotonic()
            if gone:
                raise _interrupted(run_id, "died")
            if end is not None and now > end:
                raise _interrupted(run_id, "took too long")
            if now > check_at:
                check_at = now + _ALIVE_EVERY_S
                # Its last events may have come while we asked: read them before judging.
                gone = not _alive(hq_home, flower_id)
            else:
                time.sleep(_POLL_S)


def _stop_dead(rounds: Rounds, run_id: str) -> None:
    """Tell Flower that an earlier ServerApp of this run is dead, where it is.

    Flower finds out by itself after a minute; until then nodes may wait for what it did not send.
    """
    marks = [e for e in rounds.runs.events(run_id) if e["event"] in {"run.started", *_ENDED}]
    if not marks or marks[-1]["event"] != "run.started":
        return
    # A living ServerApp holds the place of the run under way; then ours waits for it. A run that
    # Flower has closed already cannot be stopped, which is as good.
    with contextlib.suppress(Unavailable), rounds.alone(wait_s=_LOCK_S):
        command = ["stop", str(marks[-1]["flower_run"]), CONNECTION]
        flwr_json(rounds.home, command, what="the dead run could not be stopped")


def _ended(
    event: Mapping[str, Any], run_id: str, outcomes: tuple[RoundOutcome, ...]
) -> tuple[RoundOutcome, ...]:
    if event["event"] == "run.finished":
        return outcomes
    code, reason = event.get("code", "refused"), event.get("reason", "")
    if code in {"failure", "unavailable"}:
        raise _interrupted(run_id, f"ended early ({reason})")
    raise Refused(
        f"the run was refused ({code}): {reason}",
        where=run_id,
        remedy="see `storeweave hq round show`; plan a new run",
        refusal=code,
    )


def _alive(hq_home: Path, flower_id: int) -> bool:
    command = ["ls", CONNECTION, "--run-id", str(flower_id)]
    answer = flwr_json(hq_home, command, what="the run's status cannot be read")
    runs = answer.get("runs", [])
    return isinstance(runs, list) and any(
        not str(run.get("status", "")).startswith("finished") for run in runs
    )


def _interrupted(run_id: str, why: str) -> Unavailable:
    return Unavailable(
        f"HQ's part of the run {why}",
        where=run_id,
        remedy="resume it with `storeweave hq round resume`; see logs/superlink.log",
    )
