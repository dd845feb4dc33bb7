"""The store's HTTP application: one service behind REST, WebSocket and the OpenAI surface."""

import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI

from shared.errors import BadConfig
from store_node.api import openai, rest, websocket
from store_node.api.boundary import Boundary
from store_node.api.errors import add_handlers
from store_node.api.metrics import Metrics
from store_node.chat.answer import ChatService
from store_node.chat.hub import Hub


@dataclass(frozen=True, slots=True, kw_only=True)
class AppParts:
    """What the application serves."""

    service: ChatService
    metrics: Metrics
    base: str
    """Name of the base model, for the list of models."""
    api_key: str | None = None
    ping_s: float = websocket.PING_S


async def _nothing() -> None:
    return None


def make_app(
    parts: AppParts,
    *,
    on_start: Callable[[], Awaitable[None]] = _nothing,
    on_stop: Callable[[], Awaitable[None]] = _nothing,
) -> FastAPI:
    """Return the application; ``on_start`` and ``on_stop`` run in the server's event loop."""
    hub = Hub(parts.service)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await on_start()
        try:
            yield
        finally:
            await hub.close()
            await on_stop()

    app = FastAPI(title="StoreWeave store", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.include_router(rest.make_router(parts.service, parts.metrics))
    app.include_router(openai.make_router(parts.service, base=parts.base))
    app.include_router(
        websocket.make_router(
            parts.service, hub, parts.metrics, api_key=parts.api_key, ping_s=parts.ping_s
        )
    )
    add_handlers(app)
    app.add_middleware(Boundary, api_key=parts.api_key)
    return app


def check_listening(host: str, api_key: str | None) -> None:
    """Refuse to listen beyond this machine without a key.

    Raises:
        BadConfig: ``host`` is not a loopback address and there is no key.
    """
    if api_key:
        return
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback:
        raise BadConfig(
            f"without store.api_key the store listens on loopback only, not on {host}",
            where="[store]",
            remedy="set store.api_key, or host = 127.0.0.1",
        )
