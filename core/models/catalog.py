"""Which models there are: asked of every provider, remembered for ten minutes, and never an error.

A provider that does not answer is shown with the models that it had last, or those of the table of facts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b

import structlog

from core.errors import AuthenticationFailed, ParleyError, ProviderUnavailable, TimedOut
from core.models.cache import ModelCache
from core.models.facts import facts_of, static_models
from core.models.info import ModelInfo
from core.providers import Provider, Status
from core.settings import Settings

log = structlog.get_logger()

FRESH = 600.0  # seconds that a list is good for
FRESH_FAILURE = 30.0  # seconds until a provider that failed is asked again
FRESH_OWN = 120.0  # seconds that a list got with a visitor's own key is good for
PATIENCE = 5.0  # seconds that a provider has to answer
MOST_KEPT = 500  # lists, before those that are no longer good are dropped
MOST_SEEN = 5000  # models remembered that only visitors' own keys can see


@dataclass(frozen=True, slots=True)
class ProviderModels:
    """One provider with its models. `models` of one that is not ready are shown greyed."""

    provider: str
    label: str
    takes_key: bool
    status: Status
    models: tuple[ModelInfo, ...]


@dataclass(frozen=True, slots=True)
class _KeptList:
    group: ProviderModels
    until: float


_Place = tuple[str, bytes]  # the provider, and the hash of the visitor's own key for it, if there is one
_Groups = list[ProviderModels]  # within Catalog, `list` is its method


class Catalog:
    """For one event loop."""

    def __init__(
        self, providers: Mapping[str, Provider], settings: Settings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._providers = providers
        self._clock = clock
        self._disk = ModelCache(settings.data_dir)
        self._last: dict[str, tuple[ModelInfo, ...]] = self._disk.load()
        self._kept: dict[_Place, _KeptList] = {}
        self._asking: dict[_Place, asyncio.Task[ProviderModels]] = {}
        self._infos: dict[str, ModelInfo] = {}
        self._seen: dict[str, ModelInfo] = {}  # only with visitors' own keys
        self._unsaved = False
        for name, models in self._last.items():
            if name in providers:
                self._infos.update({model.id: model for model in models})

    def info(self, model_id: str) -> ModelInfo:
        """What is known of a model: from a provider's list, else the table of facts, else careful defaults. No I/O."""
        return self._infos.get(model_id) or self._seen.get(model_id) or facts_of(model_id)

    async def list(self, keys: Mapping[str, str] | None = None, refresh: bool = False) -> _Groups:
        """Every provider with its models. `keys` are the visitor's own, by provider; `refresh` asks all again.

        Takes at most about five seconds and never raises.
        """
        own = keys or {}
        places = [(provider, own.get(name, "")) for name, provider in self._providers.items()]
        groups = await asyncio.gather(*(self._fresh(provider, key, refresh) for provider, key in places))
        if self._unsaved:
            self._unsaved = False
            await asyncio.to_thread(self._disk.save, dict(self._last))
        return groups

    async def _fresh(self, provider: Provider, key: str, refresh: bool) -> ProviderModels:
        place = provider.name, blake2b(key.encode("utf-8", "replace"), digest_size=16).digest() if key else b""
        kept = self._kept.get(place)
        if kept is not None and not refresh and self._clock() < kept.until:
            return kept.group
        # One question for all who want to know; that one of them goes away must not spoil it for the others.
        asking = self._asking.get(place)
        if asking is None:
            asking = self._asking[place] = asyncio.create_task(self._ask(provider, key, place))
            asking.add_done_callback(lambda _: self._asking.pop(place, None))
        return await asyncio.shield(asking)

    async def _ask(self, provider: Provider, key: str, place: _Place) -> ProviderModels:
        status, found = await _question(provider, {provider.name: key} if key else {})
        if found is None:
            known = self._last.get(provider.name) or static_models(provider.name)
            models = tuple(replace(model, live=False) for model in known)
        else:
            models = tuple(found)
            self._learn(provider.name, models, own=bool(key))
        group = ProviderModels(provider.name, provider.label, provider.takes_key, status, models)
        good_for = FRESH_FAILURE if found is None else FRESH_OWN if key else FRESH
        if len(self._kept) >= MOST_KEPT:
            self._kept = {place: kept for place, kept in self._kept.items() if self._clock() < kept.until}
        self._kept[place] = _KeptList(group, self._clock() + good_for)
        return group

    def _learn(self, provider: str, models: tuple[ModelInfo, ...], *, own: bool) -> None:
        if own:  # what the server's key says of a model goes first, and only that is kept on the disk
            if len(self._seen) >= MOST_SEEN:
                self._seen.clear()
            self._seen.update({model.id: model for model in models})
            return
        self._infos.update({model.id: model for model in models})
        if models and models != self._last.get(provider):
            self._last[provider] = models
            self._unsaved = True


async def _question(provider: Provider, keys: Mapping[str, str]) -> tuple[Status, list[ModelInfo] | None]:
    """A provider's state and its models; None if it did not say which."""
    label = provider.label
    try:
        async with asyncio.timeout(PATIENCE):
            status = await provider.status(keys)
            if status.state not in ("ready", "unknown"):
                return status, None
            models = await provider.models(keys)
            return (status if status.state == "ready" else Status("ready")), models
    except (TimeoutError, TimedOut):
        text = f"{label} did not answer within {PATIENCE:g} s."
        return Status("unreachable", text, "Check its address and the network, then refresh the list."), None
    except AuthenticationFailed as error:
        return Status("no_key", error.what, error.fix), None
    except ProviderUnavailable as error:
        return Status("unreachable", error.what, error.fix), None
    except ParleyError as error:
        return Status("unknown", error.what, error.fix), None
    except Exception:
        log.exception("catalog.bug", provider=provider.name)
        return Status("unknown", f"{label} could not list its models.", "The server's log says more."), None
