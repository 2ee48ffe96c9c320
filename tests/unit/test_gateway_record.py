"""What the ledger says of calls that end well, badly, or not at all."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing, suppress

import pytest
import structlog
from structlog.testing import capture_logs

from core.errors import BadRequest, Interrupted, ParleyError, ProviderUnavailable, StorageError, TimedOut
from core.ledger.store import Attempt, Outcome
from core.messages import Begun, ChatRequest, Done, TextDelta, ThinkingDelta, ToolUse, Usage
from tests.puppet import ANSWER, Bench, Puppet, ask, bench, ended, measure_on_loop, notices, said
from tests.waiting import LONG, until

FULL = StorageError("The disk is full.")
HALF = Usage(input=6, output=10, estimated=True)
PRICED = "openai/gpt-6-luna"  # $0.10 and $0.50 a million tokens


async def only_row(it: Bench, status: str = ""):
    """The one row, once it has ended."""
    (row,) = await it.settled(1)
    assert not status or row.status == status, row
    return row


async def test_the_row_says_all_there_is(settings) -> None:
    puppet = Puppet("openai")
    request = ask(
        PRICED,
        feature="experiment",
        conversation="c1",
        visitor="v1",
        prompt_name="p",
        prompt_version=3,
        prompt_hash="h",
    )
    with bench(settings(), puppet) as it:
        done = ended(await it.events(request))
        row = await only_row(it, "ok")
    assert (row.provider, row.model, row.feature, row.conversation) == ("openai", PRICED, "experiment", "c1")
    assert (row.visitor, row.prompt_name, row.prompt_version, row.prompt_hash) == ("v1", "p", 3, "h")
    assert (row.model_answered, row.request_id, row.stop_reason) == ("exact", "r1", "stop")
    assert (row.usage, row.cost, row.attempt, row.cache_hit) == (Usage(input=10, output=2), 2000, 0, False)
    assert (done.cost, done.call, done.duration, done.first_token) == (row.cost, row.id, row.duration, row.first_token)


async def test_it_is_written_before_the_provider_is_called(settings) -> None:
    seen: list[str] = []

    class Looks(Puppet):
        async def stream(self, request: ChatRequest, model: object):
            seen.append(it.rows()[0].status)
            yield Done(Usage())

    with bench(settings(), Looks()) as it:
        await it.events(ask())
    assert seen == ["running"]


@pytest.mark.parametrize(
    ("keys", "takes_key", "source"),
    [({"puppet": "k"}, True, "visitor"), ({"other": "k"}, True, "server"), ({}, False, "none")],
)
async def test_whose_key_it_was(settings, keys: dict[str, str], takes_key: bool, source: str) -> None:
    with bench(settings(), Puppet(takes_key=takes_key)) as it:
        await it.events(ask(keys=keys))
        assert (await only_row(it)).key_source == source


async def test_the_first_token_is_timed_without_the_wait_for_a_slot(settings, monkeypatch) -> None:
    measure_on_loop(monkeypatch)
    puppet = Puppet(plan=[(0.1, ThinkingDelta("a"), 0.05, Done(Usage()))])
    with bench(settings(PARLEY_CONCURRENCY="*=1"), puppet) as it:
        first, second = await asyncio.gather(it.gateway.complete(ask()), it.gateway.complete(ask()))
        rows = it.rows()
    assert rows[0].queued == 0 and rows[1].queued >= 0.15
    for done, row in ((first.done, rows[0]), (second.done, rows[1])):
        assert (row.first_token, row.duration) == (pytest.approx(0.1), pytest.approx(0.15))
        assert done.first_token == row.first_token


async def test_a_stopped_answer_is_estimated(settings) -> None:
    puppet = Puppet("openai", plan=[(Begun("exact"), ThinkingDelta("t" * 40), TextDelta("x" * 400), 3600.0)])
    with bench(settings(), puppet) as it:
        async with aclosing(it.gateway.stream(ask(PRICED, "q" * 360))) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    break
        row = await only_row(it, "cancelled")
    assert row.usage == Usage(input=94, output=110, estimated=True)
    assert row.cost == 94 * 100 + 110 * 500 and row.model_answered == "exact" and row.first_token is not None


async def test_a_stopped_answer_keeps_what_the_provider_said_of_its_input(settings) -> None:
    told = Usage(input=1000, cached=900, output=1)
    puppet = Puppet(plan=[(Begun(usage=told), TextDelta("x" * 400), ToolUse("1", "f", "y" * 39), 3600.0)])
    with bench(settings(), puppet) as it:
        task = asyncio.create_task(it.events(ask()))
        await until(lambda: puppet.waiting)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        row = await only_row(it, "cancelled")
    assert row.usage == Usage(input=1000, cached=900, output=110, estimated=True)


async def test_stopped_before_the_first_token_and_while_waiting_for_a_slot(settings) -> None:
    puppet = Puppet(plan=[(3600.0,)])
    with bench(settings(PARLEY_CONCURRENCY="*=1"), puppet) as it:
        tasks = [asyncio.create_task(it.events(ask(text="q" * 40))) for _ in range(2)]
        await until(lambda: puppet.waiting and len(it.rows()) == 2)
        await asyncio.sleep(0.05)
        for task in reversed(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        working, waiting = await it.settled(2)
    assert (working.status, working.usage) == ("cancelled", Usage(input=14, estimated=True))
    assert (waiting.status, waiting.usage) == ("cancelled", Usage()) and waiting.queued > 0
    assert len(puppet.requests) == 1


@pytest.mark.parametrize(
    ("steps", "status", "code", "usage"),
    [
        ((BadRequest("No."),), "failed", "bad_request", None),
        ((ProviderUnavailable("Down."),), "failed", "provider_unavailable", None),
        ((TimedOut("Silence."),), "failed", "timeout", Usage(input=6, estimated=True)),
        ((TextDelta("x" * 40), Interrupted("It broke off.")), "interrupted", "interrupted", HALF),
        ((TextDelta("x" * 40), TimedOut("Silence.")), "interrupted", "timeout", HALF),
        (
            (Begun(usage=Usage(input=9)), Interrupted("It broke off.")),
            "interrupted",
            "interrupted",
            Usage(input=9, estimated=True),
        ),
    ],
    ids=["refused", "down", "silent", "broken", "stalled", "broken before the first token"],
)
async def test_failures_are_rows_too(settings, steps: tuple, status: str, code: str, usage: Usage | None) -> None:
    with bench(settings(PARLEY_RETRIES=0), Puppet(plan=[steps])) as it:
        with pytest.raises(ParleyError):
            await it.events(ask())
        row = await only_row(it, status)
    assert (row.error_code, row.error, row.usage) == (code, steps[-1].what, usage)


async def test_an_answer_without_an_end_is_an_interruption(settings) -> None:
    with bench(settings(), Puppet(plan=[(TextDelta("half"),)])) as it:
        with pytest.raises(Interrupted, match="in the middle"):
            await it.events(ask())
        await only_row(it, "interrupted")


async def test_what_the_provider_charged_goes_before_the_table(settings) -> None:
    puppet = Puppet("openai", plan=[(TextDelta("a"), Done(Usage(input=10, output=2), provider_cost=777))])
    with bench(settings(), puppet) as it:
        assert ended(await it.events(ask(PRICED))).cost == 777


async def test_closing_after_the_end_changes_nothing(settings) -> None:
    with bench(settings(), Puppet()) as it:
        async with aclosing(it.gateway.stream(ask())) as events:
            async for event in events:
                if isinstance(event, Done):
                    break
        await it.database.awrite(lambda connection: None)  # behind whatever else was to be written
        await only_row(it, "ok")


class BeginFails:
    """A ledger on a full disk: nothing can be begun, or nothing finished."""

    def __init__(self, it: Bench, *, begin: bool) -> None:
        self._ledger = it.ledger
        self._fails = begin

    async def begin(self, attempt: Attempt) -> int:
        if self._fails:
            raise FULL
        return await self._ledger.begin(attempt)

    async def finish(self, call: int, outcome: Outcome) -> int | None:
        raise FULL

    def finish_soon(self, call: int, outcome: Outcome) -> None:
        assert not self._fails, "there is no such row"

    def cost(self, model: str, outcome: Outcome) -> int | None:
        return self._ledger.cost(model, outcome)


@pytest.mark.parametrize("begin", [True, False], ids=["not begun", "not finished"])
async def test_a_call_that_cannot_be_recorded_goes_on_and_says_so(settings, begin: bool) -> None:
    structlog.reset_defaults()
    puppet = Puppet("openai")
    with bench(settings(), puppet) as it:
        object.__setattr__(it.gateway._context, "ledger", BeginFails(it, begin=begin))
        gateway = type(it.gateway)({"openai": puppet}, it.catalog, it.gateway._context.ledger, settings())
        with capture_logs() as logs:
            async with aclosing(gateway.stream(ask(PRICED, conversation="c1"))) as stream:
                events = [event async for event in stream]
    assert said(events) == "Hello there"
    (notice,) = notices(events, "storage")
    assert notice.text == "This call cannot be recorded: The disk is full."
    assert (events[0] is notice) is begin
    assert ended(events).cost == 2000
    if begin:
        assert ended(events).call is None
        (entry,) = [entry for entry in logs if entry["event"] == "call.unrecorded"]
        assert (entry["input_tokens"], entry["output_tokens"], entry["nano_dollars"]) == (10, 2, 2000)
        assert "Hello" not in repr(logs)


@pytest.mark.parametrize("how", ["cancel", "fail"])
async def test_an_unrecorded_call_that_ends_early_is_in_the_log(settings, how: str) -> None:
    structlog.reset_defaults()
    puppet = Puppet("openai", plan=[(TextDelta("x" * 400), 3600.0 if how == "cancel" else Interrupted("Broken."))])
    with bench(settings(), puppet) as it:
        gateway = type(it.gateway)({"openai": puppet}, it.catalog, BeginFails(it, begin=True), settings())
        with capture_logs() as logs:
            task = asyncio.create_task(gateway.complete(ask(PRICED)))
            await until(lambda: puppet.waiting or task.done())
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    (entry,) = [entry for entry in logs if entry["event"] == "call.unrecorded"]
    assert entry["output_tokens"] == 100 and entry["nano_dollars"] > 50_000


async def test_stopping_does_not_wait_for_the_disk(settings) -> None:
    """The writer is held up by somebody else; the stopped call is over all the same, and its row follows later."""
    puppet = Puppet(plan=[(TextDelta("a"), 3600.0)])
    with bench(settings(), puppet) as it:
        events = it.gateway.stream(ask())
        async for event in events:
            if isinstance(event, TextDelta):
                break
        held, free = threading.Event(), threading.Event()
        slow = asyncio.create_task(it.database.awrite(lambda connection: held.set() or free.wait(LONG)))
        await until(held.is_set)
        await events.aclose()
        assert not slow.done()
        free.set()
        await slow
        await only_row(it, "cancelled")


async def test_every_attempt_has_its_own_row_and_measures(settings) -> None:
    puppet = Puppet(plan=[(Begun("one", "r-one"), ProviderUnavailable("Down.", retry_after=0)), ANSWER])
    with bench(settings(PARLEY_RETRY_MAX_WAIT=0), puppet) as it:
        await it.events(ask())
        first, second = it.rows()
    assert (first.request_id, first.attempt, second.request_id, second.attempt) == ("r-one", 0, "r1", 1)


async def test_a_retry_has_its_own_wait_and_was_not_sent_before_it_was(settings, monkeypatch) -> None:
    measure_on_loop(monkeypatch)
    first = (0.1, ProviderUnavailable("Down.", retry_after=0))
    puppet = Puppet(plan=[(1.0, *ANSWER), first, (3600.0,)])
    with bench(settings(PARLEY_RETRY_MAX_WAIT=0, PARLEY_CONCURRENCY="*=1"), puppet) as it:
        tasks = [asyncio.create_task(it.gateway.complete(ask())) for _ in range(3)]
        # The second has failed and waits again, now behind the third.
        await until(lambda: len(puppet.requests) == 3 and puppet.waiting and len(it.rows()) == 4)
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        _, failed, silent, again = await it.settled(4)
    assert (failed.status, silent.status, again.status, again.attempt) == ("failed", "cancelled", "cancelled", 1)
    assert failed.queued >= 1 > again.queued > 0 and again.usage == Usage()
    assert silent.usage is not None and silent.usage.estimated


async def test_the_row_can_be_found_from_the_first_event_on(settings) -> None:
    puppet = Puppet()
    with bench(settings(), puppet) as it:
        async with aclosing(it.gateway.stream(ask())) as events:
            first = await anext(events)
        row = await only_row(it, "cancelled")
    assert isinstance(first, Begun) and first.call == row.id
    assert puppet.requests == [] and row.usage == Usage()
