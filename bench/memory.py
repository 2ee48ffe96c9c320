"""Memory at rest, and with many sessions open at once.

A session does what a browser does: it gets the page, sends the events that the page sends when it opens, and keeps the
heartbeat's connection open. Beside it, in the same run, a Gradio program with one ChatInterface.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
from pathlib import Path
from typing import Any

import aiohttp

from bench._bare import PROGRAM
from bench._report import report
from bench._server import Running, serving


def memory(pid: int) -> float:
    """MB of memory that a process and its children hold (resident)."""
    total, todo = 0, [pid]
    while todo:
        current = todo.pop()
        status = Path(f"/proc/{current}/status").read_text()
        total += next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        for task in Path(f"/proc/{current}/task").iterdir():
            todo += [int(child) for child in (task / "children").read_text().split()]
    return total / 1024


def opening_events(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The requests that the page sends when it opens, with the values that the components begin with."""
    values = {component["id"]: component["props"].get("value") for component in config["components"]}
    return [
        {"queue": event["queue"], "fn_index": event["id"], "data": [values[name] for name in event["inputs"]]}
        for event in config["dependencies"]
        if event["backend_fn"] and any(trigger == "load" for _, trigger in event["targets"])
    ]


class Session:
    """One open tab of one visitor."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.hash = secrets.token_hex(6)
        self.http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None, sock_connect=30)
        )
        self.heartbeat: aiohttp.ClientResponse | None = None

    async def open(self, events: list[dict[str, Any]]) -> None:
        async with self.http.get(self.url) as page:
            page.raise_for_status()
            await page.read()
        self.heartbeat = await self.http.get(f"{self.url}/gradio_api/heartbeat/{self.hash}")
        for event in events:
            await self.send({"fn_index": event["fn_index"], "data": event["data"]}, event["queue"])

    async def send(self, body: dict[str, Any], queued: bool) -> None:
        body["session_hash"] = self.hash
        if not queued:
            async with self.http.post(f"{self.url}/gradio_api/run/predict", json=body) as answer:
                answer.raise_for_status()
                await answer.read()
            return
        async with self.http.post(f"{self.url}/gradio_api/queue/join", json=body) as answer:
            answer.raise_for_status()
        async with self.http.get(f"{self.url}/gradio_api/queue/data", params={"session_hash": self.hash}) as stream:
            async for line in stream.content:
                if line.startswith(b"data:"):
                    message = json.loads(line[5:])
                    if message["msg"] == "process_completed":
                        if not message["success"]:
                            raise RuntimeError(f"an event of the page failed: {message['output']}")
                    elif message["msg"] == "close_stream":
                        return

    async def close(self) -> None:
        if self.heartbeat is not None:
            self.heartbeat.close()
        await self.http.close()


async def measure(server: Running, count: int) -> dict[str, float]:
    """MB at rest and with `count` open sessions."""
    await asyncio.sleep(2)
    rest = memory(server.pid)
    async with aiohttp.ClientSession() as http, http.get(f"{server.url}/config") as answer:
        events = opening_events(await answer.json())
    sessions = [Session(server.url) for _ in range(count)]
    try:
        for start in range(0, count, 10):
            await asyncio.gather(*(session.open(events) for session in sessions[start : start + 10]))
        await asyncio.sleep(1)
        full = memory(server.pid)
    finally:
        await asyncio.gather(*(session.close() for session in sessions))
    return {
        "events at opening": len(events),
        "at rest, MB": rest,
        f"{count} sessions, MB": full,
        "a session, MB": (full - rest) / count,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("--sessions", type=int, default=200, help="how many are open at once (default 200)")
    count = parser.parse_args().sessions
    rows: list[dict[str, object]] = []
    for name, command in {"Parley": (), "bare Gradio": ("-c", PROGRAM)}.items():
        with serving(*command) as server:
            rows.append({"program": name, **asyncio.run(measure(server, count))})
    report("memory", rows, "resident memory of the server and its children")
    return 0


if __name__ == "__main__":
    sys.exit(main())
