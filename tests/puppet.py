"""A provider that answers as a test tells it to, call by call, and a gateway with a real ledger around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import ParleyError
from core.gateway import Gateway, limits, record
from core.ledger.store import Ledger
from core.messages import Begun, ChatRequest, Done, Event, Message, Notice, Parameters, TextDelta, Usage
from core.models.catalog import Catalog
from core.models.info import ModelInfo
from core.models.prices import Prices
from core.providers import Status
from core.settings import Settings
from core.store.database import Database
from tests.waiting import until

Step = Event | BaseException | float  # an event is sent, an error raised, a number of seconds slept
ANSWER: tuple[Step, ...] = (
    Begun("exact", "r1"),
    TextDelta("Hello"),
    TextDelta(" there"),
    Done(Usage(input=10, output=2)),
)


@dataclass
class Puppet:
    """`plan` has the steps of each call; the last one is used again for all later calls."""

    name: str = "puppet"
    plan: list[tuple[Step, ...]] = field(default_factory=lambda: [ANSWER])
    label: str = ""
    takes_key: bool = True
    requests: list[ChatRequest] = field(default_factory=list)
    closed: int = 0  # streams that were ended from outside
    open: int = 0  # streams that run now
    waiting: int = 0  # of these, how many sleep now: all that came before has been taken
    most: int = 0  # that ever ran at once
    known: list[ModelInfo] | ParleyError | float = field(default_factory=list)
    state: Status = field(default_factory=lambda: Status("ready"))
    asked: list[Mapping[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.label = self.label or self.name.title()

    async def models(self, keys: Mapping[str, str]) -> list[ModelInfo]:
        self.asked.append(dict(keys))
        if isinstance(self.known, BaseException):
            raise self.known
        if isinstance(self.known, float):
            await asyncio.sleep(self.known)
            return []
        return self.known

    async def status(self, keys: Mapping[str, str]) -> Status:
        return self.state

    async def stream(self, request: ChatRequest, model: ModelInfo) -> AsyncIterator[Event]:
        steps = self.plan[min(len(self.requests), len(self.plan) - 1)]
        self.requests.append(request)
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            for step in steps:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, float | int):
                    self.waiting += 1
                    try:
                        await asyncio.sleep(step)
                    finally:
                        self.waiting -= 1
                else:
                    yield step
        except (asyncio.CancelledError, GeneratorExit):
            self.closed += 1
            raise
        finally:
            self.open -= 1

    async def close(self) -> None:
        return None


@dataclass
class Bench:
    """A gateway, its ledger, and short ways to use both."""

    gateway: Gateway
    ledger: Ledger
    database: Database
    catalog: Catalog

    async def events(self, request: ChatRequest) -> list[Event]:
        async with aclosing(self.gateway.stream(request)) as events:
            return [event async for event in events]

    def rows(self) -> list[Any]:
        """The ledger's rows, in the order in which they were begun."""
        return sorted(self.ledger.calls(limit=10_000), key=lambda call: call.id)

    async def settled(self, count: int) -> list[Any]:
        """The same, as soon as there are so many and all have ended."""
        return await until(self.rows, lambda rows: len(rows) == count and all(row.status != "running" for row in rows))


@contextmanager
def bench(settings: Settings, *puppets: Puppet) -> Iterator[Bench]:
    database = Database.open(settings)
    try:
        providers = {puppet.name: puppet for puppet in puppets}
        catalog = Catalog(providers, settings)
        ledger = Ledger(database, Prices(settings))
        yield Bench(Gateway(providers, catalog, ledger, settings), ledger, database, catalog)
    finally:
        database.close()


def measure_on_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the gateway measures, it measures on the loop's clock, which stands still while this machine is busy."""
    now = asyncio.get_running_loop().time
    monkeypatch.setattr(record, "perf_counter", now)
    monkeypatch.setattr(limits, "time", SimpleNamespace(perf_counter=now))


def ask(
    model: str = "puppet/one", text: str = "Hello?", *, temperature: float | None = None, **more: Any
) -> ChatRequest:
    return ChatRequest(model, (Message("user", text),), Parameters(temperature=temperature), **more)


def said(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def notices(events: list[Event], kind: str) -> list[Notice]:
    return [event for event in events if isinstance(event, Notice) and event.kind == kind]


def ended(events: list[Event]) -> Done:
    (done,) = [event for event in events if isinstance(event, Done)]
    assert events[-1] is done
    return done
