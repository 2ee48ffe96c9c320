"""Keeps to what a provider allows: calls at once, and requests and tokens a minute. Whoever came first goes first."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import aclosing
from hashlib import blake2b

from core.errors import Interrupted, ParleyError, TimedOut
from core.gateway._call import Call, Context, Events, Handler, Layer
from core.gateway._estimate import request_tokens
from core.gateway._window import Grant, Slots, Window
from core.messages import Done
from core.settings import Settings

ORDER = 60

USUAL_OUTPUT = 1000  # tokens reserved for an answer whose length the request does not limit
MOST_WINDOWS = 1000  # kept before those that have run empty are dropped


class _Windows:
    """A window for each provider and each owner of a key. Keys themselves are not kept."""

    def __init__(self, limits: Mapping[str, int]) -> None:
        self._limits = limits
        self._windows: dict[tuple[str, bytes], Window] = {}

    def of(self, call: Call) -> Window | None:
        name = call.provider.name
        limit = self._limits.get(name) or self._limits.get("*")
        if limit is None:
            return None
        key = call.own_key
        owner = (name, blake2b(key.encode(), digest_size=16).digest() if key else b"")
        window = self._windows.get(owner)
        if window is None:
            if len(self._windows) >= MOST_WINDOWS:
                self._windows = {owner: kept for owner, kept in self._windows.items() if not kept.idle()}
            window = self._windows[owner] = Window(limit)
        return window


class _Rates:
    """Requests and tokens a minute."""

    def __init__(self, settings: Settings) -> None:
        self._requests = _Windows(settings["PARLEY_REQUESTS_PER_MINUTE"])
        self._tokens = _Windows(settings["PARLEY_TOKENS_PER_MINUTE"])

    async def reserve(self, call: Call) -> _Reserved:
        reserved = _Reserved()
        try:
            if window := self._requests.of(call):
                reserved.request = await window.acquire(1)
            if window := self._tokens.of(call):
                output = call.request.parameters.max_tokens or USUAL_OUTPUT
                reserved.tokens = await window.acquire(request_tokens(call.request) + output)
        except BaseException:
            reserved.give_back()
            raise
        return reserved


class _Reserved:
    """What one call has reserved of its minute."""

    __slots__ = ("request", "tokens")

    def __init__(self) -> None:
        self.request: Grant | None = None
        self.tokens: Grant | None = None

    def begin(self) -> None:
        """The call goes out now, perhaps after a wait for a slot."""
        self.request = self.request and self.request.renew()
        self.tokens = self.tokens and self.tokens.renew()

    def give_back(self) -> None:
        """The call never went out."""
        if self.request is not None:
            self.request.correct(0)
        self.used(0)

    def used(self, tokens: int) -> None:
        if self.tokens is not None:
            self.tokens.correct(tokens)


def make(context: Context) -> Layer:
    settings = context.settings
    sizes: Mapping[str, int] = settings["PARLEY_CONCURRENCY"]
    slots = {name: Slots(size) for name in context.providers if (size := sizes.get(name) or sizes.get("*"))}
    limited = settings["PARLEY_REQUESTS_PER_MINUTE"] or settings["PARLEY_TOKENS_PER_MINUTE"]
    rates = _Rates(settings) if limited else None

    async def layer(call: Call, inner: Handler) -> Events:
        asked = time.perf_counter()
        reserved: _Reserved | None = None
        slot = slots.get(call.provider.name)
        taken: Slots | None = None
        try:
            try:
                if rates is not None:
                    reserved = await rates.reserve(call)
                if slot is not None:
                    await slot.acquire()
                    taken = slot
            finally:
                call.queued += time.perf_counter() - asked
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
                taken.release()
            if reserved is not None and not call.sent:
                reserved.give_back()

    return layer
