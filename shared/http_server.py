"""Runs an HTTP application with uvicorn until SIGTERM or Ctrl-C; stores and HQ serve alike."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn

from shared.errors import Unavailable

_DRAIN_S = 10


def serve_http(
    app: Any,  # noqa: ANN401 - any ASGI application
    *,
    host: str,
    port: int,
    port_file: Path,
    say: Callable[[str], None] = lambda _: None,
    **options: Any,  # noqa: ANN401 - uvicorn's own
) -> None:
    """Serve until told to stop; answers under way are finished first.

    ``port_file`` holds the port from when requests are answered until the end.

    Args:
        app: an ASGI application.
        host: address to listen on.
        port: 0 takes a free one.
        port_file: where to write the port.
        say: called with one line when it serves.
        options: for ``uvicorn.Config``.

    Raises:
        Unavailable: the port is taken, or the application does not start.
    """
    listener = _bind(host, port)
    bound = listener.getsockname()[1]

    def started() -> None:
        fresh = port_file.with_name(f".{port_file.name}.{os.getpid()}")
        fresh.write_text(f"{bound}\n", encoding="ascii")
        fresh.replace(port_file)
        shown = f"[{host}]" if ":" in host else host
        say(f"serving on http://{shown}:{bound}")

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_DRAIN_S,
        **options,
    )
    server = _Server(config, started)
    # uvicorn raises the signal again once it has stopped; a wanted stop is no failure.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        asyncio.run(server.serve(sockets=[listener]))
    finally:
        signal.signal(signal.SIGTERM, before)
        port_file.unlink(missing_ok=True)
        listener.close()
    if not server.was_up:
        raise Unavailable("the server did not start", remedy="see the log above")


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started
        self.was_up = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.was_up = True
            self._on_started()


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise Unavailable(
            f"cannot listen: {error.strerror or error}",
            where=f"{host}:{port}",
            remedy="choose another port, or 0 for a free one",
        ) from None
    return listener
