"""Waiting for what comes later: for a state instead of a moment, and on a clock that a busy machine cannot hurry.

wait_until(registry.list, lambda found: len(found) == 3)      # in a thread
await until(lambda: puppet.requests)                          # in the event loop
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
LONG = 60.0  # seconds; only a test that fails waits for so long


def wait_until(look: Callable[[], T], wanted: Callable[[T], object] = bool, *, seconds: float = LONG) -> T:
    """What `look()` gives as soon as it is `wanted`; fails with what was seen last."""
    end = time.monotonic() + seconds
    while not wanted(seen := look()):
        assert time.monotonic() < end, f"not within {seconds:g} s; last seen: {seen!r}"
        time.sleep(0.01)
    return seen


async def until(look: Callable[[], T], wanted: Callable[[T], object] = bool, *, seconds: float = LONG) -> T:
    """The same while the event loop goes on."""
    end = time.monotonic() + seconds
    while not wanted(seen := look()):
        assert time.monotonic() < end, f"not within {seconds:g} s; last seen: {seen!r}"
        await asyncio.sleep(0.005)
    return seen


class SteadyLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only while it waits, and never beyond the timer that it waits for.

    So the order of what happens in it depends on the timers alone: a machine busy elsewhere makes a test slower,
    but does not let a limit of 0.1 s expire before a step of 0.06 s.
    """

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Steady(self))

    def time(self) -> float:
        return self._now


class _Steady(selectors.DefaultSelector):
    def __init__(self, loop: SteadyLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        began = time.monotonic()
        events = super().select(timeout)
        passed = time.monotonic() - began
        self._loop._now += passed if timeout is None else min(passed, timeout)
        return events
