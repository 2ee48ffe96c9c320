"""/v1 as programs use it: what goes wrong at the provider, on the line and at the caller."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import orjson
import pytest

from core import errors
from core.messages import Begun, Done, Event, TextDelta, Usage
from tests.api._server import HELLO, Api, Puppet
from tests.api._v1 import ASK, api, client, lines, post, puppet
from tests.waiting import until

__all__ = ["api", "client", "puppet"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (errors.BadRequest("No."), 400, "invalid_request_error", "bad_request"),
        (errors.ContextTooLong("9 of 8."), 400, "invalid_request_error", "context_length_exceeded"),
        (errors.AuthenticationFailed("No key."), 401, "authentication_error", "invalid_api_key"),
        (errors.BudgetExceeded("Nothing left."), 402, "insufficient_quota", "insufficient_quota"),
        (errors.PermissionDenied("No."), 403, "permission_error", "permission_denied"),
        (errors.Refused("No."), 403, "invalid_request_error", "content_filter"),
        (errors.ModelNotFound("Gone."), 404, "invalid_request_error", "model_not_found"),
        (errors.RateLimited("Slow down.", retry_after=7.2), 429, "rate_limit_error", "rate_limit_exceeded"),
        (errors.ProviderUnavailable("Down."), 503, "server_error", "provider_unavailable"),
        (errors.TimedOut("Silent."), 504, "server_error", "timeout"),
    ],
)
async def test_errors_of_providers(
    api: Api, puppet: Puppet, error: errors.ParleyError, status: int, kind: str, code: str, stream: bool
) -> None:
    puppet.script = (Begun(), error)
    body = orjson.dumps({"model": "puppet/able", "messages": ASK, "stream": stream})
    got, headers, answer = await api.call("POST", "/v1/chat/completions", body)
    found = orjson.loads(answer)["error"]
    assert (got, found["type"], found["code"]) == (status, kind, code)
    assert error.what in found["message"]
    assert headers.get("retry-after") == ("8" if status == 429 else None)
    assert ("x-should-retry" in headers) is not error.retryable


async def test_a_stream_that_breaks_off(client: openai.AsyncOpenAI, puppet: Puppet) -> None:
    puppet.script = (*HELLO[:2], 0.05, errors.Interrupted("The line is dead."))
    stream = await client.chat.completions.create(model="puppet/able", messages=ASK, stream=True)
    text = ""
    with pytest.raises(openai.APIError, match="The line is dead"):
        async for chunk in stream:
            text += chunk.choices[0].delta.content or ""
    assert text == "Hello "


async def test_a_stream_that_breaks_off_has_no_end_mark(api: Api, puppet: Puppet) -> None:
    puppet.script = (*HELLO[:2], errors.Interrupted("The line is dead."))
    frames = await lines(api)
    assert frames[-1]["error"]["code"] == "interrupted"
    assert "[DONE]" not in frames


async def test_a_bug_shows_nothing(api: Api, puppet: Puppet) -> None:
    puppet.script = (object(), *HELLO)  # type: ignore[assignment]

    async def broken(request: Any) -> Any:
        raise RuntimeError("secret path /srv/x")

    api.services.gateway.complete = broken  # type: ignore[method-assign]
    status, answer = await post(api)
    assert status == 500
    assert "secret" not in str(answer) and "Traceback" not in str(answer)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("script", [(Begun(), 60.0), (60.0,), (*HELLO[:2], 60.0)])
async def test_hanging_up_stops_the_provider_at_once(
    api: Api, puppet: Puppet, stream: bool, script: tuple[Event | float, ...]
) -> None:
    puppet.script = script
    body = orjson.dumps({"model": "puppet/able", "messages": ASK, "stream": stream})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    _, writer = await api.raw(head + body)
    await until(lambda: puppet.requests)
    await asyncio.sleep(0.05)
    assert not puppet.ended.is_set()
    writer.close()
    await asyncio.wait_for(puppet.ended.wait(), 30)
    await until(lambda: [row.status for row in api.services.ledger.calls()], lambda found: found == ["cancelled"])


async def test_breaking_out_of_the_sdks_stream_stops_the_provider(client: openai.AsyncOpenAI, puppet: Puppet) -> None:
    puppet.script = (*HELLO[:2], 60.0)
    stream = await client.chat.completions.create(model="puppet/able", messages=ASK, stream=True)
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    await stream.close()
    await asyncio.wait_for(puppet.ended.wait(), 30)


async def test_a_client_that_never_finishes_its_request(api: Api, puppet: Puppet) -> None:
    _, writer = await api.raw(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99\r\n\r\n{")
    await asyncio.sleep(0.05)
    writer.close()
    await asyncio.sleep(0.05)
    assert (await post(api))[0] == 200
    assert len(puppet.requests) == 1


async def test_one_connection_carries_many_requests(api: Api) -> None:
    body = orjson.dumps({"model": "puppet/able", "messages": ASK, "stream": True})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    reader, writer = await api.raw(head + body)
    for _ in range(3):
        answer = await reader.readuntil(b"0\r\n\r\n")
        assert b"Hello" in answer and b"[DONE]" in answer
        writer.write(head + body)
    writer.close()


async def test_events_are_sent_as_they_come(client: openai.AsyncOpenAI, puppet: Puppet) -> None:
    seen = [asyncio.Event(), asyncio.Event()]
    puppet.script = (Begun(), TextDelta("a"), seen[0], TextDelta("b"), seen[1], TextDelta("c"), Done(Usage()))
    text = ""
    async for chunk in await client.chat.completions.create(model="puppet/able", messages=ASK, stream=True):
        text += chunk.choices[0].delta.content or ""
        for event in seen[: len(text)]:
            event.set()
    assert text == "abc"
