"""Files are imported whole or not at all, and as often as one likes."""

import hashlib
import hmac
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import BadInput
from store_node.adapters.customer_keys import CustomerKeys
from store_node.adapters.imports import ImportKind
from store_node.wiring import StoreData, opened
from tests.shop import CATALOG, CONVERSATIONS, FILES, KNOWLEDGE, fill, shop_settings, write_rows


@pytest.fixture
def data(tmp_path: Path) -> Iterator[StoreData]:
    with opened(shop_settings(tmp_path), tmp_path) as data:
        yield data


def test_importing_twice_changes_nothing(data: StoreData, tmp_path: Path) -> None:
    fill(data, tmp_path)
    once = data.importer.counts(), data.importer.passages(), data.index.counts()
    assert once[0] == {
        "customers": 2,
        "products": 3,
        "orders": 1,
        "conversations": 2,
        "intents": 3,
        "passages": 4,
    }
    assert once[1] == once[2] == {"ar": 1, "en": 2, "zh": 1}
    fill(data, tmp_path)
    assert (data.importer.counts(), data.importer.passages(), data.index.counts()) == once


@pytest.mark.parametrize("kind", list(ImportKind))
def test_a_bad_line_leaves_nothing_and_is_named(
    data: StoreData, tmp_path: Path, kind: ImportKind
) -> None:
    rows = [*FILES[kind]] * 300
    path = write_rows(tmp_path / "rows.jsonl", [*rows, {"secret": "word"}])
    with pytest.raises(BadInput, match=rf"rows\.jsonl:{len(rows) + 1}"):
        data.importer.read(kind, path)
    assert set(data.importer.counts().values()) == {0}
    assert data.index.counts() == {}


def test_the_last_row_of_a_key_wins(data: StoreData, tmp_path: Path) -> None:
    rows = [CATALOG[0], {**CATALOG[0], "price": 1}]
    data.importer.read(ImportKind.CATALOG, write_rows(tmp_path / "c.jsonl", rows))
    product = data.shop.product("KB-1")
    assert product is not None
    assert product.price == 1


def test_files_add_up_unless_they_replace(data: StoreData, tmp_path: Path) -> None:
    fill(data, tmp_path)
    more = [{"_id": "new", "text": "kettle", "lang": "en"}]
    path = write_rows(tmp_path / "more.jsonl", more)
    data.importer.read(ImportKind.KNOWLEDGE, path)
    assert data.index.counts() == {"ar": 1, "en": 3, "zh": 1}
    data.importer.read(ImportKind.KNOWLEDGE, path, replace=True)
    assert data.index.counts() == {"ar": 1, "en": 1, "zh": 1}
    catalog = write_rows(tmp_path / "one.jsonl", CATALOG[:1])
    data.importer.read(ImportKind.CATALOG, catalog, replace=True)
    assert data.importer.counts()["products"] == 1
    with pytest.raises(BadInput, match="cannot be replaced"):
        data.importer.read(ImportKind.INTENTS, path, replace=True)


def test_a_changed_conversation_is_written_anew(data: StoreData, tmp_path: Path) -> None:
    fill(data, tmp_path)
    data.conversations.mark_processed(["old-1", "old-2"], "p")
    longer = {
        **CONVERSATIONS[1],
        "messages": [{"role": "user", "content": "Hello"}, {"role": "user", "content": "Again"}],
    }
    path = write_rows(tmp_path / "c.jsonl", [CONVERSATIONS[0], longer])
    data.importer.read(ImportKind.CONVERSATIONS, path)
    (changed,) = data.conversations.unprocessed("p", 10)
    assert [m.content for m in changed.messages] == ["Hello", "Again"]


def test_many_rows(data: StoreData, tmp_path: Path) -> None:
    rows = [{**KNOWLEDGE[1], "_id": f"d-{number}"} for number in range(1001)]
    path = write_rows(tmp_path / "many.jsonl", rows)
    assert data.importer.read(ImportKind.KNOWLEDGE, path) == 1001
    assert data.index.counts() == {"en": 1001}


def test_pseudonyms_are_keyed_and_tell_visitors_from_customers() -> None:
    keys = CustomerKeys(b"k" * 32)
    assert keys.of("é") == hmac.new(b"k" * 32, "é".encode(), hashlib.sha256).hexdigest()
    assert keys.of("s") != keys.of_visitor("s")
    assert CustomerKeys(b"l" * 32).of("s") != keys.of("s")
    assert "k" * 32 not in repr(keys)
