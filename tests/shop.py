"""A small shop in a folder, for tests: written as files and imported as a user would."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.config import Settings, load_settings
from store_node.adapters.imports import ImportKind
from store_node.wiring import StoreData, opened

CATALOG: Sequence[Mapping[str, Any]] = (
    {
        "product_id": "KB-1",
        "name": "Aurora Mechanical Keyboard",
        "lang": "en",
        "price": 89.9,
        "currency": "USD",
        "stock": 12,
    },
    {
        "product_id": "KB-2",
        "name": "Breeze Office Keyboard",
        "lang": "en",
        "price": 25,
        "currency": "USD",
        "stock": 0,
    },
    {
        "product_id": "KB-1",
        "name": "极光机械键盘",
        "lang": "zh",
        "price": 599,
        "currency": "CNY",
        "stock": 7,
    },
)
KNOWLEDGE: Sequence[Mapping[str, Any]] = (
    {
        "_id": "returns-en",
        "title": "Returns",
        "text": "You can return goods within 30 days. The refund takes 5 days.",
        "lang": "en",
    },
    {
        "_id": "ship-en",
        "title": "Delivery",
        "text": "We deliver in Jordan and China.",
        "lang": "en",
    },
    {
        "_id": "returns-zh",
        "title": "退货",
        "text": "商品可在30天内退货，退款需要5天。",
        "lang": "zh",
    },
    {"_id": "returns-ar", "text": "يمكنك إرجاع المنتجات خلال 30 يوما.", "lang": "ar"},
)
CUSTOMERS: Sequence[Mapping[str, Any]] = (
    {"customer_id": "c-1", "name": "Li Lei", "lang": "zh", "phone": "13800138000"},
    {"customer_id": "c-2", "name": "Ann Smith", "lang": "en", "email": "ann@example.org"},
)
ORDERS: Sequence[Mapping[str, Any]] = (
    {
        "order_id": "#W1002003",
        "customer_id": "c-1",
        "product_id": "KB-1",
        "quantity": 2,
        "status": "shipped",
        "placed": "2026-11-01",
        "carrier": "SF Express",
        "tracking": "SF998877",
    },
)
CONVERSATIONS: Sequence[Mapping[str, Any]] = (
    {
        "conversation_id": "old-1",
        "customer_id": "c-1",
        "lang": "zh",
        "messages": [
            {"role": "user", "content": "键盘怎么退货？"},
            {"role": "assistant", "content": "30天内可以退货。"},
        ],
        "csat": 5,
        "consent": True,
    },
    {
        "conversation_id": "old-2",
        "customer_id": "c-2",
        "lang": "en",
        "messages": [{"role": "user", "content": "Hello"}],
        "consent": False,
    },
)
INTENTS: Sequence[Mapping[str, Any]] = (
    {"text": "How much is it?", "lang": "en", "intent": "price", "customer_id": "c-2"},
    {"text": "Let me talk to someone", "lang": "en", "intent": "human_agent"},
    {"text": "I want my money back", "lang": "en", "intent": "returns"},
)
FILES: Mapping[ImportKind, Sequence[Mapping[str, Any]]] = {
    ImportKind.CATALOG: CATALOG,
    ImportKind.KNOWLEDGE: KNOWLEDGE,
    ImportKind.CUSTOMERS: CUSTOMERS,
    ImportKind.ORDERS: ORDERS,
    ImportKind.CONVERSATIONS: CONVERSATIONS,
    ImportKind.INTENTS: INTENTS,
}


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write JSON lines."""
    path.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def shop_settings(home: Path, **store: str) -> Settings:
    """Return the settings of a store in ``home``."""
    return load_settings(home=home, store={"id": "s-1", "lang": "en", **store})


def fill(data: StoreData, folder: Path) -> None:
    """Import every file of the shop."""
    for kind, rows in FILES.items():
        data.importer.read(kind, write_rows(folder / f"{kind}.jsonl", rows))


def make_shop(home: Path, **store: str) -> Settings:
    """Make a filled store in ``home``; return its settings."""
    settings = shop_settings(home, **store)
    with opened(settings, home) as data:
        fill(data, home)
    return settings
