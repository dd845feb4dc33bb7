"""Lines of user files: what is wrong is named by file, line and field, and never quoted."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import BadInput
from shared.formats import (
    CatalogRow,
    ConversationRow,
    IntentRow,
    KnowledgeRow,
    OrderRow,
    parse_row,
    read_rows,
)

CONVERSATION = {
    "conversation_id": "c1",
    "customer_id": "u1",
    "lang": "en",
    "messages": [{"role": "user", "content": "hello"}],
}
PRODUCT = {
    "product_id": "p1",
    "name": "Boots",
    "lang": "en",
    "price": 59.9,
    "currency": "EUR",
    "stock": 3,
}
SECRET = "Mrs Private of 1 High Street"


def test_rows_are_read_in_order_and_blank_lines_skipped(tmp_path: Path) -> None:
    path = tmp_path / "intents.jsonl"
    rows = [{"text": f"t{n}", "lang": "zh", "intent": "returns"} for n in range(3)]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_bytes(("\ufeff" + "\r\n\n".join(lines) + "\n").encode())
    assert [row.text for row in read_rows(path, IntentRow)] == ["t0", "t1", "t2"]


def test_a_bad_line_is_named_and_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "conversations.jsonl"
    good = json.dumps(CONVERSATION)
    for bad, field in (
        ({**CONVERSATION, "surname": SECRET}, "surname"),
        ({**CONVERSATION, "lang": SECRET}, "lang"),
        ({**CONVERSATION, "messages": [{"role": SECRET, "content": "x"}]}, "messages.0.role"),
        ({**CONVERSATION, "csat": SECRET}, "csat"),
        ({**CONVERSATION, "messages": []}, "messages"),
    ):
        path.write_text(f"{good}\n{json.dumps(bad)}\n")
        with pytest.raises(BadInput) as caught:
            list(read_rows(path, ConversationRow))
        assert f"{path}:2" in str(caught.value)
        assert f"'{field}'" in str(caught.value)
        assert SECRET not in str(caught.value)


def test_what_is_not_json_is_named_by_column() -> None:
    with pytest.raises(BadInput, match=r"f\.jsonl:7: not JSON") as caught:
        parse_row(f'{{"text": {SECRET}', IntentRow, where="f.jsonl:7")
    assert SECRET not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        list(read_rows(tmp_path / "none.jsonl", IntentRow))
    path = tmp_path / "latin.jsonl"
    path.write_bytes('{"text": "café"}'.encode("latin-1"))
    with pytest.raises(BadInput, match="not UTF-8"):
        list(read_rows(path, IntentRow))


@pytest.mark.parametrize("price", ["NaN", "Infinity", "-1", '"ten"', "1e999"])
def test_a_price_is_a_finite_number(price: str) -> None:
    line = json.dumps(PRODUCT).replace("59.9", price)
    with pytest.raises(BadInput):
        parse_row(line, CatalogRow, where="c:1")


@pytest.mark.parametrize(
    "line",
    ["[" * 100_000, "9" * 5000, '{"a":' * 50_000, "[]", "null", '"text"', ""],
    ids=["deep list", "long number", "deep object", "list", "null", "string", "empty"],
)
def test_hostile_lines_are_bad_input_not_a_crash(line: str) -> None:
    with pytest.raises(BadInput):
        parse_row(line, IntentRow, where="f:1")


def test_half_a_character_is_refused() -> None:
    line = '{"text": "x\\ud800", "lang": "en", "intent": "a"}'
    with pytest.raises(BadInput):
        parse_row(line, IntentRow, where="f:1")


@given(st.text())
def test_any_line_gives_a_row_or_bad_input(line: str) -> None:
    for kind in (IntentRow, KnowledgeRow, OrderRow):
        try:
            parse_row(line, kind, where="f:1")
        except BadInput as error:
            where = error.where
        else:
            where = "f:1"
        assert where == "f:1"


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50),
    st.sampled_from(["en", "zh", "ar"]),
)
def test_texts_come_back_as_they_went_in(text: str, lang: str) -> None:
    line = json.dumps({"_id": "k1", "text": text, "lang": lang})
    row = parse_row(line, KnowledgeRow, where="k:1")
    assert (row.id, row.text, row.title) == ("k1", text, None)


def test_rows_cannot_be_changed() -> None:
    row = parse_row(json.dumps(PRODUCT), CatalogRow, where="c:1")
    with pytest.raises(ValueError, match="frozen"):
        row.price = 1.0
