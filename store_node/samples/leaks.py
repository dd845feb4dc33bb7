"""The second look at a masked text, sharing no pattern with the first.

It knows nothing of languages: it drops all but letters and digits and asks whether the customer's
own terms, or long pieces of them, are still there.
"""

import re
import unicodedata
from collections.abc import Iterable

_HAN_DIGITS = str.maketrans("〇零一二三四五六七八九", "00123456789")
_LEAST_DIGITS = 7
_PIECE_WIDE = 4
_PIECE_NARROW = 10
_NAME_WIDE = 2
_NAME_WORDS = 4
_WHERE_CJK_BEGINS = 0x2E80
_NAME_NARROW = 3


def _letters(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(char for char in folded if char.isalnum())


def _digits(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).translate(_HAN_DIGITS)
    return "".join(str(unicodedata.decimal(char)) for char in folded if char.isdecimal())


def _runs(text: str) -> list[str]:
    """Return the digits of each run of them; letters part runs, spaces and signs do not."""
    folded = unicodedata.normalize("NFKC", text).translate(_HAN_DIGITS)
    return [_digits(run) for run in re.findall(r"\d(?:[^\w\n]{0,3}\d)*", folded)]


def leaks(text: str, terms: Iterable[str]) -> bool:
    """Return whether ``text`` still holds one of ``terms`` or a telling piece of it.

    A telling piece: the last seven digits of a number, the part of a mail address before the "@", a
    word of a name as it is written, and of longer terms ten Latin letters or digits or four
    Chinese, Japanese or Korean characters in a row.
    """
    squeezed = _letters(text)
    runs = _runs(text)
    words = set(re.findall(r"\w+", text))
    return any(_holds(squeezed, runs, words, term) for term in terms)


def _holds(squeezed: str, runs: list[str], words: set[str], term: str) -> bool:
    # The first digits of a number are its area's and may well be those of a surrogate.
    ends = [number[-_LEAST_DIGITS:] for number in _runs(term) if len(number) >= _LEAST_DIGITS]
    if any(end in run for end in ends for run in runs):
        return True
    plain = _letters(term.partition("@")[0])
    wide = any(ord(char) >= _WHERE_CJK_BEGINS for char in plain)
    if len(plain) >= (_NAME_WIDE if wide else _NAME_NARROW) and _whole(plain, squeezed, words):
        return True
    size = _PIECE_WIDE if wide else _PIECE_NARROW
    pieces = (plain[i : i + size] for i in range(len(plain) - size + 1))
    if any(not piece.isdigit() and piece in squeezed for piece in pieces):
        return True
    is_name = len(term.split()) <= _NAME_WORDS and not any(c.isdigit() or c == "@" for c in term)
    return is_name and _word_of_name(term, words)


def _whole(plain: str, squeezed: str, words: set[str]) -> bool:
    """Return whether a term stands whole; a short Latin one only as a word of its own."""
    if len(plain) < 2 * _NAME_NARROW and plain.isascii():
        return plain in {word.casefold() for word in words if word[:1].isupper() or word.isdigit()}
    return plain in squeezed


def _word_of_name(term: str, words: set[str]) -> bool:
    parts = [part.strip(".,") for part in term.split()]
    return any(len(p) >= _NAME_NARROW and (p in words or p.capitalize() in words) for p in parts)
