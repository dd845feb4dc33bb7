"""Errors over HTTP, in OpenAI's form: ``{"error": {"message", "type", "code"}}``."""

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from shared.errors import BadInput, Refused, StoreWeaveError, Unavailable

_STATUS: tuple[tuple[type[StoreWeaveError], int, str], ...] = (
    (BadInput, HTTPStatus.BAD_REQUEST, "invalid_request_error"),
    (Refused, HTTPStatus.FORBIDDEN, "permission_error"),
    (Unavailable, HTTPStatus.SERVICE_UNAVAILABLE, "server_error"),
)


def error_response(status: int, message: str, kind: str, code: str) -> JSONResponse:
    """Return the JSON answer for an error."""
    body = {"error": {"message": message, "type": kind, "code": code}}
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
    return JSONResponse(body, status_code=status, headers=headers)


def add_handlers(app: FastAPI) -> None:
    """Answer every error of ``app`` in the one form, without repeating what was sent."""

    async def ours(_request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, StoreWeaveError):
            raise error
        for kind, status, name in _STATUS:
            if isinstance(error, kind):
                code = str(error.facts.get("reason", error.code))
                return error_response(status, str(error), name, code)
        return error_response(500, "the request failed", "server_error", error.code)

    async def invalid(_request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, RequestValidationError):
            raise error
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
        message = "not JSON" if first["type"] == "json_invalid" else first["msg"]
        return error_response(
            HTTPStatus.BAD_REQUEST, f"{where}: {message}", "invalid_request_error", "bad_input"
        )

    async def http(_request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, HTTPException):
            raise error
        status = HTTPStatus(error.status_code)
        return error_response(
            status, status.phrase.lower(), "invalid_request_error", status.name.lower()
        )

    app.add_exception_handler(StoreWeaveError, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
