"""What every request passes first: the key, the size of its body, and the net for failures."""

import hmac
import logging
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from store_node.api.errors import error_response

_log = logging.getLogger(__name__)
MAX_BODY_BYTES = 1 << 20
_OPEN_PATHS = ("/health/live", "/health/ready")


def key_matches(headers: Headers, api_key: str | None) -> bool:
    """Return whether the bearer key is right, in constant time; ``None``: no key is asked for."""
    if api_key is None:
        return True
    scheme, _, given = headers.get("authorization", "").partition(" ")
    right = hmac.compare_digest(given.strip().encode(), api_key.encode())
    return right and scheme.lower() == "bearer"


class Boundary:
    """ASGI middleware for HTTP; WebSockets check the key themselves, before they accept."""

    def __init__(self, app: ASGIApp, *, api_key: str | None) -> None:
        self._app = app
        self._api_key = api_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 and 413 here; pass everything else on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if scope["path"] not in _OPEN_PATHS and not key_matches(headers, self._api_key):
            refusal = error_response(
                HTTPStatus.UNAUTHORIZED,
                "the API key is missing or wrong",
                "authentication_error",
                "invalid_api_key",
            )
            await refusal(scope, receive, send)
            return
        body = await _read(headers, receive)
        if body is None:
            too_large = error_response(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the body is larger than {MAX_BODY_BYTES} bytes",
                "invalid_request_error",
                "body_too_large",
            )
            await too_large(scope, receive, send)
            return
        await self._guarded(scope, body, receive, send)

    async def _guarded(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        started = False

        async def replay() -> Message:
            return pending.pop() if pending else await receive()

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, replay, watch)
        except Exception:
            # A bug of ours: the caller gets one line, the log gets type and place, no words.
            _log.exception("a request failed")
            if not started:
                failed = error_response(500, "the request failed", "server_error", "failure")
                await failed(scope, receive, send)


async def _read(headers: Headers, receive: Receive) -> bytes | None:
    """Return the body, ``None`` where it is too large."""
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > MAX_BODY_BYTES:
        return None
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return bytes(body)
