"""Streaming through /v1/chat/completions, against what one would write instead and against nothing in between.

First: whole streams a second, 50 at once, 100 tokens each, from an upstream that never makes one wait. Parley as its
users start it (ledger on, SQLite on the disk) and a FastAPI pass-through with the typed openai SDK both run all the
time and take turns; medians are compared. Tokens that reach Parley at the same moment leave it in one frame.
Second: what Parley adds to the first token and to each later one when the upstream takes 200 ms and then gives 100
tokens a second. The client, the servers and the upstream share this machine's cores.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from bench._load import Stream, run
from bench._mock import mock
from bench._report import report
from bench._server import Running, serving

LATENCY = 0.2  # seconds
RATE = 100.0  # tokens a second
AT_ONCE = (1, 10, 50)
EACH_ALONE = 1e9  # tokens a second: no wait, but a write of its own for every token, as a real engine does
GOAL = 4.0  # times the pass-through's streams a second
THEIRS, OURS = "FastAPI + typed openai SDK", "Parley /v1"


def parley(upstream: str) -> contextlib.AbstractContextManager[Running]:
    return serving(OPENAI_BASE_URL=f"{upstream}/v1", OPENAI_API_KEY="none", PARLEY_LOG_LEVEL="warning")


def passthrough(upstream: str) -> contextlib.AbstractContextManager[Running]:
    return serving("-m", "bench._passthrough", UPSTREAM=upstream)


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def throughput(seconds: float, runs: int) -> list[dict[str, object]]:
    """Streams a second at 50 at once, and the server's CPU a stream."""
    found: dict[str, list[dict[str, float]]] = {THEIRS: [], OURS: []}
    with mock(rate=EACH_ALONE) as upstream, parley(upstream) as ours, passthrough(upstream) as theirs:
        servers = {THEIRS: (theirs, "mock"), OURS: (ours, "openai/mock")}
        for server, model in servers.values():
            uvloop.run(run(server.url, model, at_once=50, seconds=1))
        for _ in range(runs):
            for name, (server, model) in servers.items():
                used, began = cpu_seconds(server.pid), time.perf_counter()
                streams = uvloop.run(run(server.url, model, at_once=50, seconds=seconds))
                taken = time.perf_counter() - began
                first = [(stream.tokens[0] - stream.asked) * 1000 for stream in streams]
                found[name].append(
                    {
                        "streams/s": len(streams) / taken,
                        "CPU ms a stream": (cpu_seconds(server.pid) - used) * 1000 / len(streams),
                        "first token p50 ms": percentile(first, 0.5),
                    }
                )
    rows: list[dict[str, object]] = []
    for name, each in found.items():
        row: dict[str, object] = {"server": name}
        row.update({column: statistics.median(one[column] for one in each) for column in each[0]})
        rates = [one["streams/s"] for one in each]
        row["ratio"] = statistics.median(rates) / statistics.median(one["streams/s"] for one in found[THEIRS])
        row["runs"] = " ".join(f"{rate:.0f}" for rate in rates)
        rows.append(row)
    return rows


def delays(streams: list[Stream]) -> dict[str, list[float]]:
    """Milliseconds to the first token, and of every later token after the moment when the upstream gives it."""
    return {
        "first token": [(stream.tokens[0] - stream.asked) * 1000 for stream in streams],
        "later tokens": [
            (moment - stream.asked - LATENCY - (number + 1) / RATE) * 1000
            for stream in streams
            for number, moment in enumerate(stream.tokens)
            if number
        ],
    }


def added(rounds: int) -> list[dict[str, object]]:
    """Milliseconds that Parley adds, at several numbers of streams at once."""
    rows: list[dict[str, object]] = []
    with mock(latency=LATENCY, rate=RATE) as upstream, parley(upstream) as ours:
        uvloop.run(run(ours.url, "openai/mock", at_once=5, rounds=1))
        for at_once in AT_ONCE:
            each = rounds if at_once > 1 else rounds * 3
            direct, through = (
                delays(uvloop.run(run(url, model, at_once=at_once, rounds=each, apart=1.0, times=True)))
                for url, model in ((upstream, "mock"), (ours.url, "openai/mock"))
            )
            row: dict[str, object] = {"streams at once": at_once}
            for what in direct:
                for name, share in (("p50", 0.5), ("p95", 0.95)):
                    more = percentile(through[what], share) - percentile(direct[what], share)
                    row[f"{what} {name} +ms"] = more
            row["first token p50 ms"] = percentile(through["first token"], 0.5)
            rows.append(row)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.streaming", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4, help="length of each throughput run (default 4)")
    parser.add_argument("--runs", type=int, default=3, help="throughput runs of each server (default 3)")
    parser.add_argument("--rounds", type=int, default=3, help="paced streams of each connection (default 3)")
    parser.add_argument("--only", choices=("throughput", "added"), help="one of the two parts")
    arguments = parser.parse_args()
    if arguments.only != "added":
        rows = throughput(arguments.seconds, arguments.runs)
        report("streaming-throughput", rows, "100 tokens a stream, 50 streams at once, upstream without a wait")
        print(f"goal: at least {GOAL:g} times the pass-through's streams/s")
    if arguments.only != "throughput":
        title = f"Added by Parley; the upstream waits {LATENCY * 1000:.0f} ms, then gives {RATE:.0f} tokens a second"
        report("streaming-added", added(arguments.rounds), title)
    return 0


if __name__ == "__main__":
    sys.exit(main())
