"""The OpenAI-compatible surface."""

import json

from tests.fakes import FakeEngine
from tests.testclient import TestClient


def completion(client: TestClient, text: str, **more: object) -> object:
    body = {"model": "storeweave", "messages": [{"role": "user", "content": text}], **more}
    return client.post("/v1/chat/completions", json=body)


def test_a_completion(client: TestClient) -> None:
    reply = completion(client, "How much is the Aurora keyboard?", temperature=0.2)
    body = reply.json()
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"]["role"] == "assistant"
    assert "89.90 USD" in body["choices"][0]["message"]["content"]
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["total_tokens"] > 0


def test_a_stream_ends_with_done_and_usage_when_asked(client: TestClient) -> None:
    reply = completion(
        client, "Can I return goods?", stream=True, stream_options={"include_usage": True}
    )
    assert reply.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in reply.text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    text = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks[:-1])
    assert text.strip() == "Thank you."
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["usage"]["completion_tokens"] == 3


def test_the_callers_history_is_in_the_prompt(client: TestClient, engine: FakeEngine) -> None:
    messages = [
        {"role": "system", "content": "be nice"},
        {"role": "user", "content": "I bought a kettle"},
        {"role": "assistant", "content": "Good choice"},
        {"role": "user", "content": [{"type": "text", "text": "It leaks"}]},
    ]
    reply = client.post("/v1/chat/completions", json={"model": "storeweave", "messages": messages})
    assert reply.status_code == 200
    assert (
        "Customer: I bought a kettle\nAgent: Good choice\nCustomer: It leaks"
        in (engine.prompts[-1])
    )


def test_errors_have_openais_form(client: TestClient) -> None:
    body = {"model": "gpt-x", "messages": [{"role": "user", "content": "hi"}]}
    reply = client.post("/v1/chat/completions", json=body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")
    reply = completion(client, "", stream=True)
    assert reply.status_code == 400
    assert set(reply.json()["error"]) == {"message", "type", "code"}
    reply = client.post("/v1/chat/completions", json={"model": "storeweave", "messages": []})
    assert reply.status_code == 400


def test_models(client: TestClient) -> None:
    models = client.get("/v1/models").json()
    assert models["object"] == "list"
    assert models["data"][0]["id"] == "storeweave"
    assert models["data"][0]["object"] == "model"
