"""So much in any 60 seconds."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable

from core.slots import Slots

MINUTE = 60.0


class Grant:
    """An amount that a window counts. `correct` it once the true one is known."""

    __slots__ = ("amount", "time", "window")

    def __init__(self, window: Window, time: float, amount: int) -> None:
        self.window = window
        self.time = time
        self.amount = amount

    def correct(self, amount: int) -> None:
        if self.amount:  # else it is older than a minute, or renewed
            self.window.change(amount - self.amount)
            self.amount = amount

    def renew(self) -> Grant:
        """The same grant, counted from now on because the call could begin only now."""
        return self.window.renew(self)


class Window:
    """At most `limit` in any 60 seconds. An amount above the limit is let through when nothing else is counted.

    Owners who wait have their turns one after the other, and each owner's own in the order of coming.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self.used = 0
        self._clock = clock
        self._grants: deque[Grant] = deque()
        self._turn = Slots(1)
        self._less: asyncio.Future[None] | None = None

    async def acquire(self, amount: int, owner: str = "") -> Grant:
        await self._turn.acquire(owner)
        try:
            while (wait := self._wait(amount)) > 0:
                self._less = asyncio.get_running_loop().create_future()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._less
        finally:
            self._less = None
            self._turn.release(owner)
        return self._count(amount)

    def change(self, difference: int) -> None:
        self.used += difference
        if difference < 0 and self._less is not None and not self._less.done():
            self._less.set_result(None)

    def renew(self, grant: Grant) -> Grant:
        fresh = self._count(grant.amount)
        grant.correct(0)
        return fresh

    def idle(self) -> bool:
        """Whether a new window would be the same."""
        self._expire()
        return not self._grants and self._turn.free == 1

    def _count(self, amount: int) -> Grant:
        grant = Grant(self, self._clock(), amount)
        self.used += amount
        self._grants.append(grant)
        return grant

    def _expire(self) -> None:
        before = self._clock() - MINUTE
        while self._grants and self._grants[0].time <= before:
            grant = self._grants.popleft()
            self.used -= grant.amount
            grant.amount = 0

    def _wait(self, amount: int) -> float:
        """Seconds until there may be room; 0 = there is."""
        self._expire()
        if not self._grants or self.used <= 0 or self.used + amount <= self.limit:
            return 0.0
        return max(0.001, self._grants[0].time + MINUTE - self._clock())
