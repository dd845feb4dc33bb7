"""Our errors as gRPC statuses and back: the code in trailing metadata, the line as details."""

from typing import Any

import grpc

from shared import errors

CODE_KEY = "storeweave-code"
"""Trailing metadata that names the class of the error."""

_STATUS: tuple[tuple[type[errors.StoreWeaveError], grpc.StatusCode], ...] = (
    (errors.BadInput, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.BadConfig, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.Refused, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.GateClosed, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.NotVerified, grpc.StatusCode.DATA_LOSS),
    (errors.Unavailable, grpc.StatusCode.UNAVAILABLE),
)
_BY_CODE: dict[str, type[errors.StoreWeaveError]] = {
    kind.code: kind
    for kind in (
        errors.BadInput,
        errors.BadConfig,
        errors.Refused,
        errors.IllegalMove,
        errors.GateClosed,
        errors.NotVerified,
        errors.Unavailable,
    )
}


def status_of(error: errors.StoreWeaveError) -> grpc.StatusCode:
    """Return the gRPC status of an error of ours; an overload is ``RESOURCE_EXHAUSTED``."""
    if error.facts.get("overloaded"):
        return grpc.StatusCode.RESOURCE_EXHAUSTED
    return next(
        (status for kind, status in _STATUS if isinstance(error, kind)), grpc.StatusCode.INTERNAL
    )


def error_of(error: grpc.RpcError, target: str) -> errors.StoreWeaveError:
    """Return the error of ours that a failed call stands for; a server's own words are kept."""
    status, details, code = grpc.StatusCode.UNKNOWN, "", ""
    if isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        status, details = error.code(), error.details() or ""
        pairs: Any = error.trailing_metadata() or ()
        code = str(dict(pairs).get(CODE_KEY, ""))
    if code in _BY_CODE:
        full = status is grpc.StatusCode.RESOURCE_EXHAUSTED
        return _BY_CODE[code](details, where=target, overloaded=full)
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return errors.Unavailable("no answer before the deadline", where=target, deadline=True)
    if status is grpc.StatusCode.UNAVAILABLE:
        return errors.Unavailable(
            "cannot be reached", where=target, remedy="check that the service runs there, and TLS"
        )
    return errors.Unavailable(f"the call failed with {status.name}", where=target)
