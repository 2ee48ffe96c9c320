"""Each anonymous visitor of a shared server has so many calls a day with the server's keys.

A day is one of UTC. What counts is what went out to a provider that takes keys, whatever became of it, retries
included; not a visitor's own key, a model of this machine, an answer from the cache, or holders of one of
PARLEY_API_KEYS. What a visitor had used when Parley was started again is asked of the ledger. A cookie can be thrown
away, so a network has a limit, too: a few times that of a visitor. Networks are counted in memory only.
"""

from __future__ import annotations

import asyncio
import datetime
from contextlib import aclosing

from core.errors import RateLimited, StorageError
from core.gateway._call import Call, Events, Handler, Layer, LayerContext

ORDER = 25  # before the ledger: who keeps asking after the end of a limit writes nothing

NETWORK = 5  # visitors' limits that all visitors of one network have together
MOST = 100_000  # visitors and networks that are counted; of the one counted first nothing is known any more


class DailyLimit(RateLimited):
    """What a visitor may ask with the server's keys is used up for today. Tried again only by people, or tomorrow."""

    retryable = False
    default_fix = "Add a key of your own in Settings, choose a model that runs on the server, or come back then."


class Day:
    """What has been used on one day, by visitor and by network."""

    def __init__(self, now: datetime.datetime) -> None:
        self.begin = now.replace(hour=0, minute=0, second=0, microsecond=0)
        self.end = self.begin + datetime.timedelta(days=1)
        self.used: dict[str, int] = {}

    def count(self, name: str, difference: int) -> None:
        self.used[name] = self.used.get(name, 0) + difference
        if len(self.used) > MOST:
            del self.used[next(iter(self.used))]


class Quota:
    """For one event loop."""

    def __init__(self, context: LayerContext, limit: int) -> None:
        self._ledger = context.ledger
        self._network_of = context.network_of
        self._read = context.read
        self._limit = limit
        self._lock = asyncio.Lock()
        self._day = Day(_now())

    async def take(self, call: Call) -> tuple[Day, str, str]:
        """Count one call, or raise DailyLimit. `give_back` what it returns if the call was never sent."""
        visitor = call.request.visitor
        network = f"network {self._network_of(visitor)}"
        day = await self._today(visitor)
        if day.used[visitor] >= self._limit:
            raise _used_up(day, self._limit, "for each visitor")
        if day.used.get(network, 0) >= self._limit * NETWORK:
            raise _used_up(day, self._limit * NETWORK, "for all visitors of one network")
        day.count(visitor, 1)
        day.count(network, 1)
        return day, visitor, network

    @staticmethod
    def give_back(taken: tuple[Day, str, str]) -> None:
        day, *names = taken
        for name in names:
            if name in day.used:
                day.count(name, -1)

    async def _today(self, visitor: str) -> Day:
        """Today, with what the ledger says of this visitor's calls before this process, or before it was forgotten."""
        while True:
            if _now() >= self._day.end:
                self._day = Day(_now())
            day = self._day
            if visitor in day.used:
                return day
            async with self._lock:
                if visitor not in day.used:
                    try:
                        day.count(visitor, await self._read(self._ledger.sent, visitor, day.begin))
                    except StorageError:
                        day.count(visitor, 0)  # what cannot be read must not stop the chat


def make(context: LayerContext) -> Layer | None:
    limit: int = context.settings["PARLEY_VISITOR_REQUESTS_PER_DAY"]
    if not limit or not context.settings.shared:
        return None
    quota = Quota(context, limit)

    def layer(call: Call, inner: Handler) -> Events:
        free = not call.provider.takes_key or call.own_key or _known(call.request.visitor)
        return inner(call) if free else counted(call, inner)

    async def counted(call: Call, inner: Handler) -> Events:
        taken = await quota.take(call)
        call.sent = False
        try:
            async with aclosing(inner(call)) as events:
                async for event in events:
                    yield event
        finally:
            if not call.sent:
                quota.give_back(taken)

    return layer


def _known(visitor: str) -> bool:
    """Whether it is the owner, or the holder of a key of this server's (core.api.access)."""
    return visitor == "local" or visitor.startswith("api-")


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _used_up(day: Day, limit: int, who: str) -> DailyLimit:
    wait = (day.end - _now()).total_seconds()
    return DailyLimit(
        f"This server's own keys are good for {limit:,} calls a day {who}, and today's are used up. "
        f"The next day begins at 00:00 UTC, in {_shown(wait)}.",
        retry_after=max(1.0, wait),
    )


def _shown(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 120 else f"{round(minutes / 60)} h"
