"""What every group of addresses has in common: who may ask, and how errors are answered."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from typing import Any

import structlog
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from core.api.access import Access
from core.api.streaming import error_frame
from core.api.wire import ClientGone, MethodNotAllowed, send_error
from core.errors import Interrupted, ParleyError, ProviderUnavailable
from core.settings import Settings

LAST_WORDS = 0.2  # seconds that a client may take to read why its answer breaks off

log = structlog.get_logger()


class ApiEndpoint(ABC):
    """An ASGI application that lets in whom `Access` lets in and answers with what `respond` sends or raises."""

    def __init__(self, settings: Settings) -> None:
        self._access = Access(settings)

    @abstractmethod
    async def respond(self, scope: Scope, receive: Receive, send: Send, visitor: str) -> None:
        """Answer one request. A ParleyError that is raised before anything is sent becomes the answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = open_ended = False

        async def watched(message: Any) -> None:
            nonlocal begun, open_ended
            begun, open_ended = True, message.get("more_body", False)
            await send(message)

        try:
            await self.respond(scope, receive, watched, self._access.check(scope))
        except ClientGone:
            return
        except asyncio.CancelledError:  # the server is stopping; let on, it would print a stack trace
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS):
                    if open_ended:
                        last = error_frame(Interrupted("Parley was stopped during the answer."))
                        await send({"type": "http.response.body", "body": last, "more_body": False})
                    elif not begun:
                        await send_error(send, ProviderUnavailable("Parley is being stopped."))
        except Exception as error:
            shown = error if isinstance(error, ParleyError) else ParleyError("Something went wrong inside Parley.")
            if shown is not error:
                log.exception("api.failed", path=scope["path"], error=type(error).__name__)
            if begun:
                raise  # too late for a status: the server cuts the connection
            await send_error(send, shown)


def for_pages(endpoint: ASGIApp, settings: Settings) -> ASGIApp:
    """With the headers by which browsers let the pages of PARLEY_ALLOWED_ORIGINS ask."""
    origins = settings["PARLEY_ALLOWED_ORIGINS"]
    if not origins:
        return endpoint
    return CORSMiddleware(endpoint, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=["*"])


def only(scope: Scope, *methods: str) -> None:
    """MethodNotAllowed for all other methods."""
    if scope["method"] not in methods:
        raise MethodNotAllowed(scope["method"], ", ".join(methods))
