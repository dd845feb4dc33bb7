"""Runs the store's application until SIGTERM or Ctrl-C."""

from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI

from shared.http_server import serve_http
from store_node.api.websocket import MAX_FRAME_BYTES

PORT_FILE = "store.port"


def serve(
    app: FastAPI, *, host: str, port: int, home: Path, say: Callable[[str], None] = lambda _: None
) -> None:
    """Serve until told to stop; answers under way are finished first.

    ``home/store.port`` holds the port from when requests are answered until the end.

    Args:
        app: the application of :func:`store_node.wiring.build_store`.
        host: address to listen on.
        port: 0 takes a free one.
        home: the store's home folder.
        say: called with one line when it serves.

    Raises:
        Unavailable: the port is taken, or the application does not start.
    """
    serve_http(
        app,
        host=host,
        port=port,
        port_file=home / PORT_FILE,
        say=say,
        ws="websockets-sansio",
        ws_max_size=MAX_FRAME_BYTES,
    )
