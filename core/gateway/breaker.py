"""Stops calling what keeps failing, and tries it again with one call at a time (a circuit breaker).

There is a circuit for each provider and one for each model. `blames` of the error says whose count it raises: what
keeps a call from being answered at all is the provider's fault (no connection, 502, 503, 504, overloaded), what happens
to one model is that model's (a 500, a broken stream, an unreadable answer, silence), and a request that is refused, a
wrong key or a rate limit says nothing about anybody's health. One broken model so never stops its neighbours.

Calls with a visitor's own key have circuits of their own: what such a key causes closes nothing for anybody else.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from hashlib import blake2b

from core.errors import ParleyError, ProviderUnavailable
from core.gateway._call import ANSWER, BreakerState, Call, Events, Handler, Layer, LayerContext
from core.messages import Begun, Done

ORDER = 50

MOST = 10_000  # circuits that are kept; the oldest goes first

_ALIVE = ANSWER | {Begun, Done}
_Key = tuple[str, str, bytes]  # provider, model ("" = the provider itself), owner of the key (b"" = the server)


class CircuitOpen(ProviderUnavailable):
    """The provider or the model is left alone for a while. Not retried: another model is the better choice."""

    retryable = False


class Breaker:
    """One circuit."""

    def __init__(self, label: str, failures: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._label = label
        self._limit = failures
        self._seconds = seconds
        self._clock = clock
        self._failures = 0
        self._opened: float | None = None
        self._probing = False
        self._why = ""

    def enter(self) -> bool:
        """Let a call through, or raise CircuitOpen. True if this call is the probe; end it with `leave`."""
        if self._opened is None:
            return False
        wait = self._opened + self._seconds - self._clock()
        if wait > 0 or self._probing:
            raise CircuitOpen(
                f"{self._label} is left alone for a while after {self._failures} failures in a row: {self._why}",
                retry_after=max(0.0, wait),
            )
        self._probing = True
        return True

    def succeeded(self, probe: bool) -> None:
        if probe or self._opened is None:
            self._failures = 0
            self._opened = None
            self._why = ""

    def failed(self, probe: bool, why: str) -> None:
        if probe or self._opened is None:
            self._failures += 1
            self._why = why
            if probe or self._failures >= self._limit:
                self._opened = self._clock()

    def leave(self, probe: bool) -> None:
        if probe:
            self._probing = False

    def state(self) -> BreakerState:
        if self._opened is None:
            return BreakerState("closed", self._failures, None, self._why)
        wait = self._opened + self._seconds - self._clock()
        if wait <= 0:
            return BreakerState("half-open", self._failures, None, self._why)
        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=wait)
        return BreakerState("open", self._failures, until, self._why)


class Breakers:
    """The circuits of everything that has failed since it last answered; what is healthy needs none."""

    def __init__(self, failures: int, seconds: float) -> None:
        self._failures = failures
        self._seconds = seconds
        self._kept: dict[_Key, Breaker] = {}

    def enter(self, call: Call) -> list[tuple[Breaker, bool]]:
        """The circuits that the call goes through, and whether it is the probe there. CircuitOpen if one is open."""
        entered: list[tuple[Breaker, bool]] = []
        if self._kept:
            for key in _keys(call):
                if breaker := self._kept.get(key):
                    try:
                        entered.append((breaker, breaker.enter()))
                    except CircuitOpen:
                        leave(entered)
                        raise
        return entered

    def failed(self, call: Call, entered: list[tuple[Breaker, bool]], error: ParleyError) -> None:
        if error.blames == "nobody":
            return
        of_provider, of_model = _keys(call)
        key = of_provider if error.blames == "provider" else of_model
        breaker = self._kept.get(key)
        if breaker is None:
            label = call.provider.label if error.blames == "provider" else call.request.model[:100]
            if len(self._kept) >= MOST:
                del self._kept[next(iter(self._kept))]
            breaker = self._kept[key] = Breaker(label, self._failures, self._seconds)
        breaker.failed((breaker, True) in entered, error.what)

    def succeeded(self, call: Call, entered: list[tuple[Breaker, bool]]) -> None:
        if self._kept:
            for key in _keys(call):
                if breaker := self._kept.get(key):
                    breaker.succeeded((breaker, True) in entered)
                    if breaker.state() == BreakerState("closed"):
                        del self._kept[key]

    def state(self, provider: str) -> BreakerState:
        """Of the server's own key, with the models that are left alone."""
        own = self._kept.get((provider, "", b""))
        state = BreakerState("closed") if own is None else own.state()
        models = {
            model: found
            for (name, model, owner), breaker in self._kept.items()
            if name == provider and model and not owner and (found := breaker.state()).state != "closed"
        }
        return replace(state, models=models)


def leave(entered: list[tuple[Breaker, bool]]) -> None:
    for breaker, probe in entered:
        breaker.leave(probe)


def _keys(call: Call) -> tuple[_Key, _Key]:
    """Of the provider's circuit and of the model's. Keys of visitors are not kept."""
    own = call.own_key
    owner = blake2b(own.encode(), digest_size=16).digest() if own else b""
    name = call.provider.name
    return (name, "", owner), (name, call.request.model, owner)


def make(context: LayerContext) -> Layer:
    settings = context.settings
    breakers = Breakers(settings["PARLEY_BREAKER_FAILURES"], settings["PARLEY_BREAKER_SECONDS"])
    context.breakers.update({name: partial(breakers.state, name) for name in context.providers})

    async def layer(call: Call, inner: Handler) -> Events:
        entered = breakers.enter(call)
        waiting = any(probe for _, probe in entered)
        try:
            async with aclosing(inner(call)) as events:
                async for event in events:
                    if waiting and type(event) in _ALIVE:
                        waiting = False
                        breakers.succeeded(call, entered)
                    yield event
            breakers.succeeded(call, entered)
        except ParleyError as error:
            breakers.failed(call, entered, error)
            raise
        finally:
            leave(entered)

    return layer
