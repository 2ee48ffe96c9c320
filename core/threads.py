"""Threads beside the event loop, apart by kind of work: what is slow in one pool makes nobody wait in another."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from core.slots import Group, Slots

P = ParamSpec("P")
T = TypeVar("T")


class Pool:
    """For quick work: first come, first served."""

    def __init__(self, name: str, size: int) -> None:
        self._executor = ThreadPoolExecutor(size, f"parley-{name}")

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """As `asyncio.to_thread`. What has begun goes on when the caller is cancelled."""
        return await asyncio.wrap_future(self._submit(partial(work, *args, **kwargs)))

    def close(self) -> None:
        """What waits is dropped, what runs goes on to its end."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        return self._executor.submit(contextvars.copy_context().run, work)


class FairPool(Pool):
    """For work that may take long: visitors have their turns, and on a shared server none has more than half."""

    def __init__(self, name: str, size: int, shared: bool, network_of: Group = lambda visitor: "") -> None:
        super().__init__(name, size)
        self._slots = Slots.fair(size, shared, network_of)

    async def run_for(self, visitor: str, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """As `run`. Who is cancelled before the turn is forgotten; the place of what runs is free when it has ended."""
        await self._slots.acquire(visitor)
        release = partial(_soon, asyncio.get_running_loop(), partial(self._slots.release, visitor))
        try:
            future = self._submit(partial(work, *args, **kwargs))
        except BaseException:
            self._slots.release(visitor)
            raise
        future.add_done_callback(release)
        return await asyncio.wrap_future(future)


class Threads:
    """All pools; for one event loop."""

    def __init__(self, *, shared: bool, network_of: Group = lambda visitor: "") -> None:
        self.database = Pool("database", 8)
        self.prompts = Pool("prompts", 8)  # the registry's files
        self.index = Pool("index", 4)  # search by meaning: a Chroma server may be slow
        self.requests = FairPool("requests", 4, shared, network_of)  # from a question to a request: prompts, files
        # A template may use up half a second of processor time, and one at a time would be as fast for all together.
        self.previews = FairPool("previews", 2, shared, network_of)
        self.files = FairPool("files", 2, shared, network_of)  # imports and exports

    def close(self) -> None:
        for pool in (self.database, self.prompts, self.index, self.requests, self.previews, self.files):
            pool.close()


def _soon(loop: asyncio.AbstractEventLoop, act: Callable[[], None], _: Future[T]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended before the work
        loop.call_soon_threadsafe(act)
