"""tau-bench retail (en): a shop with variants, orders, policy and dialogues.

Customer: the shop's user whom the dialogue's tools name (``sofia_hernandez_5364``); a dialogue in
which no tool names one is a customer of its own. Tool turns are dropped: they hold raw records.
There is one file of dialogues only, so a fifth of the customers, chosen by the hash of the id,
goes to the gate. An order of several items becomes one row per item (``#W1``, ``#W1-2``, ...).
Orders carry no date: all get the day on which the policy's story plays. ``stock`` is a flag: 1 or
0.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.formats import CatalogRow, ConversationRow, CustomerRow, KnowledgeRow, OrderRow
from tests.benchmarks.converters.layout import Limits, Store, clean, dialogue, held_back, write
from tests.benchmarks.converters.source import need, rows, table

FOLDER = "tau_retail_en"
GATE_SHARE = 0.2
_STORY_DAY = "2024-05-15"
_USER = re.compile(r"\b[a-z]+_[a-z]+_\d{4}\b")


def convert(source: Path, out: Path, *, limits: Limits | None = None) -> Store:
    """Write the store ``tau`` and its gate to ``out``."""
    store = read(source, limits=limits or Limits())
    write(out, [store])
    return store


def read(source: Path, *, limits: Limits) -> Store:
    """Return the store ``tau``.

    Raises:
        Unavailable: a file of the set is missing.
    """
    users = table(need(source, FOLDER, "users.json"))
    talks = tuple(_conversations(need(source, FOLDER, "dialogues.train.jsonl"), limits))
    kept = [row for row in talks if not held_back(row.customer_id, share=GATE_SHARE)]
    gate = [row for row in talks if held_back(row.customer_id, share=GATE_SHARE)]
    return Store(
        id="tau",
        name="tau-bench retail",
        lang="en",
        unit="the shop's user named by the dialogue's tools, else the dialogue",
        timezone="America/New_York",
        catalog=tuple(_catalog(need(source, FOLDER, "products.json"))),
        knowledge=tuple(_policy(need(source, FOLDER, "policy.md"))),
        conversations=tuple(kept[: limits.store_rows or None]),
        customers=tuple(_customer(key, user) for key, user in users.items()),
        orders=tuple(_orders(need(source, FOLDER, "orders.json"))),
        gate_conversations=tuple(gate[: limits.gate_rows or None]),
    )


def _conversations(path: Path, limits: Limits) -> Iterator[ConversationRow]:
    for row in rows(path):
        turns = [(m["role"], m["content"].replace("###STOP###", "")) for m in row["messages"]]
        messages = dialogue(turns, max_chars=limits.max_chars)
        if not messages:
            continue
        conversation_id = f"tau-{row['id']}"
        named = (_USER.search(text) for role, text in turns if role == "tool")
        customer = next((match.group() for match in named if match), conversation_id)
        yield ConversationRow(
            conversation_id=conversation_id,
            customer_id=customer,
            lang="en",
            messages=messages,
            consent=True,
        )


def _catalog(path: Path) -> Iterator[CatalogRow]:
    for product in table(path).values():
        for item in product["variants"].values():
            yield CatalogRow(
                product_id=item["item_id"],
                name=product["name"],
                lang="en",
                price=item["price"],
                currency="USD",
                stock=int(item["available"]),
                attributes=item["options"],
            )


def _policy(path: Path) -> Iterator[KnowledgeRow]:
    title = "Policy"
    number = 0
    for block in path.read_text(encoding="utf-8").split("\n\n"):
        text = clean(block)
        if text.startswith("#"):
            title = text.lstrip("# ")
        elif text:
            number += 1
            passage = {"_id": f"tau-policy-{number}", "title": title, "text": text.lstrip("- ")}
            yield KnowledgeRow.model_validate(passage | {"lang": "en"})


def _customer(key: str, user: dict[str, Any]) -> CustomerRow:
    place = user["address"]
    parts = [place[name] for name in ("address1", "address2", "city", "zip") if place.get(name)]
    name = user["name"]
    return CustomerRow(
        customer_id=key,
        name=f"{name['first_name']} {name['last_name']}",
        lang="en",
        email=user["email"],
        address=", ".join(parts),
    )


def _orders(path: Path) -> Iterator[OrderRow]:
    for order in table(path).values():
        sent = [number for f in order["fulfillments"] for number in f["tracking_id"]]
        for place, item in enumerate(order["items"], start=1):
            yield OrderRow(
                order_id=order["order_id"] if place == 1 else f"{order['order_id']}-{place}",
                customer_id=order["user_id"],
                product_id=item["item_id"],
                quantity=1,
                status=order["status"],
                placed=_STORY_DAY,
                tracking=sent[0] if sent else None,
            )
