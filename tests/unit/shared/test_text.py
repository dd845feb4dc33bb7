"""Normalised text is stable; desensitized text cannot be forged or leak through a log."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.text import DesensitizedText, normalise


@given(st.text())
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert unicodedata.is_normalized("NFC", once)


@given(st.text())
def test_no_control_character_is_left(text: str) -> None:
    left = {char for char in normalise(text) if unicodedata.category(char) == "Cc"}
    assert left <= {"\n", "\t"}


def test_composes_across_what_it_drops() -> None:
    assert normalise("  Cafe\u0000\u0301\n") == "Café"
    assert normalise("第一行\n\t第二行") == "第一行\n\t第二行"


@pytest.mark.parametrize("mint", [None, object(), "mint"])
def test_only_the_desensitizer_can_make_desensitized_text(mint: object) -> None:
    with pytest.raises(TypeError, match="can make DesensitizedText"):
        DesensitizedText("hello", "v1", mint)
