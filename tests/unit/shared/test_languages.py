"""The language of a text, by its script first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.languages import RIGHT_TO_LEFT, Language, detect_language


@pytest.mark.parametrize(
    ("text", "lang"),
    [
        ("Where is my order?", "en"),
        ("我的订单到哪里了？", "zh"),
        ("我想退 iPhone 保护壳", "zh"),
        ("注文はどこですか", "ja"),
        ("キャンセルしたい", "ja"),
        ("أين طلبي رقم 42؟", "ar"),
        ("¿Dónde está mi pedido?", "es"),
        ("Wo ist meine Bestellung?", "de"),
        ("Können Sie mir helfen", "de"),
    ],
)
def test_sentences_of_every_language(text: str, lang: str) -> None:
    assert detect_language(text) == lang


@pytest.mark.parametrize("text", ["", "12345", "?!", "SKU-4821"])
def test_where_nothing_tells_the_default_stands(text: str) -> None:
    assert detect_language(text, default="ja") == "ja"


@given(st.text())
def test_the_answer_is_always_a_language_of_ours(text: str) -> None:
    assert detect_language(text) in set(Language)


def test_direction() -> None:
    assert set(RIGHT_TO_LEFT) == {"ar"}
