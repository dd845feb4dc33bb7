"""How texts are folded and cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store_node.knowledge.terms import fold, terms, tokens


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ÉCLAIR", "eclair"),
        ("cafe\u0301", "café"),
        ("ＡＢＣ１２３", "abc123"),
        ("Straße", "STRASSE"),
        ("إرجاع", "ارجاع"),
        ("الشَّحْن", "الشحن"),
        ("ســعــر", "سعر"),
        ("か\u3099", "が"),
        ("ﾊﾞｯｸﾞ", "バッグ"),
    ],
)
def test_spellings_that_mean_the_same_fold_alike(one: str, other: str) -> None:
    assert fold(one) == fold(other)


def test_kana_keep_their_marks() -> None:
    assert fold("が") != fold("か")


def test_chinese_is_cut_into_overlapping_pairs() -> None:
    assert terms("退货iPhone 15政策吗", "zh") == ["退货", "iphone", "15", "政策", "策吗"]
    assert terms("书", "zh") == ["书"]
    assert terms("你好。世界", "zh") == ["你好", "世界"]


def test_arabic_articles_do_not_matter() -> None:
    assert terms("والإرجاع", "ar") == terms("ارجاع", "ar")


@given(st.text())
def test_tokens_stand_where_they_say(text: str) -> None:
    end = 0
    for token in tokens(text):
        assert end <= token.start < token.end <= len(text)
        assert token.text
        end = token.end
