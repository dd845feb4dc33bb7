"""How words are compared: one way to fold text and to cut it into terms, for queries and index.

Chinese and Japanese runs become overlapping pairs of characters (as Lucene's ``cjk`` analyzer
does), so that words of two characters are found without a dictionary. Arabic loses tatweel,
vowel marks and the difference between forms of alef. Latin letters lose case and accents.
"""

import bisect
import itertools
import unicodedata
from dataclasses import dataclass

_KANA_MARKS = {"\u3099", "\u309a"}
_ARABIC_LETTERS = {"ى": "ي", "ة": "ه", "ٱ": "ا", "ی": "ي", "ک": "ك"}
_TATWEEL = "\u0640"
_ARABIC_PREFIXES = ("وال", "بال", "كال", "فال", "لل", "ال")
_SHORTEST_ARABIC_STEM = 3
_CJK_STARTS = (0x3005, 0x3041, 0x31F0, 0x3400, 0xF900, 0x20000)
_CJK_ENDS = (0x3007, 0x312F, 0x31FF, 0x9FFF, 0xFAFF, 0x3FFFF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A folded word (or one CJK character) and where it stands in the text it came from."""

    text: str
    start: int
    end: int
    cjk: bool


def is_cjk(char: str) -> bool:
    """Return whether ``char`` is Han, Hiragana, Katakana or Bopomofo: written without spaces."""
    block = bisect.bisect_right(_CJK_STARTS, ord(char)) - 1
    return block >= 0 and ord(char) <= _CJK_ENDS[block]


def fold_char(char: str) -> str:
    """Return a character without case, width, accents and vowel marks; may be empty or longer."""
    folded = unicodedata.normalize("NFKC", char).casefold()
    out = []
    for part in folded:
        if is_cjk(part) or part in _KANA_MARKS:
            out.append(part)
            continue
        for base in unicodedata.normalize("NFD", part):
            if unicodedata.category(base) not in {"Mn", "Cf"} and base != _TATWEEL:
                out.append(_ARABIC_LETTERS.get(base, base))
    return "".join(out)


def fold(text: str) -> str:
    """Return ``text`` folded, for comparison only."""
    folded = "".join(map(fold_char, unicodedata.normalize("NFC", text)))
    return unicodedata.normalize("NFC", folded)


def tokens(text: str) -> list[Token]:
    """Return words and single CJK characters with their places in ``text``, in order."""
    out: list[Token] = []
    open_word = False
    for at, char in enumerate(text):
        folded = fold_char(char)
        last = out[-1] if out else None
        if not folded:
            if open_word and last is not None:  # a mark or tatweel inside a word belongs to it
                out[-1] = _longer(last, "", at)
        elif folded in _KANA_MARKS:
            if last is not None and last.cjk and last.end == at:
                out[-1] = _longer(last, folded, at)
            open_word = False
        elif all(is_cjk(part) or part in _KANA_MARKS for part in folded):
            text_of = unicodedata.normalize("NFC", folded)
            out.append(Token(text=text_of, start=at, end=at + 1, cjk=True))
            open_word = False
        elif not all(part.isalnum() for part in folded):
            open_word = False
        elif open_word and last is not None:
            out[-1] = _longer(last, folded, at)
        else:
            out.append(Token(text=folded, start=at, end=at + 1, cjk=False))
            open_word = True
    return out


def _longer(token: Token, more: str, at: int) -> Token:
    text = unicodedata.normalize("NFC", token.text + more) if token.cjk else token.text + more
    return Token(text=text, start=token.start, end=at + 1, cjk=token.cjk)


def terms(text: str, lang: str) -> list[str]:
    """Return the terms of ``text`` in order, as both the index and a query use them."""
    out: list[str] = []
    run: list[Token] = []
    for token in tokens(unicodedata.normalize("NFC", text)):
        if token.cjk and (not run or run[-1].end == token.start):
            run.append(token)
            continue
        out += _pairs(run)
        run = [token] if token.cjk else []
        if not token.cjk:
            out.append(_stem_arabic(token.text) if lang == "ar" else token.text)
    return out + _pairs(run)


def _pairs(run: list[Token]) -> list[str]:
    if len(run) == 1:
        return [run[0].text]
    return [a.text + b.text for a, b in itertools.pairwise(run)]


def _stem_arabic(word: str) -> str:
    for prefix in _ARABIC_PREFIXES:
        if word.startswith(prefix) and len(word) - len(prefix) >= _SHORTEST_ARABIC_STEM:
            return word[len(prefix) :]
    return word
