"""What in a text says something about a person: all recognisers together.

Covered: Chinese, English, Japanese and Arabic, with names and addresses; Spanish and German with
everything that has a form, street addresses, and names that a cue or a list knows. Not covered:
names without cue in lower case, nicknames, and what only knowledge of the person would tell.
"""

from collections.abc import Iterable

from shared.languages import detect_language
from store_node.samples.addresses import find_addresses
from store_node.samples.formats import find_formats
from store_node.samples.names import find_names
from store_node.samples.phones import find_phones
from store_node.samples.private import find_private
from store_node.samples.spans import Span, resolve
from store_node.samples.view import view

DETECTOR_VERSION = "1"


class Detector:
    """Finds spans; ``allow`` are terms that name no person: products, brands, a hotline."""

    def __init__(self, allow: Iterable[str] = ()) -> None:
        self._allow = tuple(
            sorted(
                {view(t).text.casefold() for t in allow if t.strip()}, key=lambda t: (-len(t), t)
            )
        )

    def detect(
        self, text: str, lang: str | None = None, *, private_terms: Iterable[str] = ()
    ) -> tuple[Span, ...]:
        """Return the spans of ``text`` in order, without overlap, positions in ``text`` itself.

        Args:
            text: any text, as it came.
            lang: its language code; ``None``: told from the text.
            private_terms: the customer's own; found whatever ``allow`` says.
        """
        seen = view(text)
        language = lang or detect_language(text)
        found = [
            *find_formats(seen.text),
            *find_phones(seen.text, language),
            *find_addresses(seen.text, language),
            *find_names(seen.text, language),
        ]
        spans = [span for span in found if not self._allowed(seen.text, span)]
        spans += find_private(seen.text, private_terms)
        return tuple(
            Span(*seen.original(span.start, span.end), span.label) for span in resolve(spans)
        )

    def _allowed(self, text: str, span: Span) -> bool:
        """Return whether an allowed term covers the whole span."""
        if not self._allow:
            return False
        lowered = text.casefold()
        if len(lowered) != len(text):
            lowered = text.lower()
        for term in self._allow:
            place = lowered.find(term, max(0, span.end - len(term)))
            if 0 <= place <= span.start and place + len(term) >= span.end:
                return True
        return False
