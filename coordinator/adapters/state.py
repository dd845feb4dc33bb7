"""HQ's registers of stores and runs in SQL; every change is committed before it returns."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Engine,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    String,
    Text,
    create_engine,
    event,
    select,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from coordinator.ports import EnrolledStore
from shared.clock import Clock, SystemClock, iso
from shared.errors import BadInput, IllegalMove
from shared.hashing import canonical_json
from shared.rounds import Refusal, RoundOutcome, RoundState, RunPlan, check_round_move


class Base(DeclarativeBase):
    """Tables of ``hq.db`` that this module owns."""


class StoreRow(Base):
    """An enrolled store."""

    __tablename__ = "stores"
    store_id: Mapped[str] = mapped_column(String(63), primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    lang: Mapped[str] = mapped_column(String(3))
    cohort: Mapped[str] = mapped_column(String(200))
    ledger_key: Mapped[str] = mapped_column(String(64))
    node_key: Mapped[str] = mapped_column(Text)
    public_customers: Mapped[int] = mapped_column(Integer)


class RunRow(Base):
    """A run and its plan."""

    __tablename__ = "runs"
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    run_id: Mapped[str] = mapped_column(String(63), unique=True)
    plan: Mapped[str] = mapped_column(Text)


class RoundRow(Base):
    """A round, its state, and how it ended."""

    __tablename__ = "rounds"
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.run_id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    outcome: Mapped[str | None] = mapped_column(Text, default=None)
    adapter: Mapped[str | None] = mapped_column(Text, default=None)


class EventRow(Base):
    """A progress event of a run."""

    __tablename__ = "events"
    __table_args__ = (ForeignKeyConstraint(["run_id"], ["runs.run_id"]),)
    seq: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    run_id: Mapped[str] = mapped_column(String(63), index=True)
    time: Mapped[str] = mapped_column(String(24))
    event: Mapped[str] = mapped_column(String(63))
    facts: Mapped[str] = mapped_column(Text)


def open_database(path: Path) -> Engine:
    """Return an engine for the SQLite file, its tables made where they are missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:  # noqa: ANN401 - DB-API types
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    Base.metadata.create_all(engine)
    return engine


class SqlStores:
    """:class:`coordinator.ports.Stores` over SQL."""

    def __init__(self, engine: Engine) -> None:
        """Use the database of ``engine``."""
        self._engine = engine

    def enrol(self, store: EnrolledStore) -> None:
        """Add or replace a store."""
        with Session(self._engine) as session, session.begin():
            session.merge(StoreRow(**{n: getattr(store, n) for n in store.__dataclass_fields__}))

    def get(self, store_id: str) -> EnrolledStore | None:
        """Return a store."""
        with Session(self._engine) as session:
            row = session.get(StoreRow, store_id)
            return _store(row) if row else None

    def all(self) -> list[EnrolledStore]:
        """Return every store, in order of id."""
        with Session(self._engine) as session:
            return [
                _store(row) for row in session.scalars(select(StoreRow).order_by(StoreRow.store_id))
            ]


class SqlRuns:
    """:class:`coordinator.ports.Runs` over SQL."""

    def __init__(self, engine: Engine, clock: Clock | None = None) -> None:
        """Use the database of ``engine``; ``clock`` stamps events."""
        self._engine = engine
        self._clock = clock or SystemClock()

    def add(self, plan: RunPlan) -> None:
        """Write a planned run; each of its rounds is ``planned``.

        Raises:
            BadInput: there is a run of that id already.
        """
        with Session(self._engine) as session, session.begin():
            if session.scalar(select(RunRow.number).where(RunRow.run_id == plan.run_id)):
                raise BadInput(f"run {plan.run_id!r} is there already", remedy="plan a new run")
            session.add(RunRow(run_id=plan.run_id, plan=_json(plan.as_dict())))
            session.flush()
            for number in range(1, plan.rounds + 1):
                session.add(
                    RoundRow(run_id=plan.run_id, number=number, state=RoundState.PLANNED.value)
                )

    def plan(self, run_id: str) -> RunPlan | None:
        """Return the plan of a run."""
        with Session(self._engine) as session:
            text = session.scalar(select(RunRow.plan).where(RunRow.run_id == run_id))
            return RunPlan.from_dict(json.loads(text)) if text else None

    def all(self) -> list[RunPlan]:
        """Return all plans, newest first."""
        with Session(self._engine) as session:
            rows = session.scalars(select(RunRow.plan).order_by(RunRow.number.desc()))
            return [RunPlan.from_dict(json.loads(text)) for text in rows]

    def states(self, run_id: str) -> dict[int, RoundState]:
        """Return the state of each round by its number."""
        query = select(RoundRow).where(RoundRow.run_id == run_id).order_by(RoundRow.number)
        with Session(self._engine) as session:
            return {row.number: RoundState(row.state) for row in session.scalars(query)}

    def move(self, run_id: str, number: int, state: RoundState) -> None:
        """Move a round along ``ROUND_MOVES``.

        Raises:
            IllegalMove: the table does not allow it, or there is no such round.
        """
        with Session(self._engine) as session, session.begin():
            _round(session, run_id, number, state).state = state.value

    def close(self, run_id: str, number: int, outcome: RoundOutcome, adapter: Path) -> None:
        """Record how a round ended and where its adapter lies."""
        with Session(self._engine) as session, session.begin():
            row = _round(session, run_id, number, outcome.state)
            row.state = outcome.state.value
            row.outcome = _json(_outcome_dict(outcome))
            row.adapter = str(adapter)

    def outcomes(self, run_id: str) -> list[RoundOutcome]:
        """Return the outcomes of closed rounds, in order."""
        query = select(RoundRow.outcome).where(RoundRow.run_id == run_id).order_by(RoundRow.number)
        with Session(self._engine) as session:
            return [_outcome(json.loads(text)) for text in session.scalars(query) if text]

    def log(self, run_id: str, event: str, facts: Mapping[str, Any]) -> None:
        """Append a progress event (no private fact)."""
        with Session(self._engine) as session, session.begin():
            session.add(
                EventRow(
                    run_id=run_id,
                    time=iso(self._clock.now()),
                    event=event,
                    facts=json.dumps(dict(facts), ensure_ascii=False),
                )
            )

    def events(self, run_id: str, after: int = 0) -> list[dict[str, Any]]:
        """Return progress events with ``seq`` greater than ``after``."""
        query = (
            select(EventRow)
            .where(EventRow.run_id == run_id, EventRow.seq > after)
            .order_by(EventRow.seq)
        )
        with Session(self._engine) as session:
            return [
                {"seq": row.seq, "time": row.time, "event": row.event, **json.loads(row.facts)}
                for row in session.scalars(query)
            ]


def _round(session: Session, run_id: str, number: int, then: RoundState) -> RoundRow:
    row = session.get(RoundRow, (run_id, number), with_for_update=True)
    if row is None:
        raise IllegalMove(f"there is no round {number} in run {run_id!r}")
    check_round_move(RoundState(row.state), then)
    return row


def _store(row: StoreRow) -> EnrolledStore:
    return EnrolledStore(
        **{name: getattr(row, name) for name in EnrolledStore.__dataclass_fields__}
    )


def _outcome_dict(outcome: RoundOutcome) -> dict[str, Any]:
    out: dict[str, Any] = {name: getattr(outcome, name) for name in outcome.__dataclass_fields__}
    out["state"] = outcome.state.value
    out["contributed"] = list(outcome.contributed)
    out["refused"] = [
        {"sender": r.sender, "code": r.code, "reason": r.reason} for r in outcome.refused
    ]
    for name in ("bytes_up", "bytes_down", "seconds"):
        out[name] = dict(out[name])
    return out


def _outcome(value: dict[str, Any]) -> RoundOutcome:
    return RoundOutcome(
        **{
            **value,
            "state": RoundState(value["state"]),
            "contributed": tuple(value["contributed"]),
            "refused": tuple(Refusal(**refusal) for refusal in value["refused"]),
        }
    )


def _json(value: Any) -> str:  # noqa: ANN401 - any JSON value
    return canonical_json(value).decode()
