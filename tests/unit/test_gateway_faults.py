"""The whole way, with the real SDK, against servers that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from core.errors import (
    AuthenticationFailed,
    Interrupted,
    ModelUnavailable,
    ProviderUnavailable,
    RateLimited,
    TimedOut,
    Unreadable,
)
from core.gateway import Gateway
from core.ledger.store import Ledger
from core.messages import Event, TextDelta
from core.models.catalog import Catalog
from core.models.prices import Prices
from core.providers import discover
from core.store.database import Database
from tests.puppet import Bench, ask, bench, notices, said
from tests.waiting import LONG, until

CHUNK = 'data: {"model":"real","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":%s}]}\n\n'
STREAM = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
WHOLE = STREAM + CHUNK % ("Hello", "null") + CHUNK % (" there", '"stop"') + "data: [DONE]\n\n"


@dataclass
class Server:
    """Plays one script after the other, one a connection; the last one again and again."""

    scripts: list[Callable[[asyncio.StreamWriter], Awaitable[None]]]
    heads: list[str] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)  # a client has hung up

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
        self.heads.append(head)
        script = self.scripts[min(len(self.heads), len(self.scripts)) - 1]
        playing = asyncio.create_task(script(writer))
        await reader.read()
        self.gone.set()
        playing.cancel()
        writer.close()


def sends(text: str) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(text.encode())
        await writer.drain()
        writer.close()

    return script


def refuses(status: str, *headers: str) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    body = '{"error":{"message":"the server\'s words","type":"x","code":null}}'
    lines = [f"HTTP/1.1 {status}", "content-type: application/json", f"content-length: {len(body)}", *headers, "", body]
    return sends("\r\n".join(lines))


async def silent(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


async def stalls(writer: asyncio.StreamWriter) -> None:
    writer.write((STREAM + CHUNK % ("Hello", "null")).encode())
    await asyncio.sleep(3600)


@pytest.fixture
def against(settings):
    """`async with against(script, …, PARLEY_…=…) as (bench, server)`: the endpoint real/… is that server."""

    @asynccontextmanager
    async def run(*scripts, **more: object) -> AsyncIterator[tuple[Bench, Server]]:
        server = Server(list(scripts))
        listening = await asyncio.start_server(server, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        if not scripts:
            listening.close()
            await listening.wait_closed()
        made = settings(
            PARLEY_ENDPOINTS=f"real=http://127.0.0.1:{port}/v1", REAL_API_KEY="k", PARLEY_EMBEDDED="off",
            **{"PARLEY_RETRY_MAX_WAIT": 0.01, **more},
        )  # fmt: skip
        database = Database.open(made)
        provider = discover(made)["real"]
        providers = {"real": provider}
        catalog, ledger = Catalog(providers, made), Ledger(database, Prices(made))
        try:
            yield Bench(Gateway(providers, catalog, ledger, made), ledger, database, catalog), server
        finally:
            await provider.close()
            database.close()
            listening.close()

    return run


ASK = ask("real/model")


@pytest.mark.parametrize("script", [silent, stalls], ids=["before the first token", "in mid answer"])
async def test_stop_reaches_the_provider_at_once(against, script) -> None:
    async with against(script) as (it, server):
        events: list[Event] = []

        async def read() -> None:
            async for event in it.gateway.stream(ASK):
                events.append(event)  # noqa: PERF401, read while it comes

        task = asyncio.create_task(read())
        await until(lambda: server.heads)
        if script is stalls:
            await until(lambda: said(events))
        task.cancel()
        await asyncio.wait_for(server.gone.wait(), LONG)
        await asyncio.gather(task, return_exceptions=True)
        (row,) = await it.settled(1)
        assert row.status == "cancelled" and row.usage.estimated and row.usage.input > 0


async def test_a_server_that_never_answers(against) -> None:
    async with against(silent, PARLEY_FIRST_TOKEN_TIMEOUT=0.2, PARLEY_RETRIES=1) as (it, server):
        with pytest.raises(TimedOut, match="did not answer"):
            await it.events(ASK)
        assert [(row.attempt, row.status, row.error_code) for row in it.rows()] == [
            (0, "failed", "timeout"),
            (1, "failed", "timeout"),
        ]
        await asyncio.wait_for(server.gone.wait(), 1)


async def test_a_stream_that_stalls_or_stops_half_way_keeps_its_text(against) -> None:
    broken = sends(STREAM + CHUNK % ("Hello", "null"))
    for script, error in ((stalls, TimedOut), (broken, Interrupted)):
        async with against(script, PARLEY_IDLE_TIMEOUT=0.2) as (it, _):
            got = []
            with pytest.raises(error):
                async for event in it.gateway.stream(ASK):
                    got += [event]
            assert said(got) == "Hello" and isinstance(got[-1], TextDelta)
            row = it.rows()[-1]
            assert (row.status, row.usage.output) == ("interrupted", 2)


@pytest.mark.parametrize("status", ["500 Oh", "503 Away", "529 Overloaded"])
async def test_server_faults_are_tried_again(against, status: str) -> None:
    async with against(refuses(status), sends(WHOLE)) as (it, server):
        events = await it.events(ASK)
        assert said(events) == "Hello there" and len(notices(events, "retry")) == 1
        assert len(server.heads) == 2
        first, second = it.rows()
        assert (first.status, first.error_code, second.status) == ("failed", "provider_unavailable", "ok")


async def test_a_rate_limit_with_and_without_a_wait(against) -> None:
    async with against(refuses("429 Slow"), refuses("429 Slow", "retry-after: 0"), sends(WHOLE)) as (it, _):
        assert said(await it.events(ASK)) == "Hello there"
    async with against(refuses("429 Slow", "retry-after: 3600")) as (it, server):
        with pytest.raises(RateLimited, match="60 min"):
            await it.events(ASK)
        assert len(server.heads) == 1


async def test_a_wrong_key_is_not_tried_again_and_not_repeated(against) -> None:
    async with against(refuses("401 No")) as (it, server):
        with pytest.raises(AuthenticationFailed) as caught:
            await it.events(ask("real/model", keys={"real": "sk-visitors-own-key"}))
        assert "sk-visitors" not in str(caught.value) and "bearer sk-visitors-own-key" in server.heads[0]
        (row,) = it.rows()
        assert len(server.heads) == 1 and "sk-visitors" not in repr(row) and row.key_source == "visitor"


async def test_nobody_listens(against) -> None:
    async with against(PARLEY_RETRIES=2, PARLEY_BREAKER_FAILURES=3) as (it, _):
        with pytest.raises(ProviderUnavailable):
            await it.events(ASK)
        assert it.gateway.breakers()["real"].state == "open" and len(it.rows()) == 3


JSON = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"
UNREADABLE = {
    "malformed event": STREAM + "data: {nonsense}\n\n",
    "another shape": STREAM + 'data: ["no", "object"]\n\n',
    "malformed body": JSON + "\r\n{nonsense}",
    "a web page": STREAM.replace("text/event-stream", "text/html") + "<html>Welcome</html>",
    "wrong encoding": JSON + "content-encoding: gzip\r\n\r\nno gzip at all",
}


@pytest.mark.parametrize("answer", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_cannot_be_read_is_not_asked_for_again(against, answer: str, stream: bool) -> None:
    async with against(sends(answer)) as (it, server):
        with pytest.raises(Unreadable, match="cannot be read"):
            await it.events(ask("real/model", stream=stream))
        assert len(server.heads) == 1 and len(it.rows()) == 1


@pytest.mark.parametrize("cut", ["", STREAM, STREAM + CHUNK[:30], JSON + "content-length: 900\r\n\r\n{"])
async def test_a_connection_that_breaks_off_before_the_first_token_is_tried_again(against, cut: str) -> None:
    async with against(sends(cut), sends(WHOLE)) as (it, server):
        assert said(await it.events(ASK)) == "Hello there" and len(server.heads) == 2


async def test_one_broken_model_of_a_server_leaves_the_others_alone(against) -> None:
    broken = refuses("500 Failed to load model")
    async with against(broken, broken, broken, sends(WHOLE), PARLEY_BREAKER_FAILURES=3) as (it, server):
        with pytest.raises(ModelUnavailable):
            await it.events(ask("real/broken"))
        with pytest.raises(ProviderUnavailable, match="left alone"):
            await it.events(ask("real/broken"))
        assert said(await it.events(ask("real/good"))) == "Hello there" and len(server.heads) == 4


async def test_a_damaged_model_file_is_loaded_once_and_the_good_one_beside_it_answers(
    settings, weights, tmp_path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / weights.name).symlink_to(weights)
    (folder / "damaged.gguf").write_bytes(weights.read_bytes()[:3_000_000])  # its head is whole
    made = settings(PARLEY_MODELS_DIR=folder, PARLEY_BREAKER_FAILURES=1)
    embedded = discover(made)["embedded"]
    with bench(made, embedded) as it:
        try:
            with pytest.raises(Unreadable, match=r"damaged\.gguf cannot be loaded"):
                await it.events(ask("embedded/damaged"))
            assert len(it.rows()) == 1
            with pytest.raises(ProviderUnavailable, match="left alone"):
                await it.events(ask("embedded/damaged"))
            assert said(await it.events(ask("embedded/smollm2-135m", "Say hi.")))
        finally:
            await embedded.close()
