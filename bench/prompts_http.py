"""Reading prompts by HTTP, with 10,000 versions in the registry: whether a read can sit in the path of every request.

Parley runs as its users start it, with all that lies before the registry: cookies, guard, routes. "server" is from the
request in the server's hands to the first byte of its answer; "client" is what a client on the same machine waits,
which with many at once is mostly waiting for its turn. /healthz, which does nothing, is what the server costs anyway.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from bench._report import report
from bench._server import serving
from core.prompts.content import parse_content
from core.prompts.registry.registry import Registry
from core.prompts.version import Version, to_text
from core.settings import Settings

EACH = 5  # versions of a prompt
LIVE = 100  # prompts that are in production
GOAL = 2.0  # ms at the server
AT_ONCE = (1, 50)
PATIENCE = 120  # seconds
WORDS = ("order", "refund", "parcel", "invoice", "address", "return", "delivery", "size", "voucher", "account", "gift")


@dataclass(slots=True)
class Times:
    """Milliseconds of every answer."""

    client: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)
    taken: float = 0.0  # seconds for all


def fill(root: Path, prompts: int) -> list[str]:
    """Write the versions as files, as a `git clone` would bring them; the names."""
    chance = random.Random(7)
    names = [f"team-{number % 20}/{chance.choice(WORDS)}-{number}" for number in range(prompts)]
    for name in names:
        folder = root / name
        folder.mkdir(parents=True)
        for number in range(1, EACH + 1):
            text = "\n".join(" ".join(chance.choices(WORDS, k=12)) for _ in range(12))
            value = {
                "messages": [
                    {"role": "system", "content": f"You answer for {{{{ shop }}}}.\n{text}"},
                    {"role": "user", "content": "{{ question }}"},
                ],
                "variables": {"shop": {"description": "Who we are"}, "question": {"description": "What is asked"}},
                "model": "openai/gpt-6-luna",
                "parameters": {"temperature": 0.2},
            }
            version = Version(name, number, parse_content(value), f"Answers about {name}", (chance.choice(WORDS),))
            (folder / f"v{number}.yaml").write_text(to_text(version), "utf-8")
    return names


def put_live(settings: Settings, names: Sequence[str]) -> None:
    registry = Registry.open(settings)
    for name in names:
        registry.move(name, "production", EACH - 1, by="bench", why="measuring")
    registry.close()


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> tuple[int, bytes, bytes]:
    """Status, head and body of one answer on a connection that stays open."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    at = head.lower().find(b"content-length: ")
    size = int(head[at + 16 : head.index(b"\r\n", at)]) if at >= 0 and status != 304 else 0
    return status, head, await reader.readexactly(size) if size else b""


def server_time(head: bytes) -> float:
    at = head.index(b"app;dur=") + 8
    return float(head[at : head.index(b"\r\n", at)])


async def run(url: str, requests: Iterator[bytes], at_once: int, seconds: float, status: int) -> Times:
    """Keep so many connections busy. RuntimeError for an answer that is not as expected."""
    address = urlsplit(url)
    times = Times()
    until = time.perf_counter() + seconds

    async def busy() -> None:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        while time.perf_counter() < until:
            asked = time.perf_counter()
            found, head, body = await exchange(reader, writer, next(requests))
            times.client.append((time.perf_counter() - asked) * 1000)
            if found != status:
                raise RuntimeError(f"the answer was {found}: {body[:300]!r}")
            times.server.append(server_time(head))
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(busy() for _ in range(at_once)))
    times.taken = time.perf_counter() - began
    return times


def request(url: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"{'POST' if body else 'GET'} {path} HTTP/1.1", f"host: {urlsplit(url).netloc}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body:
        lines.append(f"content-length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


async def tag_of(url: str, path: str) -> str:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    _, head, _ = await exchange(reader, writer, request(url, path))
    writer.close()
    at = head.lower().index(b"etag: ") + 6
    return head[at : head.index(b"\r\n", at)].decode()


def settle(pid: int) -> None:
    """Wait until the server has read all versions and rests (Linux)."""
    tick = os.sysconf("SC_CLK_TCK")

    def cpu() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / tick

    for _ in range(PATIENCE):
        before = cpu()
        time.sleep(1)
        if cpu() - before < 0.05:
            return
    raise RuntimeError(f"the server is still busy after {PATIENCE} s")


def row(name: str, at_once: int, times: Times) -> dict[str, object]:
    def share(values: list[float], of: float) -> float:
        return sorted(values)[min(len(values) - 1, int(of * len(values)))]

    return {
        "what": name,
        "at once": at_once,
        "answers/s": len(times.client) / times.taken,
        "server p50, ms": statistics.median(times.server),
        "server p95, ms": share(times.server, 0.95),
        "server p99, ms": share(times.server, 0.99),
        "client p50, ms": statistics.median(times.client),
        "client p95, ms": share(times.client, 0.95),
    }


async def measure(url: str, names: list[str], seconds: float) -> list[dict[str, object]]:
    live = [f"/api/v1/prompts/{name}?label=production" for name in names[:LIVE]]
    numbered = [f"/api/v1/prompts/{name}?version={number}" for name in names for number in range(1, EACH + 1)]
    random.Random(3).shuffle(numbered)
    tags = [await tag_of(url, path) for path in live]
    render = orjson.dumps({"variables": {"shop": "Northwind", "question": "Where is it?"}})
    rendering = [path.replace("?", "/render?") for path in live]
    reads: dict[str, tuple[list[bytes], int]] = {
        "/healthz, nothing to do": ([request(url, "/healthz")], 200),
        "production of 100 prompts": ([request(url, path) for path in live], 200),
        "the same, unchanged (304)": ([request(url, p, if_none_match=t) for p, t in zip(live, tags, strict=True)], 304),
        "any of all versions": ([request(url, path) for path in numbered], 200),
        "render with 2 variables": ([request(url, path, render) for path in rendering], 200),
        "the list, 100 of it": ([request(url, "/api/v1/prompts")], 200),
    }
    return [
        row(name, at_once, await run(url, itertools.cycle(requests), at_once, seconds, status))
        for name, (requests, status) in reads.items()
        for at_once in AT_ONCE
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.prompts_http", description=__doc__)
    parser.add_argument("--versions", type=int, default=10_000, help="in the registry (default 10000)")
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement (default 3)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="parley-bench-") as folder:
        root, data = Path(folder) / "prompts", Path(folder) / "data"
        names = fill(root, arguments.versions // EACH)
        environ = {"PARLEY_PROMPTS_DIR": str(root), "PARLEY_DATA_DIR": str(data), "PARLEY_EMBEDDED": "off"}
        put_live(Settings.of(environ, env_file=None), names[:LIVE])
        with serving("-m", "bench._timed", **environ) as server:
            settle(server.pid)
            rows = asyncio.run(measure(server.url, names, arguments.seconds))
    report(
        "prompts_http",
        rows,
        f"{len(names) * EACH:,} versions of {len(names):,} prompts; goal {GOAL:g} ms at the server",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
