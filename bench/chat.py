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
from typing import Any

import aiohttp
import orjson

from bench._report import report
from bench._server import serving
from core.messages import Begun, ChatRequest, Done, Event, TextDelta, Usage
from core.models.info import ModelInfo
from core.providers import Status

PACING = 50.0  # ms, pages.chat.answers.PACE
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


async def visit(url: str, page: Page, expected: int, apart: float, all_here: asyncio.Barrier) -> Seen:
    """One visitor, from the page to the end of the answer. Nobody asks before everybody has the page."""
    seen = Seen()
    known: set[bytes] = set()
    session = uuid.uuid4().hex[:11]
    cookies = aiohttp.CookieJar(unsafe=True)  # of an address without a name too
    async with aiohttp.ClientSession(url, cookie_jar=cookies, timeout=aiohttp.ClientTimeout(120)) as browser:
        await (await browser.get("/")).read()
        for loading in page.loading:
            async for _ in page.event(browser, session, loading, {}):
                pass
        await all_here.wait()
        await asyncio.sleep(apart)
        asked = time.monotonic()
        token = ""
        async for line in page.event(browser, session, page.send, {page.box: {"text": "Go", "files": []}}):
            if b'"process_completed"' in line:
                outputs = orjson.loads(line[5:])["output"]["data"]
                token = outputs[page.send["outputs"].index(page.watch)]
        async for line in page.event(browser, session, page.follow, {page.watch: token}):
            now = time.monotonic()
            for stamp in STAMP.findall(line):
                if stamp not in known:
                    known.add(stamp)
                    seen.first = seen.first or now - asked
                    seen.tokens.append(now - float(stamp))
    if len(seen.tokens) != expected:
        raise RuntimeError(f"{len(seen.tokens)} of {expected} tokens came")
    return seen


class Page:
    """The page's own description: which event sends, and which follows the answer."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._components = {part["id"]: part for part in config["components"]}
        [self.box] = [number for number, part in self._components.items() if part["type"] == "multimodaltextbox"]
        events = config["dependencies"]
        self.loading = [e for e in events if e["outputs"] and any(name == "load" for _, name in e["targets"])]
        self.send = next(e for e in events if [self.box, "submit"] in [list(t) for t in e["targets"]] and e["outputs"])
        # The answer is followed by the first event that a change starts and that has one chatbot as its output.
        self.follow = next(e for e in events if [self._type(part) for part in e["outputs"]] == ["chatbot"])
        [self.watch] = self.follow["inputs"]

    def _type(self, number: int) -> str:
        return str(self._components[number]["type"])

    async def event(
        self, browser: aiohttp.ClientSession, session: str, event: Mapping[str, Any], values: Mapping[int, Any]
    ) -> AsyncIterator[bytes]:
        """Start an event as a browser does and yield the lines of its stream."""
        data = [values.get(part, self._components[part]["props"].get("value")) for part in event["inputs"]]
        body = {"data": data, "fn_index": event["id"], "trigger_id": event["targets"][0][0], "session_hash": session}
        headers = {"content-type": "application/json"}
        async with browser.post("/gradio_api/queue/join", data=orjson.dumps(body), headers=headers) as join:
            join.raise_for_status()
        async with browser.get(f"/gradio_api/queue/data?session_hash={session}") as stream:
            async for line in stream.content:
                if line.startswith(b"data:"):
                    yield line
                    if b'"process_completed"' in line:
                        return


async def run(url: str, at_once: int, tokens: int, spread: float) -> list[Seen]:
    async with aiohttp.ClientSession() as client:
        page = Page(await (await client.get(f"{url}/config")).json())
    all_here = asyncio.Barrier(at_once)
    return await asyncio.gather(*(visit(url, page, tokens, spread * n / at_once, all_here) for n in range(at_once)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 50], help="visitors at the same time")
    parser.add_argument("--rate", type=float, default=50, help="tokens a second and visitor")
    parser.add_argument("--tokens", type=int, default=200, help="tokens of an answer")
    parser.add_argument("--spread", type=float, default=2.0, help="seconds within which the visitors ask")
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
