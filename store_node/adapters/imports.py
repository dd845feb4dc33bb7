"""Imports files into the store: each file whole or not at all, and as often as one likes."""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from shared.clock import Clock
from shared.errors import BadInput
from shared.formats import (
    CatalogRow,
    ConversationRow,
    CustomerRow,
    IntentRow,
    KnowledgeRow,
    OrderRow,
    read_rows,
)
from shared.hashing import digest_json
from shared.ids import CustomerKey
from shared.text import normalise
from store_node.adapters.conversations import RESOLVED
from store_node.adapters.customer_keys import CustomerKeys
from store_node.adapters.database import Database, batches, insert_missing, upsert
from store_node.adapters.dialogues import CONVERSATION_UPDATED
from store_node.adapters.shop import write_catalog
from store_node.adapters.tables import (
    conversations,
    customer_private,
    customers,
    intents,
    messages,
    orders,
    outbox,
    passages,
    products,
)
from store_node.ports import KnowledgeIndex

_MESSAGE_ID_HEX = 32


class ImportKind(StrEnum):
    """What a file holds."""

    CATALOG = "catalog"
    CONVERSATIONS = "conversations"
    KNOWLEDGE = "knowledge"
    INTENTS = "intents"
    CUSTOMERS = "customers"
    ORDERS = "orders"


class Importer:
    """Writes files of :mod:`shared.formats` into the store's database."""

    def __init__(
        self, database: Database, index: KnowledgeIndex, keys: CustomerKeys, clock: Clock
    ) -> None:
        """Write to an open database; ``index`` is rebuilt for languages of imported passages."""
        self._database = database
        self._index = index
        self._keys = keys
        self._clock = clock

    def read(self, kind: ImportKind, path: Path, *, replace: bool = False) -> int:
        """Import a file; return its number of rows.

        Args:
            kind: what the file holds.
            path: JSON lines.
            replace: rows of the catalogue or the knowledge (in the file's languages) that are
                not in the file are deleted.

        Raises:
            BadInput: a line is wrong (nothing was written), or ``replace`` with another kind.
        """
        if replace and kind not in {ImportKind.CATALOG, ImportKind.KNOWLEDGE}:
            raise BadInput(f"{kind} cannot be replaced as a whole", remedy="leave --replace out")
        if kind is ImportKind.KNOWLEDGE:
            return self._knowledge(path, replace=replace)
        write: Mapping[ImportKind, Callable[[sa.Connection], int]] = {
            ImportKind.CATALOG: lambda db: self._catalog(db, path, replace=replace),
            ImportKind.CONVERSATIONS: lambda db: _each(
                db, read_rows(path, ConversationRow), self._conversations
            ),
            ImportKind.INTENTS: lambda db: _each(db, read_rows(path, IntentRow), self._intents),
            ImportKind.CUSTOMERS: lambda db: _each(
                db, read_rows(path, CustomerRow), self._customers
            ),
            ImportKind.ORDERS: lambda db: _each(db, read_rows(path, OrderRow), self._orders),
        }
        with self._database.writing() as db:
            return write[kind](db)

    def reindex(self, langs: Iterable[str]) -> None:
        """Rebuild the knowledge index of these languages from the passages in the database."""
        for lang in sorted(langs):
            with self._database.reading() as db:
                query = sa.select(passages).where(passages.c.lang == lang)
                rows = (
                    KnowledgeRow.model_validate(
                        {
                            "_id": row["document_id"],
                            "title": row["title"] or None,
                            "text": row["text"],
                            "lang": lang,
                        }
                    )
                    for row in db.execution_options(yield_per=500)
                    .execute(query.order_by(passages.c.document_id))
                    .mappings()
                )
                self._index.replace(lang, rows)

    def counts(self) -> dict[str, int]:
        """Return how many rows there are of each kind."""
        tables = {
            "customers": customers,
            "products": products,
            "orders": orders,
            "conversations": conversations,
            "intents": intents,
            "passages": passages,
        }
        with self._database.reading() as db:
            return {
                name: int(db.scalar(sa.select(sa.func.count()).select_from(table)) or 0)
                for name, table in tables.items()
            }

    def passages(self) -> dict[str, int]:
        """Return how many passages there are in each language."""
        lang = passages.c.lang
        query = sa.select(lang, sa.func.count()).group_by(lang).order_by(lang)
        with self._database.reading() as db:
            return {code: int(count) for code, count in db.execute(query)}

    def _catalog(self, db: sa.Connection, path: Path, *, replace: bool) -> int:
        if replace:
            db.execute(sa.delete(products))
        return write_catalog(db, read_rows(path, CatalogRow))

    def _knowledge(self, path: Path, *, replace: bool) -> int:
        langs: set[str] = set()
        count = 0
        with self._database.writing() as db:
            for batch in batches(read_rows(path, KnowledgeRow)):
                for lang in {row.lang for row in batch} - langs:
                    langs.add(lang)
                    if replace:
                        db.execute(sa.delete(passages).where(passages.c.lang == lang))
                upsert(
                    db,
                    passages,
                    ("document_id", "lang"),
                    (
                        {
                            "document_id": row.id,
                            "lang": row.lang,
                            "title": row.title or "",
                            "text": row.text,
                        }
                        for row in batch
                    ),
                )
                count += len(batch)
        self.reindex(langs)
        return count

    def _conversations(self, db: sa.Connection, rows: list[ConversationRow]) -> None:
        self._know(db, {row.customer_id for row in rows})
        digests = {row.conversation_id: digest_json(row.model_dump(mode="json")) for row in rows}
        own = conversations.c
        query = sa.select(own.conversation_id, own.digest).where(
            own.conversation_id.in_(list(digests))
        )
        there = {row.conversation_id: row.digest for row in db.execute(query)}
        changed = {
            row.conversation_id: row
            for row in rows
            if there.get(row.conversation_id) != digests[row.conversation_id]
        }
        if not changed:
            return
        stale = messages.c.conversation_id.in_(list(changed))
        db.execute(sa.delete(messages).where(stale))
        now = self._clock.now()
        upsert(
            db,
            conversations,
            ("conversation_id",),
            (
                {
                    "conversation_id": row.conversation_id,
                    "session_id": None,
                    "customer": self._keys.of(row.customer_id),
                    "lang": row.lang,
                    "status": RESOLVED,
                    "consent": row.consent,
                    "csat": row.csat,
                    "created": now,
                    "updated": now,
                    "digest": digests[row.conversation_id],
                    "processed": "",
                }
                for row in changed.values()
            ),
        )
        said = [
            {
                "message_id": "msg-" + digest_json([row.conversation_id, at])[:_MESSAGE_ID_HEX],
                "conversation_id": row.conversation_id,
                "position": at,
                "role": message.role,
                "content": normalise(message.content),
                "created": now,
                "meta": {},
            }
            for row in changed.values()
            for at, message in enumerate(row.messages)
        ]
        for some in batches(said):
            db.execute(sa.insert(messages), some)
        db.execute(
            sa.insert(outbox),
            [{"kind": CONVERSATION_UPDATED, "ref": name, "created": now} for name in changed],
        )

    def _intents(self, db: sa.Connection, rows: list[IntentRow]) -> None:
        self._know(db, {row.customer_id for row in rows if row.customer_id is not None})
        upsert(
            db,
            intents,
            ("row_id",),
            (
                {
                    "row_id": digest_json([row.lang, row.text, row.intent, row.customer_id]),
                    "text": row.text,
                    "lang": row.lang,
                    "intent": row.intent,
                    "customer": None if row.customer_id is None else self._keys.of(row.customer_id),
                }
                for row in rows
            ),
        )

    def _customers(self, db: sa.Connection, rows: list[CustomerRow]) -> None:
        self._know(db, {row.customer_id for row in rows})
        private = [{"customer": self._keys.of(row.customer_id), **row.model_dump()} for row in rows]
        upsert(db, customer_private, ("customer",), private)

    def _orders(self, db: sa.Connection, rows: list[OrderRow]) -> None:
        self._know(db, {row.customer_id for row in rows})
        upsert(db, orders, ("order_id",), map(self._order, rows))

    def _order(self, row: OrderRow) -> dict[str, Any]:
        values = row.model_dump()
        return {"customer": self._keys.of(values.pop("customer_id")), **values}

    def _know(self, db: sa.Connection, customer_ids: set[str]) -> set[CustomerKey]:
        now = self._clock.now()
        rows = ({"customer": self._keys.of(name), "created": now} for name in customer_ids)
        return insert_missing(db, customers, "customer", rows)


def _each(
    db: sa.Connection,
    rows: Iterable[Any],
    write: Callable[[sa.Connection, list[Any]], None],
) -> int:
    count = 0
    for batch in batches(rows):
        write(db, batch)
        count += len(batch)
    return count
