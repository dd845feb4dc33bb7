"""Finds products by their name, or by a part of a name that only one product has."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shared.formats import CatalogRow
from store_node.knowledge.terms import Token, is_cjk, tokens

_LONGEST = 12
"""Words (or CJK characters) of a name that are compared."""
_SHORTEST_WORD = 4
_SHORTEST_CJK = 2
_MOST_TOKENS = 1000

_Phrase = tuple[str, ...]
_NUMBER = re.compile(r"(?=.*[A-Za-z])(?=.*\d).{3,}|\d{6,}", re.DOTALL)
"""Product numbers that are told from words and small numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameMatch:
    """Where a product's name, or a unique part of it, stands in a text."""

    product_id: str
    start: int
    end: int
    words: int


class NameFinder:
    """An index of the names of one language; immutable once built."""

    def __init__(self, products: Iterable[CatalogRow]) -> None:
        """Index whole names, product numbers, and parts that are unique to one product."""
        self._whole: dict[_Phrase, str] = {}
        self._parts: dict[_Phrase, str | None] = {}
        twice: set[_Phrase] = set()
        for product in products:
            numbered = [product.product_id] if _NUMBER.fullmatch(product.product_id) else []
            for name in (product.name, *numbered):
                phrase = tuple(token.text for token in tokens(name))
                if phrase and self._whole.setdefault(phrase, product.product_id) != (
                    product.product_id
                ):
                    twice.add(phrase)
            words = [token.text for token in tokens(product.name)]
            for part in _parts(words):
                if self._parts.setdefault(part, product.product_id) != product.product_id:
                    self._parts[part] = None
        for phrase in twice:
            del self._whole[phrase]
        self._longest = max(map(len, self._whole), default=0)

    def find(self, text: str) -> list[NameMatch]:
        """Return matches in order of the text, longest first where they overlap."""
        row: Sequence[Token] = list(tokens(text))[:_MOST_TOKENS]
        found: list[NameMatch] = []
        at = 0
        while at < len(row):
            match = self._longest_at(row, at)
            if match is None:
                at += 1
            else:
                found.append(match)
                at += match.words
        return found

    def _longest_at(self, row: Sequence[Token], at: int) -> NameMatch | None:
        for size in range(min(max(self._longest, _LONGEST), len(row) - at), 0, -1):
            phrase = tuple(token.text for token in row[at : at + size])
            product_id = self._whole.get(phrase) or self._parts.get(phrase)
            if product_id:
                end = row[at + size - 1].end
                return NameMatch(product_id=product_id, start=row[at].start, end=end, words=size)
        return None


def _parts(words: Sequence[str]) -> Iterable[_Phrase]:
    for start in range(len(words)):
        for end in range(start + 1, min(start + _LONGEST, len(words)) + 1):
            part = tuple(words[start:end])
            if _telling(part):
                yield part


def _telling(part: _Phrase) -> bool:
    """Return whether a part is long enough to mean the product and not a common word."""
    if all(is_cjk(word[0]) for word in part):
        return len(part) >= _SHORTEST_CJK and not all("ぁ" <= word[0] <= "ゖ" for word in part)
    letters = [word for word in part if not word.isdigit()]
    return any(len(word) >= _SHORTEST_WORD for word in letters) or (len(part) > 1 and bool(letters))
