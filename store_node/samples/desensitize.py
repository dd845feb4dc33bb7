"""The only maker of ``DesensitizedText``: real values out, surrogates in.

Desensitization is the second line of defence; it is no reason to train without differential
privacy.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Sequence

from shared.errors import BadInput
from shared.languages import detect_language
from shared.prompts import intent_prompt, intent_target, reply_prompt, reply_target
from shared.text import DesensitizedText, RawText, normalise, take_mint
from store_node.samples.detect import DETECTOR_VERSION, Detector
from store_node.samples.spans import Span
from store_node.samples.surrogates import Surrogates

POLICY_VERSION = "1"
_MINT = take_mint()
_LEAST_KEY = 16

__all__ = ["DETECTOR_VERSION", "POLICY_VERSION", "Desensitizer", "restore"]


class Desensitizer:
    """Masks texts of one store.

    Args:
        key: the store's secret for surrogates and digests, at least 16 bytes.
        allow: terms that name no person, such as products, brands and the store's own hotline.

    Raises:
        BadInput: the key is too short.
    """

    def __init__(self, key: bytes, allow: Iterable[str] = ()) -> None:
        if len(key) < _LEAST_KEY:
            raise BadInput(
                f"the key for surrogates has {len(key)} bytes",
                remedy=f"give at least {_LEAST_KEY} random bytes",
            )
        self._key = key
        self._detector = Detector(allow)

    def desensitize(
        self,
        text: RawText,
        lang: str | None = None,
        *,
        conversation_key: str,
        private_terms: Sequence[str] = (),
    ) -> tuple[DesensitizedText, tuple[Span, ...], str]:
        """Return the masked text, the spans of ``text`` that were masked, and their keyed digest.

        Args:
            text: the text as it came; spans are positions in it.
            lang: its language code; ``None``: told from the text.
            conversation_key: the same real value gets the same surrogate under the same key.
            private_terms: the customer's own terms, always masked.
        """
        language = lang or detect_language(text)
        spans = self._detector.detect(text, language, private_terms=private_terms)
        surrogates = Surrogates(self._key, conversation_key)
        pieces: list[str] = []
        place = 0
        for span in spans:
            pieces.append(text[place : span.start])
            pieces.append(surrogates.of(text[span.start : span.end], span.label, language))
            place = span.end
        pieces.append(text[place:])
        clean = normalise("".join(pieces))
        masked = [part for s in spans for part in (s.label, text[s.start : s.end])]
        return self._made(clean), spans, self._keyed("masked", masked)

    def reply_texts(
        self, turns: Sequence[tuple[str, DesensitizedText]], reply: DesensitizedText
    ) -> tuple[DesensitizedText, DesensitizedText]:
        """Return prompt and target of an agent's reply to the turns before it."""
        prompt = reply_prompt([(role, text.text) for role, text in turns])
        return self._made(prompt), self._made(reply_target(reply.text))

    def intent_texts(
        self, text: DesensitizedText, intent: str
    ) -> tuple[DesensitizedText, DesensitizedText]:
        """Return prompt and target of a labelled sentence; labels are the store's own words."""
        return self._made(intent_prompt(text.text)), self._made(intent_target(intent))

    def sample_id(self, *origin: str) -> str:
        """Return the id of the sample that comes from ``origin`` under this policy (keyed, hex)."""
        return self._keyed("sample", [POLICY_VERSION, *origin])[:40]

    def digest_of(self, digests: Sequence[str]) -> str:
        """Return one keyed digest for the digests of several texts."""
        return self._keyed("digests", list(digests))

    def _made(self, text: str) -> DesensitizedText:
        return DesensitizedText(text, POLICY_VERSION, _MINT)

    def _keyed(self, purpose: str, parts: list[str]) -> str:
        data = purpose.encode() + b"\0" + json.dumps(parts).encode()
        return hmac.new(self._key, data, hashlib.sha256).hexdigest()


def restore(text: str, policy_version: str) -> DesensitizedText:
    """Return text that :meth:`Desensitizer.desensitize` made earlier and the samples table kept.

    For the samples table's adapter only, when it reads back what it wrote.

    Raises:
        BadInput: ``policy_version`` is empty, so no policy can have made the text.
    """
    if not policy_version:
        raise BadInput("a stored sample names no policy version", remedy="delete the sample")
    return DesensitizedText(text, policy_version, _MINT)
