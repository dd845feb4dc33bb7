"""One thread that decodes for one model: requests that wait join the batch between steps."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from shared.errors import StoreWeaveError, Unavailable
from store_node.serving.decoding import Batch, choose, score
from store_node.serving.model import LoadedModel
from store_node.serving.pieces import Pieces

_log = logging.getLogger(__name__)
MAX_ROWS = 32
_PREFILL_TOKENS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """New text of a completion; the last one has a ``finish_reason``."""

    text: str
    finish_reason: str = ""
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Log-likelihoods of a score job's candidates, in the order asked."""

    log_likelihoods: tuple[float, ...]


Event = Piece | Scored | StoreWeaveError


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """A request at a worker; set ``cancelled`` from any thread to stop it.

    ``emit`` is called in the worker's thread. ``candidates`` make it a score job. Times are those
    of ``time.monotonic``; ``first_at`` is when the first token or the score was there.
    """

    prompt: Sequence[int]
    emit: Callable[[Event], None]
    max_new_tokens: int = 0
    stop: Sequence[str] = ()
    temperature: float = 0.0
    candidates: Sequence[Sequence[int]] = ()
    deadline: float = float("inf")
    submitted: float = field(default_factory=time.monotonic)
    first_at: float = 0.0
    cancelled: bool = False

    @property
    def dead(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.cancelled or time.monotonic() >= self.deadline


@dataclass(slots=True, kw_only=True, eq=False)
class _Row:
    job: Job
    pieces: Pieces
    token: int = 0
    count: int = 0


class Worker:
    """Decodes jobs in a thread of its own until it is closed."""

    def __init__(self, loaded: LoadedModel, *, name: str) -> None:
        """Start the thread."""
        self.loaded = loaded
        self._lock = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._scores: deque[Job] = deque()
        self._closed = False
        self._rows: list[_Row] = []
        self._batch = Batch(loaded)
        self._thread = threading.Thread(target=self._run, name=f"decode-{name}", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Number of jobs that have not begun and that somebody still waits for."""
        with self._lock:
            return sum(not job.cancelled for job in (*self._waiting, *self._scores))

    @property
    def running(self) -> int:
        """Number of completions that are being decoded."""
        return len(self._rows)

    def submit(self, job: Job) -> None:
        """Queue a job.

        Raises:
            Unavailable: the worker is closed.
        """
        with self._lock:
            if self._closed:
                raise Unavailable("the model slot is closed", remedy="ask again")
            (self._scores if job.candidates else self._waiting).append(job)
            self._lock.notify()

    def close(self, timeout_s: float | None = None) -> None:
        """Take no more jobs, finish those that are there; wait ``timeout_s`` for it (0: do not)."""
        with self._lock:
            self._closed = True
            self._lock.notify()
        if timeout_s != 0:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while self._wait():
            try:
                self._score_one()
                self._admit()
                self._advance()
            except Exception as error:
                # A batch that fails must not take the slot with it: its requests are told.
                _log.exception("batch failed", extra={"thread": self._thread.name})
                self._fail(error)

    def _wait(self) -> bool:
        """Return true as soon as there is work, false once closed and nothing is left."""
        with self._lock:
            while not (self._waiting or self._scores or self._rows):
                if self._closed:
                    return False
                self._lock.wait()
            return True

    def _score_one(self) -> None:
        with self._lock:
            job = self._scores.popleft() if self._scores else None
        if job is None or job.dead:
            return
        try:
            values = score(self.loaded, job.prompt, job.candidates)
        except Exception as error:
            _log.exception("score failed", extra={"thread": self._thread.name})
            job.emit(_failure(error))
            return
        job.first_at = time.monotonic()
        job.emit(Scored(log_likelihoods=tuple(values)))

    def _admit(self) -> None:
        """Let waiting jobs join, as many as rows and one read of the prompts allow."""
        fresh: list[Job] = []
        with self._lock:
            width = 0
            while self._waiting and len(self._rows) + len(fresh) < MAX_ROWS:
                job = self._waiting[0]
                width = max(width, len(job.prompt))
                if fresh and width * (len(fresh) + 1) > _PREFILL_TOKENS:
                    break
                self._waiting.popleft()
                if not job.dead:
                    fresh.append(job)
        if not fresh:
            return
        rows = [
            _Row(job=job, pieces=Pieces(self.loaded.decode, job.stop, list(job.prompt[-1:])))
            for job in fresh
        ]
        self._rows += rows
        logits = self._batch.join([job.prompt for job in fresh])
        self._take(rows, logits)

    def _advance(self) -> None:
        """Drop finished rows, then decode one token of each of the rest."""
        kept = [index for index, row in enumerate(self._rows) if not row.job.dead]
        if len(kept) < len(self._rows):
            self._batch.keep(kept)
            self._rows = [self._rows[index] for index in kept]
        if self._rows:
            self._take(self._rows, self._batch.step([row.token for row in self._rows]))

    def _take(self, rows: Sequence[_Row], logits: torch.Tensor) -> None:
        """Choose each row's next token and tell its job."""
        tokens = choose(logits, [row.job.temperature for row in rows])
        now = time.monotonic()
        for row, token in zip(rows, tokens, strict=True):
            row.token = token
            row.job.first_at = row.job.first_at or now
            if not row.job.dead:
                self._tell(row)

    def _tell(self, row: _Row) -> None:
        job = row.job
        text, reason = "", ""
        if row.token in self.loaded.end_ids:
            text, reason = row.pieces.finish(), "stop"
        else:
            row.count += 1
            text = row.pieces.push(row.token)
            if not row.pieces.stopped and row.count >= job.max_new_tokens:
                text, reason = text + row.pieces.finish(), "length"
            # What was held back may complete a stop string at the very end.
            reason = "stop" if row.pieces.stopped else reason
        if text or reason:
            job.emit(Piece(text=text, finish_reason=reason, completion_tokens=row.count))
        if reason:
            job.cancelled = True

    def _fail(self, error: Exception) -> None:
        rows, self._rows = self._rows, []
        self._batch = Batch(self.loaded)
        for row in rows:
            if not row.job.cancelled:
                row.job.emit(_failure(error))


def _failure(error: Exception) -> StoreWeaveError:
    return Unavailable(
        f"the model failed ({type(error).__name__})", remedy="see the inference service's log"
    )
