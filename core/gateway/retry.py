"""Tries again what may work a moment later, as long as nothing of an answer has been seen.

The wait is drawn between 0 and 0.5, 1, 2, 4 … seconds ("full jitter", AWS Architecture Blog, 2015), and added to what
the provider asks for. A provider that asks for more than PARLEY_RETRY_MAX_WAIT is not waited for.
"""

from __future__ import annotations

import asyncio
import math
import random
from contextlib import aclosing

from core.errors import ParleyError, ProviderUnavailable, RateLimited, TimedOut
from core.gateway._call import ANSWER, Call, Events, Handler, Layer, LayerContext
from core.messages import Begun, Notice

ORDER = 20

FIRST_WAIT = 0.5  # seconds


def make(context: LayerContext) -> Layer:
    retries: int = context.settings["PARLEY_RETRIES"]
    longest: float = context.settings["PARLEY_RETRY_MAX_WAIT"]

    async def layer(call: Call, inner: Handler) -> Events:
        answered = False
        while True:
            accepted = False
            try:
                async with aclosing(inner(call)) as events:
                    async for event in events:
                        if not answered:
                            answered = type(event) in ANSWER
                            accepted = accepted or (type(event) is Begun and event.call is None)
                        yield event
                return
            except ParleyError as caught:
                if answered or not caught.retryable or call.attempt >= retries:
                    raise
                if accepted and isinstance(caught, TimedOut):
                    raise  # a model that thinks for so long is paid for, and would do it again
                error = caught
            wait = _wait(error, call.attempt, longest)
            call.attempt += 1
            yield Notice("retry", f"{_clause(error)}; trying again in {_shown(wait)} ({call.attempt} of {retries}).")
            await asyncio.sleep(wait)

    return layer


def _wait(error: ParleyError, attempt: int, longest: float) -> float:
    """Seconds to wait before the next try. Raises the error, with the wait in words, if the provider wants too many."""
    requested = error.retry_after if isinstance(error, RateLimited | ProviderUnavailable) else None
    jitter = random.uniform(0, min(longest, FIRST_WAIT * 2**attempt))  # noqa: S311 - nothing secret
    if requested is None:
        return jitter
    if requested > longest:
        assert isinstance(error, RateLimited | ProviderUnavailable)
        fix = f"Try again in {_shown(requested)}, or choose another model."
        raise type(error)(error.what, fix, retry_after=requested) from None
    return min(longest, max(0.0, requested) + jitter)


def _clause(error: ParleyError) -> str:
    return error.what.rstrip(" .")


def _shown(seconds: float) -> str:
    """A wait for people: "0.4 s", "2 s", "5 min", "3 h"."""
    if seconds < 1:
        return f"{max(0.1, round(seconds, 1)):g} s"
    if seconds < 120:
        return f"{math.ceil(seconds)} s"
    if seconds < 7200:
        return f"{math.ceil(seconds / 60)} min"
    return f"{math.ceil(seconds / 3600)} h"
