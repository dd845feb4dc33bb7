"""Runs questions of live sessions in the background and tells everyone who listens.

An answer is finished even when the customer's connection is lost meanwhile: it is durable, and
whoever comes back for the session gets it. Questions of one session are answered in their order.
"""

import asyncio
import logging
from collections import defaultdict
from contextlib import aclosing
from dataclasses import dataclass

from shared.errors import Refused, StoreWeaveError
from store_node.chat.answer import ChatService, Event
from store_node.chat.model import Question

_log = logging.getLogger(__name__)
MOST_WAITING = 16
"""Questions of one session that may wait."""
_MOST_UNREAD = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A question that could not be answered; the client may send it again."""

    client_id: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Overflow:
    """The listener was too slow: what follows was not delivered, it must come back and resume."""


class Listener:
    """Receives the events of one session from the moment it was made."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[Event | Failed | Overflow] = asyncio.Queue()
        self._overflown = False

    def tell(self, event: Event | Failed) -> None:
        """Add an event."""
        if self._overflown:
            return
        if self._events.qsize() >= _MOST_UNREAD:
            self._overflown = True
            self._events.put_nowait(Overflow())
        else:
            self._events.put_nowait(event)

    async def next(self) -> Event | Failed | Overflow:
        """Return the next event, waiting for it."""
        return await self._events.get()


class Hub:
    """Sessions with questions under way, and their listeners; one event loop only."""

    def __init__(self, service: ChatService) -> None:
        self._service = service
        self._listeners: dict[str, set[Listener]] = defaultdict(set)
        self._waiting: dict[str, list[Question]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def listen(self, session_id: str) -> Listener:
        """Return a listener; give it back with :meth:`leave`."""
        listener = Listener()
        self._listeners[session_id].add(listener)
        return listener

    def leave(self, session_id: str, listener: Listener) -> None:
        """Forget a listener."""
        listeners = self._listeners.get(session_id, set())
        listeners.discard(listener)
        if not listeners:
            self._listeners.pop(session_id, None)

    def submit(self, question: Question) -> None:
        """Put a question in line; one that is in line already (by ``client_id``) is not put twice.

        Raises:
            Refused: too many questions of the session wait.
        """
        line = self._waiting.get(question.session_id)
        if line is None:
            self._waiting[question.session_id] = [question]
            task = asyncio.create_task(self._run(question.session_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        if question.client_id and any(q.client_id == question.client_id for q in line):
            return
        if len(line) >= MOST_WAITING:
            raise Refused(
                f"{len(line)} messages of the session wait for their answers",
                remedy="wait for an answer, then send again",
            )
        line.append(question)

    async def close(self, timeout_s: float = 5.0) -> None:
        """Let answers under way end, for ``timeout_s`` at most; then cancel them."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(set(self._tasks), timeout=timeout_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _run(self, session_id: str) -> None:
        line = self._waiting[session_id]
        try:
            while line:
                await self._answer(line[0])
                line.pop(0)
        finally:
            del self._waiting[session_id]

    async def _answer(self, question: Question) -> None:
        try:
            async with aclosing(self._service.ask(question)) as events:
                async for event in events:
                    self._tell(question.session_id, event)
        except StoreWeaveError as error:
            failed = Failed(client_id=question.client_id, code=error.code, message=str(error))
            self._tell(question.session_id, failed)
        except Exception:
            # The line must go on and the customer must hear of it; the log names type and place.
            _log.exception("a question could not be answered")
            failed = Failed(
                client_id=question.client_id, code="failure", message="the question failed"
            )
            self._tell(question.session_id, failed)

    def _tell(self, session_id: str, event: Event | Failed) -> None:
        for listener in self._listeners.get(session_id, ()):
            listener.tell(event)
