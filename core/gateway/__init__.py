"""The one door for model calls. What must hold for every call is a layer here, one file each, found by its presence.

A layer's module has `ORDER`, where the smallest is outermost, and `make(context) -> Layer | None`, where None says that
the settings leave it nothing to do. A layer takes a call and the handler below it and returns the stream of events; it
knows no other layer. In order: fallback, retry, quota, record (the ledger), cache, breaker, limits, timeouts, and then
the provider.
"""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, cast

import structlog

from core.errors import ParleyError
from core.gateway._call import BreakerState, Call, Events, Handler, Layer, LayerContext
from core.gateway._clean import clean
from core.ledger.store import Ledger
from core.messages import ChatRequest, Reply, collect
from core.models.catalog import Catalog
from core.providers import Provider
from core.settings import Settings

__all__ = ["BreakerState", "Call", "Events", "Gateway", "Handler", "Layer", "LayerContext"]

log = structlog.get_logger()


class Gateway:
    """Every call of every feature goes through one of these. For one event loop."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        catalog: Catalog,
        ledger: Ledger,
        settings: Settings,
        *,
        network_of: Callable[[str], str] = lambda visitor: "",
        read: Callable[..., Awaitable[Any]] = asyncio.to_thread,
    ) -> None:
        """`network_of` says where a visitor comes from ("" if not known), `read` reads the ledger in a thread."""
        self._context = LayerContext(settings, providers, catalog, ledger, network_of, read)
        handler: Handler = _answer
        for layer in reversed(_layers(self._context)):
            handler = _around(layer, handler)
        self._handler = handler

    async def stream(self, request: ChatRequest) -> Events:
        """The answer as it comes. Use it within `contextlib.aclosing`: closing it ends the provider's work at once.

        Raises `core.errors` and nothing else, at the first step or later.
        """
        try:
            call = self._context.call(clean(request))
            async with aclosing(self._handler(call)) as events:
                async for event in events:
                    yield event
        except ParleyError:
            raise
        except Exception:
            log.exception("gateway.bug", model=request.model[:100], feature=request.feature)
            raise ParleyError("Something went wrong inside Parley.") from None

    async def complete(self, request: ChatRequest) -> Reply:
        """The whole answer at once. Raises as `stream` does."""
        if request.stream:
            request = replace(request, stream=False)
        async with aclosing(self.stream(request)) as events:
            return await collect(events)

    def breakers(self) -> dict[str, BreakerState]:
        """The circuit of every provider, by name, as it is for calls with the server's key."""
        return {name: state() for name, state in self._context.breakers.items()}


def _layers(context: LayerContext) -> list[Layer]:
    """All layers, outermost first."""
    names = [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    made = [module.make(context) for module in sorted(modules, key=lambda module: cast(int, module.ORDER))]
    return [layer for layer in made if layer is not None]


def _around(layer: Layer, inner: Handler) -> Handler:
    return lambda call: layer(call, inner)


def _answer(call: Call) -> Events:
    call.sent = True
    return cast(Events, call.provider.stream(call.request, call.model))
