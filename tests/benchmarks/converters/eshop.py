"""eShopSupport (en): an outdoor shop's goods, manuals and support tickets with satisfaction.

Customer: the person whose name stands on the ticket; the same name is the same customer, which
errs on the safe side. ``tickets.train`` is the store's; ``tickets.dev`` is the gate's, but for
people who also stand in train. The ticket's type is the intent of its first message. The source
has no stock: everything counts as available.
"""

from collections.abc import Container, Iterator
from pathlib import Path

from shared.formats import CatalogRow, ConversationRow, CustomerRow, IntentRow, KnowledgeRow
from tests.benchmarks.converters.layout import Limits, Store, clean, dialogue, shorten, write
from tests.benchmarks.converters.source import need, rows

FOLDER = "eshop_support"


def convert(source: Path, out: Path, *, limits: Limits | None = None) -> Store:
    """Write the store ``eshop`` and its gate to ``out``."""
    store = read(source, limits=limits or Limits())
    write(out, [store])
    return store


def read(source: Path, *, limits: Limits) -> Store:
    """Return the store ``eshop``.

    Raises:
        Unavailable: a file of the set is missing.
    """
    train = need(source, FOLDER, "tickets.train.jsonl")
    dev = need(source, FOLDER, "tickets.dev.jsonl")
    names = sorted({clean(row["customer"]) for row in rows(train)})
    kept, gate = limits.store_rows or None, limits.gate_rows or None
    return Store(
        id="eshop",
        name="eShopSupport",
        lang="en",
        unit="the name on the ticket",
        catalog=tuple(_catalog(need(source, FOLDER, "products.jsonl"))),
        knowledge=tuple(_manuals(need(source, FOLDER, "manual_chunks.jsonl"))),
        conversations=tuple(_tickets(train, limits))[:kept],
        intents=tuple(_intents(train, limits, private=True))[:kept],
        customers=tuple(CustomerRow(customer_id=_id(n), name=n, lang="en") for n in names),
        gate_conversations=tuple(_tickets(dev, limits, but=names))[:gate],
        gate_intents=tuple(_intents(dev, limits, private=False, but=names))[:gate],
    )


def _id(name: str) -> str:
    return f"eshop-{'-'.join(clean(name).lower().split())}"


def _tickets(path: Path, limits: Limits, *, but: Container[str] = ()) -> Iterator[ConversationRow]:
    for row in rows(path):
        if clean(row["customer"]) in but:
            continue
        turns = [(m["role"], m["content"]) for m in row["messages"]]
        messages = dialogue(turns, max_chars=limits.max_chars)
        if messages:
            yield ConversationRow(
                conversation_id=f"eshop-{path.stem.split('.')[-1]}-{row['id']}",
                customer_id=_id(row["customer"]),
                lang="en",
                messages=messages,
                csat=row["satisfaction"],
                consent=True,
            )


def _intents(
    path: Path, limits: Limits, *, private: bool, but: Container[str] = ()
) -> Iterator[IntentRow]:
    for row in rows(path):
        first = next((m["content"] for m in row["messages"] if m["role"] == "user"), "")
        if clean(first) and clean(row["customer"]) not in but:
            yield IntentRow(
                text=shorten(clean(first), limits.max_chars),
                lang="en",
                intent=row["type"].lower(),
                customer_id=_id(row["customer"]) if private else None,
            )


def _catalog(path: Path) -> Iterator[CatalogRow]:
    for row in rows(path):
        yield CatalogRow(
            product_id=str(row["product_id"]),
            name=row["name"],
            lang="en",
            price=row["price"],
            currency=row["currency"],
            stock=1,
            attributes={key: row[key] for key in ("category", "brand", "description")},
        )


def _manuals(path: Path) -> Iterator[KnowledgeRow]:
    for row in rows(path):
        passage = {"_id": row["_id"], "title": row["title"], "text": clean(row["text"])}
        yield KnowledgeRow.model_validate(passage | {"lang": "en"})
