"""A text as the recognisers see it: one spelling of digits, dashes and spaces, and a way back.

Recognisers match on :attr:`View.text`; :meth:`View.original` turns a match into places in the text
that was given. Invisible characters, which would hide a number from a pattern, are left out.
"""

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

_DASHES = dict.fromkeys("‐‑‒–—―−﹣－⁃", "-")
_SPACES = dict.fromkeys(
    "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000",
    " ",
)
_QUOTES = {"’": "'", "‘": "'", "ʼ": "'", "“": '"', "”": '"'}
_SAME = _DASHES | _SPACES | _QUOTES
_TATWEEL = "\u0640"

CAPITALS = "".join(c for c in map(chr, range(0x41, 0x530)) if c.isupper())
"""Capital letters of Latin, Greek and Cyrillic script, for character classes."""


@dataclass(frozen=True, slots=True)
class View:
    """A folded text; ``starts[i]`` and ``ends[i]`` are where character ``i`` stood before.

    Empty tuples mean that both texts have the same positions.
    """

    text: str
    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Return the original's ``(start, end)`` of the folded characters ``start`` to ``end``."""
        if not self.starts or end <= start:
            return start, end
        return self.starts[start], self.ends[end - 1]


@lru_cache(maxsize=4096)
def _fold_character(char: str) -> str:
    """Return how one character is seen: itself, one other character, or nothing."""
    if char in _SAME:
        return _SAME[char]
    if char in "\n\t":
        return char
    category = unicodedata.category(char)
    if category in {"Cc", "Cf", "Mn", "Me"} or char == _TATWEEL:
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(char))
    wide = unicodedata.normalize("NFKC", char)
    return wide if len(wide) == 1 and "\uff00" <= char <= "\uffef" else char


def view(text: str) -> View:
    """Return the folded view of ``text``."""
    if text.isascii() and text.isprintable():
        return View(text)
    chars: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for place, char in enumerate(text):
        if chars and unicodedata.combining(char):
            composed = unicodedata.normalize("NFC", chars[-1] + char)
            if len(composed) == 1:
                chars[-1] = composed
            ends[-1] = place + 1
            continue
        folded = _fold_character(char)
        if folded:
            chars.append(folded)
            starts.append(place)
            ends.append(place + 1)
    return View("".join(chars), tuple(starts), tuple(ends))
