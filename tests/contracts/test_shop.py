"""Every implementation of ports ``Shop`` and ``Orders`` keeps the same promises."""

from pathlib import Path

import pytest

from shared.formats import CatalogRow
from store_node.adapters.imports import ImportKind
from store_node.adapters.shop import SqlShop
from store_node.wiring import StoreData
from tests.shop import CATALOG, ORDERS, write_rows

ROWS = [CatalogRow.model_validate(row) for row in CATALOG]


@pytest.fixture
def shop(data: StoreData) -> SqlShop:
    data.shop.replace_catalog(ROWS)
    return data.shop


def test_products_come_back_as_they_went_in(shop: SqlShop) -> None:
    row = ROWS[0].model_copy(
        update={"product_id": "x", "price": 1234567.89, "attributes": {"颜色": ["红", 1]}}
    )
    assert shop.replace_catalog([row]) == 1
    assert shop.product("x") == row
    assert shop.product("KB-1") is None
    assert shop.product_named_in("aurora", "en") == [row]


def test_products_are_found_by_name_in_the_language_first(shop: SqlShop) -> None:
    assert [p.name for p in shop.product_named_in("the aurora", "en")] == [ROWS[0].name]
    assert [p.name for p in shop.product_named_in("极光键盘怎么样", "zh")] == [ROWS[2].name]
    assert [p.name for p in shop.product_named_in("Aurora多少钱", "zh")] == [ROWS[0].name]
    assert shop.product_named_in("some keyboard", "en") == []


def test_the_longest_match_comes_first_and_places_are_told(shop: SqlShop) -> None:
    text = "Breeze or Aurora Mechanical?"
    assert [p.product_id for p in shop.product_named_in(text, "en")] == ["KB-1", "KB-2"]
    assert [text[n.start : n.end] for n in shop.named_products(text, "en")] == [
        "Breeze",
        "Aurora Mechanical",
    ]


def test_orders_are_seen_by_their_customer_only(data: StoreData, tmp_path: Path) -> None:
    more = [*ORDERS, {**ORDERS[0], "order_id": "#W2", "placed": "2026-11-02"}]
    data.importer.read(ImportKind.ORDERS, write_rows(tmp_path / "o.jsonl", more))
    mine, other = data.keys.of("c-1"), data.keys.of("c-2")
    order = data.shop.order("W1002003", mine)
    assert order is not None
    assert (order.order_id, order.status, order.tracking) == ("#W1002003", "shipped", "SF998877")
    assert order.customer_id == mine
    assert data.shop.order("#W1002003", other) is None
    assert [row.order_id for row in data.shop.latest(mine)] == ["#W2"]
    assert data.shop.latest(other) == []
