"""Long work that an operator asks for: one at a time, its state durable, told step by step."""

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from shared.errors import IllegalMove, StoreWeaveError

_log = logging.getLogger(__name__)


class JobState(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


JOB_MOVES: Mapping[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.INTERRUPTED}),
    JobState.RUNNING: frozenset({JobState.DONE, JobState.FAILED, JobState.INTERRUPTED}),
    JobState.DONE: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.INTERRUPTED: frozenset(),
}


def check_job_move(now: JobState, then: JobState) -> None:
    """Raise ``IllegalMove`` unless a job may go from ``now`` to ``then``."""
    if then not in JOB_MOVES[now]:
        allowed = ", ".join(sorted(JOB_MOVES[now])) or "nothing"
        raise IllegalMove(f"a job cannot go from {now} to {then} (allowed: {allowed})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it stands."""

    job_id: str
    kind: str
    """``build`` or ``push``."""
    subject: str
    """The run or release that it is about."""
    state: JobState
    created: str
    updated: str
    result: Mapping[str, Any]
    error: Mapping[str, Any]
    """``StoreWeaveError.as_dict()`` where it failed."""

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        out: dict[str, Any] = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**out, "result": dict(self.result), "error": dict(self.error)}


class Jobs(Protocol):
    """Jobs at rest; every change is durable before it returns."""

    def add(self, kind: str, subject: str) -> Job:
        """Write a queued job."""
        ...

    def get(self, job_id: str) -> Job | None:
        """Return a job."""
        ...

    def all(self) -> list[Job]:
        """Return all jobs, newest first."""
        ...

    def move(
        self,
        job_id: str,
        state: JobState,
        *,
        result: Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
    ) -> None:
        """Move a job along ``JOB_MOVES``; an illegal move raises ``IllegalMove``."""
        ...

    def log(self, job_id: str, event: str, facts: Mapping[str, Any]) -> None:
        """Append a progress event (no private fact)."""
        ...

    def events(self, job_id: str, after: int = 0) -> list[dict[str, Any]]:
        """Return progress events with ``seq`` greater than ``after``."""
        ...


OnEvent = Callable[[str, Mapping[str, Any]], None]
Work = Callable[[str, OnEvent], Mapping[str, Any]]
"""Does a job: takes its subject and where to tell progress, returns its result."""


class JobRunner:
    """Does jobs in one thread, in the order in which they came."""

    def __init__(self, jobs: Jobs, work: Mapping[str, Work]) -> None:
        """Keep jobs in ``jobs``; ``work`` says how each kind is done."""
        self._jobs = jobs
        self._work = work
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._loop, name="hq-jobs", daemon=True)

    def start(self) -> None:
        """Call what an earlier process left undone interrupted, then begin."""
        for job in self._jobs.all():
            if job.state in {JobState.QUEUED, JobState.RUNNING}:
                self._jobs.move(job.job_id, JobState.INTERRUPTED)
        self._thread.start()

    def submit(self, kind: str, subject: str) -> Job:
        """Queue a job and return it.

        Raises:
            IllegalMove: the same is queued or under way already.
        """
        for job in self._jobs.all():
            open_ = job.state in {JobState.QUEUED, JobState.RUNNING}
            if open_ and (job.kind, job.subject) == (kind, subject):
                raise IllegalMove(
                    f"this {kind} is {job.state} already", where=subject, job_id=job.job_id
                )
        job = self._jobs.add(kind, subject)
        self._queue.put(job.job_id)
        return job

    def close(self, timeout_s: float = 5.0) -> None:
        """Take no more jobs; the one under way has ``timeout_s``, then it is left interrupted."""
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _loop(self) -> None:
        while (job_id := self._queue.get()) is not None:
            job = self._jobs.get(job_id)
            if job is not None:
                self._do(job)

    def _do(self, job: Job) -> None:
        def tell(event: str, facts: Mapping[str, Any]) -> None:
            self._jobs.log(job.job_id, event, facts)

        self._jobs.move(job.job_id, JobState.RUNNING)
        try:
            result = self._work[job.kind](job.subject, tell)
        except StoreWeaveError as error:
            self._jobs.move(job.job_id, JobState.FAILED, error=error.as_dict())
        except Exception as error:
            # The thread must outlive a bug in one job; the log says where it is.
            _log.exception("job.failed", extra={"job_id": job.job_id, "kind": job.kind})
            facts = {"code": "failure", "message": f"unexpected {type(error).__name__}"}
            self._jobs.move(job.job_id, JobState.FAILED, error=facts)
        else:
            self._jobs.move(job.job_id, JobState.DONE, result=result)
