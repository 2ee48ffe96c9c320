"""Calls through the gateway, with the ledger on the disk, against a bare loop of the makers' own typed SDKs.

Both ask the same local server, which answers at once from a process of its own, so many at a time as --at-once says.
The rounds alternate and the median of each is taken. CPU is that of the whole client process, the ledger's thread
included. Last comes what the gateway itself costs: the same calls to a provider that answers without a network.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing

from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from bench._mock import mock
from bench._report import report
from core.gateway import Gateway
from core.ledger.store import Ledger
from core.messages import Begun, ChatRequest, Done, Event, Message, TextDelta, Usage
from core.models.catalog import Catalog
from core.models.info import ModelInfo
from core.models.prices import Prices
from core.providers import Provider, Status, discover
from core.settings import Settings
from core.store.database import Database

TEXT = "Say twenty words."
MESSAGES = (Message("user", TEXT),)
One = Callable[[], Awaitable[None]]


class Instant:
    """Answers without a network, in one piece or in a hundred."""

    name = "instant"
    label = "Instant"
    takes_key = False

    async def models(self, keys: Mapping[str, str]) -> list[ModelInfo]:
        return []

    async def status(self, keys: Mapping[str, str]) -> Status:
        return Status("ready")

    async def stream(self, request: ChatRequest, model: ModelInfo) -> AsyncIterator[Event]:
        yield Begun("instant")
        for _ in range(100 if request.stream else 1):
            yield TextDelta(" word")
        yield Done(Usage(input=12, output=20))

    async def close(self) -> None:
        return None


async def run(one: One, calls: int, at_once: int) -> tuple[float, float]:
    """Seconds and CPU seconds for so many calls."""
    left = calls

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await one()

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    return time.perf_counter() - wall, time.process_time() - cpu


async def compare(name: str, ways: Mapping[str, One], calls: int, at_once: int, rounds: int) -> list[dict[str, object]]:
    """A row for each way; the first is what the others are compared with."""
    taken: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for one in ways.values():
        await run(one, at_once * 2, at_once)
    for _ in range(rounds):
        for way, one in ways.items():
            taken[way].append(await run(one, calls, at_once))
    rows: list[dict[str, object]] = []
    first = 0.0
    for way, times in taken.items():
        rate = calls / statistics.median(wall for wall, _ in times)
        first = first or rate
        cpu = statistics.median(cpu for _, cpu in times) / calls * 1000
        rows.append({"calls": name, "way": way, "calls/s": rate, "CPU ms a call": cpu, "ratio": rate / first})
    return rows


def whole(gateway: Gateway, model: str) -> One:
    request = ChatRequest(model, MESSAGES, stream=False, feature="bench")

    async def one() -> None:
        await gateway.complete(request)

    return one


def streamed(gateway: Gateway, model: str) -> One:
    request = ChatRequest(model, MESSAGES, feature="bench")

    async def one() -> None:
        async with aclosing(gateway.stream(request)) as events:
            async for _ in events:
                pass

    return one


def direct(provider: Provider, stream: bool) -> One:
    request = ChatRequest(f"{provider.name}/x", MESSAGES, stream=stream)
    model = ModelInfo(request.model)

    async def one() -> None:
        async for _ in provider.stream(request, model):
            pass

    return one


async def measure(url: str, folder: str, arguments: argparse.Namespace) -> list[dict[str, object]]:
    environ = {"PARLEY_DATA_DIR": folder, "PARLEY_ENDPOINTS": f"local={url}/v1", "LOCAL_API_KEY": "k"}
    environ |= {
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_KEY": "k",
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "k",
    }
    environ |= {"PARLEY_CONCURRENCY": f"*={arguments.at_once}", "PARLEY_EMBEDDED": "off", "PARLEY_LOG_LEVEL": "warning"}
    settings = Settings.of(environ, env_file=None)
    providers = {name: p for name, p in discover(settings).items() if name in ("openai", "anthropic", "local")}
    instant = Instant()
    providers["instant"] = instant
    database = Database.open(settings)
    gateway = Gateway(providers, Catalog(providers, settings), Ledger(database, Prices(settings)), settings)
    openai = AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0)
    anthropic = AsyncAnthropic(base_url=url, api_key="k", max_retries=0)

    async def openai_whole() -> None:
        await openai.chat.completions.create(model="mock", messages=[{"role": "user", "content": TEXT}])

    async def anthropic_whole() -> None:
        await anthropic.messages.create(model="mock", max_tokens=1024, messages=[{"role": "user", "content": TEXT}])

    async def openai_stream() -> None:
        async for _ in await openai.chat.completions.create(
            model="mock",
            messages=[{"role": "user", "content": TEXT}],
            stream=True,
            stream_options={"include_usage": True},
        ):
            pass

    async def anthropic_stream() -> None:
        async for _ in await anthropic.messages.create(
            model="mock", max_tokens=1024, messages=[{"role": "user", "content": TEXT}], stream=True
        ):
            pass

    calls, streams, at_once, rounds = arguments.calls, arguments.streams, arguments.at_once, arguments.rounds
    rows = await compare(
        "OpenAI, 20 tokens",
        {
            "bare AsyncOpenAI": openai_whole,
            "gateway, openai": whole(gateway, "openai/mock"),
            "gateway, endpoint": whole(gateway, "local/mock"),
        },
        calls,
        at_once,
        rounds,
    )
    rows += await compare(
        "Anthropic, 20 tokens",
        {"bare AsyncAnthropic": anthropic_whole, "gateway, anthropic": whole(gateway, "anthropic/mock")},
        calls,
        at_once,
        rounds,
    )
    rows += await compare(
        "OpenAI, stream of 100",
        {"bare AsyncOpenAI": openai_stream, "gateway, openai": streamed(gateway, "openai/mock")},
        streams,
        at_once,
        rounds,
    )
    rows += await compare(
        "Anthropic, stream of 100",
        {"bare AsyncAnthropic": anthropic_stream, "gateway, anthropic": streamed(gateway, "anthropic/mock")},
        streams,
        at_once,
        rounds,
    )
    for name, one, stream in (("whole", whole, False), ("stream of 100", streamed, True)):
        ways = {"no gateway": direct(instant, stream), "gateway": one(gateway, "instant/x")}
        rows += await compare(f"no network, {name}", ways, calls, at_once, rounds)
    await asyncio.gather(openai.close(), anthropic.close(), *(provider.close() for provider in providers.values()))
    database.close()
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.gateway", description=__doc__)
    parser.add_argument("--calls", type=int, default=2000, help="calls in a round (default 2000)")
    parser.add_argument("--streams", type=int, default=300, help="streams in a round (default 300)")
    parser.add_argument("--at-once", type=int, default=50, help="calls that run at the same time (default 50)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each way (default 3)")
    arguments = parser.parse_args()
    for name in [name for name in os.environ if name.startswith(("OPENAI_", "ANTHROPIC_"))]:
        del os.environ[name]
    with mock() as url, tempfile.TemporaryDirectory(prefix="parley-bench-") as folder:
        rows = asyncio.run(measure(url, folder, arguments))
    report("gateway", rows, f"{arguments.at_once} at once, a server that answers at once, ledger in SQLite on the disk")
    return 0


if __name__ == "__main__":
    sys.exit(main())
