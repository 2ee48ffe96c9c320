"""/v1: the part of OpenAI's API that Parley speaks. Raw ASGI, because each layer between costs more than the work."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Protocol

import structlog
from starlette.types import Receive, Scope, Send

from core.api.access import Access
from core.api.answers import completion
from core.api.schemas import Asked, Reader
from core.api.streaming import error_frame, stream_answer
from core.api.wire import ClientGone, MethodNotAllowed, read_body, send_error, send_json, until_gone
from core.catalog import Catalog
from core.errors import Interrupted, ModelNotFound, NotFound, ParleyError, ProviderUnavailable
from core.gateway import Gateway
from core.models import Abilities, ModelInfo
from core.settings import Settings

LAST_WORDS = 0.2  # seconds that a client may take to read why its answer breaks off

log = structlog.get_logger()


class Needs(Protocol):
    """What of the services the API is built on."""

    @property
    def settings(self) -> Settings: ...
    @property
    def catalog(self) -> Catalog: ...
    @property
    def gateway(self) -> Gateway: ...


class V1:
    """The ASGI application for everything below /v1."""

    def __init__(self, services: Needs) -> None:
        self._gateway = services.gateway
        self._catalog = services.catalog
        self._access = Access(services.settings)
        self._reader = Reader(services.catalog, services.settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = open_ended = False

        async def watched(message: Any) -> None:
            nonlocal begun, open_ended
            begun, open_ended = True, message.get("more_body", False)
            await send(message)

        try:
            await self._route(scope, receive, watched)
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
            told = error if isinstance(error, ParleyError) else ParleyError("Something went wrong inside Parley.")
            if told is not error:
                log.exception("api.failed", path=scope["path"], error=type(error).__name__)
            if begun:
                raise  # too late for a status: the server cuts the connection
            await send_error(send, told)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        visitor = self._access.check(scope)
        path: str = scope["path_params"]["path"]
        if path == "chat/completions":
            _only(scope, "POST")
            raw = await read_body(scope, receive, self._reader.largest_body)
            await until_gone(self._chat(raw, visitor, send), receive)
        elif path == "models":
            _only(scope, "GET")
            await send_json(send, {"object": "list", "data": [_model(model) for model in await self._models()]})
        elif path.startswith("models/"):
            _only(scope, "GET")
            await self._one_model(path.removeprefix("models/"), send)
        else:
            raise NotFound(f"There is no /v1/{path[:100]} here.", "There are /v1/models and /v1/chat/completions.")

    async def _chat(self, raw: bytes, visitor: str, send: Send) -> None:
        asked: Asked = await self._reader.read(raw, visitor)
        if asked.request.stream:
            await stream_answer(self._gateway.stream(asked.request), asked, send)
        else:
            await send_json(send, completion(await self._gateway.complete(asked.request), asked))

    async def _models(self) -> list[ModelInfo]:
        """The models that the server's own keys can use now."""
        shelves = await self._catalog.list({})
        return [model for shelf in shelves if shelf.status.state == "ready" for model in shelf.models]

    async def _one_model(self, name: str, send: Send) -> None:
        for model in await self._models():
            if model.id == name:
                await send_json(send, _model(model))
                return
        raise ModelNotFound(f"There is no model called {name[:100]!r}.", "GET /v1/models lists them.")


def _only(scope: Scope, method: str) -> None:
    if scope["method"] != method:
        raise MethodNotAllowed(scope["method"], method)


def _model(model: ModelInfo) -> dict[str, Any]:
    abilities = {name: getattr(model.abilities, name) for name in Abilities.__slots__}
    return {
        "id": model.id,
        "object": "model",
        "created": 0,  # makers do not agree on what it means, and most do not say
        "owned_by": model.provider,
        "label": model.label or model.id,
        "context_window": model.context,
        "max_output_tokens": model.max_output,
        "abilities": abilities,
        "retires": None if model.retires is None else model.retires.isoformat(),
        "note": model.note,
    }
