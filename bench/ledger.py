"""Calls that the ledger records a second: each written before it begins and again when it ends, both acknowledged.

In the same run: the limit (sqlite3 alone, a thousand rows to a commit, one thread), and what one would write without
a ledger (eight threads that commit each row by themselves). Then a process that records is killed with SIGKILL, and
every row that it had acknowledged must be there.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bench._report import report
from core.ledger.rows import BEGINNING, END, begin_row, end_row
from core.ledger.store import Attempt, Ledger, Outcome
from core.messages import Usage
from core.models.prices import Prices
from core.settings import Settings
from core.store.database import FILE, Database

THREADS = 8
BATCH = 1000
ATTEMPT = Attempt(model="openai/gpt-6-luna", conversation="c-0123456789", key_source="server")
OUTCOME = Outcome(
    "ok",
    Usage(input=1500, cached=1024, output=220, reasoning=64),
    stop_reason="stop",
    model_answered="gpt-6-luna-2026-09-01",
    request_id="req_0123456789abcdef",
    queued=0.0,
    first_token=0.31,
    duration=2.7,
)
INSERT = f"INSERT INTO calls ({', '.join(BEGINNING)}) VALUES ({', '.join('?' * len(BEGINNING))})"
UPDATE = f"UPDATE calls SET {', '.join(f'{name}=?' for name in END)} WHERE id=?"
PRICE = '{"input":0.1,"output":0.5,"source":"bench"}'


def opened(folder: str) -> tuple[Database, Ledger]:
    settings = Settings.of({"PARLEY_DATA_DIR": folder}, None)
    database = Database.open(settings)
    return database, Ledger(database, Prices(settings))


def in_threads(work: Callable[[int], None], calls: int) -> tuple[float, float]:
    """Eight threads do `work(number)`, `calls` times together. The seconds of all, and of the slowest."""
    slowest = [0.0] * THREADS

    def repeat(thread: int) -> None:
        for number in range(thread * calls, thread * calls + calls // THREADS):
            began = time.perf_counter()
            work(number)
            slowest[thread] = max(slowest[thread], time.perf_counter() - began)

    threads = [threading.Thread(target=repeat, args=(number,)) for number in range(THREADS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began, max(slowest)


def ledger_in_threads(folder: str, calls: int) -> tuple[float, float]:
    database, ledger = opened(folder)
    taken = in_threads(lambda _: ledger.finish_blocking(ledger.begin_blocking(ATTEMPT), OUTCOME), calls)
    database.close()
    return taken


def ledger_in_asyncio(folder: str, calls: int) -> tuple[float, float]:
    database, ledger = opened(folder)

    async def work() -> float:
        slowest = 0.0
        for _ in range(calls // 50):
            began = time.perf_counter()
            await ledger.finish(await ledger.begin(ATTEMPT), OUTCOME)
            slowest = max(slowest, time.perf_counter() - began)
        return slowest

    async def everybody() -> tuple[float, float]:
        began = time.perf_counter()
        slowest = max(await asyncio.gather(*(work() for _ in range(50))))
        return time.perf_counter() - began, slowest

    taken = asyncio.run(everybody())
    database.close()
    return taken


def connected(folder: str) -> sqlite3.Connection:
    connection = sqlite3.connect(Path(folder) / FILE, timeout=60, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def bare_batches(folder: str, calls: int) -> tuple[float, None]:
    opened(folder)[0].close()
    connection = connected(folder)
    began = time.perf_counter()
    for start in range(0, calls, BATCH):
        numbers = range(start, start + BATCH)
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(INSERT, [begin_row(n, "bench", n, ATTEMPT) for n in numbers])
        connection.executemany(UPDATE, [end_row(n, OUTCOME, 123_456, PRICE) for n in numbers])
        connection.execute("COMMIT")
    taken = time.perf_counter() - began
    connection.close()
    return taken, None


def naive_threads(folder: str, calls: int) -> tuple[float, float]:
    opened(folder)[0].close()
    own = threading.local()

    def work(number: int) -> None:
        if not hasattr(own, "connection"):
            own.connection = connected(folder)
        own.connection.execute(INSERT, begin_row(number, "bench", number, ATTEMPT))
        own.connection.execute(UPDATE, end_row(number, OUTCOME, 123_456, PRICE))

    return in_threads(work, calls)


def record_until_killed(folder: str) -> None:
    """What the killed process does: tell on stdout what the ledger has acknowledged, `b id` and `f id`."""
    _, ledger = opened(folder)

    def work(_: int) -> None:
        call = ledger.begin_blocking(ATTEMPT)
        os.write(1, b"b %d\n" % call)
        ledger.finish_blocking(call, OUTCOME)
        os.write(1, b"f %d\n" % call)

    in_threads(work, sys.maxsize)


def killed(folder: str, seconds: float) -> dict[str, object]:
    """Kill a recording process; count what it had acknowledged and what of it is there. Raises if a row is lost."""
    with subprocess.Popen([sys.executable, "-m", "bench.ledger", "--record", folder], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        timer = threading.Timer(seconds, child.send_signal, (signal.SIGKILL,))
        timer.start()
        lines = (first + child.stdout.read()).decode().splitlines()
    told = {kind: {int(line[2:]) for line in lines if line.startswith(kind)} for kind in "bf"}
    database, ledger = opened(folder)
    with database.read() as connection:
        rows = dict(connection.exec_driver_sql("SELECT id, status FROM calls").all())
    total = ledger.total()
    database.close()
    missing = len(told["b"] - rows.keys()) + sum(rows.get(call) != "ok" for call in told["f"])
    if missing:
        raise SystemExit(f"{missing} acknowledged rows are missing after SIGKILL")
    return {
        "acknowledged begins": len(told["b"]),
        "acknowledged ends": len(told["f"]),
        "missing": missing,
        "rows": total.calls,
        "marked lost": sum(status == "lost" for status in rows.values()),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.ledger", description=__doc__)
    parser.add_argument("--calls", type=int, default=40_000, help="calls for each way (default 40000)")
    parser.add_argument("--folder", help="where the files are made (default: the system's temporary folder)")
    parser.add_argument("--record", metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.record:
        record_until_killed(options.record)
    ways: dict[str, tuple[Callable[[str, int], tuple[float, float | None]], int]] = {
        "sqlite3, one thread, batches of 1000 (the limit)": (bare_batches, options.calls),
        "ledger, 8 threads": (ledger_in_threads, options.calls),
        "ledger, asyncio, 50 at once": (ledger_in_asyncio, options.calls),
        "sqlite3, 8 threads, each row committed": (naive_threads, options.calls // 4),
    }
    rows: list[dict[str, object]] = []
    limit = 0.0
    for name, (way, calls) in ways.items():
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            cpu = time.process_time()
            seconds, slowest = way(folder, calls)
            rate = calls / seconds
            limit = limit or rate
            spent = (time.process_time() - cpu) / calls * 1e6
        rows.append(
            {
                "way": name,
                "calls/s": round(rate),
                "of the limit": rate / limit,
                "CPU µs/call": spent,
                "slowest ms": slowest and slowest * 1000,
            }
        )
    report("ledger", rows, "Recorded calls (two acknowledged writes each), SQLite on disk, WAL, synchronous=NORMAL")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        report("ledger-killed", [killed(folder, seconds=2)], "After SIGKILL")
    return 0


if __name__ == "__main__":
    sys.exit(main())
