"""Turns errors into HTTP answers: ``{"error": {code, message, where, remedy, facts}}``."""

import json
import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from coordinator.api.access import NotAllowed
from shared.errors import (
    BadInput,
    GateClosed,
    IllegalMove,
    NotFound,
    NotVerified,
    Refused,
    StoreWeaveError,
    Unavailable,
)

_log = logging.getLogger(__name__)

# The first class that fits decides: the more particular ones stand before their bases.
_STATUS: tuple[tuple[type[StoreWeaveError], int], ...] = (
    (NotAllowed, 401),
    (NotFound, 404),
    (BadInput, 422),
    (IllegalMove, 409),
    (GateClosed, 409),
    (NotVerified, 409),
    (Refused, 403),
    (Unavailable, 503),
)


def status_of(error: StoreWeaveError) -> int:
    """Return the HTTP status for an error; 500 where it is not the caller's to mend."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def install(app: FastAPI) -> None:
    """Make ``app`` answer errors in our form, whoever raises them."""

    @app.exception_handler(StoreWeaveError)
    def _ours(_request: Request, error: StoreWeaveError) -> Response:
        status = status_of(error)
        headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, NotAllowed) else None
        # Facts may hold what JSON does not know, such as paths.
        text = json.dumps({"error": error.as_dict()}, ensure_ascii=False, default=str)
        return Response(text, status, headers, media_type="application/json")

    @app.exception_handler(RequestValidationError)
    def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        return _answer(422, "bad_input", f"{field}: {first['msg']}")

    @app.exception_handler(HTTPException)
    def _http(_request: Request, error: HTTPException) -> JSONResponse:
        code = "not_found" if error.status_code == 404 else "bad_input"  # noqa: PLR2004 - HTTP
        return _answer(error.status_code, code, str(error.detail))

    @app.exception_handler(Exception)
    def _bug(request: Request, error: Exception) -> JSONResponse:
        _log.error("api.failed", exc_info=error, extra={"path": request.url.path})
        return _answer(500, "failure", f"unexpected {type(error).__name__}, a bug of ours")


def _answer(status: int, code: str, message: str) -> JSONResponse:
    body = {"code": code, "message": message, "where": "", "remedy": "", "facts": {}}
    return JSONResponse({"error": body}, status)
