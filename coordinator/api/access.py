"""Who may call the operator API: holders of the key; without a key, this machine only."""

import ipaddress
import secrets
from urllib.parse import urlsplit

from fastapi import Request
from pydantic import SecretStr

from shared.errors import Refused

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")


class NotAllowed(Refused):
    """The caller did not show the key."""

    code = "not_allowed"


class Access:
    """A FastAPI dependency that lets a request pass or raises."""

    def __init__(self, api_key: SecretStr | None) -> None:
        """Demand ``Authorization: Bearer <api_key>``; ``None``: loopback only."""
        self._key = api_key.get_secret_value() if api_key else ""

    def __call__(self, request: Request) -> None:
        """Check one request.

        Raises:
            NotAllowed: a key is set and was not shown.
            Refused: no key is set and the request does not come from this machine itself.
        """
        if self._key:
            scheme, _, shown = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not secrets.compare_digest(
                shown.strip().encode(), self._key.encode()
            ):
                raise NotAllowed(
                    "the key is missing or wrong",
                    where="operator API",
                    remedy="send Authorization: Bearer with the value of [hq] api_key",
                )
            return
        if not _from_here(request):
            raise Refused(
                "without [hq] api_key only this machine may call",
                where="operator API",
                remedy="set [hq] api_key and send it as bearer",
            )


def _from_here(request: Request) -> bool:
    """Whether a program on this machine asks for itself.

    A page of another site, open in a browser on this machine, also comes from loopback: the names
    in ``Host`` and ``Origin`` give it away. So does a proxy that forwards for others.
    """
    if request.client is None or not _is_loopback(request.client.host):
        return False
    if any(name in request.headers for name in _FORWARDED):
        return False
    host = request.headers.get("host", "")
    if not _is_loopback(urlsplit(f"//{host}").hostname or ""):
        return False
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == host


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
