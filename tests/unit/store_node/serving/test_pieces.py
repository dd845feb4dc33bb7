"""Tests of text pieces."""

from hypothesis import given
from hypothesis import strategies as st

from store_node.serving.pieces import Pieces


def decode(ids: list[int]) -> str:
    return bytes(ids).decode("utf-8", errors="replace")


def feed(text: str, stop: tuple[str, ...] = (), context: bytes = b"") -> tuple[list[str], bool]:
    pieces = Pieces(decode, stop, list(context))
    out = []
    for byte in text.encode():
        out.append(pieces.push(byte))
        if pieces.stopped:
            return out, True
    out.append(pieces.finish())
    return out, pieces.stopped


@given(st.text())
def test_pieces_join_to_the_text_and_never_show_half_a_character(text: str) -> None:
    shown, stopped = feed(text, context=b"Agent:")
    assert "".join(shown) == text
    assert not stopped
    assert all("\ufffd" not in piece for piece in shown) or "\ufffd" in text


@given(st.text(alphabet="ab\n你"), st.text(alphabet="ab\n你", min_size=1, max_size=3))
def test_nothing_of_a_stop_string_is_shown(text: str, stop: str) -> None:
    shown, stopped = feed(text, (stop,))
    assert stopped == (stop in text)
    assert "".join(shown) == text.split(stop, maxsplit=1)[0]


def test_text_that_may_begin_a_stop_string_waits() -> None:
    pieces = Pieces(decode, ("\nCustomer:",))
    assert [pieces.push(byte) for byte in b"ok\nCu"] == ["o", "k", "", "", ""]
    assert pieces.push(ord("p")) == "\nCup"


def test_broken_bytes_come_at_the_end_and_not_twice() -> None:
    pieces = Pieces(decode, ())
    assert pieces.push(0xE4) == ""
    assert pieces.push(ord("x")) == "\ufffdx"
    assert pieces.push(0xE4) == ""
    assert pieces.finish() == "\ufffd"
