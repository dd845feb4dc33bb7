"""A place in a text, and how overlapping places become one."""

from collections.abc import Iterable
from dataclasses import dataclass

_TELLING = (
    "NATIONAL_ID",
    "IP",
    "IBAN",
    "EMAIL",
    "CARD",
    "TRACKING",
    "PHONE",
    "ORDER_ID",
    "ADDRESS",
    "PERSON",
)
"""Of labels for the same characters, the first says most."""


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Characters ``start`` to ``end`` (exclusive, in code points) that tell about a person."""

    start: int
    end: int
    label: str

    @property
    def length(self) -> int:
        """Number of characters."""
        return self.end - self.start


def resolve(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return spans in order that do not overlap and cover all that the given ones cover.

    The longest of overlapping spans keeps its place and label; what a shorter one covers beyond it
    stays covered, as a span of its own. So resolving never uncovers a character.
    """
    kept: list[Span] = []
    for span in sorted(set(spans), key=lambda s: (-s.length, s.start, _rank(s.label), s.label)):
        pieces = [span]
        for other in kept:
            pieces = [rest for piece in pieces for rest in _outside(piece, other)]
        kept.extend(pieces)
    return tuple(sorted(kept))


def _rank(label: str) -> int:
    if label == "PRIVATE":
        return len(_TELLING) + 1
    return _TELLING.index(label) if label in _TELLING else len(_TELLING)


def _outside(span: Span, other: Span) -> list[Span]:
    if span.end <= other.start or other.end <= span.start:
        return [span]
    rests = [Span(span.start, other.start, span.label), Span(other.end, span.end, span.label)]
    return [rest for rest in rests if rest.length > 0]
