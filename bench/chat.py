"""The Chat tab's event under load: how much later than it was made does a token reach the browser's connection?

A server process runs Parley with one model that writes the moment of its making as each token. So many visitors open
the page, send a message over Gradio's own queue and read its event stream, as a browser does. The added latency of a
token is the time from its making to the arrival of the first message that holds it, less the page's pacing interval.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import aiohttp
import orjson

from bench._report import report
from bench._server import serving
from core.messages import Begun, ChatRequest, Done, Event, TextDelta, Usage
from core.models import ModelInfo
from core.providers import Status

PACING = 50.0  # ms, pages._chat_answers.PACE
STAMP = re.compile(rb"t(\d+\.\d{6})")


class Clock:
    """A model that writes `t<monotonic seconds>` as each token."""

    name, label, takes_key = "clock", "Clock", False

    def __init__(self, tokens: int, rate: float) -> None:
        self._tokens = tokens
        self._pause = 1 / rate

    async def models(self, keys: Mapping[str, str]) -> list[ModelInfo]:
        return [ModelInfo("clock/clock", context=100_000)]

    async def status(self, keys: Mapping[str, str]) -> Status:
        return Status("ready")

    async def stream(self, request: ChatRequest, model: ModelInfo) -> AsyncIterator[Event]:
        yield Begun("clock")
        due = time.monotonic()
        for _ in range(self._tokens):
            due += self._pause
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            yield TextDelta(f"t{time.monotonic():.6f} ")
        yield Done(Usage(10, output=self._tokens))

    async def close(self) -> None:
        return None


def serve(tokens: int, rate: float) -> None:
    """The server's side: Parley with the clock in place of all providers."""
    import uvicorn

    import app
    from core.services import Services
    from core.settings import Settings

    with tempfile.TemporaryDirectory() as folder:
        given = {"PARLEY_DATA_DIR": folder, "PARLEY_DEFAULT_MODEL": "clock/clock", "PARLEY_SHARED": "on"}
        services = Services.open(Settings.of(given, None), {"clock": Clock(tokens, rate)})
        uvicorn.run(app.create(services), port=int(os.environ["PORT"]), log_level="warning")


@dataclass
class Seen:
    """Of one visitor, in seconds: from asking to the first word, and each token's way."""

    first: float = 0.0
    tokens: list[float] = field(default_factory=list)


async def visit(url: str, config: Mapping[str, object], expected: int, apart: float) -> Seen:
    """One visitor, from the page to the end of the answer."""
    await asyncio.sleep(apart)
    seen = Seen()
    known: set[bytes] = set()
    session = uuid.uuid4().hex[:11]
    async with aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(120)) as browser:
        await (await browser.get("/")).read()
        asked = time.monotonic()
        body = {**submission(config), "session_hash": session}
        join = await browser.post(
            "/gradio_api/queue/join", data=orjson.dumps(body), headers={"content-type": "application/json"}
        )
        join.raise_for_status()
        async with browser.get(f"/gradio_api/queue/data?session_hash={session}") as stream:
            async for line in stream.content:
                now = time.monotonic()
                if not line.startswith(b"data:"):
                    continue
                for stamp in STAMP.findall(line):
                    if stamp not in known:
                        known.add(stamp)
                        seen.first = seen.first or now - asked
                        seen.tokens.append(now - float(stamp))
                if b'"process_completed"' in line:
                    break
    if len(seen.tokens) != expected:
        raise RuntimeError(f"{len(seen.tokens)} of {expected} tokens came")
    return seen


def submission(config: Mapping[str, object]) -> dict[str, object]:
    """What the browser sends when Enter is pressed in the message box, from the page's own description."""
    components = {c["id"]: c for c in config["components"]}  # type: ignore[attr-defined,index]
    [box] = [i for i, c in components.items() if c["type"] == "multimodaltextbox"]
    event = next(
        d for d in config["dependencies"] if [box, "submit"] in [list(t) for t in d["targets"]] and d["outputs"]
    )  # type: ignore[attr-defined,index]
    values = [components[i]["props"].get("value") for i in event["inputs"]]
    values[event["inputs"].index(box)] = {"text": "Go", "files": []}
    return {"data": values, "fn_index": event["id"], "trigger_id": box, "event_data": None}


async def run(url: str, at_once: int, tokens: int, spread: float) -> list[Seen]:
    async with aiohttp.ClientSession() as client:
        config = await (await client.get(f"{url}/config")).json()
    return await asyncio.gather(*(visit(url, config, tokens, spread * n / at_once) for n in range(at_once)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 50], help="visitors at the same time")
    parser.add_argument("--rate", type=float, default=50, help="tokens a second and visitor")
    parser.add_argument("--tokens", type=int, default=200, help="tokens of an answer")
    parser.add_argument("--spread", type=float, default=2.0, help="seconds within which the visitors come")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.tokens, given.rate)
        return
    rows = []
    command = ("-m", "bench.chat", "--serve", "--tokens", str(given.tokens), "--rate", str(given.rate))
    with serving(*command) as server:
        asyncio.run(run(server.url, 1, given.tokens, 0))  # the first event of a process is slower than any other
        for at_once in given.at_once:
            seen = asyncio.run(run(server.url, at_once, given.tokens, given.spread))
            ways = [1000 * way - PACING for one in seen for way in one.tokens]
            cuts = statistics.quantiles(ways, n=100)
            firsts = [1000 * one.first for one in seen]
            rows.append(
                {
                    "visitors": at_once,
                    "tokens/s each": given.rate,
                    "added p50 ms": max(0.0, cuts[49]),
                    "added p95 ms": max(0.0, cuts[94]),
                    "added max ms": max(ways),
                    "first word p50 ms": statistics.median(firsts),
                    "first word max ms": max(firsts),
                }
            )
    report("chat", rows, f"The Chat tab's event: latency that is added to a token, beyond the pacing of {PACING:g} ms")


if __name__ == "__main__":
    sys.exit(main())
