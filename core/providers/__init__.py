"""Who answers. One file a maker; each exports `providers(settings) -> list[Provider]` and is found by its presence.

A provider lists its models and turns a `ChatRequest` into a stream of events. It raises `core.errors` and nothing
else, sends only parameters that the model's abilities allow, and never retries: that is the gateway's.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from core.messages import ChatRequest, Event
from core.models.info import ModelInfo
from core.settings import Settings


@dataclass(frozen=True, slots=True)
class Status:
    """Whether a provider can be used now, and what to do if not."""

    state: Literal["ready", "no_key", "unreachable", "missing", "unknown"]
    what: str = ""  # "No key for Anthropic."
    fix: str = ""  # "Add ANTHROPIC_API_KEY, or paste a key in Settings."


class Provider(Protocol):
    """Everything that answers: a maker's API, a local server, the embedded model, a recording, a cascade."""

    name: str  # the part of a model's id before the slash
    label: str  # for people: "Anthropic", "Ollama at localhost:11434"
    takes_key: bool  # whether a visitor may bring a key of their own

    async def models(self, keys: Mapping[str, str]) -> list[ModelInfo]:
        """The models that can be used now. `keys` are the visitor's own. Raises core.errors."""
        ...

    async def status(self, keys: Mapping[str, str]) -> Status:
        """A cheap look: no call that costs money."""
        ...

    def stream(self, request: ChatRequest, model: ModelInfo) -> AsyncIterator[Event]:
        """Answer. An async generator: closing it ends the provider's work at once."""
        ...

    async def close(self) -> None:
        """Free connections and memory. Called once, at shutdown."""
        ...


def discover(settings: Settings) -> dict[str, Provider]:
    """All providers of all modules in this folder, by name. A name that is taken twice is a SettingsError."""
    from core.errors import SettingsError

    found: dict[str, Provider] = {}
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda m: m.name):
        if module.name.startswith("_"):
            continue
        make = importlib.import_module(f"{__name__}.{module.name}").providers
        for provider in make(settings):
            if provider.name in found:
                raise SettingsError(f"Two providers are called {provider.name!r}.", "Rename one in PARLEY_ENDPOINTS.")
            found[provider.name] = provider
    return found
