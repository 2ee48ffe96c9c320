"""/v1: the part of OpenAI's API that Parley speaks. Raw ASGI, because each layer between costs more than the work."""

from __future__ import annotations

from typing import Any

from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from core.api.answers import completion
from core.api.endpoint import ApiEndpoint, for_pages, only
from core.api.prompt_models import PREFIX, PromptModels
from core.api.schemas import ParsedRequest, Reader
from core.api.streaming import stream_answer
from core.api.wire import read_body, send_json, until_gone
from core.errors import ModelNotFound, NotFound
from core.models.info import Abilities, ModelInfo
from core.prompts.version import Version
from core.services import Services


def routes(services: Services) -> list[BaseRoute]:
    return [Route("/v1/{path:path}", for_pages(V1(services), services.settings))]


class V1(ApiEndpoint):
    """The ASGI application for everything below /v1."""

    def __init__(self, services: Services) -> None:
        super().__init__(services.settings)
        self._gateway = services.gateway
        self._catalog = services.catalog
        self._threads = services.threads.prompts
        self._prompts = PromptModels(services.registry, services.templates, services.threads.requests)
        self._reader = Reader(
            services.catalog, services.settings, self._prompts, services.child, services.threads.requests
        )

    async def respond(self, scope: Scope, receive: Receive, send: Send, visitor: str) -> None:
        path: str = scope["path_params"]["path"]
        if path == "chat/completions":
            only(scope, "POST")
            raw = await read_body(receive)
            await until_gone(self._chat(raw, visitor, send), receive)
        elif path == "models":
            only(scope, "GET")
            await send_json(send, {"object": "list", "data": await self._list()})
        elif path.startswith("models/"):
            only(scope, "GET")
            await self._one_model(path.removeprefix("models/"), send)
        else:
            raise NotFound(f"There is no /v1/{path[:100]} here.", "There are /v1/models and /v1/chat/completions.")

    async def _chat(self, raw: bytes, visitor: str, send: Send) -> None:
        parsed: ParsedRequest = await self._reader.read(raw, visitor)
        if parsed.request.stream:
            await stream_answer(self._gateway.stream(parsed.request), parsed, send)
        else:
            await send_json(send, completion(await self._gateway.complete(parsed.request), parsed))

    async def _list(self) -> list[dict[str, Any]]:
        """The models that can be used now, and after them the prompts in production that such a model answers."""
        models = await self._models()
        live = await self._threads.run(self._prompts.live, models)
        return [*map(_model, models.values()), *(_prompt(*one) for one in live)]

    async def _models(self) -> dict[str, ModelInfo]:
        """The models that the server's own keys can use now, by name."""
        groups = await self._catalog.list({})
        return {model.id: model for group in groups if group.status.state == "ready" for model in group.models}

    async def _one_model(self, name: str, send: Send) -> None:
        models = await self._models()
        if name.startswith(PREFIX):
            await send_json(send, _prompt(*await self._threads.run(self._prompts.one, name, models)))
        elif name in models:
            await send_json(send, _model(models[name]))
        else:
            raise ModelNotFound(f"There is no model called {name[:100]!r}.", "GET /v1/models lists them.")


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


def _prompt(name: str, version: Version, model: ModelInfo) -> dict[str, Any]:
    """A prompt as a model: what it can do is what its own model can."""
    return {
        **_model(model),
        "id": name,
        "created": int(version.time.timestamp()),
        "owned_by": "prompt",
        "label": version.name,
        "note": version.description,
        "prompt": {"name": version.name, "version": version.number, "hash": version.hash},
    }
