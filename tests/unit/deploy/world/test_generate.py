"""What users of a generated world rely on."""

import hashlib
import json
import time
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

import pytest

from deploy.world import World, generate
from deploy.world.grammar import parse
from deploy.world.people import LABELS, luhn
from deploy.world.texts import IntentTexts, language, store
from shared.errors import BadInput
from shared.formats import (
    CatalogRow,
    ConversationRow,
    CustomerRow,
    IntentRow,
    KnowledgeRow,
    OrderRow,
    read_rows,
)
from shared.intents import INTENTS

EVERY_STORE = ("hangzhou", "leeds", "amman", "osaka")
FILES = {
    "catalog": CatalogRow,
    "knowledge": KnowledgeRow,
    "conversations": ConversationRow,
    "intents": IntentRow,
    "customers": CustomerRow,
    "orders": OrderRow,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return generate(tmp_path_factory.mktemp("world"), seed=11, stores=EVERY_STORE)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        generate(tmp_path / name, seed=seed, customers=12)

    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert digests(tmp_path / "a") != digests(tmp_path / "c")


def test_a_world_of_three_stores_takes_less_than_three_seconds(tmp_path: Path) -> None:
    start = time.process_time()
    generate(tmp_path, seed=1)

    assert time.process_time() - start < 3


@pytest.mark.parametrize("name", EVERY_STORE)
def test_every_file_is_read_by_the_formats(world: World, name: str) -> None:
    folder = world.root / name

    assert (folder / "store.toml").is_file()
    for file, kind in FILES.items():
        rows = list(read_rows(folder / f"{file}.jsonl", kind))
        assert len(rows) >= 25, file


@pytest.mark.parametrize("name", EVERY_STORE)
def test_ids_are_unique_and_orders_point_at_customers_and_goods(world: World, name: str) -> None:
    shop = next(shop for shop in world.stores if shop.id == name)
    goods = {row.product_id for row in shop.catalog}
    people = {row.customer_id for row in shop.customers}

    assert len(goods) == len(shop.catalog)
    assert len(people) == 320 == shop.public_customers
    assert len({row.order_id for row in shop.orders}) == len(shop.orders)
    assert {row.product_id for row in shop.orders} <= goods
    assert {row.customer_id for row in shop.orders} == people
    assert {row.customer_id for row in shop.conversations} == people
    assert {row.customer_id for row in shop.intents if row.customer_id} == people
    texts = Counter(row.intent for row in shop.intents if not row.customer_id)
    assert texts == dict.fromkeys(INTENTS, 4)


def test_planted_values_stand_where_they_are_said_to_stand(world: World) -> None:
    rows = {row.conversation_id: row for shop in world.stores for row in shop.conversations}
    rows |= {row.conversation_id: row for row in (*world.gate_conversations, *world.tuning)}
    seen: Counter[str] = Counter()
    for conversation_id, planted in world.planted.items():
        for value in planted:
            content = rows[conversation_id].messages[value.message].content
            assert content[value.start : value.end] == value.value != ""
            seen[value.label] += 1

    assert set(seen) == set(LABELS)
    assert seen["name"] > 500
    assert seen["plate"] < 100


def test_text_is_nfc_and_no_slot_is_left_open(world: World) -> None:
    for path in world.root.rglob("*.jsonl"):
        text = path.read_text(encoding="utf-8")
        assert unicodedata.is_normalized("NFC", text)
        for line in text.splitlines():
            row = json.loads(line)
            said = [m["content"] for m in row.get("messages", [])] + [row.get("text", "")]
            assert not any(mark in words for words in said for mark in "{}[]|")


def test_the_gate_is_held_back_from_every_store(world: World) -> None:
    sentences = {row.text for shop in world.stores for row in shop.intents}
    people = {row.name for shop in world.stores for row in shop.customers}
    per_language = Counter(row.lang for row in world.gate_intents)

    assert per_language == dict.fromkeys(("zh", "en", "ar", "ja"), 84)
    assert Counter(row.lang for row in world.gate_conversations) == dict.fromkeys(per_language, 60)
    assert not sentences & {row.text for row in world.gate_intents}
    named = {v.value for k, vs in world.planted.items() if k.startswith("hq-") for v in vs}
    assert not people & named


def test_stores_differ_in_what_they_are_asked(world: World) -> None:
    asked = {
        shop.id: Counter(row.intent for row in shop.intents if row.customer_id)
        for shop in world.stores
    }

    assert asked["leeds"]["returns"] > 2 * asked["amman"]["returns"]
    assert asked["amman"]["promotions"] > 1.5 * asked["leeds"]["promotions"]


@pytest.mark.parametrize("lang", ["zh", "en", "ar", "ja"])
def test_replies_vary_by_the_dozen_for_each_intent(lang: str) -> None:
    texts = language(lang)
    fragments = {**texts.fragments, "hi": texts.fragments["hi_unknown"]}
    for name, intent in texts.intents.items():
        assert sum(ways(parse(text), fragments) for text in intent.replies) >= 48, name
        assert sum(ways(parse(text), fragments) for text in intent.asks) >= 10, name


def ways(sequence: tuple[object, ...], fragments: Mapping[str, str]) -> int:
    count = 1
    for part in sequence:
        if options := getattr(part, "options", None):
            count *= sum(ways(option, fragments) for option in options)
        elif (fragment := fragments.get(getattr(part, "name", ""))) is not None:
            count *= ways(parse(fragment), fragments)
    return count


@pytest.mark.parametrize("lang", ["zh", "en", "ar", "ja"])
def test_every_fit_points_at_a_reply(lang: str) -> None:
    for intent in language(lang).intents.values():
        _check_fits(intent)


def _check_fits(intent: IntentTexts) -> None:
    assert not intent.fits or len(intent.fits) == len(intent.opens)
    for opening in range(-1, len(intent.opens)):
        assert intent.replies_to(opening)
        assert set(intent.more_after(opening)) <= set(intent.more)


def test_replies_are_short_and_differ_between_customers(world: World) -> None:
    replies: defaultdict[str, list[str]] = defaultdict(list)
    for shop in world.stores:
        for row in shop.conversations:
            assert 2 <= len(row.messages) <= 6
            assert row.messages[-1].role == "assistant"
            replies[shop.id] += [m.content for m in row.messages if m.role == "assistant"]
    for said in replies.values():
        assert max(map(len, said)) < 300
        assert len(set(said)) > 0.6 * len(said)


def test_a_few_customers_do_not_consent(world: World) -> None:
    for shop in world.stores:
        refused = sum(row.consent is False for row in shop.conversations)
        assert 0.01 < refused / len(shop.conversations) < 0.09


def test_unknown_and_doubled_stores_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no store"):
        generate(tmp_path, seed=1, stores=("atlantis",))
    with pytest.raises(BadInput, match="named once"):
        generate(tmp_path, seed=1, stores=("leeds", "leeds"))
    with pytest.raises(BadInput, match="at least 1"):
        generate(tmp_path, seed=1, customers=0)


def test_card_numbers_carry_a_right_check_digit() -> None:
    assert luhn("7992739871") == "79927398713"


def test_goods_and_policies_are_complete() -> None:
    for name in EVERY_STORE:
        texts = store(name)
        assert set(texts.mix) == set(INTENTS)
        assert 36 <= sum(len(goods.variants) for goods in texts.goods) <= 44
