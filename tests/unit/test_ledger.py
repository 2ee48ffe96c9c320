"""The ledger: a row before each call, completed after it, whatever happens in between."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select, update
from structlog.testing import capture_logs

import core.ledger.store
from core.errors import NotFound, StorageError
from core.ledger.store import Attempt, Filter, Ledger, Outcome, Total
from core.messages import Usage
from core.models.prices import Prices
from core.settings import Settings
from core.store import failover
from core.store.database import Database
from core.store.tables import calls
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
ATTEMPT = Attempt(
    model="openai/gpt-6-luna",
    feature="experiment",
    conversation="c1",
    visitor="v1",
    prompt_name="greeting",
    prompt_version=3,
    prompt_hash="ab12",
    attempt=1,
    key_source="visitor",
)
USAGE = Usage(input=1500, cached=1000, output=200, reasoning=50)
OUTCOME = Outcome(
    "ok",
    USAGE,
    stop_reason="stop",
    model_answered="gpt-6-luna-2026-09-01",
    request_id="req_1",
    queued=0.25,
    first_token=0.5,
    duration=2.0,
)
COST = 500 * 100 + 1000 * 10 + 200 * 500  # nano-dollars: 0.10, 0.01 and 0.50 dollars per million tokens

Make = Callable[..., Settings]


class Books:
    """A ledger that can be closed and opened again."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.open()

    def open(self) -> None:
        self.database = Database.open(self.settings)
        self.ledger = Ledger(self.database, Prices(self.settings))

    def reopen(self) -> None:
        self.database.close()
        self.open()

    def full(self) -> None:
        """No page more: what a full disk does."""

        def limit(connection: Connection) -> None:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

        self.database.write(limit)

    def room(self) -> None:
        self.database.write(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count=1073741823"))


@pytest.fixture(params=["sqlite", "postgresql"])
def books(request: pytest.FixtureRequest, settings: Make) -> Iterator[Books]:
    url = request.getfixturevalue("postgres_database") if request.param == "postgresql" else ""
    made = Books(settings(PARLEY_DATABASE_URL=url))
    yield made
    made.database.close()


@pytest.fixture
def on_disk(settings: Make) -> Iterator[Books]:
    made = Books(settings())
    yield made
    made.database.close()


async def test_a_call_is_a_row_before_and_after(books: Books) -> None:
    began = datetime.datetime.now(datetime.UTC)
    id = await books.ledger.begin(ATTEMPT)
    row = books.ledger.call(id)
    assert (row.status, row.usage, row.price, row.cost, row.duration) == ("running", None, None, None, None)
    assert began <= row.started <= datetime.datetime.now(datetime.UTC)
    assert (row.provider, row.model, row.feature, row.conversation) == ("openai", ATTEMPT.model, "experiment", "c1")
    assert (row.visitor, row.attempt, row.key_source) == ("v1", 1, "visitor")
    assert (row.prompt_name, row.prompt_version, row.prompt_hash) == ("greeting", 3, "ab12")

    assert await books.ledger.finish(id, OUTCOME) == COST
    row = books.ledger.call(id)
    assert (row.status, row.stop_reason, row.usage, row.cost) == ("ok", "stop", USAGE, COST)
    assert (row.model_answered, row.request_id) == ("gpt-6-luna-2026-09-01", "req_1")
    assert (row.queued, row.first_token, row.duration, row.cache_hit) == (0.25, 0.5, 2.0, False)
    assert row.price is not None
    assert row.price["source"].startswith("genai-prices ")
    assert (row.price["input"], row.price["cached"], row.price["output"]) == (0.1, 0.01, 0.5)


def test_threads_have_the_same(books: Books) -> None:
    id = books.ledger.begin_blocking(ATTEMPT)
    assert books.ledger.call(id).status == "running"
    failed = Outcome("failed", None, error_code="rate_limited", error="Too many requests.")
    assert books.ledger.finish_blocking(id, failed) is None
    row = books.ledger.call(id)
    assert (row.status, row.error_code, row.error, row.usage, row.cost) == (
        "failed",
        "rate_limited",
        "Too many requests.",
        None,
        None,
    )
    with pytest.raises(NotFound):
        books.ledger.call(id + 1)


async def test_finish_soon_does_not_wait_and_only_the_first_end_counts(books: Books) -> None:
    id = await books.ledger.begin(ATTEMPT)
    assert books.ledger.finish_soon(id, replace(OUTCOME, status="cancelled")) == COST
    assert await books.ledger.finish(id, Outcome("failed")) is None
    books.database.write(lambda _: None)
    assert books.ledger.call(id).status == "cancelled"


async def test_who_is_cancelled_while_it_begins_leaves_no_open_row(books: Books) -> None:
    held, free = threading.Event(), threading.Event()
    blocker = asyncio.ensure_future(books.database.awrite(lambda _: (held.set(), free.wait(10))))
    await asyncio.to_thread(held.wait)
    beginning = asyncio.ensure_future(books.ledger.begin(ATTEMPT))
    await asyncio.sleep(0)
    beginning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beginning
    free.set()
    await blocker
    books.database.write(lambda _: None)
    [row] = books.ledger.calls()
    assert (row.status, row.usage, row.cost) == ("cancelled", Usage(), 0), "it was never sent"


async def test_who_is_cancelled_while_it_finishes_has_finished(books: Books) -> None:
    id = await books.ledger.begin(ATTEMPT)
    finishing = asyncio.ensure_future(books.ledger.finish(id, OUTCOME))
    await asyncio.sleep(0)
    finishing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await finishing
    books.database.write(lambda _: None)
    assert books.ledger.call(id).status == "ok"


def test_what_a_dead_process_left_open_is_lost_and_says_so(books: Books) -> None:
    id = books.ledger.begin_blocking(ATTEMPT)
    done = books.ledger.begin_blocking(ATTEMPT)
    books.ledger.finish_blocking(done, OUTCOME)
    theirs = books.ledger.begin_blocking(ATTEMPT)  # of another Parley on the same database
    books.database.write(
        lambda connection: connection.execute(update(calls).where(calls.c.id == theirs).values(instance="other"))
    )
    books.reopen()
    row = books.ledger.call(id)
    assert (row.status, row.error) == ("lost", "Parley ended during this call.")
    assert (books.ledger.call(done).status, books.ledger.call(theirs).status) == ("ok", "running")


@pytest.mark.parametrize(
    ("outcome", "cost", "source"),
    [
        (replace(OUTCOME, provider_cost=77), 77, "provider"),
        (replace(OUTCOME, cache_hit=True), 0, "answered from Parley's cache"),
        (replace(OUTCOME, usage=None), None, None),
        (replace(OUTCOME, usage=Usage()), 0, "genai-prices"),
    ],
)
def test_what_decides_the_cost(on_disk: Books, outcome: Outcome, cost: int | None, source: str | None) -> None:
    id = on_disk.ledger.begin_blocking(ATTEMPT)
    assert on_disk.ledger.cost(ATTEMPT.model, outcome) == cost
    assert on_disk.ledger.finish_blocking(id, outcome) == cost
    row = on_disk.ledger.call(id)
    assert row.cost == cost
    assert (row.price["source"].startswith(source) if source and row.price else row.price) in (True, None)


def test_a_model_without_a_price_costs_unknown_and_the_answering_model_may_help(on_disk: Books) -> None:
    unknown = replace(ATTEMPT, model="openai/gpt-from-the-future")
    id = on_disk.ledger.begin_blocking(unknown)
    assert on_disk.ledger.finish_blocking(id, replace(OUTCOME, model_answered="gpt-other")) is None
    assert on_disk.ledger.finish_blocking(on_disk.ledger.begin_blocking(unknown), OUTCOME) == COST
    total = on_disk.ledger.total()
    assert (total.calls, total.cost, total.unpriced) == (2, COST, 1)


def test_sums_and_lists_by_what_one_asks_for(books: Books) -> None:
    ledger = books.ledger
    assert ledger.total() == Total()
    start = datetime.datetime.now(datetime.UTC)
    made: dict[str, int] = {}
    for name, change in {
        "a": {},
        "b": {"conversation": "c2"},
        "c": {"feature": "chat", "conversation": None},
        "d": {"visitor": "v2", "model": "anthropic/claude-haiku-5-5"},
    }.items():
        made[name] = ledger.begin_blocking(replace(ATTEMPT, **change))
    ledger.finish_blocking(made["a"], OUTCOME)
    ledger.finish_blocking(made["b"], OUTCOME)
    ledger.finish_blocking(made["c"], Outcome("interrupted", Usage(output=7, estimated=True)))

    def names(**where: Any) -> str:
        found = [row.id for row in ledger.calls(Filter(**where))]
        assert ledger.total(Filter(**where)).calls == len(found)
        return "".join(next(name for name, id in made.items() if id == call) for call in found)

    assert names() == "dcba"
    assert names(conversation="c1") == "da"
    assert names(feature="chat") == "c"
    assert names(visitor="v2") == "d"
    assert names(model="openai/gpt-6-luna", status="ok") == "ba"
    assert names(since=start) == "dcba"
    assert names(until=start) == ""
    second = ledger.call(made["b"]).started
    assert names(since=second) == "dcb"
    assert names(until=second) == "a"
    assert len(ledger.calls(limit=2)) == 2
    assert ledger.total() == Total(
        calls=4,
        failed=1,
        running=1,
        input=3000,
        cached=2000,
        output=407,
        reasoning=100,
        cost=2 * COST + 7 * 500,
        unpriced=0,
    )
    assert ledger.calls(Filter(feature="chat"))[0].usage == Usage(output=7, estimated=True)


def test_ids_rise_with_time_and_never_meet(on_disk: Books) -> None:
    found: list[list[int]] = [[] for _ in range(8)]

    def work(own: list[int]) -> None:
        own.extend(on_disk.ledger.begin_blocking(ATTEMPT) for _ in range(200))

    threads = [threading.Thread(target=work, args=(own,)) for own in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(own == sorted(own) for own in found)
    every = {id for own in found for id in own}
    assert len(every) == 1600
    assert max(every) < 2**63
    assert abs((max(every) >> 20) / 1000 - time.time()) < 60


@pytest.mark.parametrize("text", ["nul\0byte", "lone \ud800 surrogate", "ü" * 5000, "שלום 👋", ""])
async def test_odd_texts_harm_nothing(books: Books, text: str) -> None:
    odd = replace(ATTEMPT, model=f"openai/{text}", visitor=text, conversation=text, prompt_name=text)
    id = await books.ledger.begin(odd)
    await books.ledger.finish(id, replace(OUTCOME, error=text, model_answered=text, request_id=text))
    row = books.ledger.call(id)
    assert row.status == "ok"
    assert len(row.model) <= 255


async def test_a_server_that_counts_nonsense_harms_nothing(books: Books) -> None:
    for _ in range(3):
        id = await books.ledger.begin(ATTEMPT)
        await books.ledger.finish(id, replace(OUTCOME, usage=Usage(input=2**80, output=2**80)))
    assert books.ledger.call(id).status == "ok"
    assert books.ledger.total().input == 3 * 2**53


async def test_a_full_disk_loses_no_outcome(on_disk: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that began is completed as soon as there is room again; the log names it and nothing else.

    So it is where the database does not go on in memory (see test_failover.py).
    """
    monkeypatch.setattr(failover, "LARGEST", 0)
    monkeypatch.setattr(core.ledger.store, "RETRY_SECONDS", 0.05)
    ledger = on_disk.ledger
    ids = [await ledger.begin(replace(ATTEMPT, visitor="secret visitor")) for _ in range(200)]
    on_disk.full()
    with capture_logs() as logs:
        refused = 0
        for id in ids:
            try:
                await ledger.finish(id, replace(OUTCOME, error="x" * 400, request_id="y" * 200))
            except StorageError:
                refused += 1
        with pytest.raises(StorageError):
            for _ in range(1000):
                await ledger.begin(ATTEMPT)
    assert refused > 0
    kept = [entry for entry in logs if entry["event"] == "ledger.kept"]
    assert {entry["event"] for entry in logs} == {"ledger.kept", "database.stays"}
    assert all(set(entry) == {"event", "log_level", "call", "reason"} for entry in kept)
    on_disk.room()
    await until(
        lambda: ledger.total(Filter(visitor="secret visitor", status="ok")).calls, lambda calls: calls == len(ids)
    )
    assert ledger.total(Filter(visitor="secret visitor")).running == 0
    assert await ledger.begin(ATTEMPT) > ids[-1]


async def test_a_closed_database_is_an_error_and_not_a_hang(on_disk: Books) -> None:
    id = await on_disk.ledger.begin(ATTEMPT)
    on_disk.database.close()
    with pytest.raises(StorageError):
        await on_disk.ledger.begin(ATTEMPT)
    with pytest.raises(StorageError):
        await on_disk.ledger.finish(id, OUTCOME)


RECORD = """
import os, sys, threading
from core.ledger.store import Attempt, Ledger, Outcome
from core.messages import Usage
from core.models.prices import Prices
from core.settings import Settings
from core.store.database import Database
settings = Settings.of({"PARLEY_DATA_DIR": sys.argv[1]}, None)
ledger = Ledger(Database.open(settings), Prices(settings))
def work():
    while True:
        call = ledger.begin_blocking(Attempt("openai/gpt-6-luna"))
        os.write(1, b"b %d\\n" % call)
        ledger.finish_blocking(call, Outcome("ok", Usage(input=1, output=1)))
        os.write(1, b"f %d\\n" % call)
for _ in range(8):
    threading.Thread(target=work).start()
"""


def test_what_was_acknowledged_survives_kill_9(settings: Make) -> None:
    made = settings()
    with subprocess.Popen([sys.executable, "-c", RECORD, made.data_dir], cwd=ROOT, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(1000)]
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.readlines()
    told = [(line[:1], int(line[2:])) for line in lines if line.endswith(b"\n")]
    books = Books(made)
    with books.database.read() as connection:
        rows = {row.id: row.status for row in connection.execute(select(calls.c.id, calls.c.status))}
    books.database.close()
    assert len(told) >= 1000
    assert {call for _, call in told} <= rows.keys()
    assert all(rows[call] == "ok" for kind, call in told if kind == b"f")
    assert "running" not in rows.values()


def test_a_call_that_was_never_sent_is_no_request(settings: Make) -> None:
    """Perplexity charges for each request beside the tokens."""
    opened = Books(settings(PARLEY_ENDPOINTS="pplx=https://api.perplexity.ai"))
    try:
        begin, finish = opened.ledger.begin_blocking, opened.ledger.finish_blocking
        assert finish(begin(Attempt(model="pplx/sonar")), Outcome("failed", Usage())) == 0
        cost = finish(begin(Attempt(model="pplx/sonar")), Outcome("ok", Usage(input=1, output=1)))
        assert cost is not None and cost > 1_000_000
    finally:
        opened.database.close()
