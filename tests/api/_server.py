"""A real uvicorn in the test's event loop with the API's routes, a provider that plays a script, and raw HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import uvicorn
from openai import AsyncOpenAI
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from core.api import perimeter, routes
from core.errors import ParleyError
from core.messages import Begun, ChatRequest, Done, Event, TextDelta, Usage
from core.models.info import Abilities, ModelInfo
from core.providers import Provider, Status
from core.services import Services
from core.settings import Settings
from tests.waiting import until

MakeSettings = Callable[..., Settings]

ABLE = Abilities(
    temperature=True, seed=True, stop=True, vision=True, pdf=True, json_schema=True, logprobs=True, thinking=True,
    efforts=("low", "medium", "high"),
)  # fmt: skip
UNABLE = Abilities(temperature=False, stop=False)
HELLO: tuple[Event, ...] = (Begun("puppet"), TextDelta("Hello "), TextDelta("there."), Done(Usage(input=9, output=3)))


@dataclass
class Puppet:
    """puppet/able and puppet/unable play `script`: events, errors to raise, seconds or events to wait for."""

    script: Sequence[Event | ParleyError | float | asyncio.Event] = HELLO
    requests: list[ChatRequest] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)  # a stream was closed from outside
    name: str = "puppet"
    label: str = "Puppet"
    takes_key: bool = True
    state: Status = field(default_factory=lambda: Status("ready"))

    async def models(self, keys: Mapping[str, str]) -> list[ModelInfo]:
        return [
            ModelInfo("puppet/able", label="Able", context=8192, max_output=1000, abilities=ABLE),
            ModelInfo("puppet/unable", abilities=UNABLE),
        ]

    async def status(self, keys: Mapping[str, str]) -> Status:
        return self.state

    async def stream(self, request: ChatRequest, model: ModelInfo) -> AsyncIterator[Event]:
        self.requests.append(request)
        try:
            for item in self.script:
                if isinstance(item, ParleyError):
                    raise item
                if isinstance(item, float):
                    await asyncio.sleep(item)
                elif isinstance(item, asyncio.Event):
                    await item.wait()
                else:
                    yield item
        except (asyncio.CancelledError, GeneratorExit):
            self.ended.set()
            raise

    async def close(self) -> None:
        return None


@dataclass
class Api:
    """A running server."""

    port: int
    services: Services
    routes: list[BaseRoute]
    server: uvicorn.Server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, key: str = "none") -> AsyncOpenAI:
        return AsyncOpenAI(api_key=key, base_url=f"{self.url}/v1", max_retries=0)

    async def raw(self, request: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        return reader, writer

    async def call(
        self, method: str, path: str, body: bytes = b"", *, host: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body; header names with underscores for hyphens."""
        lines = [f"{method} {path} HTTP/1.1", f"host: {host or f'127.0.0.1:{self.port}'}", "connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body or method == "POST":
            lines.append(f"content-length: {len(body)}")
        reader, writer = await self.raw("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        answer = await reader.read()
        writer.close()
        return int(head[0].split()[1]), dict(line.lower().split(": ", 1) for line in head[1:] if line), answer


@contextlib.asynccontextmanager
async def serving(settings: Settings, providers: dict[str, Provider]) -> AsyncIterator[Api]:
    """Open services and serve their routes on a free port."""
    services = Services.open(settings, providers)
    found = routes(services)
    app = perimeter(services.visitors.middleware(Starlette(routes=found)), settings, found)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="error",
            access_log=False,
            lifespan="off",
            root_path=settings["PARLEY_ROOT_PATH"],
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
    )
    task = asyncio.create_task(server.serve([listener]))
    try:
        await until(lambda: server.started or task.done())
        assert server.started
        yield Api(listener.getsockname()[1], services, found, server)
    finally:
        server.should_exit = server.force_exit = True
        await task
        listener.close()
        await services.close()
