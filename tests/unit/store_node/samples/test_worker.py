"""The worker: exactly once, nothing raw, every refusal counted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from shared.formats import IntentRow
from shared.ids import CustomerKey
from shared.text import RawText
from store_node.ports import Sample, StoredConversation, StoredMessage
from store_node.samples.desensitize import POLICY_VERSION, Desensitizer
from store_node.samples.leaks import leaks
from store_node.samples.worker import best_replies, process

MASKER = Desensitizer(b"k" * 32)
ANN = CustomerKey("ann")


@dataclass
class FakeConversations:
    """Conversations in memory."""

    rows: list[StoredConversation]
    terms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    intents: list[tuple[CustomerKey, IntentRow]] = field(default_factory=list)
    done: set[str] = field(default_factory=set)

    def unprocessed(self, policy_version: str, limit: int) -> list[StoredConversation]:
        assert policy_version == POLICY_VERSION
        return [row for row in self.rows if row.conversation_id not in self.done][:limit]

    def mark_processed(self, conversation_ids: Sequence[str], policy_version: str) -> None:
        self.done.update(conversation_ids)

    def private_terms(self, customer: CustomerKey) -> tuple[str, ...]:
        return self.terms.get(customer, ())

    def private_intents(self) -> Iterator[tuple[CustomerKey, IntentRow]]:
        return iter(self.intents)


@dataclass
class FakeSamples:
    """Samples in memory."""

    kept: dict[str, Sample] = field(default_factory=dict)

    def add(self, samples: Sequence[Sample]) -> int:
        new = {s.sample_id: s for s in samples if s.sample_id not in self.kept}
        self.kept |= new
        return len(new)

    def all(self) -> Iterator[Sample]:
        return iter(self.kept.values())

    def stats(self) -> Mapping[str, int]:
        return {"samples": len(self.kept)}

    def forget(self, customer: CustomerKey) -> int:
        return 0


def conversation(
    name: str, *turns: str, customer: CustomerKey = ANN, consent: bool | None = None
) -> StoredConversation:
    return StoredConversation(
        conversation_id=name,
        customer=customer,
        lang="en",
        consent=consent,
        csat=None,
        messages=tuple(
            StoredMessage(
                message_id=f"{name}-{i}",
                role="user" if i % 2 == 0 else "assistant",
                content=RawText(text),
                created=datetime(2026, 1, 1, tzinfo=UTC),
            )
            for i, text in enumerate(turns)
        ),
    )


TALK = ("I am Ann Walden, where is order #W4923227?", "It left today, Ann, and comes on Monday.")


def test_a_conversation_becomes_a_masked_sample() -> None:
    source = FakeConversations([conversation("c1", *TALK)], {ANN: ("Ann Walden",)})
    samples = FakeSamples()
    counts = process(source, samples, MASKER)
    (sample,) = samples.kept.values()
    assert counts.samples == 1
    assert sample.kind == "reply"
    assert sample.prompt.text.startswith("Customer: I am ")
    assert sample.prompt.text.endswith("\nAgent:")
    assert sample.target.text.startswith(" It left today, ")
    for text in (sample.prompt.text, sample.target.text):
        assert "Ann" not in text.split()
        assert "Walden" not in text
        assert "W4923227" not in text


def test_running_again_writes_nothing_twice() -> None:
    rows = [conversation(f"c{i}", *TALK, customer=CustomerKey(f"u{i}")) for i in range(5)]
    row = IntentRow(text="where is my parcel", lang="en", intent="order_status")
    source = FakeConversations(rows, intents=[(ANN, row)])
    samples = FakeSamples()
    first = process(source, samples, MASKER, batch=2)
    source.done.discard("c3")  # as after a crash between writing and marking
    second = process(source, samples, MASKER)
    assert first.samples == 6
    assert second.samples == 0
    assert len(samples.kept) == 6


def test_an_intent_becomes_a_sample_in_the_common_form() -> None:
    row = IntentRow(text="Ann here, where is it?", lang="en", intent="order_status")
    samples = FakeSamples()
    process(FakeConversations([], {ANN: ("Ann Walden",)}, [(ANN, row)]), samples, MASKER)
    (sample,) = samples.kept.values()
    assert sample.target.text == " order status\n"
    assert sample.prompt.text.endswith("\nTopic of the message:")
    assert "Ann" not in sample.prompt.text


def test_every_refusal_is_counted_by_reason() -> None:
    rows = [
        conversation("no", *TALK, consent=False),
        conversation("alone", "hello, is somebody there?"),
        conversation("short", "a", "b"),
        conversation("long", "x " * 40_000, "y"),
        conversation("good", *TALK),
        conversation("again", *(t.upper() for t in TALK)),
        conversation("other", *TALK, customer=CustomerKey("bob")),
    ]
    counts = process(FakeConversations(rows), FakeSamples(), MASKER)
    assert counts.conversations == 7
    assert counts.samples == 2
    assert counts.dropped == {
        "no_consent": 1,
        "no_reply": 1,
        "too_short": 1,
        "too_long": 1,
        "duplicate": 1,
    }


def test_a_conversation_that_cannot_be_masked_is_dropped_and_its_words_go_nowhere(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = Desensitizer.desensitize

    def sometimes(self: Desensitizer, text: RawText, *args: object, **more: object) -> object:
        if "poison" in text:
            raise ValueError(f"cannot mask {text}")
        return real(self, text, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Desensitizer, "desensitize", sometimes)
    rows = [conversation("bad", "poison Walden", "what do you mean?"), conversation("good", *TALK)]
    samples = FakeSamples()
    counts = process(FakeConversations(rows), samples, MASKER)
    assert counts.dropped == {"failed": 1}
    assert len(samples.kept) == 1
    assert "ValueError" in str([vars(r) for r in caplog.records])
    assert "Walden" not in caplog.text


def test_the_second_look_drops_what_the_first_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store_node.samples.detect.find_private", lambda text, terms: ())
    source = FakeConversations(
        [conversation("c", "my cat walden is hungry", "We sell cat food for walden.")],
        {ANN: ("Ann Walden", "Walden")},
    )
    samples = FakeSamples()
    counts = process(source, samples, MASKER)
    assert counts.dropped == {"leak": 1}
    assert samples.kept == {}


@pytest.mark.parametrize(
    ("text", "terms", "leaking"),
    [
        ("call 138-0013 8000", ("+86 13800138000",), True),
        ("一三八〇〇一三八〇〇〇", ("13800138000",), True),
        ("在中关村大街住", ("北京市海淀区中关村大街27号",), True),
        ("王建国在吗", ("王建国",), True),
        ("will it come on monday?", ("Will Monk",), False),
        ("the blue one, 20 pieces", ("Ann Walden", "12 Rosewood Crescent"), False),
    ],
)
def test_leaks(text: str, terms: tuple[str, ...], leaking: bool) -> None:
    assert leaks(text, terms) is leaking


def test_the_two_replies_that_say_most_are_chosen() -> None:
    turns = [
        ("assistant", "Welcome to the shop, how can I help?"),
        ("user", "hi"),
        ("assistant", "Hello."),
        ("user", "price?"),
        ("assistant", "It costs ten euros with delivery."),
        ("user", "ok"),
        ("assistant", "Shall I put it in the basket for you?"),
    ]
    assert best_replies([(role, RawText(text)) for role, text in turns]) == [4, 6]
    assert best_replies([("assistant", RawText("nobody asked anything"))]) == []
