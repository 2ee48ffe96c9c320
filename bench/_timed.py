"""Parley as its users start it, but every answer says in `server-timing` how many milliseconds the server had it."""

from __future__ import annotations

import sys
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

import app
from core import cli


class Timed:
    """From the request in the server's hands to the first byte of the answer, with all that lies between."""

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()

        async def timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                taken = f"app;dur={(time.perf_counter() - began) * 1000:.4f}".encode()
                message = {**message, "headers": [*message.get("headers", ()), (b"server-timing", taken)]}
            await send(message)

        await self._inner(scope, receive, timed if scope["type"] == "http" else send)


def main() -> int:
    create = app.create

    def timed(services: Any) -> Any:
        return Timed(create(services))

    app.create = timed  # type: ignore[assignment]
    return cli.main(["serve"], app.serve)


if __name__ == "__main__":
    sys.exit(main())
