"""The inference service as a process: mutual TLS, releases staged and promoted under load."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import grpc
import pytest
import torch

from coordinator.adapters.grpc_control import GrpcControl
from coordinator.adapters.registry import FolderRegistry
from coordinator.release.rollout import push, rollback
from deploy.pki import issue, load_or_make_authority
from shared.config import PerformanceSettings, ServingSettings
from shared.errors import BadInput, GateClosed, IllegalMove, NotVerified, Unavailable
from shared.hashing import digest_folder
from shared.keys import SigningKey
from shared.releases import Release
from shared.wire import inference_pb2 as pb
from shared.wire import inference_pb2_grpc as pb_grpc
from shared.wire.tls import TlsFiles
from store_node.adapters.grpc_engine import GrpcEngine
from store_node.api.grpc import start_server
from store_node.ports import Generate
from store_node.serving.engine import EmbeddedEngine
from tests.release_maker import make_release, sign
from tests.tiny_model import make_tiny_model

pytestmark = pytest.mark.integration
HQ = SigningKey.generate()
RULES = ServingSettings(step_weights=(10, 100), interval_s=1.5, p99_max_s=5.0)
START = (
    "import sys; from pathlib import Path; from shared.config import load_settings;"
    "from deploy.commands.inference import run_inference; home = Path(sys.argv[1]);"
    "run_inference(load_settings(home=home), home)"
)


@dataclass
class World:
    """An inference home with TLS files, a base model, and HQ's registry."""

    home: Path
    base: Path
    registry: FolderRegistry
    client: TlsFiles
    server: TlsFiles
    folder: Path
    models: dict[str, Path] = field(default_factory=dict)

    def release(self, name: str, seed: int) -> Release:
        """Register a release of another random model."""
        files = make_tiny_model(self.folder / f"model-{name}", seed=seed)
        return self.registry.put(make_release(files, HQ, name), files)


@pytest.fixture
def world(tmp_path: Path) -> World:
    home = tmp_path / "inference"
    authority = load_or_make_authority(tmp_path / "pki")
    issue(authority, home, "server")
    issue(authority, tmp_path / "client", "client")
    (home / "ca.crt").write_bytes(authority.path.read_bytes())
    (home / "hq.json").write_text(json.dumps({"hq_key": HQ.public_hex, "federation": "f"}))
    base = make_tiny_model(tmp_path / "base", seed=1)
    (home / "storeweave.toml").write_text(
        f'[model]\nbase = "{base}"\n[serving]\nport = 0\n[performance]\nthreads = 1\n'
    )

    def tls(folder: Path, name: str) -> TlsFiles:
        return TlsFiles(ca=authority.path, cert=folder / f"{name}.crt", key=folder / f"{name}.key")

    return World(
        home=home,
        base=base,
        registry=FolderRegistry(tmp_path / "registry", trusted_key=HQ.public_hex),
        client=tls(tmp_path / "client", "client"),
        server=tls(home, "server"),
        folder=tmp_path,
    )


@pytest.fixture
def process(world: World) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    child = subprocess.Popen(
        [sys.executable, "-c", START, str(world.home)],
        env={**os.environ, "STOREWEAVE_HOME": str(world.home)},
    )
    try:
        yield child, wait_for_port(child, world.home / "inference.port")
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()


def wait_for_port(child: subprocess.Popen[bytes], path: Path) -> int:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if path.exists():
            return int(path.read_text())
        assert child.poll() is None, "the inference process ended before it served"
        time.sleep(0.1)
    raise AssertionError("the inference process did not serve in time")


@pytest.fixture
async def served(world: World) -> AsyncIterator[tuple[str, EmbeddedEngine]]:
    engine = EmbeddedEngine.open(
        world.base,
        digest_folder(world.base),
        home=world.home,
        serving=ServingSettings(),
        performance=PerformanceSettings(device="cpu"),
        dtype=torch.float32,
    )
    server = await start_server(
        engine, ServingSettings(), host="127.0.0.1", port=0, tls=world.server
    )
    yield f"127.0.0.1:{server.port}", engine
    await server.stop(5)


@dataclass
class Load:
    """Sessions that ask without pause; counts which release answered and what failed."""

    engine: GrpcEngine
    releases: Counter[str] = field(default_factory=Counter)
    failures: list[BaseException] = field(default_factory=list)
    stopped: bool = False

    async def session(self, number: int) -> None:
        """Ask until stopped, each time under another session key."""
        asked = 0
        while not self.stopped:
            asked += 1
            request = Generate(
                request_id=f"load-{number}-{asked}",
                prompt=f"Customer: where is order {asked}?\nAgent:",
                max_new_tokens=12,
                sticky_key=f"session-{number}-{asked}",
            )
            try:
                last = ""
                async for chunk in self.engine.generate(request):
                    last = chunk.finish_reason
                    self.releases[chunk.release] += bool(last)
                assert last, "a stream ended without a reason"
            except Exception as error:
                self.failures.append(error)


async def test_rollout_under_load_loses_no_request(
    world: World, process: tuple[subprocess.Popen[bytes], int]
) -> None:
    child, port = process
    target = f"127.0.0.1:{port}"
    engine = GrpcEngine(target, tls=world.client)
    load = Load(engine)
    sessions = [asyncio.create_task(load.session(number)) for number in range(6)]
    events: list[tuple[str, dict[str, object]]] = []
    release = world.release("rel-b", seed=2)
    counts: dict[int, Counter[str]] = {}

    def on_event(name: str, facts: object) -> None:
        events.append((name, dict(facts)))  # type: ignore[call-overload]
        if name == "weight":
            load.releases.clear()
        if name == "watched":
            counts[facts["percent"]] = load.releases.copy()  # type: ignore[index]

    with GrpcControl(target, tls=world.client) as control:
        base = control.status()["stable"]
        assert base == f"base-{digest_folder(world.base)[:12]}"
        controls = {target: control}
        after = await asyncio.to_thread(
            push, controls, release, world.registry.location, RULES, on_event=on_event
        )
        assert after[target]["stable"] == "rel-b"
        assert [name for name, _ in events] == [
            "staged", "warm", "weight", "watched", "weight", "watched", "promoted",
        ]  # fmt: skip
        assert counts[10].total() >= 50
        assert 0.01 < counts[10]["rel-b"] / counts[10].total() < 0.3
        assert counts[100]["rel-b"] / counts[100].total() > 0.85
        back = await asyncio.to_thread(rollback, controls, "test", on_event=on_event)
        assert back[target]["stable"] == base
        load.releases.clear()
        await asyncio.sleep(0.5)
        await asyncio.to_thread(
            push, controls, release, world.registry.location, RULES, on_event=on_event
        )
    load.stopped = True
    await asyncio.gather(*sessions)
    assert not load.failures
    assert load.releases[base] > 0

    # A request in flight when the service is told to stop is answered to its end.
    stream = engine.generate(Generate(request_id="last", prompt="bye", max_new_tokens=400))
    assert (await anext(stream)).release == "rel-b"
    child.send_signal(signal.SIGTERM)
    reasons = [chunk.finish_reason async for chunk in stream]
    assert reasons[-1] in {"length", "stop"}
    assert await asyncio.to_thread(child.wait, 30) == 0
    assert not (world.home / "inference.port").exists()
    assert not await engine.ready()
    await engine.close()


async def test_tampered_unsigned_and_foreign_releases_are_refused(
    world: World, served: tuple[str, EmbeddedEngine]
) -> None:
    target, _ = served
    good = world.release("rel-good", seed=3)
    weights = world.folder / "registry" / "rel-good" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    with GrpcControl(target, tls=world.client) as control:
        for release, message in (
            (good, "not the one that was signed"),
            (replace(good, signature=""), "not signed"),
            (sign(good, SigningKey.generate()), "not trusted"),
        ):
            with pytest.raises(NotVerified, match=message):
                await asyncio.to_thread(control.stage, release, world.registry.location)
        status = await asyncio.to_thread(control.status)
    assert [slot["stage"] for slot in status["slots"]] == ["stable"]
    assert list((world.home / "slots").iterdir()) == []


async def test_moves_out_of_order_keep_their_error_over_the_wire(
    world: World, served: tuple[str, EmbeddedEngine]
) -> None:
    target, _ = served
    release = world.release("rel-b", seed=2)
    with GrpcControl(target, tls=world.client) as control:
        with pytest.raises(IllegalMove):
            await asyncio.to_thread(control.rollback, "nothing there")
        with pytest.raises(BadInput, match="rel-b"):
            await asyncio.to_thread(control.promote, "rel-b")
        await asyncio.to_thread(control.stage, release, world.registry.location)
        again = await asyncio.to_thread(control.stage, release, world.registry.location)
        assert again["stage"] == "staged"
        with pytest.raises(IllegalMove):
            await asyncio.to_thread(control.set_weight, "rel-b", 10)


async def test_a_canary_over_the_threshold_is_taken_back(
    world: World, served: tuple[str, EmbeddedEngine]
) -> None:
    target, _ = served
    release = world.release("rel-slow", seed=2)
    events: list[str] = []
    rules = ServingSettings(step_weights=(10, 100), interval_s=0.0, p99_max_s=1e-9)
    with GrpcControl(target, tls=world.client) as control:
        with pytest.raises(GateClosed, match="P99"):
            await asyncio.to_thread(
                push,
                {target: control},
                release,
                world.registry.location,
                rules,
                on_event=lambda name, _: events.append(name),
            )
        status = await asyncio.to_thread(control.status)
    assert events == ["staged", "warm", "weight", "watched", "rolled_back"]
    assert status["canary"] == ""
    assert status["stable"].startswith("base-")


async def test_strangers_without_a_certificate_cannot_speak(
    world: World, served: tuple[str, EmbeddedEngine]
) -> None:
    target, _ = served
    engine = GrpcEngine(target, tls=None)
    assert not await engine.ready()
    await engine.close()
    credentials = grpc.ssl_channel_credentials(world.server.ca.read_bytes())
    async with grpc.aio.secure_channel(target, credentials) as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await pb_grpc.ModelControlStub(channel).Status(pb.StatusRequest(), timeout=5)


async def test_the_callers_deadline_is_kept_and_counts_as_an_error(
    world: World, served: tuple[str, EmbeddedEngine]
) -> None:
    target, inner = served
    engine = GrpcEngine(target, tls=world.client, generate_timeout_s=0.3)
    request = Generate(request_id="slow", prompt="go on", max_new_tokens=4000)
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="deadline"):
        async for _ in engine.generate(request):
            pass
    assert time.monotonic() - begun < 3
    await engine.close()
    for _ in range(100):
        if inner.view().slots[0].errors:
            break
        await asyncio.sleep(0.02)
    assert inner.view().slots[0].errors == 1


async def test_the_promoted_release_serves_after_a_restart(world: World) -> None:
    release = world.release("rel-b", seed=2)

    def reopen() -> EmbeddedEngine:
        return EmbeddedEngine.open(
            world.base,
            digest_folder(world.base),
            home=world.home,
            serving=ServingSettings(),
            performance=PerformanceSettings(device="cpu"),
        )

    engine = reopen()
    manifest = (world.folder / "registry" / "rel-b" / "release.json").read_bytes()
    await engine.stage("rel-b", manifest, world.registry.location)
    await engine.warm("rel-b", ["hello"])
    engine.promote("rel-b")
    await engine.close(5)
    again = reopen()
    assert again.view().stable == "rel-b"
    assert again.view().slots[0].digest == release.digest
    await again.close(5)
