"""What is tried again, when, and how long it is waited."""

from __future__ import annotations

import asyncio

import pytest

from core.errors import (
    AuthenticationFailed,
    BadRequest,
    BudgetExceeded,
    Interrupted,
    ParleyError,
    ProviderUnavailable,
    RateLimited,
    TimedOut,
)
from core.gateway import retry
from core.messages import Begun, Done, Event, TextDelta, ThinkingDelta, ToolUse, Usage
from tests.puppet import ANSWER, Puppet, ask, bench, ended, notices, said
from tests.waiting import until

BUSY = ProviderUnavailable("Puppet is overloaded.")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited, without waiting."""
    waited: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        await real(0)

    class Clock:
        def __getattr__(self, name: str) -> object:
            return sleep if name == "sleep" else getattr(asyncio, name)

    monkeypatch.setattr(retry, "asyncio", Clock())
    return waited


async def test_a_passing_fault_is_tried_again_and_said(settings, waits: list[float]) -> None:
    puppet = Puppet(plan=[(BUSY,), (BUSY,), ANSWER])
    with bench(settings(), puppet) as it:
        events = await it.events(ask())
        assert said(events) == "Hello there"
        first, second = notices(events, "retry")
        assert first.text.startswith("Puppet is overloaded; trying again in ") and first.text.endswith("(1 of 2).")
        assert second.text.endswith("(2 of 2).")
        assert [(row.attempt, row.status, row.error_code) for row in it.rows()] == [
            (0, "failed", "provider_unavailable"),
            (1, "failed", "provider_unavailable"),
            (2, "ok", None),
        ]
        assert ended(events).call == it.rows()[2].id
    assert 0 <= waits[0] <= 0.5 and 0 <= waits[1] <= 1.0


async def test_it_gives_up_after_the_last_try(settings, waits: list[float]) -> None:
    puppet = Puppet(plan=[(BUSY,)])
    with bench(settings(PARLEY_RETRIES=3), puppet) as it, pytest.raises(ProviderUnavailable, match="overloaded"):
        await it.events(ask())
    assert len(puppet.requests) == 4 and len(waits) == 3


async def test_no_retries_at_all(settings, waits: list[float]) -> None:
    puppet = Puppet(plan=[(BUSY,)])
    with bench(settings(PARLEY_RETRIES=0), puppet) as it, pytest.raises(ProviderUnavailable):
        await it.events(ask())
    assert len(puppet.requests) == 1 and waits == []


@pytest.mark.parametrize(
    "shown", [TextDelta("a"), ThinkingDelta("a"), ToolUse("1", "f", "{}")], ids=lambda e: type(e).__name__
)
async def test_never_after_the_first_piece_of_an_answer(settings, waits: list[float], shown: object) -> None:
    puppet = Puppet(plan=[(Begun(), shown, TimedOut("Silence.")), ANSWER])
    with bench(settings(), puppet) as it, pytest.raises(TimedOut):
        await it.events(ask())
    assert len(puppet.requests) == 1


async def test_still_after_the_provider_has_only_accepted(settings, waits: list[float]) -> None:
    puppet = Puppet(plan=[(Begun(), BUSY), ANSWER])
    with bench(settings(), puppet) as it:
        assert said(await it.events(ask())) == "Hello there"


async def test_a_silence_after_it_has_accepted_is_not_paid_for_twice(settings, waits: list[float]) -> None:
    puppet = Puppet(plan=[(Begun(), TimedOut("Puppet is silent.")), ANSWER])
    with bench(settings(), puppet) as it, pytest.raises(TimedOut):
        await it.events(ask())
    assert len(puppet.requests) == 1


@pytest.mark.parametrize(
    "error",
    [BadRequest("x"), AuthenticationFailed("x"), BudgetExceeded("x"), Interrupted("x")],
    ids=lambda e: type(e).__name__,
)
async def test_what_would_fail_again_is_not_tried_again(settings, waits: list[float], error: ParleyError) -> None:
    puppet = Puppet(plan=[(error,), ANSWER])
    with bench(settings(), puppet) as it, pytest.raises(type(error)):
        await it.events(ask())
    assert len(puppet.requests) == 1 and waits == []


async def test_retry_after_is_obeyed(settings, waits: list[float]) -> None:
    puppet = Puppet(plan=[(RateLimited("Puppet is busy.", retry_after=3.0),), ANSWER])
    with bench(settings(), puppet) as it:
        await it.events(ask())
    assert 3.0 <= waits[0] <= 3.5


async def test_a_retry_after_beyond_the_cap_fails_at_once_and_says_how_long(settings, waits: list[float]) -> None:
    puppet = Puppet(plan=[(RateLimited("Puppet is busy.", retry_after=300.0),), ANSWER])
    with bench(settings(), puppet) as it, pytest.raises(RateLimited, match="Try again in 5 min") as caught:
        await it.events(ask())
    assert caught.value.retry_after == 300.0 and waits == []


async def test_the_wait_is_capped(settings, waits: list[float]) -> None:
    puppet = Puppet(plan=[(BUSY,)])
    with (
        bench(settings(PARLEY_RETRIES=10, PARLEY_RETRY_MAX_WAIT=1, PARLEY_BREAKER_FAILURES=100), puppet) as it,
        pytest.raises(ProviderUnavailable),
    ):
        await it.events(ask())
    assert len(waits) == 10 and max(waits) <= 1.0 and len(set(waits)) > 1


async def test_stop_during_the_wait(settings) -> None:
    puppet = Puppet(plan=[(RateLimited("Busy.", retry_after=15.0),), ANSWER])
    with bench(settings(), puppet) as it:
        events: list[Event] = []

        async def read() -> None:
            async for event in it.gateway.stream(ask()):
                events.append(event)  # noqa: PERF401, read while it comes

        task = asyncio.create_task(read())
        await until(lambda: notices(events, "retry"))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert len(puppet.requests) == 1


async def test_an_empty_answer_is_an_answer(settings) -> None:
    with bench(settings(), Puppet(plan=[(Done(Usage(input=3)),)])) as it:
        assert ended(await it.events(ask())).usage.input == 3
