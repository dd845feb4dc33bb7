"""The record of running chats in the store's database."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from shared.clock import Clock
from shared.errors import Refused
from shared.ids import CustomerKey, new_id
from shared.text import RawText
from store_node.adapters.customer_keys import CustomerKeys
from store_node.adapters.database import Database, insert_missing
from store_node.adapters.tables import conversations, customers, messages, outbox
from store_node.ports import Asked, ChatMessage, ChatSession

CONVERSATION_UPDATED = "conversation.updated"
_PENDING = "pending"


class SqlDialogues:
    """Implements :class:`store_node.ports.Dialogues`."""

    def __init__(self, database: Database, keys: CustomerKeys, clock: Clock) -> None:
        """Write to an open database; ``keys`` make the customers' pseudonyms."""
        self._database = database
        self._keys = keys
        self._clock = clock

    def open(self, session_id: str, customer_id: str | None, lang: str) -> ChatSession:
        """Return the session, made if new.

        Raises:
            Refused: the session belongs to someone else.
        """
        known = customer_id is not None
        customer = (
            self._keys.of_visitor(session_id) if customer_id is None else self._keys.of(customer_id)
        )
        query = sa.select(conversations).where(conversations.c.session_id == session_id)
        with self._database.reading() as db:
            row = db.execute(query).mappings().first()
        if row is None:
            with self._database.writing() as db:
                row = db.execute(query).mappings().first()
                if row is None:
                    self._make(db, session_id, customer, lang)
                    row = db.execute(query).mappings().one()
        if row["customer"] != customer:
            raise Refused(
                "the session belongs to another user", remedy="start a session with a new id"
            )
        return ChatSession(
            conversation_id=row["conversation_id"],
            session_id=session_id,
            customer=customer,
            known=known,
            lang=row["lang"],
            status=row["status"],
        )

    def ask(self, session: ChatSession, content: RawText, client_id: str) -> Asked:
        """Write a customer's message; the same non-empty ``client_id`` again writes nothing."""
        with self._database.writing() as db:
            if client_id:
                row = (
                    db.execute(
                        sa.select(messages).where(
                            messages.c.conversation_id == session.conversation_id,
                            messages.c.client_id == client_id,
                        )
                    )
                    .mappings()
                    .first()
                )
                if row is not None:
                    reply = sa.select(messages).where(messages.c.reply_to == row["message_id"])
                    found = db.execute(reply).mappings().first()
                    return Asked(
                        message=_message(row), answer=None if found is None else _message(found)
                    )
            message = self._write(
                db, session, role="user", content=content, client_id=client_id or None
            )
            self._touch(db, session)
        return Asked(message=message, answer=None)

    def answer(
        self,
        session: ChatSession,
        question: ChatMessage,
        content: RawText,
        meta: Mapping[str, Any],
        *,
        lang: str,
        status: str,
    ) -> ChatMessage:
        """Write the answer, the conversation's row and the outbox's row in one transaction."""
        with self._database.writing() as db:
            there = sa.select(messages).where(messages.c.reply_to == question.message_id)
            row = db.execute(there).mappings().first()
            if row is not None:  # another process was asked the same and was faster
                return _message(row)
            message = self._write(
                db,
                session,
                role="assistant",
                content=content,
                reply_to=question.message_id,
                meta=dict(meta),
            )
            self._touch(db, session, lang=lang, status=status)
        return message

    def before(self, session: ChatSession, position: int, limit: int) -> list[ChatMessage]:
        """Return the last ``limit`` messages before ``position``, oldest first."""
        query = (
            sa.select(messages)
            .where(
                messages.c.conversation_id == session.conversation_id,
                messages.c.position < position,
            )
            .order_by(messages.c.position.desc())
            .limit(limit)
        )
        with self._database.reading() as db:
            return [_message(row) for row in db.execute(query).mappings()][::-1]

    def answers_after(self, session: ChatSession, message_id: str) -> list[ChatMessage]:
        """Return the answers after a message, oldest first; all of them for an unknown one."""
        here = messages.c.conversation_id == session.conversation_id
        with self._database.reading() as db:
            position = db.scalar(
                sa.select(messages.c.position).where(here, messages.c.message_id == message_id)
            )
            query = sa.select(messages).where(
                here,
                messages.c.role == "assistant",
                messages.c.position > (-1 if position is None else position),
            )
            rows = db.execute(query.order_by(messages.c.position)).mappings()
            return [_message(row) for row in rows]

    def _make(self, db: sa.Connection, session_id: str, customer: CustomerKey, lang: str) -> None:
        now = self._clock.now()
        insert_missing(db, customers, "customer", [{"customer": customer, "created": now}])
        db.execute(
            sa.insert(conversations).values(
                conversation_id=new_id("conv"),
                session_id=session_id,
                customer=customer,
                lang=lang,
                status=_PENDING,
                created=now,
                updated=now,
                digest="",
                processed="",
            )
        )

    def _write(self, db: sa.Connection, session: ChatSession, **values: Any) -> ChatMessage:  # noqa: ANN401 - columns
        last = sa.select(sa.func.max(messages.c.position)).where(
            messages.c.conversation_id == session.conversation_id
        )
        position = db.scalar(last)
        row = {
            "message_id": new_id("msg"),
            "conversation_id": session.conversation_id,
            "position": 0 if position is None else position + 1,
            "created": self._clock.now(),
            "client_id": None,
            "meta": {},
            **values,
        }
        db.execute(sa.insert(messages).values(**row))
        return _message(row)

    def _touch(self, db: sa.Connection, session: ChatSession, **values: str) -> None:
        now = self._clock.now()
        db.execute(
            sa.update(conversations)
            .where(conversations.c.conversation_id == session.conversation_id)
            .values(updated=now, processed="", **values)
        )
        db.execute(
            sa.insert(outbox).values(
                kind=CONVERSATION_UPDATED, ref=session.conversation_id, created=now
            )
        )


def _message(row: sa.RowMapping | Mapping[str, Any]) -> ChatMessage:
    return ChatMessage(
        message_id=row["message_id"],
        role=row["role"],
        content=RawText(row["content"]),
        created=row["created"],
        position=row["position"],
        client_id=row["client_id"] or "",
        meta=row["meta"] or {},
    )
