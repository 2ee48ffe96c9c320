"""What can be reached, and how much each address takes. All else is 404, and more is 413 while it still comes in.

Bodies are counted as they arrive: Content-Length may lie or be missing, and what is read whole would fill the memory.
So are the values of JSON: eight megabytes of `[],` keep everybody waiting for seconds, and take up fifty times as much.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.api.wire import TooLarge, send_error
from core.errors import BadRequest
from core.visitors import for_programs, path_of

SMALL = 64 * 1024
VALUES = 100_000
LINGER = 2.0  # seconds
PATIENCE = 30.0  # seconds that are waited for a body, and
SLOWEST = 4096  # bytes that come in each further one


@dataclass(frozen=True, slots=True)
class Reachable:
    """Addresses that answer: their method ("*": all; GET includes HEAD), a pattern for the whole path, most bytes,
    and most values where they are JSON (None: they are not)."""

    method: str
    path: str
    largest: int = SMALL
    values: int | None = VALUES


class TooSlow(BadRequest):
    """The body does not come."""

    status = 408


class Bodies:
    """Pure ASGI, for HTTP."""

    def __init__(self, app: ASGIApp, reachable: Iterable[Reachable]) -> None:
        self._app = app
        self._reachable = [(one, re.compile(one.path)) for one in reachable]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        address = self._address(scope)
        if address is None:
            await PlainTextResponse("There is nothing here.\n", 404)(scope, receive, send)
            return
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not announced.isdigit() or int(announced[:20]) > address.largest:
            await _refuse(scope, receive, send, _too_long(address.largest))
            return
        await _Counted(scope, receive, send, address).run(self._app)

    def _address(self, scope: Scope) -> Reachable | None:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        path = path_of(scope)
        for one, pattern in self._reachable:
            if one.method in (method, "*") and pattern.fullmatch(path):
                return one
        return None


class _Counted:
    """One request. When too much has come, it is answered here, and the application is told that the client left."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, address: Reachable) -> None:
        self._scope, self._receive, self._send, self._address = scope, receive, send, address
        self._left = address.largest
        self._values = None if address.values is None else _Values(address.values)
        self._waited = 0.0
        self._begun = self._over = self._whole = False

    async def run(self, app: ASGIApp) -> None:
        try:
            await app(self._scope, self._next, self._answer)
        except Exception:
            if not self._over:
                raise

    async def _next(self) -> Message:
        if self._over:
            return {"type": "http.disconnect"}
        if self._whole:  # from here on, it is waited for the client to leave
            return await self._receive()
        try:
            message = await self._in_time()
        except TimeoutError:
            return await self._end(TooSlow("The request does not come to its end.", "Send it again."))
        piece: bytes = message.get("body", b"")
        self._left -= len(piece)
        self._whole = not message.get("more_body", False)
        if self._left < 0:
            error = _too_long(self._address.largest)
        elif self._values is not None and not self._values.fit(piece):
            error = TooLarge(f"The request holds more than {self._address.values:,} values.", "Send less.")
        else:
            return message
        return await self._end(error)

    async def _end(self, error: BadRequest) -> Message:
        self._over = True
        if not self._begun:
            await _refuse(self._scope, self._receive, self._send, error)
        return {"type": "http.disconnect"}

    async def _in_time(self) -> Message:
        """The next piece. Only waiting counts, not what the application does between."""
        begun = time.monotonic()
        patience = PATIENCE + (self._address.largest - self._left) / SLOWEST - self._waited
        try:
            async with asyncio.timeout(patience):
                return await self._receive()
        finally:
            self._waited += time.monotonic() - begun

    async def _answer(self, message: Message) -> None:
        if not self._over:
            self._begun = True
            await self._send(message)


class _Values:
    """Counts what begins a value of JSON outside of its texts, piece by piece."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._in_text = False
        self._backslash = b""

    def fit(self, piece: bytes) -> bool:
        """Whether there are no more than may be, up to here."""
        if b"\0" in piece:  # UTF-16 or UTF-32, which Python's parser takes, too: quotes are not to be found in them
            return False
        rest = (self._backslash + piece).replace(b"\\\\", b"").replace(b'\\"', b"")
        self._backslash = b"\\" if rest.endswith(b"\\") else b""
        parts = rest.removesuffix(self._backslash).split(b'"')
        outside = b"".join(parts[self._in_text :: 2])
        self._in_text ^= len(parts) % 2 == 0
        self._left -= outside.count(b",") + outside.count(b"[") + outside.count(b"{")
        return self._left >= 0


def _too_long(largest: int) -> TooLarge:
    return TooLarge(f"The request is larger than {largest / 1e6:.1f} MB.", "Send less, or raise PARLEY_MAX_UPLOAD_MB.")


async def _refuse(scope: Scope, receive: Receive, send: Send, error: BadRequest) -> None:
    """The error, and then the end of the connection.

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

    if for_programs(path_of(scope)):
        await send_error(closing, error)
    else:
        await PlainTextResponse(f"{error}\n", error.status)(scope, receive, closing)
