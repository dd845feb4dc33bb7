"""HQ's jobs and the history of its releases in SQL; every change is committed before it returns."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine, Integer, String, Text, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from coordinator.jobs import Job, JobState, check_job_move
from shared.clock import Clock, SystemClock, iso
from shared.errors import IllegalMove
from shared.ids import new_id
from shared.releases import RolloutStage, check_rollout_move


class JobBase(DeclarativeBase):
    """Tables of ``hq.db`` that this module owns."""


class JobRow(JobBase):
    """A job."""

    __tablename__ = "jobs"
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(String(63), unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    subject: Mapped[str] = mapped_column(String(63))
    state: Mapped[str] = mapped_column(String(16))
    created: Mapped[str] = mapped_column(String(24))
    updated: Mapped[str] = mapped_column(String(24))
    result: Mapped[str] = mapped_column(Text, default="{}")
    error: Mapped[str] = mapped_column(Text, default="{}")


class JobEventRow(JobBase):
    """A progress event of a job."""

    __tablename__ = "job_events"
    seq: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(String(63), index=True)
    time: Mapped[str] = mapped_column(String(24))
    event: Mapped[str] = mapped_column(String(63))
    facts: Mapped[str] = mapped_column(Text)


class StageRow(JobBase):
    """A stage that a release came to."""

    __tablename__ = "release_stages"
    seq: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    release_id: Mapped[str] = mapped_column(String(63), index=True)
    time: Mapped[str] = mapped_column(String(24))
    stage: Mapped[str] = mapped_column(String(16))
    percent: Mapped[int] = mapped_column(Integer)
    reason: Mapped[str] = mapped_column(Text)


def make_tables(engine: Engine) -> None:
    """Make the tables of this module where they are missing."""
    JobBase.metadata.create_all(engine)


class SqlJobs:
    """:class:`coordinator.jobs.Jobs` over SQL."""

    def __init__(self, engine: Engine, clock: Clock | None = None) -> None:
        """Use the database of ``engine``."""
        self._engine = engine
        self._clock = clock or SystemClock()

    def add(self, kind: str, subject: str) -> Job:
        """Write a queued job."""
        now = iso(self._clock.now())
        row = JobRow(
            job_id=new_id("job"),
            kind=kind,
            subject=subject,
            state=JobState.QUEUED.value,
            created=now,
            updated=now,
            result="{}",
            error="{}",
        )
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            session.add(row)
        return _job(row)

    def get(self, job_id: str) -> Job | None:
        """Return a job."""
        with Session(self._engine) as session:
            row = session.scalar(select(JobRow).where(JobRow.job_id == job_id))
            return _job(row) if row else None

    def all(self) -> list[Job]:
        """Return all jobs, newest first."""
        with Session(self._engine) as session:
            return [
                _job(row) for row in session.scalars(select(JobRow).order_by(JobRow.number.desc()))
            ]

    def move(
        self,
        job_id: str,
        state: JobState,
        *,
        result: Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
    ) -> None:
        """Move a job along ``JOB_MOVES``.

        Raises:
            IllegalMove: the table does not allow it, or there is no such job.
        """
        with Session(self._engine) as session, session.begin():
            row = session.scalar(select(JobRow).where(JobRow.job_id == job_id))
            if row is None:
                raise IllegalMove(f"there is no job {job_id!r}")
            check_job_move(JobState(row.state), state)
            row.state = state.value
            row.updated = iso(self._clock.now())
            row.result = _json(result or {})
            row.error = _json(error or {})

    def log(self, job_id: str, event: str, facts: Mapping[str, Any]) -> None:
        """Append a progress event (no private fact)."""
        with Session(self._engine) as session, session.begin():
            session.add(
                JobEventRow(
                    job_id=job_id, time=iso(self._clock.now()), event=event, facts=_json(facts)
                )
            )

    def events(self, job_id: str, after: int = 0) -> list[dict[str, Any]]:
        """Return progress events with ``seq`` greater than ``after``."""
        query = (
            select(JobEventRow)
            .where(JobEventRow.job_id == job_id, JobEventRow.seq > after)
            .order_by(JobEventRow.seq)
        )
        with Session(self._engine) as session:
            return [
                {**json.loads(row.facts), "seq": row.seq, "time": row.time, "event": row.event}
                for row in session.scalars(query)
            ]


class SqlStages:
    """:class:`coordinator.ports.Stages` over SQL."""

    def __init__(self, engine: Engine, clock: Clock | None = None) -> None:
        """Use the database of ``engine``."""
        self._engine = engine
        self._clock = clock or SystemClock()

    def of(self, release_id: str) -> RolloutStage | None:
        """Return the stage a release is at; ``None`` where nothing was recorded."""
        with Session(self._engine) as session:
            return _stage(session, release_id)

    def move(
        self, release_id: str, stage: RolloutStage, *, percent: int = 0, reason: str = ""
    ) -> None:
        """Record that a release came to ``stage``.

        Raises:
            IllegalMove: ``ROLLOUT_MOVES`` does not allow it, or it was never registered.
        """
        with Session(self._engine) as session, session.begin():
            now = _stage(session, release_id)
            if now is None and stage is not RolloutStage.REGISTERED:
                raise IllegalMove(f"release {release_id!r} was never registered")
            if now is not None:
                check_rollout_move(now, stage)
            session.add(
                StageRow(
                    release_id=release_id,
                    time=iso(self._clock.now()),
                    stage=stage.value,
                    percent=percent,
                    reason=reason,
                )
            )

    def history(self, release_id: str) -> list[dict[str, Any]]:
        """Return the stages of a release in order."""
        query = select(StageRow).where(StageRow.release_id == release_id).order_by(StageRow.seq)
        with Session(self._engine) as session:
            return [
                {
                    "seq": row.seq,
                    "time": row.time,
                    "stage": row.stage,
                    "percent": row.percent,
                    "reason": row.reason,
                }
                for row in session.scalars(query)
            ]


def _stage(session: Session, release_id: str) -> RolloutStage | None:
    query = (
        select(StageRow.stage)
        .where(StageRow.release_id == release_id)
        .order_by(StageRow.seq.desc())
        .limit(1)
    )
    text = session.scalar(query)
    return RolloutStage(text) if text else None


def _job(row: JobRow) -> Job:
    return Job(
        job_id=row.job_id,
        kind=row.kind,
        subject=row.subject,
        state=JobState(row.state),
        created=row.created,
        updated=row.updated,
        result=json.loads(row.result),
        error=json.loads(row.error),
    )


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), ensure_ascii=False, default=str)
