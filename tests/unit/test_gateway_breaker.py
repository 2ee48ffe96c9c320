"""When a provider is left alone, and how it comes back."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from functools import partial

import pytest
from structlog.testing import capture_logs

from core.errors import (
    AuthenticationFailed,
    BadRequest,
    Interrupted,
    ModelUnavailable,
    ParleyError,
    ProviderTimedOut,
    ProviderUnavailable,
    RateLimited,
    TimedOut,
    Unreadable,
)
from core.gateway import breaker
from core.gateway.breaker import Breaker, CircuitOpen
from core.messages import Begun, Done, TextDelta, Usage
from tests.puppet import ANSWER, Bench, Puppet, ask, bench, said
from tests.waiting import until

DOWN = ProviderUnavailable("Puppet is down.")
QUICK = {"PARLEY_RETRIES": 0, "PARLEY_BREAKER_FAILURES": 3, "PARLEY_BREAKER_SECONDS": 20}
LASTING = {**QUICK, "PARLEY_BREAKER_SECONDS": 60}


class Clock:
    """Seconds that pass when a test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of all circuits."""
    made = Clock()
    monkeypatch.setattr(breaker, "Breaker", partial(Breaker, clock=made))
    return made


async def fail(it: Bench, times: int, kind: type[ParleyError] = ParleyError, **more: object) -> None:
    for _ in range(times):
        with pytest.raises(kind):
            await it.events(ask(**more))


async def test_it_opens_after_failures_in_a_row_and_comes_back(settings, clock: Clock) -> None:
    puppet = Puppet(plan=[(DOWN,), (DOWN,), (DOWN,), (DOWN,), ANSWER])
    other = Puppet("other")
    with bench(settings(**QUICK), puppet, other) as it:
        assert it.gateway.breakers()["puppet"].state == "closed"
        await fail(it, 3, ProviderUnavailable)
        state = it.gateway.breakers()["puppet"]
        assert (state.state, state.failures, state.why) == ("open", 3, "Puppet is down.") and state.until is not None
        with pytest.raises(CircuitOpen, match="after 3 failures in a row: Puppet is down"):
            await it.events(ask())
        assert len(puppet.requests) == 3
        assert said(await it.events(ask("other/x"))) == "Hello there"
        assert it.gateway.breakers()["other"].state == "closed"
        clock.now += 25
        assert it.gateway.breakers()["puppet"].state == "half-open"
        await fail(it, 1, ProviderUnavailable)  # the probe
        await fail(it, 1, CircuitOpen)
        clock.now += 25
        assert said(await it.events(ask())) == "Hello there"
        assert it.gateway.breakers()["puppet"].state == "closed"
        assert len(puppet.requests) == 5
        refused = [row for row in it.rows() if row.provider == "puppet" and row.error and "left alone" in row.error]
        assert len(refused) == 2


async def test_an_open_circuit_is_not_tried_again(settings) -> None:
    puppet = Puppet(plan=[(DOWN,)])
    patient = {"PARLEY_RETRIES": 5, "PARLEY_BREAKER_FAILURES": 2, "PARLEY_BREAKER_SECONDS": 5}
    with bench(settings(**patient), puppet) as it:
        await fail(it, 1, CircuitOpen)
        assert len(puppet.requests) == 2 and len(it.rows()) == 3


@pytest.mark.parametrize(
    "error",
    [BadRequest("x"), AuthenticationFailed("x"), RateLimited("x"), ValueError("x")],
    ids=lambda e: type(e).__name__,
)
async def test_what_is_not_the_servers_fault_does_not_count(settings, error: Exception) -> None:
    puppet = Puppet(plan=[(error,)])
    with bench(settings(**QUICK), puppet) as it, capture_logs():
        await fail(it, 5, keys={"puppet": "wrong"})
        assert it.gateway.breakers()["puppet"].state == "closed"
    assert len(puppet.requests) == 5


async def test_an_answer_in_between_starts_the_count_again(settings) -> None:
    puppet = Puppet(plan=[(DOWN,), (DOWN,), ANSWER, (DOWN,), (DOWN,), ANSWER])
    with bench(settings(**QUICK), puppet) as it:
        for wanted in (2, 0, 2, 0):
            await fail(it, wanted) if wanted else await it.events(ask())
            assert it.gateway.breakers()["puppet"].failures == wanted


async def test_stalls_in_mid_answer_add_up(settings) -> None:
    puppet = Puppet(plan=[(Begun(), TextDelta("a"), TimedOut("Silence."))])
    with bench(settings(**QUICK), puppet) as it:
        await fail(it, 3, TimedOut)
        await fail(it, 1, CircuitOpen)


async def test_one_probe_at_a_time_and_a_cancelled_one_frees_the_place(settings, clock: Clock) -> None:
    puppet = Puppet(plan=[(DOWN,), (DOWN,), (DOWN,), (3600.0,), (0.1, *ANSWER)])
    with bench(settings(**QUICK), puppet) as it:
        await fail(it, 3, ProviderUnavailable)
        clock.now += 25
        probe = asyncio.create_task(it.events(ask()))
        await until(lambda: puppet.waiting)
        await fail(it, 2, CircuitOpen)
        probe.cancel()
        await asyncio.gather(probe, return_exceptions=True)
        assert it.gateway.breakers()["puppet"].state == "half-open"
        assert said(await it.events(ask())) == "Hello there"


async def test_a_probe_that_answers_lets_the_others_in_before_it_ends(settings, clock: Clock) -> None:
    puppet = Puppet(plan=[(DOWN,), (DOWN,), (DOWN,), (TextDelta("long"), 3600.0, Done(Usage())), ANSWER])
    with bench(settings(**QUICK), puppet) as it:
        await fail(it, 3, ProviderUnavailable)
        clock.now += 25
        async with aclosing(it.gateway.stream(ask())) as probe:
            async for event in probe:
                if isinstance(event, TextDelta):
                    assert said(await it.events(ask())) == "Hello there"
                    break


async def test_a_probe_with_a_bad_key_decides_nothing(settings, clock: Clock) -> None:
    puppet = Puppet(plan=[(DOWN,), (DOWN,), (DOWN,), (AuthenticationFailed("x"),), ANSWER])
    with bench(settings(**QUICK), puppet) as it:
        await fail(it, 3, ProviderUnavailable)
        clock.now += 25
        await fail(it, 1, AuthenticationFailed)
        assert it.gateway.breakers()["puppet"].state == "half-open"
        assert said(await it.events(ask())) == "Hello there"


def test_calls_from_before_do_not_decide_for_an_open_circuit() -> None:
    now = 0.0
    circuit = Breaker("P", 2, 10, lambda: now)
    assert [circuit.enter() for _ in range(4)] == [False] * 4
    circuit.failed(False, "down")
    circuit.failed(False, "down")
    now = 9.0
    circuit.failed(False, "down")  # begun before it opened: must not prolong it
    circuit.succeeded(False)
    assert circuit.state().state == "open"
    now = 10.0
    assert circuit.enter() is True


OF_MODEL = [ModelUnavailable("x"), Unreadable("x"), TimedOut("x"), Interrupted("x")]
OF_PROVIDER = [DOWN, ProviderTimedOut("x")]


@pytest.mark.parametrize("error", OF_MODEL, ids=lambda error: type(error).__name__)
async def test_a_broken_model_stops_nobody_but_itself(settings, clock: Clock, error: ParleyError) -> None:
    puppet = Puppet(plan=[(error,), (error,), (error,), ANSWER])
    with bench(settings(**QUICK), puppet) as it:
        for _ in range(3):
            with pytest.raises(type(error)):
                await it.events(ask("puppet/broken"))
        with pytest.raises(CircuitOpen, match="puppet/broken is left alone for a while after 3 failures in a row: x"):
            await it.events(ask("puppet/broken"))
        assert said(await it.events(ask("puppet/good"))) == "Hello there"
        state = it.gateway.breakers()["puppet"]
        assert (state.state, list(state.models)) == ("closed", ["puppet/broken"])
        assert state.models["puppet/broken"].state == "open"
        clock.now += 21
        assert said(await it.events(ask("puppet/broken"))) == "Hello there"
        assert not it.gateway.breakers()["puppet"].models


@pytest.mark.parametrize("error", OF_PROVIDER, ids=lambda error: type(error).__name__)
async def test_what_stops_a_provider_stops_all_its_models(settings, error: ParleyError) -> None:
    puppet = Puppet(plan=[(error,)])
    with bench(settings(**LASTING), puppet) as it:
        for model in ("one", "two", "three"):
            with pytest.raises(type(error)):
                await it.events(ask(f"puppet/{model}"))
        with pytest.raises(CircuitOpen, match="Puppet is left alone"):
            await it.events(ask("puppet/four"))


async def test_the_faults_of_a_visitors_key_stop_nobody_else(settings) -> None:
    for error in (DOWN, ModelUnavailable("x")):
        puppet = Puppet(plan=[(error,)] * 3 + [ANSWER])
        with bench(settings(**LASTING), puppet) as it:
            for _ in range(3):
                with pytest.raises(ProviderUnavailable):
                    await it.events(ask(keys={"puppet": "own"}))
            with pytest.raises(CircuitOpen):
                await it.events(ask(keys={"puppet": "own"}))
            for keys in ({}, {"puppet": "another"}):
                assert said(await it.events(ask(keys=keys))) == "Hello there"
            state = it.gateway.breakers()["puppet"]
            assert state.state == "closed" and not state.models


async def test_a_broken_model_does_not_keep_its_provider_closed(settings, clock: Clock) -> None:
    """While a provider is being tried again, a model of it that fails decides nothing."""
    puppet = Puppet(plan=[(DOWN,), (DOWN,), (DOWN,), (ModelUnavailable("x"),), ANSWER])
    with bench(settings(**QUICK), puppet) as it:
        await fail(it, 3, ProviderUnavailable)
        clock.now += 21
        with pytest.raises(ModelUnavailable):
            await it.events(ask("puppet/broken"))
        assert said(await it.events(ask("puppet/good"))) == "Hello there"
        assert it.gateway.breakers()["puppet"].state == "closed"


async def test_circuits_are_not_kept_without_end(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "MOST", 5)
    puppet = Puppet(plan=[(ModelUnavailable("x"),)])
    with bench(settings(**{**LASTING, "PARLEY_BREAKER_FAILURES": 1}), puppet) as it:
        for number in range(20):
            await fail(it, 1, ModelUnavailable, model=f"puppet/{number}")
        assert len(it.gateway.breakers()["puppet"].models) == 5
