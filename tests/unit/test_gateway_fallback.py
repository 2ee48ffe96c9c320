"""Another model answers when the chosen one cannot."""

from __future__ import annotations

import pytest

from core.errors import (
    AuthenticationFailed,
    BadRequest,
    ContextTooLong,
    ModelNotFound,
    ParleyError,
    ProviderUnavailable,
    RateLimited,
    TimedOut,
)
from core.messages import Begun, Done, TextDelta, Usage
from tests.puppet import ANSWER, Puppet, ask, bench, ended, notices, said

QUICK = {"PARLEY_RETRIES": 0}


def two(*errors: ParleyError) -> tuple[Puppet, Puppet]:
    return Puppet("first", plan=[(error,) for error in errors]), Puppet("second")


@pytest.mark.parametrize(
    "error",
    [ProviderUnavailable("First is down."), RateLimited("Slow."), TimedOut("Late."), ModelNotFound("Gone.")],
    ids=lambda e: type(e).__name__,
)
async def test_the_next_model_answers(settings, error: ParleyError) -> None:
    first, second = two(error)
    with bench(settings(**QUICK), first, second) as it:
        events = await it.events(ask("first/a", fallbacks=("second/b",), keys={"first": "mine"}))
        assert said(events) == "Hello there"
        (notice,) = notices(events, "fallback")
        assert notice.model == "second/b" and notice.text == f"{error.what} Going on with second/b."
        assert ended(events).model == "second/b"
        assert [(row.model, row.status, row.attempt, row.key_source) for row in it.rows()] == [
            ("first/a", "failed", 0, "visitor"),
            ("second/b", "ok", 0, "server"),
        ]
    assert second.requests[0].model == "second/b"


@pytest.mark.parametrize(
    "error",
    [BadRequest("No."), AuthenticationFailed("No key."), ContextTooLong("Long.")],
    ids=lambda e: type(e).__name__,
)
async def test_what_is_wrong_with_the_request_is_told(settings, error: ParleyError) -> None:
    first, second = two(error)
    with bench(settings(**QUICK), first, second) as it, pytest.raises(type(error)):
        await it.events(ask("first/a", fallbacks=("second/b",)))
    assert second.requests == []


async def test_never_after_the_first_word(settings) -> None:
    first, second = Puppet("first", plan=[(Begun(), TextDelta("a"), TimedOut("Silence."))]), Puppet("second")
    with bench(settings(**QUICK), first, second) as it, pytest.raises(TimedOut):
        await it.events(ask("first/a", fallbacks=("second/b",)))
    assert second.requests == []


async def test_the_chain_goes_on_and_the_first_error_is_told_at_the_end(settings) -> None:
    first, second = two(ProviderUnavailable("First is down."))
    second.plan = [(AuthenticationFailed("No key for Second."),)]
    with bench(settings(**QUICK), first, second) as it:
        with pytest.raises(ProviderUnavailable, match="First is down"):
            await it.events(ask("first/a", fallbacks=("nobody/x", "first/a", "second/b", "second/c")))
        assert [row.model for row in it.rows()] == ["first/a", "second/b", "second/c"]


async def test_it_is_tried_again_before_it_is_given_up(settings) -> None:
    first, second = two(ProviderUnavailable("First is down.", retry_after=0.0))
    with bench(settings(PARLEY_RETRIES=1, PARLEY_RETRY_MAX_WAIT=0), first, second) as it:
        events = await it.events(ask("first/a", fallbacks=("second/b",)))
    assert len(first.requests) == 2 and said(events) == "Hello there"


async def test_an_open_circuit_goes_to_the_next_model_without_a_call(settings) -> None:
    first, second = two(ProviderUnavailable("First is down."))
    with bench(settings(PARLEY_BREAKER_FAILURES=1, **QUICK), first, second) as it:
        for _ in range(3):
            assert said(await it.events(ask("first/a", fallbacks=("second/b",)))) == "Hello there"
    assert len(first.requests) == 1


async def test_the_settings_hold_for_chat_but_not_for_comparisons(settings) -> None:
    first, second = two(ProviderUnavailable("First is down."))
    with bench(settings(PARLEY_FALLBACKS="second/b", **QUICK), first, second) as it:
        assert said(await it.events(ask("first/a"))) == "Hello there"
        assert said(await it.events(ask("first/a", feature="api"))) == "Hello there"
        with pytest.raises(ProviderUnavailable):
            await it.events(ask("first/a", feature="compare"))
        first.plan = [ANSWER]
        assert ended(await it.events(ask("first/a"))).model == "first/a"


async def test_the_own_list_goes_before_the_settings(settings) -> None:
    first, second = two(ProviderUnavailable("First is down."))
    third = Puppet("third", plan=[(TextDelta("third"), Done(Usage()))])
    with bench(settings(PARLEY_FALLBACKS="second/b", **QUICK), first, second, third) as it:
        assert said(await it.events(ask("first/a", fallbacks=("third/c",)))) == "third"
