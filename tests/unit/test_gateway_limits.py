"""Calls at once, and requests and tokens a minute: in order, and without leaks."""

from __future__ import annotations

import asyncio
import random

import pytest

from core.errors import ProviderUnavailable
from core.gateway import limits
from core.gateway._window import Window
from core.messages import Begun, Done, TextDelta, Usage
from core.slots import Slots
from tests.puppet import ANSWER, Puppet, ask, bench
from tests.waiting import LONG, until


async def test_so_many_at_once_for_each_provider(settings) -> None:
    plan = [(0.02, TextDelta("a"), Done(Usage()))]
    first, second = Puppet("first", plan=plan), Puppet("second", plan=plan)
    with bench(settings(PARLEY_CONCURRENCY="first=2 *=5"), first, second) as it:
        requests = [ask(name) for _ in range(20) for name in ("first/a", "second/b")]
        await asyncio.gather(*map(it.gateway.complete, requests))
    assert (first.most, second.most) == (2, 5)


async def test_first_come_first_served(settings) -> None:
    puppet = Puppet(plan=[(0.01, *ANSWER)])
    with bench(settings(PARLEY_CONCURRENCY="*=1"), puppet) as it:
        await asyncio.gather(*(it.gateway.complete(ask(text=str(n))) for n in range(10)))
    assert [request.messages[0].text for request in puppet.requests] == [str(n) for n in range(10)]


@pytest.mark.parametrize("seed", range(5))
async def test_nothing_leaks_when_calls_are_stopped_at_any_moment(settings, seed: int) -> None:
    chance = random.Random(seed)
    puppet = Puppet(plan=[(0.001, TextDelta("a"), 0.001, Done(Usage()))])
    with bench(settings(PARLEY_CONCURRENCY="*=3", PARLEY_TOKENS_PER_MINUTE="*=100000000"), puppet) as it:
        tasks = [asyncio.create_task(it.gateway.complete(ask())) for _ in range(60)]
        while not all(task.done() for task in tasks):
            chance.choice(tasks).cancel()
            await asyncio.sleep(chance.random() * 0.002)
        assert puppet.open == 0 and puppet.most <= 3
        await asyncio.gather(*(asyncio.wait_for(it.gateway.complete(ask()), LONG) for _ in range(9)))
        assert puppet.most == 3


async def test_a_slot_handed_to_one_who_was_just_cancelled_goes_on() -> None:
    slots = Slots(1)
    await slots.acquire()
    first, second = asyncio.create_task(slots.acquire()), asyncio.create_task(slots.acquire())
    await asyncio.sleep(0)
    slots.release()  # now it is the first one's
    first.cancel()
    await asyncio.wait_for(second, 1)
    assert first.cancelled()
    slots.release()
    assert (slots.free, slots.waiting) == (1, {})


async def test_one_who_waits_no_more_is_forgotten() -> None:
    slots = Slots(1)
    await slots.acquire()
    waiting = asyncio.create_task(slots.acquire())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not slots.waiting
    slots.release()
    assert slots.free == 1


class Minute:
    """A clock that moves when one sleeps: 60 seconds pass in a moment."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        loop = asyncio.get_running_loop()
        real = loop.time()
        monkeypatch.setattr(loop, "time", lambda: real + self.now)

    def __call__(self) -> float:
        return self.now


async def times(window: Window, clock: Minute, amounts: list[int]) -> list[float]:
    """When each of these, asked for at once and in this order, is let through."""
    when: list[float] = [-1.0] * len(amounts)

    async def one(place: int, amount: int) -> None:
        await window.acquire(amount)
        when[place] = clock.now

    tasks = [asyncio.create_task(one(place, amount)) for place, amount in enumerate(amounts)]
    while not all(task.done() for task in tasks):
        for _ in range(20):
            await asyncio.sleep(0)
        clock.now += 0.5
    return when


async def test_never_more_than_the_limit_in_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Minute(monkeypatch)
    when = await times(Window(3, clock), clock, [1] * 7)
    assert when[:3] == [0, 0, 0] and all(60 <= at <= 62 for at in when[3:6]) and 120 <= when[6] <= 124


async def test_a_small_one_does_not_overtake_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Minute(monkeypatch)
    when = await times(Window(10, clock), clock, [8, 5, 1])
    assert when[0] == 0 and 60 <= when[1] <= 62 and when[2] >= when[1]


async def test_more_than_all_of_it_is_let_through_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Minute(monkeypatch)
    when = await times(Window(10, clock), clock, [5, 500, 5])
    assert when[0] == 0 and 60 <= when[1] <= 62 and 120 <= when[2] <= 124


async def test_a_correction_lets_the_next_one_in_at_once() -> None:
    window = Window(100)
    grant = await window.acquire(90)
    waiting = asyncio.create_task(window.acquire(50))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    grant.correct(10)
    await asyncio.wait_for(waiting, 1)
    assert window.used == 60


async def test_a_renewed_or_corrected_grant_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Minute(monkeypatch)
    window = Window(100, clock)
    grant = await window.acquire(40)
    clock.now = 30
    fresh = grant.renew()
    assert window.used == 40
    fresh.correct(70)
    grant.correct(1000)  # the old one means nothing any more
    assert window.used == 70
    clock.now = 70
    assert not window.idle()
    clock.now = 91
    assert window.idle() and window.used == 0
    fresh.correct(5)
    assert window.used == 0


async def test_cancelled_while_waiting_for_the_minute() -> None:
    window = Window(1)
    await window.acquire(1)
    first, second = asyncio.create_task(window.acquire(1)), asyncio.create_task(window.acquire(1))
    await asyncio.sleep(0.01)
    for task in (first, second):
        task.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    assert window.used == 1 and window._turn.free == 1 and not window._turn.waiting


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> list:
    made: list = []

    class Spied(limits._Rates):
        def __init__(self, settings: object) -> None:
            super().__init__(settings)
            made.append(self)

    monkeypatch.setattr(limits, "_Rates", Spied)
    return made


async def test_requests_a_minute_for_each_key(settings, rates: list) -> None:
    puppet = Puppet()
    with bench(settings(PARLEY_REQUESTS_PER_MINUTE="puppet=2"), puppet) as it:
        for keys in ({}, {"puppet": "one"}, {"puppet": "two"}):
            await asyncio.wait_for(asyncio.gather(*(it.gateway.complete(ask(keys=keys)) for _ in range(2))), LONG)
        late = asyncio.create_task(it.gateway.complete(ask()))
        await until(lambda: len(it.rows()) == 7)
        await asyncio.sleep(0.05)
        assert not late.done() and len(puppet.requests) == 6
        late.cancel()
        await asyncio.gather(late, return_exceptions=True)
        *_, row = await it.settled(7)
        assert row.status == "cancelled" and row.queued > 0
    found = rates[0]._requests._windows
    assert [window.used for window in found.values()] == [2, 2, 2]
    assert "one" not in repr(found) and "two" not in repr(found)


@pytest.mark.parametrize(
    ("steps", "used"),
    [
        (ANSWER, 12),
        ((ProviderUnavailable("Down."),), 0),
        ((TextDelta("a"), Done(Usage(input=700, cached=600, output=50, reasoning=40))), 750),
    ],
    ids=["answer", "failure", "cached"],
)
async def test_tokens_are_corrected_by_what_was_used(settings, rates: list, steps: tuple, used: int) -> None:
    with bench(settings(PARLEY_TOKENS_PER_MINUTE="puppet=5000", PARLEY_RETRIES=0), Puppet(plan=[steps])) as it:
        await asyncio.gather(it.gateway.complete(ask()), return_exceptions=True)
    (window,) = rates[0]._tokens._windows.values()
    assert window.used == used


async def test_a_stopped_call_keeps_its_estimate(settings, rates: list) -> None:
    puppet = Puppet(plan=[(Begun(), 3600.0)])
    with bench(settings(PARLEY_TOKENS_PER_MINUTE="puppet=5000"), puppet) as it:
        task = asyncio.create_task(it.gateway.complete(ask(text="q" * 40)))
        await until(lambda: puppet.waiting)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    (window,) = rates[0]._tokens._windows.values()
    assert window.used == 14 + limits.USUAL_OUTPUT


async def test_windows_that_have_run_empty_are_dropped(settings, rates: list, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_WINDOWS", 3)
    with bench(settings(PARLEY_REQUESTS_PER_MINUTE="puppet=5000"), Puppet()) as it:
        found = rates[0]._requests
        for number in range(3):
            await it.gateway.complete(ask(keys={"puppet": f"key {number}"}))
        for window in list(found._windows.values())[:2]:
            window._clock = lambda: 1e12
        await it.gateway.complete(ask(keys={"puppet": "another"}))
    assert len(found._windows) == 2


async def test_a_wait_for_a_slot_does_not_use_up_the_minute(settings, rates: list) -> None:
    """A reservation counts from the moment when the call goes out, and not at all if it never does."""
    puppet = Puppet(plan=[(0.2, *ANSWER)])
    limit = {"PARLEY_REQUESTS_PER_MINUTE": "*=50", "PARLEY_TOKENS_PER_MINUTE": "*=50000", "PARLEY_CONCURRENCY": "*=1"}
    with bench(settings(**limit), puppet) as it:
        tasks = [asyncio.create_task(it.gateway.complete(ask())) for _ in range(3)]
        await asyncio.sleep(0.1)
        tasks[2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    (requests,) = rates[0]._requests._windows.values()
    (tokens,) = rates[0]._tokens._windows.values()
    assert (requests.used, tokens.used) == (2, 24)
    first, second = (grant.time for grant in requests._grants if grant.amount)
    assert second - first > 0.15
