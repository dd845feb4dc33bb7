"""Cuts sentences of a model that state a number or a fact which the store did not give it.

Sentence by sentence, so that a stream can be guarded while it runs. It guards what can be checked
without understanding: digits anywhere, amounts of money in words, and claims about topics that
only the database may speak of. Other wrong statements pass.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator

from store_node.chat.rules import speaks_of

_NUMBER = re.compile(r"\d+(?:[.,٫٬']\d+|[\u00a0\u202f ]\d{3}(?!\d))*")
_END = re.compile(r"[。！？；\n]+|[.!?؟](?=\s)")
_MONEY = re.compile(
    r"[$€£¥₹₽﷼]|\b(?:usd|eur|gbp|cny|rmb|jpy|sar|aed|egp|dollars?|euros?|pounds?|cents?|yuan|yen|"
    r"pesos?|riyals?|dirhams?|dólares|libras)\b|元|块|圆|円|美金|欧|ريال|درهم|دولار|جنيه|يورو",
    re.IGNORECASE,
)
_SPELLED = re.compile(
    r"[零〇一二两三四五六七八九十百千万億亿]|"
    r"\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|twenty|thirty|"
    r"forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|ein|zwei|drei|vier|fünf|sechs|"
    r"sieben|acht|neun|zehn|zwölf|\w*zig|\w*hundert|\w*tausend|uno|dos|tres|cuatro|cinco|seis|"
    r"siete|ocho|nueve|diez|veinte|treinta|cuarenta|cincuenta|cien|ciento|mil)\b|"
    r"عشر|عشرون|ثلاثون|أربعون|خمسون|مئة|مائة|ألف|خمسة|ستة|سبعة|ثمانية|تسعة|ثلاثة|أربعة",
    re.IGNORECASE,
)


def numbers_in(text: str) -> set[str]:
    """Return every number of ``text`` in one spelling: ASCII digits, no separators of thousands."""
    return {_canonical(match.group()) for match in _NUMBER.finditer(text)}


def _canonical(number: str) -> str:
    digits = "".join(
        str(unicodedata.digit(char)) if char.isdigit() else "." if char == "٫" else char
        for char in number
    )
    digits = re.sub(r"['\u00a0\u202f ٬]", "", digits)
    digits = re.sub(r",(?=\d{3}(?:\D|$))", "", digits).replace(",", ".")
    if digits.count(".") == 1:
        whole, _, rest = digits.partition(".")
        rest = rest.rstrip("0")
        digits = f"{whole}.{rest}" if rest else whole
    return digits.lstrip("0") or "0"


class Guard:
    """Decides about one sentence at a time.

    Args:
        known: texts of the store (facts, passages) whose numbers may be said, money included.
        asked: the customer's words, whose numbers may be repeated, but not as an amount of money.
        database_only: topics of which only sentences from the database may speak.
        lang: the language of the answer.
    """

    def __init__(
        self, *, known: Iterable[str], asked: str, database_only: frozenset[str], lang: str
    ) -> None:
        self._known_text = " ".join(known)
        self._known = numbers_in(self._known_text)
        self._asked = numbers_in(asked)
        self._database_only = database_only
        self._lang = lang

    def allows(self, sentence: str) -> bool:
        """Return whether the sentence may reach the customer."""
        if "\ufffd" in sentence or not any(char.isalnum() for char in sentence):
            return False
        said = numbers_in(sentence)
        if _MONEY.search(sentence):
            if not said <= self._known:
                return False
            if _SPELLED.search(sentence) and sentence.strip() not in self._known_text:
                return False
        elif not said <= self._known | self._asked:
            return False
        return not speaks_of(sentence, self._database_only, self._lang)


class SentenceBuffer:
    """Cuts a stream into sentences; what is not ended yet waits."""

    def __init__(self) -> None:
        self._held = ""

    def push(self, piece: str) -> Iterator[str]:
        """Add a piece; yield the sentences that are now complete, white space included."""
        self._held += piece
        start = 0
        for match in _END.finditer(self._held):
            end = match.end()
            # The end of a sentence is sure only when something follows it.
            if end < len(self._held) or match.group()[0] in "。！？；\n":
                yield self._held[start:end]
                start = end
        self._held = self._held[start:]

    def rest(self) -> str:
        """Return what is left at the end of the stream."""
        held, self._held = self._held, ""
        return held
