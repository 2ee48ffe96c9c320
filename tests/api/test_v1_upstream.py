"""/v1 from end to end: the official SDK in front, a server of a maker's wire behind, everything between real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest

from core.providers import Provider, discover
from tests.api._server import Api, MakeSettings, serving
from tests.fake_server import FakeServer
from tests.waiting import until

ASK: list[Any] = [{"role": "user", "content": "Hi"}]
KEY = "sk-upstream-secret-123"


@pytest.fixture
def upstream() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
async def api(settings: MakeSettings, upstream: FakeServer) -> AsyncIterator[Api]:
    made = settings(
        PARLEY_ENDPOINTS=f"fake={upstream.url}/v1",
        FAKE_API_KEY=KEY,
        PARLEY_RETRIES=0,
        PARLEY_BREAKER_FAILURES=100,
        PARLEY_EMBEDDED="off",
    )
    providers: dict[str, Provider] = {name: p for name, p in discover(made).items() if name == "fake"}
    async with serving(made, providers) as running:
        yield running


@pytest.fixture
async def client(api: Api) -> AsyncIterator[openai.AsyncOpenAI]:
    async with api.client() as made:
        yield made


async def streamed(client: openai.AsyncOpenAI, model: str) -> tuple[str, str]:
    """The text and the reasoning of a stream."""
    text = thinking = ""
    async for chunk in await client.chat.completions.create(model=f"fake/{model}", messages=ASK, stream=True):
        for choice in chunk.choices:
            text += choice.delta.content or ""
            thinking += (choice.delta.model_extra or {}).get("reasoning_content", "")
    return text, thinking


async def test_an_answer_is_the_same_in_one_piece_and_as_a_stream(client: openai.AsyncOpenAI) -> None:
    for model in ("ok", "burst-30", "tokens-5", "utf8", "crlf", "thinking"):
        text, thinking = await streamed(client, model)
        answer = await client.chat.completions.create(model=f"fake/{model}", messages=ASK)
        message = answer.choices[0].message
        assert text == message.content
        assert thinking == (message.model_extra or {}).get("reasoning_content", "")
        assert bool(thinking) is (model == "thinking")


async def test_cached_tokens_are_reported(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="fake/usage-cache", messages=ASK)
    assert answer.usage is not None and answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens


@pytest.mark.parametrize("model", ["break", "cut", "malformed", "overloaded"])
async def test_a_stream_that_breaks_off_upstream(client: openai.AsyncOpenAI, model: str) -> None:
    text = ""
    with pytest.raises(openai.APIError):
        async for chunk in await client.chat.completions.create(model=f"fake/{model}", messages=ASK, stream=True):
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
    assert "token" in text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "status"),
    [("status-400", 400), ("status-404", 404), ("429-7", 429), ("quota", 402), ("context", 400), ("status-529", 503)],
)
async def test_errors_upstream(client: openai.AsyncOpenAI, model: str, status: int, stream: bool) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        await client.chat.completions.create(model=f"fake/{model}", messages=ASK, stream=stream)
    assert caught.value.status_code == status
    assert caught.value.response.headers.get("retry-after") == ("7" if model == "429-7" else None)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_key_that_the_maker_repeats_is_not_passed_on(
    client: openai.AsyncOpenAI, upstream: FakeServer, stream: bool
) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        await client.chat.completions.create(model="fake/leak", messages=ASK, stream=stream)
    assert upstream.last.headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in caught.value.response.text and KEY[:12] not in caught.value.response.text


@pytest.mark.parametrize("model", ["never", "stall", "slow"])
async def test_hanging_up_reaches_the_maker(client: openai.AsyncOpenAI, upstream: FakeServer, model: str) -> None:
    task = asyncio.create_task(streamed(client, model))
    await until(lambda: any(entry.path.endswith("completions") for entry in upstream.log))
    await asyncio.sleep(0.15)
    assert upstream.last.disconnected_after is None
    task.cancel()
    await asyncio.wait((task,))
    await until(lambda: upstream.last.disconnected_after is not None)


async def test_nothing_of_the_client_reaches_the_maker(client: openai.AsyncOpenAI, upstream: FakeServer) -> None:
    await client.chat.completions.create(
        model="fake/ok", messages=ASK, user="somebody", extra_headers={"x-secret": "s", "cookie": "c=1"}
    )
    assert "x-secret" not in upstream.last.headers and "cookie" not in upstream.last.headers
    assert "user" not in upstream.last.body
