"""The tests' own clock and their way to wait."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from tests.waiting import SteadyLoop, until, wait_until


async def race(limit: float, step: float, busy: float) -> str:
    """Whether a step or the limit comes first in a process that stands still for a while."""

    async def work() -> str:
        time.sleep(busy)
        await asyncio.sleep(step)
        time.sleep(busy)
        await asyncio.sleep(0)
        return "step"

    try:
        return await asyncio.wait_for(work(), limit)
    except TimeoutError:
        return "limit"


def test_a_limit_does_not_pass_while_the_machine_is_busy() -> None:
    with asyncio.Runner(loop_factory=SteadyLoop) as runner:
        assert runner.run(race(0.1, 0.06, 0.2)) == "step"
        assert runner.run(race(0.06, 0.1, 0.2)) == "limit"


async def test_what_a_thread_does_wakes_the_loop() -> None:
    assert isinstance(asyncio.get_running_loop(), SteadyLoop), "every test has it"
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "done"), 60) == "done"


def test_waiting_ends_with_what_was_wanted() -> None:
    seen: list[int] = []
    threading.Timer(0.05, seen.append, (1,)).start()
    assert wait_until(lambda: seen) == [1]


async def test_who_waits_in_vain_is_told_what_was_seen_last() -> None:
    with pytest.raises(AssertionError, match=r"last seen: \['a'\]"):
        wait_until(lambda: ["a"], lambda seen: len(seen) == 2, seconds=0.05)
    with pytest.raises(AssertionError, match=r"last seen: \['a'\]"):
        await until(lambda: ["a"], lambda seen: len(seen) == 2, seconds=0.05)
