"""Keeps to what a provider allows: calls at once, and requests and tokens a minute.

Whoever came first goes first. On a shared server visitors who wait have their turns one after the other, and nobody
holds more than half of the calls at once or has more than half of a minute, so that there is room for who comes next.
What a visitor's own key allows in a minute is that visitor's alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import aclosing
from hashlib import blake2b

from core.errors import Interrupted, ParleyError, TimedOut
from core.gateway._call import Call, Events, Handler, Layer, LayerContext
from core.gateway._estimate import request_tokens
from core.gateway._window import Grant, Window
from core.messages import Done
from core.settings import Settings
from core.slots import Slots, fair_share

ORDER = 60

USUAL_OUTPUT = 1000  # tokens reserved for an answer whose length the request does not limit
MOST_WINDOWS = 1000  # kept before those that have run empty are dropped


class _Windows:
    """A window for each provider and each owner of a key, and with the server's key one for each visitor's share.

    Keys themselves are not kept.
    """

    def __init__(self, limits: Mapping[str, int], shared: bool) -> None:
        self._limits = limits
        self._shared = shared
        self._windows: dict[tuple[str, bytes | str], Window] = {}

    async def acquire(self, call: Call, amount: int) -> list[Grant]:
        """Wait until there is room for so much, of the visitor's share first."""
        name = call.provider.name
        limit = self._limits.get(name) or self._limits.get("*")
        if limit is None:
            return []
        key = call.own_key
        if key:
            return [await self._of((name, blake2b(key.encode(), digest_size=16).digest()), limit).acquire(amount)]
        if not self._shared:
            return [await self._of((name, b""), limit).acquire(amount)]
        visitor = call.request.visitor
        grants = [await self._of((name, visitor), fair_share(limit)).acquire(amount)]
        try:
            grants.append(await self._of((name, b""), limit).acquire(amount, visitor))
        except BaseException:
            grants[0].correct(0)
            raise
        return grants

    def _of(self, owner: tuple[str, bytes | str], limit: int) -> Window:
        window = self._windows.get(owner)
        if window is None:
            if len(self._windows) >= MOST_WINDOWS:
                self._windows = {owner: kept for owner, kept in self._windows.items() if not kept.idle()}
            window = self._windows[owner] = Window(limit)
        return window


class _Rates:
    """Requests and tokens a minute."""

    def __init__(self, settings: Settings) -> None:
        self._requests = _Windows(settings["PARLEY_REQUESTS_PER_MINUTE"], settings.shared)
        self._tokens = _Windows(settings["PARLEY_TOKENS_PER_MINUTE"], settings.shared)
        self._counts_tokens = bool(settings["PARLEY_TOKENS_PER_MINUTE"])

    async def reserve(self, call: Call) -> _Reserved:
        reserved = _Reserved()
        try:
            reserved.requests = await self._requests.acquire(call, 1)
            if self._counts_tokens:
                output = call.request.parameters.max_tokens or USUAL_OUTPUT
                reserved.tokens = await self._tokens.acquire(call, request_tokens(call.request) + output)
        except BaseException:
            reserved.give_back()
            raise
        return reserved


class _Reserved:
    """What one call has reserved of its minute."""

    __slots__ = ("requests", "tokens")

    def __init__(self) -> None:
        self.requests: list[Grant] = []
        self.tokens: list[Grant] = []

    def begin(self) -> None:
        """The call goes out now, perhaps after a wait for a slot."""
        self.requests = [grant.renew() for grant in self.requests]
        self.tokens = [grant.renew() for grant in self.tokens]

    def give_back(self) -> None:
        """The call never went out."""
        for grant in self.requests:
            grant.correct(0)
        self.used(0)

    def used(self, tokens: int) -> None:
        for grant in self.tokens:
            grant.correct(tokens)


def make(context: LayerContext) -> Layer:
    settings = context.settings
    sizes: Mapping[str, int] = settings["PARLEY_CONCURRENCY"]
    shared = settings.shared
    slots = {
        name: Slots.fair(size, shared, context.network_of)
        for name in context.providers
        if (size := sizes.get(name) or sizes.get("*"))
    }
    limited = settings["PARLEY_REQUESTS_PER_MINUTE"] or settings["PARLEY_TOKENS_PER_MINUTE"]
    rates = _Rates(settings) if limited else None

    async def layer(call: Call, inner: Handler) -> Events:
        entered = time.perf_counter()
        reserved: _Reserved | None = None
        slot = slots.get(call.provider.name)
        taken: Slots | None = None
        owner = call.request.visitor if shared else ""
        try:
            try:
                if rates is not None:
                    reserved = await rates.reserve(call)
                if slot is not None:
                    await slot.acquire(owner)
                    taken = slot
            finally:
                call.queued += time.perf_counter() - entered
            if reserved is not None:
                reserved.begin()
            async with aclosing(inner(call)) as events:
                async for event in events:
                    if reserved is not None and type(event) is Done:
                        reserved.used(event.usage.input + event.usage.output)
                    yield event
        except (Interrupted, TimedOut):
            raise  # what it used is not known: the estimate stands
        except ParleyError:
            if reserved is not None:
                reserved.used(0)
            raise
        finally:
            if taken is not None:
                taken.release(owner)
            if reserved is not None and not call.sent:
                reserved.give_back()

    return layer
