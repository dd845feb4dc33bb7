"""Masked text holds no real value, says the same thing twice, and is the only clean text."""

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import BadInput
from shared.text import DesensitizedText, RawText
from store_node.samples.desensitize import POLICY_VERSION, Desensitizer, restore

MASKER = Desensitizer(b"k" * 32)


def mask(text: str, lang: str | None = None, key: str = "c1", terms: tuple[str, ...] = ()) -> str:
    return MASKER.desensitize(RawText(text), lang, conversation_key=key, private_terms=terms)[
        0
    ].text


def test_the_same_value_gets_the_same_surrogate_within_a_conversation_only() -> None:
    first = mask("我叫张伟，电话138 0013 8000", "zh")
    again = mask("张伟先生的电话是13800138000", "zh")
    other = mask("我叫张伟，电话138 0013 8000", "zh", key="c2")
    name = first[2 : first.index("，")]
    assert again.startswith(name)
    assert again[-11:] == "".join(c for c in first if c.isdigit())
    assert other != first


def test_another_store_makes_other_surrogates() -> None:
    text = RawText("call +44 7911 123456, order #W4923227")
    other = Desensitizer(b"x" * 32).desensitize(text, "en", conversation_key="c1")
    mine = MASKER.desensitize(text, "en", conversation_key="c1")
    assert other[0].text != mine[0].text
    assert other[2] != mine[2]


@pytest.mark.parametrize(
    ("text", "lang", "region"),
    [
        ("(415) 867-5309", "en", "US"),
        ("13912345678", "zh", "CN"),
        ("090-1234-5678", "ja", "JP"),
        ("0501234567", "ar", "SA"),
    ],
)
def test_a_phones_surrogate_rings_nowhere(text: str, lang: str, region: str) -> None:
    made = mask(text, lang)
    assert made != text
    assert len(made) == len(text)
    number = phonenumbers.parse(made, region)
    fictional = str(number.national_number)[3:8] == "55501"
    assert fictional or not phonenumbers.is_valid_number(number)


def test_digits_keep_their_script() -> None:
    assert all(c in "٠١٢٣٤٥٦٧٨٩" for c in mask("٠٥٠١٢٣٤٥٦٧", "ar"))
    assert not any(c.isascii() for c in mask("一三八零零一三八零零零", "zh"))


def test_spans_are_of_the_text_as_given() -> None:
    text = "  Hi, I'm Maria Lopez  "
    masked, spans, _ = MASKER.desensitize(RawText(text), "en", conversation_key="c")
    assert [text[s.start : s.end] for s in spans] == ["Maria Lopez"]
    assert masked.text == masked.text.strip()
    assert masked.policy_version == POLICY_VERSION


_NAMES = st.sampled_from(
    ["王建国", "李小红", "Priya Raman", "Jürgen Müller", "محمد العتيبي", "田中太郎"]
)
_PHONES = st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True)
_FRAMES = st.sampled_from(
    ["{n} {p}", "我是{n}，电话{p}。", "I am {n}, call {p} now", "اسمي {n} ورقمي {p}", "{p}/{n}"]
)


@settings(max_examples=60, deadline=None)
@given(name=_NAMES, phone=_PHONES, frame=_FRAMES, spaced=st.booleans(), wide=st.booleans())
def test_no_known_value_survives_once_or_twice(
    name: str, phone: str, frame: str, spaced: bool, wide: bool
) -> None:
    shown = " ".join(phone) if spaced else phone
    if wide:
        shown = "".join(chr(ord(c) + 0xFEE0) if c.isdigit() else c for c in shown)
    text = frame.format(n=name, p=shown)
    once = mask(text, terms=(name, phone))
    twice = mask(once, terms=(name, phone))
    for clean in (once, twice):
        assert name not in clean
        assert shown not in clean
        digits = "".join(c for c in clean if c.isascii() and c.isdigit())
        assert phone not in digits


@settings(max_examples=80, deadline=None)
@given(text=st.text(max_size=80))
def test_any_text_can_be_masked(text: str) -> None:
    masked, spans, digest = MASKER.desensitize(RawText(text), conversation_key="c")
    assert isinstance(masked, DesensitizedText)
    assert len(digest) == 64
    ends = [0, *(s.end for s in spans)]
    assert all(0 <= e <= s.start < s.end <= len(text) for e, s in zip(ends, spans, strict=False))


def test_nobody_else_makes_clean_text_and_its_repr_hides_it() -> None:
    with pytest.raises(TypeError):
        DesensitizedText("raw words", "1", object())
    assert "Maria" not in repr(restore("I am Maria", POLICY_VERSION))


def test_a_short_key_and_a_sample_without_policy_are_refused() -> None:
    with pytest.raises(BadInput, match="bytes"):
        Desensitizer(b"short")
    with pytest.raises(BadInput, match="policy"):
        restore("text", "")
