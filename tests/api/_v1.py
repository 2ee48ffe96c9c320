"""What the tests of /v1 share: a server with a puppet for a provider, the official SDK, and raw HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import orjson
import pytest

from tests.api._server import Api, MakeSettings, Puppet, serving

ASK: list[Any] = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def puppet() -> Puppet:
    return Puppet()


@pytest.fixture
async def api(settings: MakeSettings, puppet: Puppet) -> AsyncIterator[Api]:
    async with serving(settings(PARLEY_RETRIES=0), {"puppet": puppet}) as running:
        yield running


@pytest.fixture
async def client(api: Api) -> AsyncIterator[openai.AsyncOpenAI]:
    async with api.client() as made:
        yield made


async def post(api: Api, **body: Any) -> tuple[int, dict[str, Any]]:
    filled = {"model": "puppet/able", "messages": ASK, **body}
    status, _, answer = await api.call("POST", "/v1/chat/completions", orjson.dumps(filled))
    return status, orjson.loads(answer)


async def lines(api: Api, **body: Any) -> list[Any]:
    """The data of every event of a stream, parsed but for [DONE]."""
    filled = {"model": "puppet/able", "messages": ASK, "stream": True, **body}
    status, headers, answer = await api.call("POST", "/v1/chat/completions", orjson.dumps(filled))
    assert status == 200, answer
    assert headers["content-type"].startswith("text/event-stream")
    text = b"".join(part for part in answer.split(b"\r\n")[1::2]).decode()  # chunked transfer coding
    datas = [frame.removeprefix("data: ") for frame in text.split("\n\n") if frame]
    return [data if data == "[DONE]" else json.loads(data) for data in datas]
