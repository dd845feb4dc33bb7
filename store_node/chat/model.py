"""What goes in and out of the answer path."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from shared.errors import BadInput, IllegalMove
from shared.text import normalise

MAX_QUERY = 4000
"""Characters of one question."""
MAX_ID = 200
"""Characters of an identifier that a caller gives."""
RULES = "rules"
"""The release of an answer that no model had a part in."""


class Action(StrEnum):
    """What the caller should do after an answer."""

    CONTINUE = "continue"
    HANDOFF = "handoff"


class Status(StrEnum):
    """Who has a conversation: the bot, a person, or nobody any more."""

    PENDING = "pending"
    OPEN = "open"
    RESOLVED = "resolved"


STATUS_MOVES: Mapping[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.PENDING, Status.OPEN, Status.RESOLVED}),
    Status.OPEN: frozenset({Status.OPEN, Status.RESOLVED}),
    Status.RESOLVED: frozenset({Status.PENDING, Status.OPEN}),
}


def next_status(now: Status, action: Action) -> Status:
    """Return the status after an answer; a conversation that waits for a person goes on waiting.

    Raises:
        IllegalMove: the table does not allow it.
    """
    wanted = Status.OPEN if action is Action.HANDOFF or now is Status.OPEN else Status.PENDING
    if wanted not in STATUS_MOVES[now]:
        raise IllegalMove(f"a conversation cannot go from {now} to {wanted}")
    return wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A customer's words with where they came from."""

    text: str
    session_id: str
    user_id: str | None = None
    client_id: str = ""
    history: tuple[tuple[str, str], ...] | None = None
    """``(role, text)`` before the question; ``None``: what the session holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntitySpan:
    """An entity as it stands in the question (characters, ``end`` exclusive).

    ``label`` is ``product``, ``order`` or ``number``; ``value`` is the text of the span.
    """

    start: int
    end: int
    label: str
    value: str

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"start": self.start, "end": self.end, "label": self.label, "value": self.value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Understanding:
    """What a question is about; ``intent`` is empty where nothing told."""

    lang: str
    intent: str
    confidence: float
    entities: tuple[EntitySpan, ...]
    topics: frozenset[str]
    release: str
    """The release that scored the intents; ``rules`` where none did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A passage that an answer rests on."""

    position: int
    document_id: str
    document_name: str
    score: float
    content: str

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "position": self.position,
            "document_id": self.document_id,
            "document_name": self.document_name,
            "score": self.score,
            "content": self.content,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """The question is durable; the answer is being made."""

    message_id: str
    conversation_id: str
    client_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """The next piece of an answer; ``in_reply_to`` is the question's message id."""

    text: str
    in_reply_to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer that is durable."""

    message_id: str
    conversation_id: str
    in_reply_to: str
    client_id: str
    content: str
    lang: str
    intent: str
    confidence: float
    entities: tuple[EntitySpan, ...] = ()
    sources: tuple[Source, ...] = ()
    release: str = RULES
    action: Action = Action.CONTINUE
    position: int = 0
    created: str = ""
    usage: Mapping[str, int] = field(default_factory=dict)

    def meta(self) -> dict[str, Any]:
        """Return what is kept beside the text."""
        return {
            "in_reply_to": self.in_reply_to,
            "client_id": self.client_id,
            "lang": self.lang,
            "intent": self.intent,
            "confidence": self.confidence,
            "entity_spans": [span.as_dict() for span in self.entities],
            "sources": [source.as_dict() for source in self.sources],
            "release": self.release,
            "action": str(self.action),
        }


def check_query(text: str) -> str:
    """Return the question without control characters.

    Raises:
        BadInput: blank, longer than ``MAX_QUERY``, or with lone surrogates; never quotes it.
    """
    if len(text) > MAX_QUERY:
        raise BadInput(
            f"the query has {len(text)} characters",
            remedy=f"send at most {MAX_QUERY}",
            reason="query_too_long",
        )
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise BadInput("the query is not valid Unicode", remedy="send whole characters")
    clean = normalise(text)
    if not clean:
        raise BadInput("the query is empty", remedy="send a question")
    return clean


def check_caller_id(value: str, what: str) -> str:
    """Return an identifier that a caller gave.

    Raises:
        BadInput: empty, longer than ``MAX_ID``, or with lone surrogates.
    """
    if not 0 < len(value) <= MAX_ID or any("\ud800" <= char <= "\udfff" for char in value):
        raise BadInput(f"{what} is not valid", remedy=f"use 1 to {MAX_ID} whole characters")
    return value


def turns_of(messages: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return the turns that a prompt may hold: of customer and agent, not empty."""
    return tuple(
        (role, text) for role, text in messages if role in {"user", "assistant"} and text.strip()
    )
