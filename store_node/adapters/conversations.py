"""Conversations at rest: what the sample worker reads, and the intents that the store knows."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import timedelta

import sqlalchemy as sa

from shared.clock import Clock
from shared.formats import IntentRow
from shared.ids import CustomerKey
from shared.text import RawText
from store_node.adapters.database import Database, batches
from store_node.adapters.tables import conversations, customer_private, intents, messages
from store_node.ports import StoredConversation, StoredMessage

RESOLVED = "resolved"
QUIET = timedelta(minutes=30)
"""A chat in which nothing was said for this long counts as closed."""


class SqlConversations:
    """Implements :class:`store_node.ports.Conversations` and :class:`store_node.ports.Labels`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Read from an open database."""
        self._database = database
        self._clock = clock

    def unprocessed(self, policy_version: str, limit: int) -> list[StoredConversation]:
        """Return closed conversations that have not gone through the policy yet, oldest first."""
        closed = sa.or_(
            conversations.c.status == RESOLVED,
            conversations.c.updated < self._clock.now() - QUIET,
        )
        query = (
            sa.select(conversations)
            .where(conversations.c.processed != policy_version, closed)
            .order_by(conversations.c.created, conversations.c.conversation_id)
            .limit(limit)
        )
        with self._database.reading() as db:
            rows = db.execute(query).mappings().all()
            said = self._messages(db, [row["conversation_id"] for row in rows])
        return [
            StoredConversation(
                conversation_id=row["conversation_id"],
                customer=CustomerKey(row["customer"]),
                lang=row["lang"],
                consent=row["consent"],
                csat=row["csat"],
                messages=tuple(said[row["conversation_id"]]),
            )
            for row in rows
        ]

    def mark_processed(self, conversation_ids: Sequence[str], policy_version: str) -> None:
        """Remember that these went through ``policy_version``."""
        with self._database.writing() as db:
            for some in batches(conversation_ids):
                db.execute(
                    sa.update(conversations)
                    .where(conversations.c.conversation_id.in_(some))
                    .values(processed=policy_version)
                )

    def private_terms(self, customer: CustomerKey) -> tuple[str, ...]:
        """Return the customer's own identifier, name, phone, mail and postal address."""
        own = customer_private.c
        query = sa.select(own.customer_id, own.name, own.phone, own.email, own.address).where(
            own.customer == customer
        )
        with self._database.reading() as db:
            row = db.execute(query).first()
        return () if row is None else tuple(term for term in row if term)

    def private_intents(self) -> Iterator[tuple[CustomerKey, IntentRow]]:
        """Yield labelled sentences that belong to a customer, in order of customer."""
        query = (
            sa.select(intents)
            .where(intents.c.customer.is_not(None))
            .order_by(intents.c.customer, intents.c.row_id)
        )
        with self._database.reading() as db:
            for row in db.execution_options(yield_per=1000).execute(query).mappings():
                yield (
                    CustomerKey(row["customer"]),
                    IntentRow(text=row["text"], lang=row["lang"], intent=row["intent"]),
                )

    def labels(self, lang: str) -> tuple[str, ...]:
        """Return the intents with examples in ``lang``, else in any language, sorted."""
        query = sa.select(intents.c.intent).distinct()
        with self._database.reading() as db:
            own = db.scalars(query.where(intents.c.lang == lang)).all()
            return tuple(sorted(own or db.scalars(query).all()))

    @staticmethod
    def _messages(
        db: sa.Connection, conversation_ids: Sequence[str]
    ) -> dict[str, list[StoredMessage]]:
        said: dict[str, list[StoredMessage]] = defaultdict(list)
        for some in batches(conversation_ids):
            query = (
                sa.select(messages)
                .where(messages.c.conversation_id.in_(some))
                .order_by(messages.c.conversation_id, messages.c.position)
            )
            for row in db.execute(query).mappings():
                said[row["conversation_id"]].append(
                    StoredMessage(
                        message_id=row["message_id"],
                        role=row["role"],
                        content=RawText(row["content"]),
                        created=row["created"],
                    )
                )
        return said
