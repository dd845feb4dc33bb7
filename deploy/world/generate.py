"""Write a whole synthetic world to a folder; the same seed gives the same bytes."""

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from deploy.world.conversations import Planted
from deploy.world.shop import Shop, build, gate_rows
from deploy.world.texts import StoreTexts
from deploy.world.texts import store as store_texts
from shared.errors import BadInput
from shared.formats import ConversationRow, IntentRow, Row

DEFAULT_STORES = ("hangzhou", "leeds", "amman")
GATE_CONVERSATIONS = 60
"""Held-back conversations per language."""
GATE_INTENTS = 84
"""Held-back sentences per language, seven for each intent."""
TUNING_CONVERSATIONS = 24
"""Per language, for choices that the gate must not see made on its own rows."""
_GATE_SEED = 7_919
_TUNING_SEED = 104_729
_README = """# A synthetic retail world

Everything in this folder is synthetic: shops, goods, brands, people, numbers and words were made
up by StoreWeave's generator (seed {seed}). No row comes from a real conversation or a public data
set; likeness to real people or shops is accident. Phones use blocks that are not given out,
e-mails use example.com and its like.

- `<store>/store.toml`: id, name, language, customers (public figure, rounded down to tens)
- `<store>/catalog.jsonl`, `knowledge.jsonl`: goods and policies
- `<store>/conversations.jsonl`, `intents.jsonl`: customers' words. Intents rows without a
  `customer_id` are public examples
- `<store>/customers.jsonl`: `{{"customer_id","name","lang","phone"?,"email"?,"address"?}}`
- `<store>/orders.jsonl`: `{{"order_id","customer_id","product_id","quantity","status","placed",
  "carrier"?,"tracking"?}}`
- `hq/conversations.jsonl`, `hq/intents.jsonl`: the gate set, held back from every store: other
  people and phrasings, another seed. Synthetic too, personal data included
- `hq/tuning.jsonl`: conversations of the same kind for choices that must not be made on the gate's
  own rows, such as how much of an adapter is merged

Stores: {stores}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What was written, and where personal data lies in it.

    ``planted`` names every personal value by conversation id, the gate's included, so that the
    recall of desensitization can be measured; it is not written to the folder.
    """

    root: Path
    stores: tuple[Shop, ...]
    gate_conversations: tuple[ConversationRow, ...]
    gate_intents: tuple[IntentRow, ...]
    tuning: tuple[ConversationRow, ...]
    planted: Mapping[str, tuple[Planted, ...]]


def generate(
    out: Path,
    *,
    seed: int,
    customers: int = 320,
    stores: Sequence[str] = DEFAULT_STORES,
) -> World:
    """Write a world of ``stores`` with ``customers`` customers each to ``out``.

    Raises:
        BadInput: a store is unknown or named twice, or there is no customer.
    """
    if customers < 1:
        raise BadInput("customers must be at least 1", where=str(customers), remedy="take 320")
    if not stores or len(set(stores)) != len(stores):
        raise BadInput("stores must be named once", where=", ".join(stores), remedy="name others")
    texts = tuple(store_texts(name) for name in stores)
    shops = tuple(build(text, seed=seed, customers=customers) for text in texts)
    planted = {key: value for shop in shops for key, value in shop.planted.items()}
    conversations: list[ConversationRow] = []
    tuning: list[ConversationRow] = []
    intents: list[IntentRow] = []
    for text in _one_per_language(texts):
        rows, asks, found = gate_rows(
            text,
            seed=seed + _GATE_SEED,
            conversations=GATE_CONVERSATIONS,
            intents=GATE_INTENTS,
        )
        conversations += rows
        intents += asks
        planted |= found
        rows, _, found = gate_rows(
            text,
            seed=seed + _TUNING_SEED,
            conversations=TUNING_CONVERSATIONS,
            intents=0,
            prefix="tuning",
        )
        tuning += rows
        planted |= found
    for shop in shops:
        _write_shop(out / shop.id, shop)
    _write_rows(out / "hq" / "conversations.jsonl", conversations)
    _write_rows(out / "hq" / "intents.jsonl", intents)
    _write_rows(out / "hq" / "tuning.jsonl", tuning)
    _write(out / "README.md", _README.format(seed=seed, stores=", ".join(stores)))
    return World(
        root=out,
        stores=shops,
        gate_conversations=tuple(conversations),
        gate_intents=tuple(intents),
        tuning=tuple(tuning),
        planted=planted,
    )


def _one_per_language(texts: Iterable[StoreTexts]) -> Iterable[StoreTexts]:
    first: dict[str, StoreTexts] = {}
    for text in texts:
        first.setdefault(text.lang, text)
    return first.values()


def _write_shop(folder: Path, shop: Shop) -> None:
    about = {
        "id": shop.id,
        "name": shop.name,
        "lang": shop.lang,
        "public_customers": shop.public_customers,
        "currency": shop.currency,
        "timezone": shop.timezone,
    }
    _write(folder / "store.toml", tomli_w.dumps(about))
    _write_rows(folder / "catalog.jsonl", shop.catalog)
    _write_rows(folder / "knowledge.jsonl", shop.knowledge)
    _write_rows(folder / "conversations.jsonl", shop.conversations)
    _write_rows(folder / "intents.jsonl", shop.intents)
    _write_rows(folder / "customers.jsonl", shop.customers)
    _write_rows(folder / "orders.jsonl", shop.orders)


def _write_rows(path: Path, rows: Iterable[Row]) -> None:
    lines = (
        json.dumps(
            row.model_dump(mode="json", by_alias=True, exclude_none=True), ensure_ascii=False
        )
        for row in rows
    )
    _write(path, "".join(f"{line}\n" for line in lines))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(unicodedata.normalize("NFC", text), encoding="utf-8", newline="\n")
