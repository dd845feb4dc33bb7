"""Converters of public sets, on made-up slices in the sets' formats, and on the sets if present."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from shared.errors import BadInput, Unavailable
from shared.formats import (
    CatalogRow,
    ConversationRow,
    CustomerRow,
    IntentRow,
    KnowledgeRow,
    OrderRow,
    read_rows,
)
from tests.benchmarks.converters import convert_all, crosswoz, eshop, intents_only, tau
from tests.benchmarks.converters.__main__ import main
from tests.benchmarks.converters.layout import Limits, dialogue, held_back, shorten
from tests.benchmarks.converters.source import ORIGINS, data_root

KINDS = {
    "catalog": CatalogRow,
    "knowledge": KnowledgeRow,
    "conversations": ConversationRow,
    "intents": IntentRow,
    "customers": CustomerRow,
    "orders": OrderRow,
}


def put(path: Path, rows: Sequence[Mapping[str, object]] | Mapping[str, object] | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(rows, str):
        path.write_text(rows, encoding="utf-8")
    elif isinstance(rows, Mapping):
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def said(*turns: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


def read_all(folder: Path) -> dict[str, int]:
    return {
        name: len(list(read_rows(folder / f"{name}.jsonl", kind))) for name, kind in KINDS.items()
    }


@pytest.fixture
def tau_source(tmp_path: Path) -> Path:
    folder = tmp_path / "source" / "tau_retail_en"
    kept, gone = "mira_stone_1234", "odd_one_0000"
    talks = [
        {
            "id": number,
            "lang": "en",
            "messages": said(
                ("user", "Where is my lamp?"),
                ("tool", user),
                ("assistant", "On its way."),
                ("user", "Thanks ###STOP###"),
            ),
        }
        for number, user in enumerate((kept, gone, kept))
    ]
    talks.append({"id": 9, "lang": "en", "messages": said(("user", "Anybody?"))})
    put(folder / "dialogues.train.jsonl", talks)
    variant = {"item_id": "11", "options": {"color": "red"}, "available": False, "price": 9.5}
    put(folder / "products.json", {"1": {"name": "Lamp", "variants": {"11": variant}}})
    place = {"address1": "1 Road", "address2": "", "city": "Town", "zip": "00000"}
    person = {"first_name": "Mira", "last_name": "Stone"}
    put(folder / "users.json", {kept: {"name": person, "address": place, "email": "m@example.com"}})
    order = {
        "order_id": "#W1",
        "user_id": kept,
        "status": "delivered",
        "items": [{"item_id": "11"}, {"item_id": "11"}],
        "fulfillments": [{"tracking_id": ["77"], "item_ids": ["11"]}],
    }
    put(folder / "orders.json", {"#W1": order})
    put(folder / "policy.md", "# Policy\n\nBe kind.\n\n## Returns\n\n- Within a week.\n")
    return tmp_path / "source"


def test_tau_dialogues_belong_to_the_user_that_the_tools_name(
    tau_source: Path, tmp_path: Path
) -> None:
    store = tau.convert(tau_source, tmp_path / "out", limits=Limits())

    assert read_all(tmp_path / "out" / "tau") == {
        "catalog": 1,
        "knowledge": 2,
        "conversations": len(store.conversations),
        "intents": 0,
        "customers": 1,
        "orders": 2,
    }
    everybody = (*store.conversations, *store.gate_conversations)
    assert len(everybody) == 3
    assert {row.customer_id for row in everybody} == {"mira_stone_1234", "odd_one_0000"}
    assert [m.content for m in everybody[0].messages] == ["Where is my lamp?", "On its way."]
    assert [row.order_id for row in store.orders] == ["#W1", "#W1-2"]
    assert store.catalog[0].stock == 0
    assert [row.title for row in store.knowledge] == ["Policy", "Returns"]


def test_a_tau_customer_is_never_both_at_the_store_and_in_the_gate(tau_source: Path) -> None:
    store = tau.read(tau_source, limits=Limits())

    at_store = {row.customer_id for row in store.conversations}
    assert not at_store & {row.customer_id for row in store.gate_conversations}


def test_eshop_tickets_become_conversations_and_intents(tmp_path: Path) -> None:
    folder = tmp_path / "source" / "eshop_support"
    ticket = {
        "id": 1,
        "product_id": 3,
        "customer": "Ada Reed",
        "type": "Returns",
        "satisfaction": 6,
        "messages": said(("user", "It broke."), ("assistant", "Sorry! We replace it.")),
    }
    put(folder / "tickets.train.jsonl", [ticket])
    put(folder / "tickets.dev.jsonl", [ticket, ticket | {"id": 2, "customer": "Bo Lind"}])
    goods = {"product_id": 3, "name": "Tent", "price": 80, "currency": "USD"}
    about = {"category": "c", "brand": "b", "description": "d"}
    put(folder / "products.jsonl", [goods | about])
    put(folder / "manual_chunks.jsonl", [{"_id": "m1", "title": "Tent", "text": "Pitch\nit."}])

    store = eshop.convert(tmp_path / "source", tmp_path / "out")

    assert store.conversations[0].csat == 6
    assert store.intents[0].intent == "returns"
    assert store.intents[0].customer_id == store.customers[0].customer_id == "eshop-ada-reed"
    assert [row.customer_id for row in store.gate_conversations] == ["eshop-bo-lind"]
    assert [row.customer_id for row in store.gate_intents] == [None]
    assert read_all(tmp_path / "out" / "eshop")["knowledge"] == 1
    gate = tmp_path / "out" / "hq"
    assert len(list(read_rows(gate / "conversations.jsonl", ConversationRow))) == 1


def test_crosswoz_dialogues_are_split_by_hash_and_entities_become_passages(tmp_path: Path) -> None:
    folder = tmp_path / "source" / "crosswoz_zh"
    talk = said(("user", "附近有面馆吗？"), ("assistant", "有一家。"))
    put(folder / "dialogues.dev.jsonl", [{"id": str(n), "messages": talk} for n in range(60)])
    fields = {"名称": "小面馆", "电话": None, "推荐菜": [str(n) for n in range(30)]}
    put(folder / "kb.jsonl", [{"_id": "r:1", "title": "小面馆", "fields": fields}])

    store = crosswoz.convert(tmp_path / "source", tmp_path / "out")

    assert len(store.conversations) + len(store.gate_conversations) == 60
    assert 2 <= len(store.gate_conversations) <= 25
    assert store.knowledge[0].text == "名称：小面馆；推荐菜：0、1、2、3、4、5、6、7、8、9"


def test_intent_sets_give_each_row_its_customer_and_keep_some_public(tmp_path: Path) -> None:
    folder = tmp_path / "source" / "xsid07"
    train = [{"text": f"rain {n}?", "intent": "weather/find"} for n in range(6)]
    put(folder / "ja.train.jsonl", train)
    put(folder / "ja.dev.jsonl", [{"text": "sun?", "intent": "weather/find"}, train[0]])

    store = intents_only.convert(tmp_path / "source", tmp_path / "out", folder="xsid07", lang="ja")

    assert [row.customer_id for row in store.intents[:5]] == [None] * 4 + ["xsid-ja-c5"]
    assert [row.text for row in store.gate_intents] == ["sun?"]
    about = tomllib.loads((tmp_path / "out" / "xsid-ja" / "store.toml").read_text("utf-8"))
    assert about["public_customers"] == 0


def test_missing_data_says_what_and_where_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Unavailable, match="tau_retail_en lacks users"):
        tau.read(tmp_path, limits=Limits())

    monkeypatch.setenv("STOREWEAVE_DATA", str(tmp_path))
    assert main([str(tmp_path / "out"), "--sets", "crosswoz"]) == int(Unavailable.exit_code)
    assert ORIGINS["crosswoz_zh"] in capsys.readouterr().err


def test_unknown_sets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such set"):
        convert_all(tmp_path, sets=("nowhere",))


def test_messages_are_joined_trimmed_and_cut_behind_a_sentence() -> None:
    turns = [
        ("assistant", "Hello"),
        ("user", "one"),
        ("user", " two\n"),
        ("assistant", "First. Second sentence is long."),
        ("user", "bye"),
    ]

    rows = dialogue(turns, max_chars=10)

    assert [(row.role, row.content) for row in rows] == [
        ("user", "one two"),
        ("assistant", "First."),
    ]
    assert dialogue([("user", "anybody?")], max_chars=0) == ()
    assert shorten("一二三。四五六", 5) == "一二三。"
    assert shorten("abc def ghi", 9) == "abc def"


def test_the_split_by_hash_is_stable_and_near_its_share() -> None:
    held = [n for n in range(2000) if held_back(str(n), share=0.2)]

    assert held == [n for n in range(2000) if held_back(str(n), share=0.2)]
    assert 300 < len(held) < 500


def test_the_real_sets_convert_whole(tmp_path: Path) -> None:
    missing = [name for name in ORIGINS if not (data_root() / name).is_dir()]
    if missing:
        pytest.skip(
            f"public sets {', '.join(missing)} are not in {data_root()}: set STOREWEAVE_DATA"
        )
    stores = convert_all(tmp_path, limits=Limits(store_rows=50, gate_rows=20))

    assert len(stores) == 7
    for store in stores:
        counted = read_all(tmp_path / store.id)
        assert counted["conversations"] + counted["intents"] > 40 - 20 * (store.id == "tau")
    gate = list(read_rows(tmp_path / "hq" / "conversations.jsonl", ConversationRow))
    assert {row.lang for row in gate} == {"en", "zh"}
