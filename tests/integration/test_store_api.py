"""A store behind a real server: reconnecting clients, oversized frames, a graceful end."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError

from store_node.api.websocket import MAX_FRAME_BYTES
from store_node.wiring import build_store
from tests.fakes import FakeEngine
from tests.shop import CATALOG, make_shop, write_rows

pytestmark = pytest.mark.integration
QUESTION = "Can I return goods?"


@asynccontextmanager
async def serving(home: Path, engine: FakeEngine) -> AsyncIterator[str]:
    app = build_store(home, make_shop(home), engine)
    config = uvicorn.Config(
        app, port=0, log_config=None, ws="websockets-sansio", ws_max_size=MAX_FRAME_BYTES
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(20):
        while not server.started:
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"ws://127.0.0.1:{port}/v1/ws"
    finally:
        server.should_exit = True
        await task


async def say(socket: ClientConnection, event: str, **data: object) -> None:
    await socket.send(json.dumps({"event": event, "data": data}, ensure_ascii=False))


async def until(socket: ClientConnection, wanted: str) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            frame = json.loads(await socket.recv())
            if frame["event"] == wanted:
                return dict(frame["data"])


async def test_a_client_that_drops_out_in_the_middle_loses_and_repeats_nothing(
    tmp_path: Path,
) -> None:
    gate = asyncio.Event()
    engine = FakeEngine(" Yes. You have 30 days.", gate=gate)
    async with serving(tmp_path, engine) as url:
        async with connect(url) as socket:
            await say(socket, "session.start", session_id="s", user_id="c-1")
            await until(socket, "session.started")
            await say(socket, "message.created", client_id="m1", content=QUESTION)
            await until(socket, "conversation.typing_on")
        # The connection is gone while the answer is being made.
        async with connect(url) as socket:
            await say(socket, "session.start", session_id="s", user_id="c-1", last_message_id="")
            assert (await until(socket, "session.started"))["resent"] == 0
            await say(socket, "message.created", client_id="m1", content=QUESTION)
            gate.set()
            first = await until(socket, "message.created")
            await say(socket, "message.created", client_id="m2", content="Wo ist das Lager?")
            second = await until(socket, "message.created")
        assert (first["client_id"], second["client_id"]) == ("m1", "m2")
        assert first["content"] == "Yes. You have 30 days."
        async with connect(url) as socket:
            await say(
                socket,
                "session.start",
                session_id="s",
                user_id="c-1",
                last_message_id=first["message_id"],
            )
            await until(socket, "session.started")
            assert await until(socket, "message.created") == second
    assert len(engine.prompts) == 2


async def test_an_enormous_message_ends_its_own_connection_only(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, FakeEngine()) as url,
        connect(url) as bystander,
        connect(url) as socket,
    ):
        await say(bystander, "session.start", session_id="b")
        await until(bystander, "session.started")
        await say(socket, "message.created", client_id="m", content="x" * 10_000_000)
        with pytest.raises(ConnectionClosedError) as closed:
            await until(socket, "message.created")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        await say(bystander, "message.created", client_id="m", content=QUESTION)
        assert (await until(bystander, "message.created"))["client_id"] == "m"


async def test_many_sessions_at_once_get_their_own_answers(tmp_path: Path) -> None:
    async def one(url: str, number: int) -> None:
        async with connect(url) as socket:
            await say(socket, "session.start", session_id=f"s-{number}")
            await until(socket, "session.started")
            await say(socket, "message.created", client_id="m", content=QUESTION)
            data = await until(socket, "message.created")
            assert data["content"] == "Thank you."

    async with serving(tmp_path, FakeEngine()) as url:
        await asyncio.gather(*(one(url, number) for number in range(20)))


async def test_the_program_makes_fills_serves_and_ends_a_store(tmp_path: Path) -> None:
    home = tmp_path / "home"
    environment = {**os.environ, "STOREWEAVE_HOME": str(home), "STOREWEAVE_STORE__PORT": "0"}
    program = [sys.executable, "-m", "deploy.cli"]

    def run(*words: str, given: str = "") -> str:
        done = subprocess.run(
            [*program, *words],
            env=environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout

    run("store", "init", "--id", "shop-1")
    catalog = write_rows(tmp_path / "catalog.jsonl", CATALOG)
    assert "3 rows" in run("store", "import", "catalog", str(catalog))
    server = subprocess.Popen([*program, "store", "serve", "--no-model"], env=environment)
    try:
        port_file = home / "store.port"
        async with asyncio.timeout(60):
            while not port_file.exists():
                assert server.poll() is None
                await asyncio.sleep(0.05)
        base = f"http://127.0.0.1:{port_file.read_text().strip()}"
        async with httpx.AsyncClient(base_url=base) as client:
            reply = await client.post("/v1/chat", json={"query": "极光机械键盘有货吗？"})
            assert reply.json()["response"]["answer"] == "极光机械键盘有货，库存7件。"
            assert (await client.get("/health/ready")).status_code == 503
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0
        assert not port_file.exists()
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()
