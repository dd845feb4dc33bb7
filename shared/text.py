"""Two kinds of text, so that the type checker keeps a customer's words away from training.

``RawText`` may hold anything about a person and never leaves the store. ``DesensitizedText`` can
be made only by :mod:`store_node.samples.desensitize`, which holds the mint; everything that trains
takes ``DesensitizedText``.
"""

import unicodedata
from dataclasses import dataclass
from typing import ClassVar, NewType

RawText = NewType("RawText", str)


def normalise(text: str) -> str:
    """Return NFC text without control characters other than newline and tab, trimmed."""
    kept = "".join(c for c in text if c in "\n\t" or unicodedata.category(c) != "Cc")
    # Only now: what stood apart because of a control character may compose.
    return unicodedata.normalize("NFC", kept).strip()


@dataclass(frozen=True, slots=True)
class DesensitizedText:
    """Text that went through desensitization; ``str()`` gives the text, ``repr()`` does not.

    Making one without the mint raises ``TypeError``; the mint is handed out once, at import of
    ``store_node.samples.desensitize``.
    """

    text: str
    policy_version: str
    mint: object

    _mint: ClassVar[object | None] = None

    def __post_init__(self) -> None:
        """Refuse any maker but the desensitizer."""
        if DesensitizedText._mint is None or self.mint is not DesensitizedText._mint:
            raise TypeError("only store_node.samples.desensitize can make DesensitizedText")

    def __str__(self) -> str:
        """Return the text."""
        return self.text

    def __repr__(self) -> str:
        """Name the type and length only: a repr may reach a log."""
        return f"DesensitizedText({len(self.text)} characters, policy {self.policy_version})"


def take_mint() -> object:
    """Return the right to make ``DesensitizedText``; a second call raises ``RuntimeError``."""
    if DesensitizedText._mint is not None:
        raise RuntimeError("the mint for DesensitizedText is already taken")
    DesensitizedText._mint = object()
    return DesensitizedText._mint
