"""The customer's own terms, found wherever they stand and however they are spelled.

The store knows who it talks to: name, phone, e-mail, address. These need no recogniser, and they
are the last check before a sample is kept.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from store_node.samples.formats import digits_of
from store_node.samples.lexicon import word_list
from store_node.samples.spans import Span
from store_node.samples.view import view

_GENERIC = frozenset(word_list("private_generic"))
_COMMON = frozenset(word_list("private_common"))
_UNITS = re.compile(r"(?:省|市|区|县|镇|路|街|大道|号|栋|单元|室|都|道|府|県|町|村|丁目|番地)")
_DIGITS = 6
_WORD = 3
_HAN_WORD = 2
_NAME = 4
_RUN = re.compile(r"\d(?:[^\w\n]{0,3}\d){5,}")
_SPELLED = str.maketrans("〇零一二三四五六七八九幺壹贰叁肆伍陆柒捌玖", "0012345678911" + "23456789")


@dataclass(frozen=True, slots=True)
class _Terms:
    """One customer's terms, ready to be looked for."""

    words: re.Pattern[str] | None
    numbers: tuple[str, ...]


@lru_cache(maxsize=64)
def _prepare(terms: tuple[str, ...]) -> _Terms:
    """Prepare one customer's terms; the cache is small, and lives in the store's memory only."""
    words: set[str] = set()
    numbers: set[str] = set()
    for term in terms:
        folded = view(term).text.strip()
        digits = digits_of(folded.translate(_SPELLED))
        if len(digits) >= _DIGITS:
            # A number is also told without its country or trunk prefix.
            numbers.update([digits, *(digits[-n:] for n in (11, 10, 9, 8) if len(digits) > n)])
        if len(folded) >= _HAN_WORD:
            words.add(folded)
        words.update(_parts(folded))
    ordered = sorted(words, key=lambda w: (-len(w), w))
    pattern = re.compile("|".join(map(_wordwise, ordered))) if ordered else None
    return _Terms(pattern, tuple(sorted(numbers, key=lambda n: (-len(n), n))))


def _wordwise(word: str) -> str:
    body = r"[\s,]+".join(re.escape(piece) for piece in re.split(r"[\s,]+", word) if piece)
    if not word.isascii() and not word[0].isalnum():
        return body
    guard = "A-Za-z0-9À-ɏء-ي" if not _is_han(word) else ""
    if not guard:
        return body
    # A common word is private only as it is written in a name: with its capital.
    body = body if word.casefold() in _COMMON else f"(?i:{body})"
    prefix = "(?:(?<=[^ء-ي][ولبف])|(?<=^[ولبف]))?" if "ء" <= word[0] <= "ي" else ""
    return f"(?:{prefix}(?<![{guard}])|(?<=_)){body}(?![{guard}])"


def _is_han(word: str) -> bool:
    return any("ぁ" <= char <= "龠" for char in word)


def _parts(term: str) -> Iterator[str]:
    for piece in re.split(r"[\s,，、·・/@_;:()\-]+", term):
        if _is_han(piece):
            yield from _han_parts(piece, whole=piece == term)
        elif len(piece) >= _WORD and piece.casefold() not in _GENERIC and not piece.isdigit():
            yield piece


def _han_parts(piece: str, *, whole: bool) -> Iterator[str]:
    if len(piece) >= _HAN_WORD:
        yield piece
    if whole and len(piece) <= _NAME and not _UNITS.search(piece):
        # A name: also the given name alone, where it is two characters or more.
        yield from (piece[cut:] for cut in (1, 2) if len(piece) - cut >= _HAN_WORD)
        return
    units = [p for p in _UNITS.split(piece) if len(p) > _HAN_WORD and not p.isdigit()]
    yield from units


def find_private(folded: str, terms: Iterable[str]) -> Iterator[Span]:
    """Yield where a folded text holds one of ``terms``, a part of it, or its digits in any form."""
    kept = tuple(term for term in terms if term.strip())
    if not kept:
        return
    own = _prepare(kept)
    if own.words is not None:
        for match in own.words.finditer(folded):
            yield Span(match.start(), match.end(), "PRIVATE")
    if own.numbers:
        yield from _numbers(folded, own.numbers)


def _numbers(folded: str, numbers: tuple[str, ...]) -> Iterator[Span]:
    """Yield where one of ``numbers`` stands, whatever is put between its digits."""
    spelled = folded.translate(_SPELLED)
    for run in _RUN.finditer(spelled):
        places = [run.start() + i for i, char in enumerate(run.group()) if char.isdigit()]
        digits = "".join(spelled[place] for place in places)
        for number in numbers:
            for found in re.finditer(number, digits):
                yield Span(places[found.start()], places[found.end() - 1] + 1, "PRIVATE")
