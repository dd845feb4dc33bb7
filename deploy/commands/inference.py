"""The ``inference`` process of a store: loads a model, serves gRPC, drains when told to stop."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

from deploy.base_model import resolve_base
from shared.config import Settings
from shared.errors import BadConfig
from shared.wire.tls import TlsFiles
from store_node.api.grpc import start_server
from store_node.serving.engine import EmbeddedEngine

PORT_FILE = "inference.port"
_DRAIN_S = 30.0
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def tls_files(home: Path) -> TlsFiles | None:
    """Return the TLS files of an inference home, or ``None`` where it has none of them.

    Raises:
        BadConfig: some of ``ca.crt``, ``server.crt`` and ``server.key`` are there, not all.
    """
    files = TlsFiles(ca=home / "ca.crt", cert=home / "server.crt", key=home / "server.key")
    there = [path.is_file() for path in (files.ca, files.cert, files.key)]
    # A store's home has the authority's certificate in any case.
    if not any(there[1:]):
        return None
    if not all(there):
        raise BadConfig(
            "some TLS files are missing",
            where=str(home),
            remedy="put ca.crt, server.crt and server.key there, or neither of the last two",
        )
    return files


def run_inference(
    settings: Settings, home: Path, *, say: Callable[[str], None] = lambda _: None
) -> None:
    """Serve until SIGTERM or Ctrl-C, then let requests in flight finish.

    The port is written to ``home/inference.port`` once requests are answered, and the file is
    removed at the end.

    Args:
        settings: ``[model]``, ``[serving]`` and ``[performance]`` count.
        home: the inference home: TLS files, ``hq.json``, ``slots/``.
        say: called with one line before anything that takes long, and when it serves.

    Raises:
        BadConfig: no model, incomplete TLS files, or another address than loopback without TLS.
        NotVerified: the files of the release that was stable were changed.
        Unavailable: the port is taken, or the model cannot be fetched.
    """
    tls = tls_files(home)
    if tls is None and settings.serving.host not in _LOOPBACK:
        raise BadConfig(
            f"[serving] host {settings.serving.host} needs TLS",
            where=str(home),
            remedy="put ca.crt, server.crt and server.key into the home, or listen on 127.0.0.1",
        )
    base = resolve_base(settings.model, say)
    say(f"loading {base.name}")
    home.mkdir(parents=True, exist_ok=True)
    engine = EmbeddedEngine.open(
        base.folder,
        base.digest,
        home=home,
        serving=settings.serving,
        performance=settings.performance,
    )
    asyncio.run(_serve(engine, settings, home, tls, say))


async def _serve(
    engine: EmbeddedEngine,
    settings: Settings,
    home: Path,
    tls: TlsFiles | None,
    say: Callable[[str], None],
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    host = settings.serving.host
    server = await start_server(
        engine, settings.serving, host=host, port=settings.serving.port, tls=tls
    )
    path = home / PORT_FILE
    fresh = home / f".{PORT_FILE}.{os.getpid()}"
    fresh.write_text(f"{server.port}\n", encoding="ascii")
    fresh.replace(path)
    say(f"serving {engine.view().stable} on {host}:{server.port}{' with TLS' if tls else ''}")
    try:
        await stop.wait()
        say("draining")
    finally:
        path.unlink(missing_ok=True)
        await server.stop(_DRAIN_S)
