"""What a model may not say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store_node.chat.guard import Guard, SentenceBuffer, numbers_in
from store_node.chat.rules import PRICE, STOCK

KNOWN = ("The price of Aurora is 89.90 USD.", "Returns within 30 days. Delivery costs 1,200 yen.")


def guard(asked: str = "", only: frozenset[str] = frozenset(), lang: str = "en") -> Guard:
    return Guard(known=KNOWN, asked=asked, database_only=only, lang=lang)


@pytest.mark.parametrize(
    "sentence",
    [
        "You have 30 days.",
        "It is 89.9 USD.",
        "It is 89,90 USD.",
        "Delivery is 1200 yen.",
        "٣٠ يوما",
        "You are welcome.",
    ],
)
def test_numbers_of_the_store_pass(sentence: str) -> None:
    assert guard().allows(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "You have 31 days.",
        "It is $5.",
        "Only five dollars!",
        "只要五百元。",
        "٣١ يوما",
        "It is 30.5 USD.",
    ],
)
def test_numbers_from_nowhere_are_cut(sentence: str) -> None:
    assert not guard().allows(sentence)


def test_the_customers_number_may_be_repeated_but_not_as_a_price() -> None:
    assert guard("I need 7 of them").allows("7 pieces, sure.")
    assert not guard("Is it 7 dollars?").allows("Yes, it is 7 dollars.")


def test_topics_of_the_database_are_left_to_it() -> None:
    assert not guard(only=frozenset({STOCK})).allows("It is sold out.")
    assert not guard(only=frozenset({STOCK}), lang="zh").allows("现在没有现货。")
    assert guard(only=frozenset({PRICE})).allows("It is a fine keyboard.")


def test_numbers_in_one_spelling() -> None:
    assert numbers_in("1,299.00 and 1299 and 007 and 2.50") == {"1299", "7", "2.5"}


@given(st.text(alphabet="ab .!?。\n3", max_size=60), st.integers(1, 7))
def test_a_stream_is_cut_into_sentences_without_loss(text: str, size: int) -> None:
    buffer = SentenceBuffer()
    out = []
    for at in range(0, len(text), size):
        out += list(buffer.push(text[at : at + size]))
    assert "".join(out) + buffer.rest() == text


def test_a_decimal_point_ends_nothing() -> None:
    buffer = SentenceBuffer()
    assert list(buffer.push("It costs 3.")) == []
    assert list(buffer.push("50 euros. Yes")) == ["It costs 3.50 euros."]
