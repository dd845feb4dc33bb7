"""One page of status for the people at headquarters, in English and Chinese.

The page holds no data: its script asks the operator API with the viewer's own key.
"""

from importlib.resources import files

from fastapi import APIRouter
from fastapi.responses import Response

_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

router = APIRouter()


def _file(name: str, media_type: str) -> Response:
    content = files("coordinator.console").joinpath(name).read_bytes()
    return Response(content, media_type=media_type, headers=_HEADERS)


@router.get("/")
def page() -> Response:
    """Return the page."""
    return _file("status.html", "text/html; charset=utf-8")


@router.get("/console.css")
def style() -> Response:
    """Return its style."""
    return _file("console.css", "text/css; charset=utf-8")


@router.get("/console.js")
def script() -> Response:
    """Return its script."""
    return _file("console.js", "text/javascript; charset=utf-8")
