"""Who may come in: no web page of another site, and on a workbench for its own machine only, no foreign name.

A page from anywhere can make a visitor's browser send requests here, with the visitor's cookies: across sites, with
its own address in Origin, or with its own name in Host, if that name resolves to 127.0.0.1 (DNS rebinding). Either
could read conversations or spend the owner's money. Programs send neither Origin nor Sec-Fetch-Site and may do both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from core.api.wire import send_error
from core.errors import PermissionDenied
from core.hosts import host_of, is_loopback
from core.settings import Settings
from core.visitors import for_programs, path_of

READING = ("GET", "HEAD", "OPTIONS")
ONCE = (b"host", b"origin", b"content-length", b"sec-fetch-site", b"sec-fetch-mode", b"authorization")
OWN_NAMES = (
    "This workbench answers at 127.0.0.1 and localhost only, and not to web pages of other sites. "
    "To reach it under another name, set PARLEY_SHARED=on, or PARLEY_ROOT_PATH behind a proxy.\n"
)
FOREIGN = (
    "This workbench does not answer web pages of other sites. If this is its own page, a proxy hides its address: "
    "let the proxy pass Host on, or name it in PARLEY_TRUSTED_PROXIES.\n"
)


class Guard:
    """Pure ASGI. Answers 403 with a sentence (400 to what is ambiguous), or passes the request on untouched.

    WebSockets are always refused.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._own_names = settings.loopback and not settings.shared and not settings["PARLEY_ROOT_PATH"]
        self._origins = frozenset(settings["PARLEY_ALLOWED_ORIGINS"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":  # nothing here speaks it; the server answers 403
            await send({"type": "websocket.close"})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        counted = Counter(name for name, _ in scope["headers"])
        if any(counted[name] > 1 for name in ONCE):
            await PlainTextResponse("A header is there twice.\n", 400)(scope, receive, send)
            return
        headers = headers_of(scope)
        if for_programs(path_of(scope)):
            if foreign(scope, headers) and headers.get(b"origin") not in self._origins and not _reads(scope):
                what = "The API does not answer web pages of other sites."
                fix = "Add the page's origin to PARLEY_ALLOWED_ORIGINS, and set PARLEY_API_KEYS."
                await send_error(send, PermissionDenied(what, fix))
                return
        elif (
            (self._own_names and not is_loopback(host_of(headers.get(b"host", ""))))
            or (foreign(scope, headers) and not _reads(scope))
            or (_elsewhere(headers) and headers.get(b"sec-fetch-mode") != "navigate")
        ):
            text = OWN_NAMES if self._own_names else FOREIGN
            await PlainTextResponse(text, 403)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def headers_of(scope: Scope) -> dict[bytes, str]:
    return {name: value.decode("latin-1") for name, value in scope["headers"]}


def _reads(scope: Scope) -> bool:
    return scope["method"] in READING


def _elsewhere(headers: Mapping[bytes, str]) -> bool:
    """Whether the browser says that the request comes from another site, or from another host of the same one."""
    return headers.get(b"sec-fetch-site", "none") not in ("none", "same-origin")


def foreign(scope: Scope, headers: Mapping[bytes, str]) -> bool:
    """Whether a page of another origin asks. `headers` are the request's, decoded.

    Browsers send Sec-Fetch-Site to https and localhost, and no script can write it: where it says same-origin, a proxy
    may have changed Host. Elsewhere there is Origin alone.
    """
    if _elsewhere(headers):
        return True
    origin = headers.get(b"origin")
    if origin is None or headers.get(b"sec-fetch-site") == "same-origin":
        return False
    return _bare(origin) != _bare(f"{scope.get('scheme', 'http')}://{headers.get(b'host', '')}")


def _bare(origin: str) -> str:
    """Without the port that everybody leaves out."""
    origin = origin.lower()
    return origin.removesuffix(":443" if origin.startswith("https:") else ":80")
