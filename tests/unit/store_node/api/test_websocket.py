"""One chat over ``/v1/ws``."""

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.websockets import WebSocketDisconnect

from shared.errors import IllegalMove
from store_node.api.app import AppParts, make_app
from store_node.api.metrics import Metrics
from store_node.api.websocket import MAX_FRAME_BYTES, MOST_BAD_FRAMES, MOVES, State, move
from store_node.wiring import build_store, make_service, opened
from tests.fakes import FakeEngine
from tests.shop import make_shop
from tests.testclient import TestClient, WebSocketTestSession


def say(socket: WebSocketTestSession, event: str, **data: object) -> None:
    socket.send_text(json.dumps({"event": event, "data": data}))


def hear(socket: WebSocketTestSession) -> tuple[str, dict[str, Any]]:
    frame = json.loads(socket.receive_text())
    assert set(frame) == {"event", "data"}
    return frame["event"], frame["data"]


def until(socket: WebSocketTestSession, wanted: str) -> tuple[dict[str, Any], list[str]]:
    before = []
    while True:
        event, data = hear(socket)
        if event == wanted:
            return data, before
        before.append(event)


def start(socket: WebSocketTestSession, session: str = "s", **more: object) -> dict[str, Any]:
    say(socket, "session.start", session_id=session, **more)
    return until(socket, "session.started")[0]


def test_an_answer_is_streamed_and_then_final(client: TestClient, engine: FakeEngine) -> None:
    engine.reply = " Yes. You can return it within 30 days."
    with client.websocket_connect("/v1/ws") as socket:
        assert start(socket)["session_id"] == "s"
        say(socket, "message.created", client_id="m1", content="Can I return goods?")
        typing = until(socket, "conversation.typing_on")[0]
        deltas = []
        while True:
            event, data = hear(socket)
            if event != "message.updated":
                break
            assert data["in_reply_to"] == typing["in_reply_to"]
            deltas.append(data["delta"])
        assert event == "message.created"
        assert (
            "".join(deltas).strip() == data["content"] == "Yes. You can return it within 30 days."
        )
        assert len(deltas) == 2
        assert data["client_id"] == "m1"
        assert data["release"] == "rel-fake"
        assert data["action"] == "continue"
        assert [source["document_id"] for source in data["sources"]] == ["returns-en"]


def test_the_same_client_id_asks_once(client: TestClient, engine: FakeEngine) -> None:
    with client.websocket_connect("/v1/ws") as socket:
        start(socket)
        answers = []
        for _ in range(2):
            say(socket, "message.created", client_id="m1", content="Can I return goods?")
            answers.append(until(socket, "message.created")[0])
    assert answers[0] == answers[1]
    assert len(engine.prompts) == 1


def test_a_session_resumes_after_the_last_message_seen(client: TestClient) -> None:
    seen = []
    with client.websocket_connect("/v1/ws") as socket:
        start(socket, user_id="c-1")
        for number in range(3):
            say(socket, "message.created", client_id=f"m{number}", content="Can I return goods?")
            seen.append(until(socket, "message.created")[0])
    with client.websocket_connect("/v1/ws") as socket:
        started = start(socket, user_id="c-1", last_message_id=seen[0]["message_id"])
        assert started["resent"] == 2
        again = [until(socket, "message.created")[0] for _ in range(2)]
        assert again == seen[1:]
        # The client had not seen the answer to m2 and sends it again: no second copy.
        say(socket, "message.created", client_id="m2", content="Can I return goods?")
        say(socket, "message.created", client_id="m3", content="Where do you deliver?")
        assert until(socket, "message.created")[0]["client_id"] == "m3"


def test_someone_elses_session_is_refused(client: TestClient) -> None:
    with client.websocket_connect("/v1/ws") as socket:
        start(socket, user_id="c-1")
    with client.websocket_connect("/v1/ws") as socket:
        say(socket, "session.start", session_id="s", user_id="c-2")
        assert until(socket, "error")[0]["code"] == "refused"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "bad_json"),
        ("[1]", "bad_frame"),
        ("[" * 50_000, "bad_json"),
        ('{"event": "order.pizza", "data": {}}', "unknown_event"),
        ('{"event": "close", "data": {}}', "unknown_event"),
        ('{"event": "session.start", "data": {"session_id": 5}}', "bad_frame"),
        ('{"event": "session.start", "data": {"secret": "secret-word"}}', "bad_frame"),
        ('{"event": "message.created", "data": {}}', "illegal_move"),
    ],
)
def test_bad_frames_are_named_and_the_connection_goes_on(
    client: TestClient, text: str, code: str
) -> None:
    with client.websocket_connect("/v1/ws") as socket:
        socket.send_text(text)
        error = until(socket, "error")[0]
        assert error["code"] == code
        assert "secret-word" not in json.dumps(error)
        start(socket)
        for content, reason in (("", "bad_input"), ("x" * 4001, "query_too_long")):
            say(socket, "message.created", client_id="m1", content=content)
            error = until(socket, "error")[0]
            assert (error["code"], error["client_id"]) == (reason, "m1")
        socket.send_bytes(b"\x00\xff")
        assert until(socket, "error")[0]["code"] == "bad_frame"
        say(socket, "message.created", client_id="m2", content="Can I return goods?")
        until(socket, "message.created")


def test_a_frame_that_is_too_big_closes_with_1009(client: TestClient) -> None:
    with client.websocket_connect("/v1/ws") as socket:
        socket.send_text("x" * (MAX_FRAME_BYTES + 1))
        with pytest.raises(WebSocketDisconnect) as closed:
            hear(socket)
    assert closed.value.code == 1009


def test_too_many_bad_frames_close_with_1008(client: TestClient) -> None:
    with client.websocket_connect("/v1/ws") as socket:
        for _ in range(MOST_BAD_FRAMES):
            socket.send_text("?")
            until(socket, "error")
        with pytest.raises(WebSocketDisconnect) as closed:
            hear(socket)
    assert closed.value.code == 1008


def test_pages_of_other_sites_and_wrong_keys_are_not_let_in(tmp_path: Path) -> None:
    settings = make_shop(tmp_path, api_key="let-me-in")
    good = {"Authorization": "Bearer let-me-in"}
    with TestClient(build_store(tmp_path, settings, FakeEngine())) as client:
        for headers in ({}, {**good, "Origin": "https://evil.example"}):
            with (
                pytest.raises(WebSocketDisconnect) as closed,
                client.websocket_connect("/v1/ws", headers=headers),
            ):
                pass
            assert closed.value.code == 1008
        with client.websocket_connect("/v1/ws", headers=good) as socket:
            start(socket)


def test_the_server_pings(tmp_path: Path) -> None:
    settings = make_shop(tmp_path)
    with opened(settings, tmp_path) as data:
        service = make_service(settings, data, FakeEngine())
        parts = AppParts(service=service, metrics=Metrics("s-1"), base="base", ping_s=0.01)
        with TestClient(make_app(parts)) as client, client.websocket_connect("/v1/ws") as socket:
            assert hear(socket) == ("ping", {})
            say(socket, "pong")
            start(socket)


def test_only_the_moves_of_the_table_are_allowed() -> None:
    for state in State:
        for event in ("session.start", "message.created", "pong", "close", "else"):
            if (state, event) in MOVES:
                assert move(state, event) is MOVES[state, event]
            else:
                with pytest.raises(IllegalMove, match=event):
                    move(state, event)
