"""The folder that converters write: stores and the gate set, in StoreWeave's own formats."""

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from shared.formats import (
    CatalogRow,
    ConversationRow,
    CustomerRow,
    IntentRow,
    KnowledgeRow,
    MessageRow,
    OrderRow,
    Row,
)

SENTENCE_ENDS = ".!?。！？؟"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is taken; 0 means everything."""

    max_chars: int = 400
    """A longer message is cut behind its last whole sentence that fits."""
    store_rows: int = 0
    """Private intents rows or conversations per store."""
    gate_rows: int = 0
    """Gate rows per store and kind."""
    public_per_intent: int = 4
    """Training rows per intent that are declared public and given to no customer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """One store of a public federation, with the rows of the gate that speak its language."""

    id: str
    name: str
    lang: str
    unit: str
    """Who a customer is, in words."""
    currency: str = "USD"
    timezone: str = "UTC"
    catalog: tuple[CatalogRow, ...] = ()
    knowledge: tuple[KnowledgeRow, ...] = ()
    conversations: tuple[ConversationRow, ...] = ()
    intents: tuple[IntentRow, ...] = ()
    customers: tuple[CustomerRow, ...] = ()
    orders: tuple[OrderRow, ...] = ()
    gate_conversations: tuple[ConversationRow, ...] = ()
    gate_intents: tuple[IntentRow, ...] = ()

    def people(self) -> set[str]:
        """Return the ids of everybody whose words the store holds."""
        return {row.customer_id for row in self.conversations} | {
            row.customer_id for row in self.intents if row.customer_id
        }


def write(out: Path, stores: Sequence[Store]) -> None:
    """Write the stores, the gate set and a README that says who the customers are."""
    for store in stores:
        folder = out / store.id
        about = {
            "id": store.id,
            "name": store.name,
            "lang": store.lang,
            "public_customers": len(store.people()) // 10 * 10,
            "currency": store.currency,
            "timezone": store.timezone,
        }
        _write(folder / "store.toml", tomli_w.dumps(about))
        for name in ("catalog", "knowledge", "conversations", "intents", "customers", "orders"):
            _write_rows(folder / f"{name}.jsonl", getattr(store, name))
    for name in ("conversations", "intents"):
        gate = [row for store in stores for row in getattr(store, f"gate_{name}")]
        _write_rows(out / "hq" / f"{name}.jsonl", gate)
    lines = [f"- `{s.id}` ({s.lang}, {len(s.people())} customers): {s.unit}" for s in stores]
    text = (
        "# A federation of public data sets\n\nConverted for measurements; the licences of the "
        "sources hold. A store with fewer than 300 customers is too small for private training "
        "under the default policy.\n\n" + "\n".join(lines) + "\n"
    )
    _write(out / "README.md", text)


def held_back(key: str, *, share: float) -> bool:
    """Return whether a row belongs to the gate: by the hash of its key, so always the same."""
    first = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big")
    return first < share * 2**32


def dialogue(turns: Iterable[tuple[str, str]], *, max_chars: int) -> tuple[MessageRow, ...]:
    """Return the turns of customer and clerk, shortened, from the first customer to the last reply.

    Empty if no clerk answers. Neighbouring turns of the same speaker are joined.
    """
    joined: list[tuple[str, str]] = []
    for role, text in turns:
        words = clean(text)
        if role not in {"user", "assistant"} or not words or (not joined and role != "user"):
            continue
        if joined and joined[-1][0] == role:
            joined[-1] = (role, f"{joined[-1][1]} {words}")
        else:
            joined.append((role, words))
    if joined and joined[-1][0] == "user":
        joined.pop()
    return tuple(MessageRow(role=r, content=shorten(t, max_chars)) for r, t in joined)


def clean(text: str) -> str:
    """Return NFC text on one line."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def shorten(text: str, max_chars: int) -> str:
    """Return ``text`` cut behind its last whole sentence within ``max_chars`` (0: never cut)."""
    if not max_chars or len(text) <= max_chars:
        return text
    head = text[:max_chars]
    end = max(head.rfind(mark) for mark in SENTENCE_ENDS)
    if end >= max_chars // 2:
        return head[: end + 1]
    space = head.rfind(" ")
    return head[:space] if space > 0 else head


def take_public(found: Iterable[IntentRow], per_intent: int) -> tuple[IntentRow, ...]:
    """Take the customer away from the first ``per_intent`` rows of each intent."""
    given: Counter[str] = Counter()
    rows: list[IntentRow] = []
    for row in found:
        public = given[row.intent] < per_intent
        given[row.intent] += public
        rows.append(row.model_copy(update={"customer_id": None}) if public else row)
    return tuple(rows)


def _write_rows(path: Path, rows: Iterable[Row]) -> None:
    dumped = (row.model_dump(mode="json", by_alias=True, exclude_none=True) for row in rows)
    _write(path, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in dumped))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
