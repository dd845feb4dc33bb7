"""HQ's registers keep what they are told, over restarts."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from coordinator.adapters.state import SqlRuns, SqlStores, open_database
from coordinator.ports import EnrolledStore
from shared.clock import FixedClock
from shared.errors import BadInput, IllegalMove
from shared.rounds import Refusal, RoundOutcome, RoundState
from tests.federation_world import make_plan


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(tmp_path / "hq.db")
    yield engine
    engine.dispose()


def store(store_id: str, **changes: object) -> EnrolledStore:
    facts = {
        "name": store_id.title(),
        "lang": "ar",
        "cohort": f"{store_id}-customers",
        "ledger_key": "ab" * 32,
        "node_key": "ecdsa-sha2-nistp256 AAAA",
        "public_customers": 1000,
    }
    return EnrolledStore(store_id=store_id, **{**facts, **changes})  # type: ignore[arg-type]


def outcome(state: RoundState) -> RoundOutcome:
    return RoundOutcome(
        round_id="run-1.r1",
        state=state,
        contributed=("berlin",),
        refused=(Refusal(sender="kyoto", code="not_finite", reason="NaN"),),
        adapter_digest="cd" * 32,
        bytes_up={"berlin": 10},
        bytes_down={"berlin": 20},
        seconds={"total": 1.5},
    )


def test_stores_are_kept_in_order_and_replaced(engine: Engine) -> None:
    stores = SqlStores(engine)
    stores.enrol(store("kyoto"))
    stores.enrol(store("berlin"))
    stores.enrol(store("kyoto", public_customers=2000))
    assert [s.store_id for s in stores.all()] == ["berlin", "kyoto"]
    assert stores.get("kyoto") == store("kyoto", public_customers=2000)
    assert stores.get("nowhere") is None


def test_a_run_comes_back_as_planned_after_a_restart(engine: Engine, tmp_path: Path) -> None:
    plan = make_plan("run-1", ("berlin", "kyoto"))
    SqlRuns(engine).add(plan)
    SqlRuns(engine).add(make_plan("run-2", ("berlin",)))
    again = open_database(tmp_path / "hq.db")
    runs = SqlRuns(again)
    assert runs.plan("run-1") == plan
    assert runs.plan("run-1").digest == plan.digest  # type: ignore[union-attr]
    assert [p.run_id for p in runs.all()] == ["run-2", "run-1"]
    assert runs.states("run-1") == {1: RoundState.PLANNED, 2: RoundState.PLANNED}
    assert runs.plan("run-3") is None
    again.dispose()


def test_an_id_is_used_once(engine: Engine) -> None:
    runs = SqlRuns(engine)
    runs.add(make_plan("run-1", ("berlin",)))
    with pytest.raises(BadInput, match="run-1"):
        runs.add(make_plan("run-1", ("berlin",)))


def test_rounds_move_by_the_table_only(engine: Engine) -> None:
    runs = SqlRuns(engine)
    runs.add(make_plan("run-1", ("berlin",)))
    with pytest.raises(IllegalMove, match="planned"):
        runs.move("run-1", 1, RoundState.CLOSED)
    with pytest.raises(IllegalMove, match="no round 7"):
        runs.move("run-1", 7, RoundState.RESERVED)
    runs.move("run-1", 1, RoundState.RESERVED)
    runs.move("run-1", 1, RoundState.DISPATCHED)
    runs.close("run-1", 1, outcome(RoundState.CLOSED), Path("a.safetensors"))
    with pytest.raises(IllegalMove):
        runs.close("run-1", 1, outcome(RoundState.CLOSED), Path("a.safetensors"))
    assert runs.outcomes("run-1") == [outcome(RoundState.CLOSED)]


def test_events_are_read_from_where_one_stopped(engine: Engine) -> None:
    runs = SqlRuns(engine, FixedClock(datetime(2026, 11, 23, tzinfo=UTC)))
    runs.add(make_plan("run-1", ("berlin",)))
    runs.log("run-1", "round.started", {"round": 1})
    first = runs.events("run-1")
    assert first == [
        {"seq": 1, "time": "2026-11-23T00:00:00.000Z", "event": "round.started", "round": 1}
    ]
    runs.log("run-1", "round.closed", {"round": 1})
    assert [e["event"] for e in runs.events("run-1", after=1)] == ["round.closed"]
