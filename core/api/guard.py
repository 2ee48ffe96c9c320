"""Keeps foreign web pages away from a workbench that only its own machine may use.

A page from anywhere can make the browser of this machine send requests to 127.0.0.1: with its own name in Host, if
that name resolves to 127.0.0.1 (DNS rebinding), or across sites with its name in Origin. Either could spend the
owner's money. On a shared server, and behind a proxy with a root path, names are the operator's business.
"""

from __future__ import annotations

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from core.hosts import host_of, is_loopback
from core.settings import Settings
from core.visitors import for_programs

READING = ("GET", "HEAD", "OPTIONS")
REFUSED = (
    "This workbench answers at 127.0.0.1 and localhost only, and not to web pages of other sites. "
    "To reach it under another name, set PARLEY_SHARED=on, or PARLEY_ROOT_PATH behind a proxy.\n"
)


class Guard:
    """Pure ASGI. Answers 403 with a sentence, or passes the request on untouched."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._on = settings.loopback and not settings.shared and not settings["PARLEY_ROOT_PATH"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._on and scope["type"] in ("http", "websocket") and _foreign(scope):
            await PlainTextResponse(REFUSED, 403)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _foreign(scope: Scope) -> bool:
    headers: dict[bytes, bytes] = dict(scope["headers"])
    host = headers.get(b"host", b"").decode("latin-1").lower()
    if for_programs(scope["path"]):
        return False  # the API has rules of its own, the others say nothing that a stranger could use
    if not is_loopback(host_of(host)):
        return True
    origin = headers.get(b"origin")
    if origin is None or scope.get("method", "") in READING:
        return False
    return origin.decode("latin-1").lower() != f"{scope.get('scheme', 'http')}://{host}"
