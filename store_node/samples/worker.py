"""A conversation's way to training samples: judged, masked, checked, written exactly once."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from shared.formats import IntentRow
from shared.ids import CustomerKey
from shared.text import DesensitizedText, RawText
from store_node.ports import Conversations, Sample, Samples, StoredConversation
from store_node.samples.desensitize import DETECTOR_VERSION, POLICY_VERSION, Desensitizer
from store_node.samples.leaks import leaks
from store_node.samples.quality import QualityFilter, Reason

REPLIES_PER_CONVERSATION = 2
_LEAST_REPLY = 4
_ENOUGH_REPLY = 400
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a run of the worker did; stays in the store, since counts of customers are private."""

    conversations: int = 0
    intents: int = 0
    samples: int = 0
    """New samples written."""
    dropped: Mapping[str, int]
    """What was left out, by :class:`~store_node.samples.quality.Reason`."""


class _Tally:
    def __init__(self) -> None:
        self.conversations = 0
        self.intents = 0
        self.samples = 0
        self.dropped: Counter[str] = Counter()

    def counts(self) -> Counts:
        return Counts(
            conversations=self.conversations,
            intents=self.intents,
            samples=self.samples,
            dropped={str(name): n for name, n in sorted(self.dropped.items())},
        )


def process(
    conversations: Conversations,
    samples: Samples,
    desensitizer: Desensitizer,
    *,
    batch: int = 200,
    intents: bool = True,
    on_progress: Callable[[Counts], None] = lambda _: None,
) -> Counts:
    """Turn what has not gone through this policy yet into samples.

    May be stopped at any moment and started again: a sample's id follows from its origin, so
    nothing is written twice. A conversation that cannot be masked is dropped and counted; its words
    go nowhere. What the database raises is not caught: the batch is not marked and comes again.
    Labelled sentences are not marked; ``intents`` false leaves them out, where none is new.
    """
    tally = _Tally()
    quality = QualityFilter()
    while found := conversations.unprocessed(POLICY_VERSION, batch):
        made: list[Sample] = []
        for conversation in found:
            replies = partial(_replies, conversation, conversations, desensitizer, quality, tally)
            made += _guarded(tally, replies)
        tally.conversations += len(found)
        tally.samples += samples.add(made)
        conversations.mark_processed([c.conversation_id for c in found], POLICY_VERSION)
        on_progress(tally.counts())
    held: list[Sample] = []
    for customer, row in conversations.private_intents() if intents else ():
        intent = partial(_intent, customer, row, conversations, desensitizer, tally)
        held += _guarded(tally, intent)
        tally.intents += 1
        if len(held) >= batch:
            tally.samples += samples.add(held)
            held = []
            on_progress(tally.counts())
    if held:
        tally.samples += samples.add(held)
    on_progress(tally.counts())
    return tally.counts()


def _guarded(tally: _Tally, make: Callable[[], list[Sample]]) -> list[Sample]:
    """Return the samples, or none where making them failed: better no sample than a raw one."""
    try:
        return make()
    except Exception as error:
        # Only the type: the message of a foreign exception may quote the text.
        _log.warning("a conversation was dropped", extra={"reason": type(error).__name__})
        tally.dropped[Reason.FAILED] += 1
        return []


def _replies(
    conversation: StoredConversation,
    conversations: Conversations,
    desensitizer: Desensitizer,
    quality: QualityFilter,
    tally: _Tally,
) -> list[Sample]:
    reason = quality.refuse(conversation)
    if reason is not None:
        tally.dropped[reason] += 1
        return []
    terms = conversations.private_terms(conversation.customer)
    spoken = [m for m in conversation.messages if m.role in {"user", "assistant"}]
    chosen = best_replies([(m.role, m.content) for m in spoken])
    if not chosen:
        tally.dropped[Reason.TOO_SHORT] += 1
        return []
    turns: list[tuple[str, DesensitizedText]] = []
    digests: list[str] = []
    for message in spoken[: chosen[-1] + 1]:
        text, _, digest = desensitizer.desensitize(
            message.content,
            conversation.lang,
            conversation_key=conversation.conversation_id,
            private_terms=terms,
        )
        turns.append((message.role, text))
        digests.append(digest)
    made = []
    for index in chosen:
        prompt, target = desensitizer.reply_texts(turns[:index], turns[index][1])
        if leaks(prompt.text, terms) or leaks(target.text, terms):
            tally.dropped[Reason.LEAK] += 1
            continue
        made.append(
            Sample(
                sample_id=desensitizer.sample_id("reply", conversation.conversation_id, str(index)),
                customer=conversation.customer,
                lang=conversation.lang,
                kind="reply",
                prompt=prompt,
                target=target,
                detector_version=DETECTOR_VERSION,
                masked_digest=desensitizer.digest_of(digests[: index + 1]),
            )
        )
    return made


def best_replies(turns: Sequence[tuple[str, RawText]]) -> list[int]:
    """Return the places, in order, of at most two agent turns that say most after a customer's.

    Length is the measure, up to a point; of equals the later one, which has more before it.
    """
    first = next(
        (i for i, (role, text) in enumerate(turns) if role == "user" and text.strip()), None
    )
    if first is None:
        return []
    worth = [
        (min(len(text.strip()), _ENOUGH_REPLY), place)
        for place, (role, text) in enumerate(turns)
        if place > first and role == "assistant" and len(text.strip()) >= _LEAST_REPLY
    ]
    return sorted(place for _, place in sorted(worth, reverse=True)[:REPLIES_PER_CONVERSATION])


def _intent(
    customer: CustomerKey,
    row: IntentRow,
    conversations: Conversations,
    desensitizer: Desensitizer,
    tally: _Tally,
) -> list[Sample]:
    terms = conversations.private_terms(customer)
    text, _, digest = desensitizer.desensitize(
        RawText(row.text), row.lang, conversation_key=f"intent:{customer}", private_terms=terms
    )
    prompt, target = desensitizer.intent_texts(text, row.intent)
    if leaks(prompt.text, terms):
        tally.dropped[Reason.LEAK] += 1
        return []
    return [
        Sample(
            sample_id=desensitizer.sample_id("intent", customer, row.lang, row.text, row.intent),
            customer=customer,
            lang=row.lang,
            kind="intent",
            prompt=prompt,
            target=target,
            detector_version=DETECTOR_VERSION,
            masked_digest=digest,
        )
    ]
