"""Ends a call whose provider has fallen silent.

One timer a call, not one a token: it looks when it goes off whether something has come meanwhile, and only cancels
the task while that waits for the provider, never while the caller is busy with an event.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from core.errors import TimedOut
from core.gateway._call import ANSWER, Call, Events, Handler, Layer, LayerContext
from core.messages import Begun

ORDER = 70

WORKING = 5  # what is known to be at work may take so many times as long: an answer in one piece, a silent reasoning


class _Watch:
    """Watches the waits of one call. While `waiting`, `limit` seconds may pass; then the waiting task is cancelled."""

    __slots__ = ("_before", "_deadline", "_expired", "_handle", "_loop", "_task", "_waiting", "limit")

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[object] | None = None
        self._before = 0  # cancellations that the task had asked of it before
        self._waiting = False
        self._expired = False
        self._deadline = self._loop.time() + limit
        self._handle = self._loop.call_at(self._deadline, self._look)

    def wait(self) -> None:
        task = asyncio.current_task()
        if task is not self._task:
            self._task = task
            self._before = task.cancelling() if task is not None else 0
        self._waiting = True

    def pause(self) -> None:
        self._waiting = False

    def extend(self, limit: float) -> None:
        """From now on `limit` seconds may pass."""
        self._deadline = self._loop.time() + limit
        if limit < self.limit:
            self._handle.cancel()
            self._handle = self._loop.call_at(self._deadline, self._look)
        self.limit = limit

    def expired(self) -> bool:
        """Whether it was this watch, and nobody else, that cancelled the task."""
        return self._expired and self._task is not None and self._task.uncancel() <= self._before

    def stop(self) -> None:
        self._waiting = False
        self._handle.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        if not self._waiting:
            self._deadline = now + self.limit
        elif now >= self._deadline and self._task is not None:
            # A task that somebody else is cancelling is ending already.
            if self._task.cancelling() <= self._before:
                self._expired = True
                self._task.cancel()
            return
        self._handle = self._loop.call_at(self._deadline, self._look)


def make(context: LayerContext) -> Layer:
    first: float = context.settings["PARLEY_FIRST_TOKEN_TIMEOUT"]
    idle: float = context.settings["PARLEY_IDLE_TIMEOUT"]

    async def layer(call: Call, inner: Handler) -> Events:
        watch = _Watch(first if call.request.stream else first * WORKING)
        answered = False
        try:
            async with aclosing(inner(call)) as events:
                watch.wait()
                async for event in events:
                    watch.pause()
                    if answered:
                        watch.extend(idle)
                    elif type(event) in ANSWER:
                        answered = True
                        watch.extend(idle)
                    elif type(event) is Begun:
                        watch.extend(first * WORKING)
                    yield event
                    watch.wait()
        except (asyncio.CancelledError, Exception):
            if not watch.expired():
                raise
        else:
            return
        finally:
            watch.stop()
        raise _timed_out(call, watch.limit, answered)

    return layer


def _timed_out(call: Call, limit: float, answered: bool) -> TimedOut:
    if answered:
        return TimedOut(
            f"{call.provider.label} sent nothing more for {limit:g} s.",
            "The text so far is kept. Continue the answer, or set PARLEY_IDLE_TIMEOUT higher.",
        )
    return TimedOut(
        f"{call.provider.label} did not answer within {limit:g} s.",
        "Try again, choose a faster model, or set PARLEY_FIRST_TOKEN_TIMEOUT higher.",
    )
