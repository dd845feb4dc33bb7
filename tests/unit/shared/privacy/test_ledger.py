"""The ledger: reserve before spending, only legal moves, nothing taken back."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.clock import FixedClock
from shared.errors import BadConfig, BudgetRefused, IllegalMove, NotVerified, Refused
from shared.keys import SigningKey
from shared.privacy.entries import Kind, ReservationState
from shared.privacy.ledger import Ledger, ledger_owner
from tests.unit.shared.privacy.made import (
    POLICY,
    WHOLE,
    noisier,
    open_ledger,
    plan,
    signed_head,
)

KEY = SigningKey.generate()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path / "ledger.db", key=KEY) as opened:
        yield opened


def commit(ledger: Ledger, reservation_id: str, steps: int = 4) -> None:
    ledger.commit(reservation_id, steps_executed=steps, adapter_in="a", adapter_out="b")


def test_every_round_is_reserved_at_once_and_counts_as_spent(ledger: Ledger) -> None:
    held = ledger.reserve(plan(), store_ids=("s1",), policy=POLICY)
    assert [(r.number, r.round_id, r.state) for r in held] == [
        (1, "run-1.r1", ReservationState.RESERVED),
        (2, "run-1.r2", ReservationState.RESERVED),
    ]
    assert ledger.reservations("run-1") == held
    assert ledger.reservations("other") == ()
    assert ledger.cohorts() == ("s1-2026",)
    state = ledger.budget("s1-2026", POLICY)
    assert state.quarter_spent == pytest.approx(plan().shares[0].epsilon)
    assert state.quarter_rdp > state.quarter_spent
    assert ledger.budget("another", POLICY).quarter_spent == 0.0


def test_what_the_entry_names(ledger: Ledger) -> None:
    ledger.reserve(plan(), store_ids=("s1",), policy=POLICY)
    body = next(e.body for e in ledger.entries() if e.kind == Kind.RESERVE)
    assert {"unit", "adjacency", "threat_model", "delta", "accountant", "mechanism"} <= set(body)
    assert set(body["digests"]) == {"code", "privacy", "base"}
    assert set(body["epsilon"]["quarter"]) == {"pld", "rdp"}
    assert body["mechanism"]["batch_constant"] == 1000


def test_refused_as_a_whole_or_not_at_all(ledger: Ledger) -> None:
    asked = plan(stores=("s1", "s2"), cohort="same")
    with pytest.raises(BudgetRefused):
        ledger.reserve(asked, store_ids=("s1", "s2"), policy=POLICY)
    assert ledger.reservations() == ()
    assert [e.kind for e in ledger.entries()] == ["genesis"]
    ledger.reserve(asked, store_ids=("s1",), policy=POLICY)
    assert len(ledger.reservations()) == 2


def test_a_run_is_reserved_once(ledger: Ledger) -> None:
    ledger.reserve(plan(), store_ids=("s1",), policy=POLICY)
    with pytest.raises(Refused, match="already reserved") as caught:
        ledger.reserve(plan(), store_ids=("s1",), policy=POLICY)
    assert len(caught.value.facts["reservations"]) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize("store_ids", [(), ("s1", "s1"), ("stranger",)])
def test_whom_to_reserve_for_must_be_in_the_plan(
    ledger: Ledger, store_ids: tuple[str, ...]
) -> None:
    with pytest.raises(Refused):
        ledger.reserve(plan(), store_ids=store_ids, policy=POLICY)


def test_nan_is_refused_before_anything_is_written(ledger: Ledger) -> None:
    asked = plan(mechanism=noisier(WHOLE, learning_rate=float("nan")))
    with pytest.raises(Refused, match="learning rate"):
        ledger.reserve(asked, store_ids=("s1",), policy=POLICY)
    assert ledger.head().length == 1


def test_a_life_from_reserve_to_commit(ledger: Ledger) -> None:
    first, second = ledger.reserve(plan(), store_ids=("s1",), policy=POLICY)
    spent = ledger.budget("s1-2026", POLICY).quarter_spent
    with pytest.raises(IllegalMove):
        commit(ledger, first.reservation_id)
    ledger.dispatch(first.reservation_id)
    for steps in (5, -1, True):
        with pytest.raises(Refused):
            commit(ledger, first.reservation_id, steps)
    commit(ledger, first.reservation_id, 2)
    with pytest.raises(IllegalMove):
        commit(ledger, first.reservation_id)
    with pytest.raises(IllegalMove):
        ledger.cancel(first.reservation_id, reason="late")
    ledger.dispatch(second.reservation_id)
    with pytest.raises(IllegalMove, match="stays spent"):
        ledger.cancel(second.reservation_id, reason="late")
    ledger.abort(second.reservation_id, reason="store went away")
    assert ledger.budget("s1-2026", POLICY).quarter_spent == spent
    states = [r.state for r in ledger.reservations()]
    assert states == [ReservationState.COMMITTED, ReservationState.ABORTED]


def test_cancel_before_dispatch_gives_back(ledger: Ledger) -> None:
    for held in ledger.reserve(plan(), store_ids=("s1",), policy=POLICY):
        ledger.cancel(held.reservation_id, reason="quorum\nnot reached " + "x" * 1000)
    assert ledger.budget("s1-2026", POLICY).quarter_spent == 0.0
    *_, last = ledger.entries()
    assert "\n" not in last.body["reason"]
    assert len(last.body["reason"]) == 300
    ledger.reserve(plan("run-2"), store_ids=("s1",), policy=POLICY)


def test_an_unknown_reservation_is_refused(ledger: Ledger) -> None:
    with pytest.raises(Refused, match="no reservation"):
        ledger.dispatch("rsv-0")


def test_quarters_are_those_of_utc_and_a_clock_set_back_gives_nothing(tmp_path: Path) -> None:
    clock = FixedClock(datetime(2026, 9, 30, 23, 59, 59, 999000, tzinfo=UTC))
    with open_ledger(tmp_path / "l.db", key=KEY, clock=clock) as ledger:
        ledger.reserve(plan("a"), store_ids=("s1",), policy=POLICY)
        clock.at = datetime(2026, 10, 1, tzinfo=UTC)
        ledger.reserve(plan("b"), store_ids=("s1",), policy=POLICY)
        state = ledger.budget("s1-2026", POLICY)
        assert (state.quarter, state.year) == ("2026Q4", "2026")
        assert state.year_spent > state.quarter_spent
        clock.at = datetime(2026, 7, 1, tzinfo=UTC)
        with pytest.raises(BudgetRefused):
            ledger.reserve(plan("c"), store_ids=("s1",), policy=POLICY)
        assert [r.quarter for r in ledger.reservations()] == ["2026Q3"] * 2 + ["2026Q4"] * 2


def test_it_remembers_after_closing(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    with open_ledger(path, key=KEY) as ledger:
        held = ledger.reserve(plan(), store_ids=("s1",), policy=POLICY)
        head = ledger.head()
    with open_ledger(path, key=KEY) as again:
        assert again.reservations() == held
        assert again.head() == head
        assert [e.line() for e in again.entries()][-1]
    assert ledger_owner(path) == "s1"


def test_another_key_or_owner_cannot_open_it(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    open_ledger(path, key=KEY).close()
    with pytest.raises(BadConfig):
        open_ledger(path, key=SigningKey.generate())
    with pytest.raises(BadConfig):
        open_ledger(path, owner="s2", key=KEY)


def test_rows_can_be_neither_changed_nor_removed(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    open_ledger(path, key=KEY).close()
    database = sqlite3.connect(path)
    for statement in ("DELETE FROM entries", "UPDATE entries SET kind='x'"):
        with pytest.raises(sqlite3.IntegrityError, match="never"):
            database.execute(statement)
    database.execute("DROP TRIGGER entries_never_change")
    database.execute(
        "UPDATE entries SET line = CAST(replace(CAST(line AS TEXT), 's1', 's9') AS BLOB)"
    )
    database.commit()
    database.close()
    with pytest.raises(NotVerified):
        open_ledger(path, key=KEY)


def test_a_counterparts_head_may_only_grow(ledger: Ledger) -> None:
    other = SigningKey.generate()
    noted = ledger.note_head(signed_head(other, "hq", 5, "a" * 64))
    assert ledger.note_head(signed_head(other, "hq", 5, "a" * 64)) == noted
    ledger.note_head(signed_head(other, "hq", 7, "b" * 64))
    bad = {
        "rolled back": signed_head(other, "hq", 6, "a" * 64),
        "forked": signed_head(other, "hq", 7, "c" * 64),
        "another key": signed_head(SigningKey.generate(), "hq", 9, "d" * 64),
        "own head": signed_head(KEY, "s1", 9, "d" * 64),
    }
    for what, head in bad.items():
        with pytest.raises(NotVerified, match=what):
            ledger.note_head(head)


def test_a_strangers_or_a_changed_head_is_refused(ledger: Ledger) -> None:
    enrolled, stranger = SigningKey.generate(), SigningKey.generate()
    head = signed_head(stranger, "hq", 5, "a" * 64)
    with pytest.raises(NotVerified, match="another key"):
        ledger.note_head(head, expected_key=enrolled.public_hex)
    with pytest.raises(NotVerified, match="signature"):
        ledger.note_head(replace(head, length=6))
