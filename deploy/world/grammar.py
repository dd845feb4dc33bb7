"""A small template language that keeps track of where personal data lands in a sentence.

``[a|b|]`` chooses one alternative (they nest), ``{word}`` is a fragment or a value. A value with a
label is personal data; its span in the finished text is known exactly.
"""

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """What a slot stands for; ``label`` names the kind of personal data, or ``None``."""

    text: str
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Personal data at ``text[start:end]``."""

    start: int
    end: int
    label: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A finished sentence and the personal data in it."""

    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class _Slot:
    name: str


@dataclass(frozen=True, slots=True)
class _Choice:
    options: tuple["_Sequence", ...]


_Sequence = tuple[str | _Slot | _Choice, ...]


class TemplateError(ValueError):
    """A template is malformed or names a slot that nobody fills."""


@cache
def parse(template: str) -> _Sequence:
    """Return the parsed form of ``template``.

    Raises:
        TemplateError: a bracket or brace is not closed.
    """
    sequence, end = _sequence(template, 0, closing="")
    if end != len(template):
        raise TemplateError(f"unexpected {template[end]!r} at {end}: {template}")
    return sequence


def _sequence(text: str, at: int, *, closing: str) -> tuple[_Sequence, int]:
    parts: list[str | _Slot | _Choice] = []
    literal = ""
    while at < len(text) and text[at] not in closing:
        if text[at] == "{":
            end = text.find("}", at)
            if end < 0:
                raise TemplateError(f"unclosed brace at {at}: {text}")
            parts += [literal, _Slot(text[at + 1 : end])]
            literal, at = "", end + 1
        elif text[at] == "[":
            options: list[_Sequence] = []
            while True:
                option, at = _sequence(text, at + 1, closing="|]")
                options.append(option)
                if at >= len(text):
                    raise TemplateError(f"unclosed bracket: {text}")
                if text[at] == "]":
                    break
            parts += [literal, _Choice(tuple(options))]
            literal, at = "", at + 1
        else:
            literal += text[at]
            at += 1
    parts.append(literal)
    return tuple(part for part in parts if part != ""), at


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """Turns templates into lines with one source of chance."""

    chance: random.Random
    fragments: Mapping[str, str]
    """Templates that other templates name."""
    values: Mapping[str, Value]
    """Slots; they win over fragments of the same name."""

    def say(self, template: str, *, noise: Callable[[str], str] = str) -> Line:
        """Return one sentence; ``noise`` is laid over everything but personal data.

        Raises:
            TemplateError: a slot is unknown.
        """
        text = ""
        spans: list[Span] = []
        for value in _joined(self._values(parse(template))):
            start = len(text)
            text += value.text if value.label else noise(value.text)
            if value.label:
                span = Span(start=start, end=len(text), label=value.label, value=value.text)
                spans.append(span)
        return _trimmed(text, spans)

    def _values(self, sequence: _Sequence) -> Iterable[Value]:
        for part in sequence:
            if isinstance(part, str):
                yield Value(text=part)
            elif isinstance(part, _Choice):
                yield from self._values(self.chance.choice(part.options))
            elif part.name in self.values:
                yield self.values[part.name]
            elif part.name in self.fragments:
                yield from self._values(parse(self.fragments[part.name]))
            else:
                raise TemplateError(f"nobody fills {{{part.name}}}")


def _joined(values: Iterable[Value]) -> Iterable[Value]:
    """Join neighbours without a label, so that noise sees whole phrases."""
    plain = ""
    for value in values:
        if value.label is None:
            plain += value.text
            continue
        if plain:
            yield Value(text=plain)
            plain = ""
        yield value
    if plain:
        yield Value(text=plain)


def _trimmed(text: str, spans: list[Span]) -> Line:
    lead = len(text) - len(text.lstrip())
    moved = tuple(
        Span(start=s.start - lead, end=s.end - lead, label=s.label, value=s.value) for s in spans
    )
    return Line(text=text.strip(), spans=moved)
