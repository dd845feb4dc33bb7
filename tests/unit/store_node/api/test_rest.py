"""``POST /v1/chat`` and the endpoints around it."""

from pathlib import Path

import pytest

from store_node.wiring import build_store
from tests.fakes import FakeEngine
from tests.shop import make_shop
from tests.testclient import TestClient


def ask(client: TestClient, query: str, user: str | None = None, session: str = "s") -> dict:
    context = {"session_id": session} | ({"user_id": user} if user else {})
    reply = client.post("/v1/chat", json={"query": query, "context": context})
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_a_price_comes_from_the_database_with_the_documented_shape(client: TestClient) -> None:
    body = ask(client, "How much is the Aurora keyboard, 2 of them?")
    assert set(body) == {
        "response",
        "entity_spans",
        "sources",
        "message_id",
        "release",
        "action",
    }
    assert set(body["response"]) == {"intent", "entities", "answer"}
    assert body["response"]["answer"].startswith(
        "The price of Aurora Mechanical Keyboard is 89.90 USD."
    )
    assert body["response"]["entities"] == ["Aurora", "2"]
    span = body["entity_spans"][0]
    assert (span["start"], span["end"], span["label"]) == (16, 22, "product")
    assert body["action"] == "continue"


def test_a_model_cannot_invent_a_price(client: TestClient, engine: FakeEngine) -> None:
    engine.reply = " It is only $5 today. Anything else?"
    answer = ask(client, "What is the price of the Breeze Office Keyboard?")["response"]["answer"]
    assert answer == "The price of Breeze Office Keyboard is 25.00 USD. Anything else?"


def test_knowledge_is_cited_in_the_language_of_the_question(client: TestClient) -> None:
    sources = ask(client, "怎么退货？")["sources"]
    assert [source["document_id"] for source in sources] == ["returns-zh"]
    assert sources[0]["position"] == 1
    assert sources[0]["document_name"] == "退货"
    assert sources[0]["content"].startswith("商品可在30天内退货")


def test_without_an_engine_the_rules_answer_and_say_so(
    client: TestClient, engine: FakeEngine
) -> None:
    engine.up = False
    body = ask(client, "Can I return goods?")
    assert body["release"] == "rules"
    assert body["response"]["answer"].startswith("You can return goods within 30 days.")
    assert (
        ask(client, "极光机械键盘多少钱？")["response"]["answer"]
        == "极光机械键盘的价格是599.00 CNY。"
    )
    assert client.get("/health/ready").status_code == 503
    assert client.get("/health/live").status_code == 200


def test_an_order_is_told_to_its_customer_only(client: TestClient) -> None:
    query = "Where is my order #W1002003?"
    own = ask(client, query, "c-1", "own")["response"]["answer"]
    assert own.startswith("Order #W1002003 (Aurora Mechanical Keyboard, 2 pcs")
    assert "SF998877" in own
    for user in ("c-2", None):
        other = ask(client, query, user, f"other-{user}")["response"]["answer"]
        assert other.startswith("I cannot find this order under your account.")
        assert "shipped" not in other


def test_a_session_of_someone_else_is_refused(client: TestClient) -> None:
    ask(client, "hello there", "c-1", "mine")
    reply = client.post(
        "/v1/chat", json={"query": "hi", "context": {"user_id": "c-2", "session_id": "mine"}}
    )
    assert reply.status_code == 403
    assert reply.json()["error"]["type"] == "permission_error"


@pytest.mark.parametrize(
    "query", ["I want to talk to a human", "转人工", "Quiero hablar con una persona"]
)
def test_asking_for_a_person_hands_over(client: TestClient, query: str) -> None:
    assert ask(client, query, session=query)["action"] == "handoff"


def test_a_sure_intent_hands_over_without_a_phrase(client: TestClient, engine: FakeEngine) -> None:
    engine.intent = "human_agent"
    body = ask(client, "this is going nowhere")
    assert (body["action"], body["response"]["intent"]) == ("handoff", "human_agent")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b'{"query": 5}', 400),
        (b'{"query": "  "}', 400),
        (b'{"query": "secret-word", "extra": 1}', 400),
        (b'{"query": "secret-word \\ud800"}', 400),
        (b'{"query": "' + b"secret-word" * 400 + b'"}', 400),
        (b'{"query": "' + b"x" * (1 << 20) + b'"}', 413),
    ],
)
def test_bad_requests_are_clear_and_do_not_repeat_the_words(
    client: TestClient, body: bytes, status: int
) -> None:
    reply = client.post("/v1/chat", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == status
    assert set(reply.json()["error"]) == {"message", "type", "code"}
    assert "secret-word" not in reply.text
    assert "Traceback" not in reply.text


def test_unknown_paths_and_methods_have_the_same_form(client: TestClient) -> None:
    assert client.get("/v1/nothing").json()["error"]["code"] == "not_found"
    assert client.get("/v1/chat").json()["error"]["code"] == "method_not_allowed"


def test_with_a_key_only_its_holders_are_answered(tmp_path: Path) -> None:
    settings = make_shop(tmp_path, api_key="let-me-in")
    with TestClient(build_store(tmp_path, settings, FakeEngine())) as client:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "let-me-in"}):
            reply = client.get("/v1/models", headers=headers)
            assert reply.status_code == 401
            assert reply.json()["error"]["code"] == "invalid_api_key"
        assert client.get("/health/live").status_code == 200
        good = {"Authorization": "Bearer let-me-in"}
        assert client.get("/v1/models", headers=good).status_code == 200


def test_metrics_name_store_language_and_release(client: TestClient) -> None:
    ask(client, "Can I return goods?", "c-1")
    text = client.get("/metrics").text
    assert 'storeweave_e2e_request_latency_seconds_count{lang="en",release="rel-fake"' in text
    assert "storeweave_time_to_first_token_seconds_bucket" in text
    assert 'storeweave_num_requests_running{store="s-1"} 0.0' in text
    assert "c-1" not in text
