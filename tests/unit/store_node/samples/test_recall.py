"""How much of what is planted is masked: in the synthetic world, and in public data."""

import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from deploy.world.generate import World, generate
from store_node.samples.detect import Detector

DETECTOR = Detector()
DATA = Path(os.environ.get("STOREWEAVE_DATA", Path(__file__).parents[5] / "shared" / "data"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return generate(tmp_path_factory.mktemp("world"), seed=11, customers=25)


def covered(
    text: str, lang: str, spans: Iterable[tuple[int, int]], terms: tuple[str, ...] = ()
) -> tuple[list[bool], int]:
    """Return for each span whether all its letters and digits are masked, and what else is."""
    masked = {
        i
        for s in DETECTOR.detect(text, lang, private_terms=terms)
        for i in range(s.start, s.end)
        if text[i].isalnum()
    }
    wanted = [{i for i in range(a, b) if text[i].isalnum()} for a, b in spans]
    return [want <= masked for want in wanted], len(masked.difference(*wanted))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_synthetic_worlds_planted_values_are_masked(world: World, place: int) -> None:
    shop = world.stores[place]
    people = {row.customer_id: row for row in shop.customers}
    found: Counter[str] = Counter()
    total: Counter[str] = Counter()
    other = length = 0
    for talk in shop.conversations:
        who = people[talk.customer_id]
        terms = tuple(t for t in (who.name, who.phone, who.email, who.address) if t)
        for number, message in enumerate(talk.messages):
            # A name's title ("Ms", "女士", "أستاذ") may stay: it names no one.
            here = [
                p
                for p in world.planted.get(talk.conversation_id, ())
                if p.message == number and not _titled(p.value)
            ]
            hits, more = covered(
                message.content, talk.lang, [(p.start, p.end) for p in here], terms
            )
            total.update(p.label for p in here)
            found.update(p.label for p, hit in zip(here, hits, strict=True) if hit)
            titled = sum(
                len(p.value)
                for p in world.planted.get(talk.conversation_id, ())
                if p.message == number and _titled(p.value)
            )
            other += max(0, more - titled)
            length += len(message.content)
    missed = {label: (found[label], total[label]) for label in total if found[label] < total[label]}
    assert sum(found.values()) >= 0.98 * sum(total.values()), missed
    assert other <= 0.01 * length


def _titled(value: str) -> bool:
    starts = ("Mr ", "Ms ", "Mrs ", "Miss ", "Dr ", "أستاذ", "السيد", "آنسة", "سيد")
    return value.startswith(starts) or value.endswith(("先生", "女士", "小姐"))


@pytest.mark.parametrize(
    ("name", "floors"),
    [
        (
            "pii_en_presidio/dev.jsonl",
            {
                "CREDIT_CARD": 0.99,
                "EMAIL_ADDRESS": 0.99,
                "PHONE_NUMBER": 0.9,
                "US_SSN": 0.99,
                "IBAN_CODE": 0.85,
                "STREET_ADDRESS": 0.7,
                "PERSON": 0.55,
            },
        ),
        (
            "tau_retail_en/pii_spans.dev.jsonl",
            {
                "EMAIL": 0.99,
                "ORDER_ID": 0.99,
                "PAYMENT_ID": 0.99,
                "USER_ID": 0.99,
                "PERSON": 0.9,
                "ADDRESS": 0.9,
                "ZIP": 0.9,
            },
        ),
    ],
)
def test_recall_on_public_data_does_not_fall(name: str, floors: dict[str, float]) -> None:
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"{name} is absent: set STOREWEAVE_DATA")
    found: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        hits, _ = covered(row["text"], row["lang"], [(s["start"], s["end"]) for s in row["spans"]])
        total.update(s["label"] for s in row["spans"])
        found.update(s["label"] for s, hit in zip(row["spans"], hits, strict=True) if hit)
    recall = {label: round(found[label] / total[label], 3) for label in floors}
    assert all(recall[label] >= floor for label, floor in floors.items()), recall
