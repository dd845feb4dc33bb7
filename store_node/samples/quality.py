"""Which conversations are worth learning from; each refusal has a reason that is counted."""

import hashlib
from enum import StrEnum

from shared.text import normalise
from store_node.ports import StoredConversation

LEAST_CHARACTERS = 8
MOST_CHARACTERS = 50_000


class Reason(StrEnum):
    """Why a conversation or a sample was left out."""

    NO_CONSENT = "no_consent"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    NO_REPLY = "no_reply"
    DUPLICATE = "duplicate"
    LEAK = "leak"
    FAILED = "failed"


class QualityFilter:
    """Refuses what should not be learned from.

    Duplicates are looked for among one customer's own conversations only: were another customer's
    looked at, adding or removing that customer would change this one's samples, and the privacy
    unit would no longer be the customer.
    """

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def refuse(self, conversation: StoredConversation) -> Reason | None:
        """Return why the conversation is left out, or ``None`` if it is good."""
        if conversation.consent is False:
            return Reason.NO_CONSENT
        spoken = [m for m in conversation.messages if m.role in {"user", "assistant"}]
        if not any(m.role == "assistant" and m.content.strip() for m in spoken):
            return Reason.NO_REPLY
        length = sum(len(m.content) for m in spoken)
        if length < LEAST_CHARACTERS:
            return Reason.TOO_SHORT
        if length > MOST_CHARACTERS:
            return Reason.TOO_LONG
        return Reason.DUPLICATE if self._repeated(conversation) else None

    def _repeated(self, conversation: StoredConversation) -> bool:
        text = "\0".join(
            f"{m.role}\0{' '.join(normalise(m.content).casefold().split())}"
            for m in conversation.messages
        )
        seen = f"{conversation.customer}\0{text}".encode("utf-8", "surrogatepass")
        digest = hashlib.sha256(seen).digest()
        if digest in self._seen:
            return True
        self._seen.add(digest)
        return False
