"""What holds on every wire that a maker's SDK speaks: Responses, Chat Completions and Messages, on a local server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from core import errors
from core.messages import ChatRequest, Done, Event, Message, Reply, TextDelta, collect
from core.models.facts import facts_of
from core.providers import Provider
from core.providers._chat_completions import ChatCompletions
from core.providers.anthropic import Anthropic
from core.providers.openai import OpenAI
from tests.fake_server import FakeServer
from tests.waiting import until

TWENTY = "".join(f"token {n} " for n in range(1, 21))
KEY = "sk-test-0123456789"


def made(name: str, url: str) -> Provider:
    if name == "anthropic":
        return Anthropic(url, KEY)
    return OpenAI(f"{url}/v1", KEY) if name == "openai" else ChatCompletions(name, "vllm here", f"{url}/v1", KEY)


@dataclass
class Maker:
    """A provider and the server behind it, whose log is empty."""

    provider: Provider
    server: FakeServer

    async def events(self, model: str, prompt: str = "hello", *, stream: bool = True) -> AsyncIterator[Event]:
        asked = ChatRequest(f"{self.provider.name}/{model}", (Message("user", prompt),), stream=stream)
        async for event in self.provider.stream(asked, facts_of(asked.model)):
            yield event

    async def ask(self, *asked: Any, **more: Any) -> Reply:
        return await collect(self.events(*asked, **more))


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    with FakeServer() as running:
        yield running


@pytest.fixture(params=["openai", "anthropic", "vllm"])
async def maker(request: pytest.FixtureRequest, server: FakeServer) -> AsyncIterator[Maker]:
    server.clear()
    provider = made(request.param, server.url)
    yield Maker(provider, server)
    await provider.close()


async def test_what_arrives_together_is_one_event(maker: Maker) -> None:
    pieces = [event async for event in maker.events("burst-100") if isinstance(event, TextDelta)]
    assert len(pieces) <= 2


@pytest.mark.parametrize("text", ["", "nul \x00 here", "lone \ud800 half", "مرحبا 🙂", "x" * 1_000_000])
async def test_odd_texts(maker: Maker, text: str) -> None:
    reply = await maker.ask("ok", f"echo {text}", stream=False)
    assert reply.text == text.replace("\ud800", "\ufffd")


async def test_characters_that_are_split_and_crlf(maker: Maker) -> None:
    assert (await maker.ask("utf8")).text.startswith("日本語 ünï 🙂")
    assert (await maker.ask("crlf")).text == TWENTY


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("status-400", errors.BadRequest),
        ("status-401", errors.AuthenticationFailed),
        ("leak", errors.AuthenticationFailed),
        ("status-402", errors.BudgetExceeded),
        ("status-403", errors.PermissionDenied),
        ("status-404", errors.ModelNotFound),
        ("status-413", errors.ContextTooLong),
        ("429", errors.RateLimited),
        ("context", errors.ContextTooLong),
        ("status-500", errors.ModelUnavailable),
        ("status-503", errors.ProviderUnavailable),
        ("status-529", errors.ProviderUnavailable),
        ("html", errors.Unreadable),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_http_errors(maker: Maker, model: str, kind: type, stream: bool) -> None:
    with pytest.raises(errors.ParleyError) as caught:
        await maker.ask(model, stream=stream)
    assert type(caught.value) is kind
    assert KEY not in str(caught.value) and caught.value.__cause__ is None
    assert len(maker.server.log) == 1, "no retries here"


@pytest.mark.parametrize(
    ("model", "kind", "text"),
    [
        ("break", errors.Interrupted, "token 1 "),
        ("cut", errors.Interrupted, "token 1 "),
        ("malformed", errors.Interrupted, "token 1 token 2 "),
        ("overloaded", errors.ProviderUnavailable, "token 1 token 2 "),
        ("empty", errors.ModelUnavailable, ""),
    ],
)
async def test_streams_that_do_not_end_well(maker: Maker, model: str, kind: type, text: str) -> None:
    came: list[Event] = []
    with pytest.raises(errors.ParleyError) as caught:
        async for event in maker.events(model):
            came.append(event)  # noqa: PERF401, what came before the error is kept
    assert type(caught.value) is kind
    assert "".join(event.text for event in came if isinstance(event, TextDelta)).startswith(text)
    assert not any(isinstance(event, Done) for event in came)


@pytest.mark.parametrize(("model", "stream"), [("never", True), ("never", False), ("stall", True)])
async def test_cancelling_reaches_the_server(maker: Maker, model: str, stream: bool) -> None:
    came: list[Event] = []

    async def read() -> None:
        async for event in maker.events(model, stream=stream):
            came.append(event)  # noqa: PERF401, read while it comes

    task = asyncio.create_task(read())
    await until(lambda: maker.server.log)
    if model == "stall":
        await until(lambda: [event for event in came if isinstance(event, TextDelta)])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: maker.server.last.disconnected_after is not None)


async def test_closing_the_generator_reaches_the_server(maker: Maker) -> None:
    asked = ChatRequest(f"{maker.provider.name}/stall", (Message("user", "hello"),))
    stream = maker.provider.stream(asked, facts_of(asked.model))
    async for event in stream:
        if isinstance(event, TextDelta):
            break
    await stream.aclose()  # type: ignore[attr-defined]
    await until(lambda: maker.server.last.disconnected_after is not None)


@pytest.mark.parametrize("name", ["openai", "anthropic", "vllm"])
async def test_a_refused_connection_names_the_address(name: str, server: FakeServer) -> None:
    maker = Maker(made(name, "http://127.0.0.1:9"), server)
    with pytest.raises(errors.ProviderUnavailable, match=r"127\.0\.0\.1:9"):
        await maker.ask("ok")
    await maker.provider.close()
