"""What can be reached, and how much each address takes. All else is 404, and more is 413 while it still comes in.

Bodies are counted as they arrive: Content-Length may lie or be missing, and what is read whole would fill the memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.api.wire import TooLarge, send_error
from core.visitors import for_programs, path_of

SMALL = 64 * 1024
LINGER = 2.0  # seconds


@dataclass(frozen=True, slots=True)
class Reachable:
    """Addresses that answer: their method ("*": all; GET includes HEAD), a pattern for the whole path, most bytes."""

    method: str
    path: str
    largest: int = SMALL


class Bodies:
    """Pure ASGI, for HTTP."""

    def __init__(self, app: ASGIApp, reachable: Iterable[Reachable]) -> None:
        self._app = app
        self._reachable = [(one.method, re.compile(one.path), one.largest) for one in reachable]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        largest = self._largest(scope)
        if largest is None:
            await PlainTextResponse("There is nothing here.\n", 404)(scope, receive, send)
            return
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not announced.isdigit() or int(announced[:20]) > largest:
            await _refuse(scope, receive, send, largest)
            return
        await _Counted(scope, receive, send, largest).run(self._app)

    def _largest(self, scope: Scope) -> int | None:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        path = path_of(scope)
        for known, pattern, largest in self._reachable:
            if known in (method, "*") and pattern.fullmatch(path):
                return largest
        return None


class _Counted:
    """One request. When too much has come, it is answered here, and the application is told that the client left."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, largest: int) -> None:
        self._scope, self._receive, self._send, self._left = scope, receive, send, largest
        self._largest = largest
        self._begun = self._over = False

    async def run(self, app: ASGIApp) -> None:
        try:
            await app(self._scope, self._next, self._answer)
        except Exception:
            if not self._over:
                raise

    async def _next(self) -> Message:
        if self._over:
            return {"type": "http.disconnect"}
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left >= 0:
            return message
        self._over = True
        if not self._begun:
            await _refuse(self._scope, self._receive, self._send, self._largest)
        return {"type": "http.disconnect"}

    async def _answer(self, message: Message) -> None:
        if not self._over:
            self._begun = True
            await self._send(message)


async def _refuse(scope: Scope, receive: Receive, send: Send, largest: int) -> None:
    """413, and then the end of the connection.

    What still comes is thrown away for a while first: clients that are cut off while they send see no answer.
    """

    async def closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send({**message, "headers": [*message["headers"], (b"connection", b"close")]})
            return
        await send({**message, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                while (await receive()).get("more_body", False):
                    continue
        await send({"type": "http.response.body"})

    error = TooLarge(
        f"The request is larger than {largest / 1e6:.1f} MB.",
        "Send less; for larger files, raise PARLEY_MAX_UPLOAD_MB.",
    )
    if for_programs(path_of(scope)):
        await send_error(closing, error)
    else:
        await PlainTextResponse(f"{error}\n", 413)(scope, receive, closing)
