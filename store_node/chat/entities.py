"""Entities of a question, as they stand in it: products, order numbers, numbers."""

import re
from collections.abc import Sequence

from store_node.chat.model import EntitySpan
from store_node.ports import NamedProduct

PRODUCT = "product"
ORDER = "order"
NUMBER = "number"

# Look-arounds instead of \b: Chinese characters are word characters too.
_ASCII_EDGE = r"(?<![A-Za-z0-9_.#-])"
_ORDER = re.compile(
    _ASCII_EDGE
    + r"#?(?=[A-Za-z0-9-]{0,12}\d{3})[A-Za-z]{0,6}[-_]?\d[A-Za-z0-9]*(?:[-_][A-Za-z0-9]+)*"
)
_NUMBER = re.compile(r"\d+(?:[.,٫٬]\d+)*")
_FEWEST_BARE_DIGITS = 6
"""Digits alone are an order number only from this length on, or after a ``#``."""


def find_entities(text: str, products: Sequence[NamedProduct]) -> tuple[EntitySpan, ...]:
    """Return the entities in order of the text; spans do not overlap."""
    taken = bytearray(len(text))
    spans: list[EntitySpan] = []

    def add(start: int, end: int, label: str) -> None:
        if not any(taken[start:end]):
            taken[start:end] = b"\1" * (end - start)
            spans.append(EntitySpan(start=start, end=end, label=label, value=text[start:end]))

    for named in products:
        add(named.start, named.end, PRODUCT)
    for match in _ORDER.finditer(text):
        if _is_order(match.group()):
            add(match.start(), match.end(), ORDER)
    for match in _NUMBER.finditer(text):
        add(match.start(), match.end(), NUMBER)
    return tuple(sorted(spans, key=lambda span: span.start))


def _is_order(value: str) -> bool:
    bare = value.lstrip("#")
    if bare.isdigit():
        return value != bare or len(bare) >= _FEWEST_BARE_DIGITS
    return True
