"""The answer path: session, understanding, facts, knowledge, model, answer.

A question is durable before anything is said about it, an answer is durable before it is called
final, and what only the database may state (prices, stock, orders) is stated by the database.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

from shared.clock import iso
from shared.errors import Unavailable
from shared.ids import new_id
from shared.prompts import HISTORY_TURNS, STOP, reply_prompt
from shared.text import RawText
from store_node.chat.facts import sentence
from store_node.chat.grounding import Ground, Grounder
from store_node.chat.guard import Guard, SentenceBuffer
from store_node.chat.model import (
    RULES,
    Action,
    Answer,
    Asking,
    Delta,
    EntitySpan,
    Question,
    Source,
    Status,
    Understanding,
    check_caller_id,
    check_query,
    next_status,
    turns_of,
)
from store_node.chat.observer import Observer
from store_node.chat.passages import extract
from store_node.chat.rules import HUMAN
from store_node.chat.understanding import Understander
from store_node.ports import (
    ChatMessage,
    ChatSession,
    Chunk,
    Dialogues,
    Engine,
    Generate,
    Hit,
)

_PASSAGE_CHARACTERS = 600
Event = Asking | Delta | Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatParts:
    """What the answer path works with."""

    engine: Engine
    understander: Understander
    dialogues: Dialogues
    grounder: Grounder
    observer: Observer


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatLimits:
    """How long an answer may be and may take."""

    default_lang: str = "en"
    max_new_tokens: int = 64
    generate_timeout_s: float = 30.0


@dataclass(slots=True, kw_only=True)
class _Draft:
    """An answer while it is made."""

    parts: list[str] = field(default_factory=list)
    release: str = RULES
    usage: dict[str, int] = field(default_factory=dict)


class ChatService:
    """Answers questions; REST, WebSocket and the command line all use this one."""

    def __init__(self, parts: ChatParts, limits: ChatLimits) -> None:
        self._parts = parts
        self._limits = limits

    async def open(self, session_id: str, user_id: str | None) -> ChatSession:
        """Return the session, made if new.

        Raises:
            BadInput: an identifier is empty or too long.
            Refused: it belongs to someone else.
        """
        check_caller_id(session_id, "session_id")
        if user_id is not None:
            check_caller_id(user_id, "user_id")
        return await asyncio.to_thread(
            self._parts.dialogues.open, session_id, user_id, self._limits.default_lang
        )

    async def missed(self, session: ChatSession, last_message_id: str) -> list[Answer]:
        """Return the answers after a message, oldest first."""
        found = await asyncio.to_thread(
            self._parts.dialogues.answers_after, session, last_message_id
        )
        return [stored_answer(session, message) for message in found]

    async def ready(self) -> bool:
        """Return whether the engine would answer."""
        try:
            return await self._parts.engine.ready()
        except Unavailable:
            return False

    async def answer(self, question: Question) -> Answer:
        """Return the answer to a question, durable.

        Raises:
            BadInput: the question is empty, too long or not Unicode.
            Refused: the session belongs to someone else.
        """
        async with contextlib.aclosing(self.ask(question)) as events:
            async for event in events:
                if isinstance(event, Answer):
                    return event
        raise Unavailable("no answer was made", remedy="ask again")

    async def ask(self, question: Question) -> AsyncGenerator[Event]:
        """Yield :class:`Asking`, pieces of the answer, and the durable :class:`Answer`.

        Raises:
            BadInput: the question is empty, too long or not Unicode.
            Refused: the session belongs to someone else.
        """
        started = time.perf_counter()
        content = check_query(question.text)
        session = await self.open(question.session_id, question.user_id)
        asked = await asyncio.to_thread(
            self._parts.dialogues.ask, session, RawText(content), question.client_id
        )
        message = asked.message
        yield Asking(
            message_id=message.message_id,
            conversation_id=session.conversation_id,
            client_id=question.client_id,
        )
        if asked.answer is not None:
            yield stored_answer(session, asked.answer)
            return
        # A message sent again is answered as it was written first.
        text = question.text if not question.client_id else str(message.content)
        with self._parts.observer.running():
            understood = await self._parts.understander.understand(
                text, default_lang=session.lang, sticky_key=session.conversation_id
            )
            ground = await self._parts.grounder.ground(text, session, understood)
            draft = _Draft()
            first_s: float | None = None
            async with contextlib.aclosing(
                self._write(text, question, session, message, understood, ground, draft)
            ) as pieces:
                async for piece in pieces:
                    if first_s is None:
                        first_s = time.perf_counter() - started
                    draft.parts.append(piece)
                    yield Delta(text=piece, in_reply_to=message.message_id)
            final = await self._finish(question, session, message, understood, ground, draft)
        self._parts.observer.answered(
            lang=final.lang,
            release=final.release,
            first_s=first_s,
            total_s=time.perf_counter() - started,
        )
        yield final

    async def _write(
        self,
        text: str,
        question: Question,
        session: ChatSession,
        message: ChatMessage,
        understood: Understanding,
        ground: Ground,
        draft: _Draft,
    ) -> AsyncGenerator[str]:
        if ground.lead:
            yield ground.lead
        if ground.closed:
            return
        history = question.history
        if history is None:
            said = await asyncio.to_thread(
                self._parts.dialogues.before, session, message.position, HISTORY_TURNS - 1
            )
            history = turns_of([(turn.role, str(turn.content)) for turn in said])
        lang = understood.lang
        glue = "" if lang in {"zh", "ja"} else " "
        said_so_far = ground.lead
        async with contextlib.aclosing(
            self._model(text, history, understood, ground, session, draft)
        ) as sentences:
            async for piece in sentences:
                lone = piece if said_so_far else piece.lstrip()
                if said_so_far == ground.lead and ground.lead:
                    lone = glue + piece.lstrip()
                if lone.strip():
                    said_so_far += lone
                    yield lone
        if not said_so_far:
            passage = extract(text, ground.hits)
            draft.release = RULES
            yield passage or sentence("unknown", lang)

    async def _model(
        self,
        text: str,
        history: Sequence[tuple[str, str]],
        understood: Understanding,
        ground: Ground,
        session: ChatSession,
        draft: _Draft,
    ) -> AsyncGenerator[str]:
        """Yield the sentences of the model that may be said; nothing where it is unavailable."""
        notes = [fact.sentence for fact in ground.facts]
        notes += [hit.text[:_PASSAGE_CHARACTERS] for hit in ground.hits]
        guard = Guard(
            known=[*notes, *(hit.text for hit in ground.hits)],
            asked=text,
            database_only=ground.database_only,
            lang=understood.lang,
        )
        request = Generate(
            request_id=new_id("req"),
            prompt=reply_prompt([*history, ("user", text)], notes),
            max_new_tokens=self._limits.max_new_tokens,
            stop=("\n", STOP),
            sticky_key=session.conversation_id,
        )
        buffer = SentenceBuffer()
        try:
            async with contextlib.aclosing(
                _bounded(self._parts.engine.generate(request), self._limits.generate_timeout_s)
            ) as chunks:
                async for chunk in chunks:
                    draft.release = chunk.release or draft.release
                    if chunk.finish_reason:
                        draft.usage = {
                            "prompt_tokens": chunk.prompt_tokens,
                            "completion_tokens": chunk.completion_tokens,
                        }
                    for piece in buffer.push(chunk.text):
                        if guard.allows(piece):
                            yield piece
        except (Unavailable, TimeoutError) as error:
            self._parts.observer.engine_failed(type(error).__name__)
        rest = buffer.rest()
        if rest.strip() and guard.allows(rest):
            yield rest

    async def _finish(
        self,
        question: Question,
        session: ChatSession,
        message: ChatMessage,
        understood: Understanding,
        ground: Ground,
        draft: _Draft,
    ) -> Answer:
        status = Status(session.status)
        action = Action.HANDOFF if HUMAN in understood.topics else Action.CONTINUE
        after = next_status(status, action)
        if after is Status.OPEN:
            action = Action.HANDOFF
        sources = () if HUMAN in understood.topics else _sources(ground.hits)
        answer = Answer(
            message_id="",
            conversation_id=session.conversation_id,
            in_reply_to=message.message_id,
            client_id=question.client_id,
            content="".join(draft.parts).strip(),
            lang=understood.lang,
            intent=understood.intent,
            confidence=understood.confidence,
            entities=understood.entities,
            sources=sources,
            release=draft.release,
            action=action,
            usage=draft.usage,
        )
        written = await asyncio.to_thread(
            lambda: self._parts.dialogues.answer(
                session,
                message,
                RawText(answer.content),
                answer.meta(),
                lang=understood.lang,
                status=after,
            )
        )
        return replace(
            answer,
            message_id=written.message_id,
            position=written.position,
            created=iso(written.created),
            content=str(written.content),
        )


async def _bounded(stream: AsyncIterator[Chunk], timeout_s: float) -> AsyncGenerator[Chunk]:
    """Yield the chunks until ``timeout_s`` has passed, then raise ``TimeoutError``."""
    deadline = time.monotonic() + timeout_s
    try:
        while True:
            left = max(0.0, deadline - time.monotonic())
            try:
                chunk = await asyncio.wait_for(anext(stream), left)
            except StopAsyncIteration:
                return
            yield chunk
    finally:
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()


def _sources(hits: Sequence[Hit]) -> tuple[Source, ...]:
    return tuple(
        Source(
            position=at,
            document_id=hit.document_id,
            document_name=hit.title or hit.document_id,
            score=hit.score,
            content=hit.text,
        )
        for at, hit in enumerate(hits, start=1)
    )


def stored_answer(session: ChatSession, message: ChatMessage) -> Answer:
    """Return an answer as it was written."""
    meta = message.meta
    return Answer(
        message_id=message.message_id,
        conversation_id=session.conversation_id,
        in_reply_to=meta["in_reply_to"],
        client_id=meta["client_id"],
        content=str(message.content),
        lang=meta["lang"],
        intent=meta["intent"],
        confidence=meta["confidence"],
        entities=tuple(EntitySpan(**span) for span in meta["entity_spans"]),
        sources=tuple(Source(**source) for source in meta["sources"]),
        release=meta["release"],
        action=Action(meta["action"]),
        position=message.position,
        created=iso(message.created),
    )
