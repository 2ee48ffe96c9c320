"""Stops calling a provider that keeps failing, and tries it again with one call at a time (a circuit breaker).

Only faults of the server count: a request that it refuses, a wrong key or a rate limit says nothing about its health.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from contextlib import aclosing

from core.errors import ProviderUnavailable, TimedOut
from core.gateway._call import ANSWER, BreakerState, Call, Context, Events, Handler, Layer
from core.messages import Begun, Done

ORDER = 50

_ALIVE = ANSWER | {Begun, Done}


class CircuitOpen(ProviderUnavailable):
    """The provider is left alone for a while. Not retried: another model is the better choice."""

    retryable = False


class Breaker:
    """One provider's circuit."""

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


def make(context: Context) -> Layer:
    settings = context.settings
    breakers = {
        name: Breaker(provider.label, settings["PARLEY_BREAKER_FAILURES"], settings["PARLEY_BREAKER_SECONDS"])
        for name, provider in context.providers.items()
    }
    context.breakers.update({name: breaker.state for name, breaker in breakers.items()})

    async def layer(call: Call, inner: Handler) -> Events:
        breaker = breakers[call.provider.name]
        probe = breaker.enter()
        waiting = probe
        try:
            async with aclosing(inner(call)) as events:
                async for event in events:
                    if waiting and type(event) in _ALIVE:
                        waiting = False
                        breaker.succeeded(probe)
                    yield event
            breaker.succeeded(probe)
        except (ProviderUnavailable, TimedOut) as error:
            breaker.failed(probe, error.what)
            raise
        finally:
            breaker.leave(probe)

    return layer
