"""``/v1/ws``: a chat over one WebSocket, resumable.

Every frame is ``{"event", "data"}``. Close codes: 1001 the server stops, 1008 wrong key, foreign
origin, no ``session.start`` in time or too many bad frames, 1009 a frame over the limit, 1011 a
failure of ours, 1013 the client reads too slowly (come back and resume).
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from shared.errors import BadInput, IllegalMove, StoreWeaveError
from shared.ids import new_id
from store_node.api.boundary import key_matches
from store_node.api.metrics import Metrics
from store_node.chat.answer import ChatService, Event
from store_node.chat.hub import Failed, Hub, Listener, Overflow
from store_node.chat.model import Answer, Asking, Delta, Question, check_query

_log = logging.getLogger(__name__)
_Model = TypeVar("_Model", bound=BaseModel)
MAX_FRAME_BYTES = 128 * 1024
PING_S = 10.0
START_S = 30.0
MOST_BAD_FRAMES = 20
POLICY = 1008
TOO_BIG = 1009
FAILURE = 1011
TRY_AGAIN = 1013


class State(StrEnum):
    """Where a connection is."""

    CONNECTED = "connected"
    STARTED = "started"
    CLOSED = "closed"


MOVES: Mapping[tuple[State, str], State] = {
    (State.CONNECTED, "session.start"): State.STARTED,
    (State.STARTED, "message.created"): State.STARTED,
    (State.CONNECTED, "pong"): State.CONNECTED,
    (State.STARTED, "pong"): State.STARTED,
    (State.CONNECTED, "close"): State.CLOSED,
    (State.STARTED, "close"): State.CLOSED,
}
"""What a client may say in which state, and where it leads."""
EVENTS = frozenset(event for _, event in MOVES) - {"close"}


def move(state: State, event: str) -> State:
    """Return the state after an event.

    Raises:
        IllegalMove: the table does not allow it.
    """
    after = MOVES.get((state, event))
    if after is None:
        raise IllegalMove(f"{event} is not allowed while {state}", event=event, state=str(state))
    return after


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Envelope(_Data):
    """A frame."""

    event: str = Field(max_length=100)
    data: dict[str, Any] = {}


class SessionStart(_Data):
    """Data of ``session.start``; ``last_message_id`` asks for the answers after that message."""

    session_id: str | None = Field(default=None, min_length=1, max_length=200)
    user_id: str | None = Field(default=None, min_length=1, max_length=200)
    last_message_id: str | None = Field(default=None, max_length=200)


class MessageCreated(_Data):
    """Data of a customer's ``message.created``."""

    client_id: str = Field(min_length=1, max_length=200)
    content: str


class Closing(Exception):
    """The connection must be closed with a code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def make_router(
    service: ChatService, hub: Hub, metrics: Metrics, *, api_key: str | None, ping_s: float = PING_S
) -> APIRouter:
    """Return the route."""
    router = APIRouter()

    @router.websocket("/v1/ws")
    async def chat(socket: WebSocket) -> None:
        if not key_matches(socket.headers, api_key) or not _same_origin(socket):
            await socket.close(POLICY)
            return
        await socket.accept()
        with metrics.connected():
            await Connection(socket, service, hub, ping_s=ping_s).run()

    return router


def _same_origin(socket: WebSocket) -> bool:
    """Return whether a browser's page came from this host; other programs send no origin."""
    origin = socket.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == socket.headers.get("host")


class Connection:
    """One client: reads frames, keeps the state, forwards the session's events."""

    def __init__(self, socket: WebSocket, service: ChatService, hub: Hub, *, ping_s: float) -> None:
        self._socket = socket
        self._service = service
        self._hub = hub
        self._ping_s = ping_s
        self._state = State.CONNECTED
        self._bad_frames = 0
        self._session_id = ""
        self._user_id: str | None = None
        self._listener: Listener | None = None
        self._resent: set[str] = set()
        self._sending = asyncio.Lock()
        self._started = asyncio.Event()

    async def run(self) -> None:
        """Serve the client until either side ends; never raises for what a client sends."""
        tasks = [
            asyncio.create_task(self._read()),
            asyncio.create_task(self._ping()),
            asyncio.create_task(self._forward()),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            errors = [task.exception() for task in done]
            await self._end(next((error for error in errors if error is not None), None))
        finally:
            self._state = State.CLOSED
            if self._listener is not None:
                self._hub.leave(self._session_id, self._listener)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for task in tasks:  # asked for once, or asyncio reports them as never asked for
                if not task.cancelled():
                    task.exception()

    async def _end(self, error: BaseException | None) -> None:
        if isinstance(error, WebSocketDisconnect) or error is None:
            return
        code, reason = FAILURE, "failure"
        if isinstance(error, Closing):
            code, reason = error.code, error.reason
        elif not isinstance(error, RuntimeError):  # what a send on a lost connection raises
            _log.error("a connection failed", exc_info=error)
        with suppress(RuntimeError, WebSocketDisconnect):
            await self._socket.close(code, reason)

    async def _read(self) -> None:
        while True:
            wait = START_S if self._state is State.CONNECTED else None
            try:
                frame = await asyncio.wait_for(self._socket.receive(), wait)
            except TimeoutError:
                raise Closing(POLICY, "no session.start") from None
            if frame["type"] == "websocket.disconnect":
                return
            try:
                await self._take(_envelope(frame))
            except StoreWeaveError as error:
                await self._refuse(error)

    async def _take(self, envelope: Envelope) -> None:
        if envelope.event not in EVENTS:
            raise BadInput(
                "unknown event", remedy=f"send {', '.join(sorted(EVENTS))}", reason="unknown_event"
            )
        after = move(self._state, envelope.event)
        if envelope.event == "session.start":
            await self._start(_parse(SessionStart, envelope.data))
        elif envelope.event == "message.created":
            message = _parse(MessageCreated, envelope.data)
            try:
                check_query(message.content)
                self._hub.submit(
                    Question(
                        text=message.content,
                        session_id=self._session_id,
                        user_id=self._user_id,
                        client_id=message.client_id,
                    )
                )
            except StoreWeaveError as error:
                error.facts["client_id"] = message.client_id
                raise
        self._state = after

    async def _start(self, start: SessionStart) -> None:
        session_id = start.session_id or new_id("session")
        session = await self._service.open(session_id, start.user_id)
        self._session_id, self._user_id = session_id, start.user_id
        # Listen first, then read what was missed: an answer in between arrives twice at most,
        # and is then known by its id.
        self._listener = self._hub.listen(session_id)
        missed = []
        if start.last_message_id is not None:
            missed = await self._service.missed(session, start.last_message_id)
        await self._send(
            "session.started",
            {
                "session_id": session_id,
                "conversation_id": session.conversation_id,
                "resent": len(missed),
            },
        )
        for answer in missed:
            self._resent.add(answer.message_id)
            await self._send("message.created", final_of(answer))
        self._started.set()

    async def _forward(self) -> None:
        await self._started.wait()
        listener = self._listener
        while listener is not None:
            event = await listener.next()
            if isinstance(event, Overflow):
                raise Closing(TRY_AGAIN, "too slow")
            if not (isinstance(event, Answer) and event.message_id in self._resent):
                name, data = frame_of(event)
                await self._send(name, data)

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(self._ping_s)
            await self._send("ping", {})

    async def _refuse(self, error: StoreWeaveError) -> None:
        self._bad_frames += 1
        data = {
            "code": str(error.facts.get("reason", error.code)),
            "message": str(error),
        }
        if "client_id" in error.facts:
            data["client_id"] = str(error.facts["client_id"])
        await self._send("error", data)
        if self._bad_frames >= MOST_BAD_FRAMES:
            raise Closing(POLICY, "too many bad frames")

    async def _send(self, event: str, data: Mapping[str, Any]) -> None:
        text = json.dumps({"event": event, "data": data}, ensure_ascii=False)
        async with self._sending:
            await self._socket.send_text(text)


def frame_of(event: Event | Failed) -> tuple[str, dict[str, Any]]:
    """Return the name and data of the frame that tells an event."""
    if isinstance(event, Asking):
        return "conversation.typing_on", {
            "conversation_id": event.conversation_id,
            "client_id": event.client_id,
            "in_reply_to": event.message_id,
        }
    if isinstance(event, Delta):
        return "message.updated", {"in_reply_to": event.in_reply_to, "delta": event.text}
    if isinstance(event, Answer):
        return "message.created", final_of(event)
    return "error", {"code": event.code, "message": event.message, "client_id": event.client_id}


def final_of(answer: Answer) -> dict[str, Any]:
    """Return the data of a final ``message.created``."""
    return {
        "message_id": answer.message_id,
        "conversation_id": answer.conversation_id,
        "in_reply_to": answer.in_reply_to,
        "client_id": answer.client_id,
        "role": "assistant",
        "content": answer.content,
        "created": answer.created,
        "lang": answer.lang,
        "intent": answer.intent,
        "entities": [span.value for span in answer.entities],
        "entity_spans": [span.as_dict() for span in answer.entities],
        "sources": [source.as_dict() for source in answer.sources],
        "release": answer.release,
        "action": str(answer.action),
    }


def _envelope(frame: Mapping[str, Any]) -> Envelope:
    text = frame.get("text")
    if text is None:
        raise BadInput("a binary frame", remedy="send text frames of JSON", reason="bad_frame")
    if len(text) > MAX_FRAME_BYTES or len(text.encode(errors="replace")) > MAX_FRAME_BYTES:
        raise Closing(TOO_BIG, "frame too big")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise BadInput("not JSON", remedy="send {event, data}", reason="bad_json") from None
    return _parse(Envelope, value)


def _parse(kind: type[_Model], value: object) -> _Model:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        _invalid(error)


def _invalid(error: ValidationError) -> NoReturn:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "frame"
    raise BadInput(f"{field}: {first['msg']}", reason="bad_frame") from None
