"""What the gateway's layers share: one call on its way through them, and what they are built from."""

from __future__ import annotations

import datetime
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from core.errors import ModelNotFound
from core.ledger.store import Ledger
from core.messages import ChatRequest, Event, TextDelta, ThinkingDelta, ToolUse
from core.models.catalog import Catalog
from core.models.info import ModelInfo
from core.providers import Provider
from core.settings import Settings

ANSWER: frozenset[type] = frozenset((TextDelta, ThinkingDelta, ToolUse))  # after one of these nothing is tried again


@dataclass(slots=True)
class Call:
    """One request to one model. Layers may change it; an attempt begins with `queued` and `sent` as they are here."""

    request: ChatRequest
    model: ModelInfo
    provider: Provider
    attempt: int = 0  # 0 = the first try of this model, 1 = its first retry
    queued: float = 0.0  # seconds that this attempt waited for its turn
    sent: bool = False  # whether this attempt came as far as the provider

    @property
    def own_key(self) -> str:
        """The visitor's own key that this call goes out with; empty if it is the server's, or none."""
        return self.request.keys.get(self.provider.name, "")


Events = AsyncGenerator[Event, None]
Handler = Callable[[Call], Events]
Layer = Callable[[Call, Handler], Events]


@dataclass(frozen=True, slots=True)
class BreakerState:
    """The circuit of a provider, or of a model. `until` is when an open one lets a probe through."""

    state: Literal["closed", "open", "half-open"]
    failures: int = 0  # in a row
    until: datetime.datetime | None = None
    why: str = ""  # what the last failure said
    models: Mapping[str, BreakerState] = field(default_factory=dict)  # of a provider's models, those left alone


@dataclass(frozen=True)
class LayerContext:
    """What a layer's `make` may use."""

    settings: Settings
    providers: Mapping[str, Provider]
    catalog: Catalog
    ledger: Ledger
    network_of: Callable[[str], str]  # where a visitor comes from, "" if that is not known
    read: Callable[..., Awaitable[Any]]  # runs a function that reads the ledger beside the event loop
    breakers: dict[str, Callable[[], BreakerState]] = field(default_factory=dict)

    def call(self, request: ChatRequest, model: str | None = None) -> Call:
        """A call of `model`, or of the request's own. ModelNotFound if nobody has it."""
        if model is not None:
            request = replace(request, model=model)
        provider = self.providers.get(request.provider)
        if provider is None or not request.model_name:
            raise ModelNotFound(f"There is no model called {request.model[:100]!r}.")
        return Call(request, self.catalog.info(request.model), provider)
