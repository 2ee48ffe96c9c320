"""What an anonymous visitor of a shared server may ask in a day with the server's keys."""

from __future__ import annotations

import asyncio
import datetime
from contextlib import aclosing
from typing import Any

import pytest

from core.api.wire import send_error
from core.errors import ProviderUnavailable, StorageError
from core.gateway import quota
from core.gateway.quota import DailyLimit
from core.messages import Begun
from core.services import Services
from tests.puppet import ANSWER, Bench, Puppet, ask, bench, said
from tests.waiting import until

LIMIT = {"PARLEY_SHARED": "on", "PARLEY_VISITOR_REQUESTS_PER_DAY": 3, "PARLEY_RETRIES": 0}
VISITOR = "visitor-one"


async def used_up(it: Bench, **more: Any) -> DailyLimit:
    with pytest.raises(DailyLimit) as caught:
        await it.events(ask(**{"visitor": VISITOR, **more}))
    return caught.value


async def test_so_many_a_day_and_then_a_sentence(settings) -> None:
    puppet = Puppet()
    with bench(settings(**LIMIT), puppet) as it:
        for _ in range(3):
            await it.events(ask(visitor=VISITOR))
        error = await used_up(it)
        assert "3 calls a day for each visitor" in error.what and "00:00 UTC" in error.what
        assert "key of your own in Settings" in error.fix
        assert error.retry_after is not None and 0 < error.retry_after <= 86400
        assert len(puppet.requests) == 3 and len(it.rows()) == 3
        assert said(await it.events(ask(visitor="visitor-two"))) == "Hello there"


async def test_as_http_it_is_a_429_with_the_time_to_wait(settings) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    with bench(settings(**{**LIMIT, "PARLEY_VISITOR_REQUESTS_PER_DAY": 1}), Puppet()) as it:
        await it.events(ask(visitor=VISITOR))
        await send_error(send, await used_up(it))
    headers = dict(sent[0]["headers"])
    assert sent[0]["status"] == 429 and 0 < int(headers[b"retry-after"]) <= 86400
    assert headers[b"x-should-retry"] == b"false"


@pytest.mark.parametrize(
    ("provider", "more"),
    [
        (Puppet(), {"keys": {"puppet": "own"}}),
        (Puppet(takes_key=False), {}),
        (Puppet(), {"visitor": "local"}),
        (Puppet(), {"visitor": "api-0123abcd"}),
    ],
    ids=["own key", "a model of this machine", "the owner", "a holder of an API key"],
)
async def test_what_is_free(settings, provider: Puppet, more: dict[str, Any]) -> None:
    with bench(settings(**LIMIT), provider) as it:
        for _ in range(5):
            await it.events(ask(**{"visitor": VISITOR, **more}))


@pytest.mark.parametrize(
    "more", [{"PARLEY_SHARED": "off"}, {"PARLEY_VISITOR_REQUESTS_PER_DAY": 0}], ids=["not shared", "no limit"]
)
async def test_where_it_does_not_apply_there_is_no_layer(settings, more: dict[str, Any]) -> None:
    with bench(settings(**{**LIMIT, **more}), Puppet()) as it:
        assert quota.make(it.gateway._context) is None
        for _ in range(5):
            await it.events(ask(visitor=VISITOR))


async def test_fifty_at_once_do_not_slip_past(settings) -> None:
    puppet = Puppet(plan=[(0.02, *ANSWER)])
    with bench(settings(**LIMIT), puppet) as it:
        calls = (it.gateway.complete(ask(visitor=VISITOR)) for _ in range(50))
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(result, DailyLimit) for result in results) == 47 and len(puppet.requests) == 3


async def test_what_was_sent_counts_whatever_became_of_it(settings) -> None:
    puppet = Puppet(plan=[(ProviderUnavailable("Down."),), (Begun(), 3600.0), ANSWER])
    with bench(settings(**LIMIT), puppet) as it:
        with pytest.raises(ProviderUnavailable):
            await it.events(ask(visitor=VISITOR))
        stopped = asyncio.create_task(it.events(ask(visitor=VISITOR)))
        await until(lambda: puppet.open)
        stopped.cancel()
        await asyncio.gather(stopped, return_exceptions=True)
        await it.events(ask(visitor=VISITOR))
        await used_up(it)


async def test_what_was_not_sent_does_not_count(settings) -> None:
    """An answer from the cache, a call that was stopped while it waited, one that an open circuit refused."""
    puppet = Puppet(plan=[ANSWER, (Begun(), 3600.0)])
    with bench(settings(**{**LIMIT, "PARLEY_CONCURRENCY": "*=1"}), puppet) as it:
        for _ in range(10):
            await it.events(ask(visitor=VISITOR, cache=True, temperature=0))
        holding = asyncio.create_task(it.events(ask(visitor="visitor-two")))
        await until(lambda: puppet.open)
        for _ in range(10):
            async with aclosing(it.gateway.stream(ask(visitor=VISITOR))) as events:
                await anext(events)
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)
        puppet.plan = [ANSWER]
        for _ in range(2):
            await it.events(ask(visitor=VISITOR))
        await used_up(it)
    refusing = Puppet(plan=[(ProviderUnavailable("Down."),)])
    with bench(settings(**{**LIMIT, "PARLEY_BREAKER_FAILURES": 1}), refusing) as it:
        for _ in range(10):
            with pytest.raises(ProviderUnavailable) as caught:
                await it.events(ask(visitor="visitor-three"))
            assert not isinstance(caught.value, DailyLimit)


async def test_the_ledger_remembers_it_over_a_restart(settings) -> None:
    made = settings(**{**LIMIT, "PARLEY_BREAKER_FAILURES": 1})
    puppet = Puppet(plan=[ANSWER, (ProviderUnavailable("Down."),)])
    with bench(made, puppet) as it:
        await it.events(ask(visitor=VISITOR, cache=True, temperature=0))
        for _ in range(4):  # from the cache
            await it.events(ask(visitor=VISITOR, cache=True, temperature=0))
        for _ in range(4):  # one that failed, three that an open circuit refused
            with pytest.raises(ProviderUnavailable):
                await it.events(ask(visitor=VISITOR))
    with bench(made, Puppet()) as it:
        await it.events(ask(visitor=VISITOR))
        await used_up(it)


async def test_a_day_ends_at_midnight_utc(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [datetime.datetime.now(datetime.UTC)]
    monkeypatch.setattr(quota, "_now", lambda: now[0])
    with bench(settings(**LIMIT), Puppet()) as it:
        for _ in range(3):
            await it.events(ask(visitor=VISITOR))
        await used_up(it)
        now[0] = now[0].replace(hour=23, minute=59, second=59)
        assert (await used_up(it)).retry_after <= 1
        now[0] += datetime.timedelta(seconds=1)
        for _ in range(3):
            await it.events(ask(visitor=VISITOR))
        await used_up(it)


async def test_thrown_away_cookies_do_not_help(settings) -> None:
    puppet = Puppet()
    services = Services.open(settings(**LIMIT), {"puppet": puppet})
    try:
        for number in range(15):
            services.visitors.came_from(f"fresh-{number}", f"2001:db8:1:2::{number:x}")
            await services.gateway.complete(ask(visitor=f"fresh-{number}"))
        services.visitors.came_from("fresh-15", "2001:db8:1:2:ffff::1")
        with pytest.raises(DailyLimit, match="15 calls a day for all visitors of one network"):
            await services.gateway.complete(ask(visitor="fresh-15"))
        services.visitors.came_from("neighbour", "2001:db8:1:3::1")
        await services.gateway.complete(ask(visitor="neighbour"))
        assert len(puppet.requests) == 16
    finally:
        await services.close()


async def test_it_goes_on_with_a_fallback_that_is_free(settings) -> None:
    costly, free = Puppet(), Puppet("free", takes_key=False)
    with bench(settings(**LIMIT, PARLEY_FALLBACKS="free/one"), costly, free) as it:
        for _ in range(5):
            assert said(await it.events(ask(visitor=VISITOR))) == "Hello there"
        assert (len(costly.requests), len(free.requests)) == (3, 2)


async def test_books_that_cannot_be_read_stop_nobody(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise StorageError("The disk is gone.")

    with bench(settings(**LIMIT), Puppet()) as it:
        monkeypatch.setattr(it.ledger, "sent", broken)
        assert said(await it.events(ask(visitor=VISITOR))) == "Hello there"


async def test_not_everybody_is_remembered_for_ever(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "MOST", 10)
    with bench(settings(**LIMIT), Puppet()) as it:
        for _ in range(3):
            await it.events(ask(visitor=VISITOR))
        for number in range(11):
            await it.events(ask(visitor=f"visitor-{number}"))
        await used_up(it)  # the ledger still knows
