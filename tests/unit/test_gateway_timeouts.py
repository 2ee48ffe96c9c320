"""A provider that falls silent."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from core.errors import TimedOut
from core.gateway.timeouts import _Watch
from core.messages import Begun, Done, Notice, TextDelta, Usage
from tests.puppet import ANSWER, Puppet, ask, bench, said
from tests.waiting import until

QUICK = {"PARLEY_FIRST_TOKEN_TIMEOUT": 0.1, "PARLEY_IDLE_TIMEOUT": 0.1, "PARLEY_RETRIES": 0}


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ((3600.0,), "did not answer within 0.1 s"),
        ((0.06, Notice("parameter", "x"), 3600.0), "did not answer within 0.1 s"),
        ((TextDelta("a"), 3600.0), "sent nothing more for 0.1 s"),
        ((0.06, TextDelta("a"), 0.06, TextDelta("b"), 0.06, TextDelta("c"), 3600.0), "sent nothing more for 0.1 s"),
    ],
    ids=["never", "notice", "one word", "some words"],
)
async def test_silence_ends_the_call(settings, steps: tuple, text: str) -> None:
    puppet = Puppet(plan=[steps])
    with bench(settings(**QUICK), puppet) as it:
        with pytest.raises(TimedOut, match=text):
            await it.events(ask())
        assert (puppet.closed, puppet.open) == (1, 0)
        task = asyncio.current_task()
        assert task is not None and task.cancelling() == 0


async def test_what_the_provider_has_accepted_may_be_thought_about_for_longer(settings) -> None:
    with bench(settings(**QUICK), Puppet(plan=[(Begun(), 0.3, TextDelta("a"), Done(Usage()))])) as it:
        assert said(await it.events(ask())) == "a"
    silent = Puppet(plan=[(Begun(), 3600.0)])
    with bench(settings(**QUICK), silent) as it, pytest.raises(TimedOut, match=r"within 0\.5 s"):
        await it.events(ask())


async def test_a_slow_but_steady_answer_may_take_its_time(settings) -> None:
    steps = [step for n in range(8) for step in (0.04, TextDelta(str(n)))]
    with bench(settings(**QUICK), Puppet(plan=[(*steps, Done(Usage()))])) as it:
        assert said(await it.events(ask())) == "01234567"


async def test_the_first_token_and_the_next_have_their_own_limits(settings) -> None:
    patient = {**QUICK, "PARLEY_FIRST_TOKEN_TIMEOUT": 5, "PARLEY_IDLE_TIMEOUT": 0.1}
    puppet = Puppet(plan=[(0.3, TextDelta("a"), 3600.0)])
    with bench(settings(**patient), puppet) as it, pytest.raises(TimedOut, match=r"nothing more for 0\.1 s"):
        await it.events(ask())
    relaxed = {**QUICK, "PARLEY_FIRST_TOKEN_TIMEOUT": 0.1, "PARLEY_IDLE_TIMEOUT": 5}
    with bench(settings(**relaxed), Puppet(plan=[(TextDelta("a"), 0.3, Done(Usage()))])) as it:
        assert said(await it.events(ask())) == "a"


async def test_an_answer_in_one_piece_has_longer(settings) -> None:
    with bench(settings(**QUICK), Puppet(plan=[(0.3, *ANSWER), (3600.0,)])) as it:
        assert (await it.gateway.complete(ask())).text == "Hello there"
        with pytest.raises(TimedOut, match=r"within 0\.5 s"):
            await it.gateway.complete(ask())


async def test_a_slow_reader_is_not_the_providers_fault(settings) -> None:
    with bench(settings(**QUICK), Puppet(plan=[ANSWER])) as it:
        async with aclosing(it.gateway.stream(ask())) as events:
            async for event in events:
                if not isinstance(event, Done):
                    await asyncio.sleep(0.25)
        assert isinstance(event, Done)


async def test_waiting_for_a_slot_is_not_silence(settings) -> None:
    with bench(settings(PARLEY_CONCURRENCY="*=1", **QUICK), Puppet(plan=[(0.07, *ANSWER)])) as it:
        replies = await asyncio.gather(*(it.events(ask()) for _ in range(4)))
        assert all(said(events) == "Hello there" for events in replies)


async def test_a_stop_at_the_same_time_stays_a_stop(settings) -> None:
    class Stubborn(Puppet):
        """Takes a while to end, longer than the limit."""

        async def stream(self, request, model):
            self.open += 1
            try:
                await asyncio.sleep(3600)
            finally:
                await asyncio.sleep(0.3)
            yield Done(Usage())

    stubborn = Stubborn()
    with bench(settings(**{**QUICK, "PARLEY_FIRST_TOKEN_TIMEOUT": 0.2}), stubborn) as it:
        task = asyncio.create_task(it.events(ask()))
        await until(lambda: stubborn.open)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()


async def test_each_step_may_be_taken_by_another_task(settings) -> None:
    puppet = Puppet(plan=[(TextDelta("a"), 0.02, TextDelta("b"), 3600.0)])
    with bench(settings(**QUICK), puppet) as it:
        events = it.gateway.stream(ask())
        got = [await asyncio.create_task(anext(events)) for _ in range(3)]  # type: ignore[arg-type]
        assert said(got) == "ab"
        with pytest.raises(TimedOut):
            await asyncio.create_task(anext(events))  # type: ignore[arg-type]


async def test_within_a_timeout_of_the_callers(settings) -> None:
    patient = {**QUICK, "PARLEY_FIRST_TOKEN_TIMEOUT": 5}
    with bench(settings(**patient), Puppet(plan=[(3600.0,)])) as it, pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await it.events(ask())
    with bench(settings(**QUICK), Puppet(plan=[(3600.0,)])) as it, pytest.raises(TimedOut):
        async with asyncio.timeout(5):
            await it.events(ask())


async def test_no_timer_is_left(settings) -> None:
    loop = asyncio.get_running_loop()
    with bench(settings(), Puppet()) as it:
        await it.events(ask())
    left = [h for h in loop._scheduled if not h.cancelled() and getattr(h._callback, "__func__", None) is _Watch._look]
    assert left == []
