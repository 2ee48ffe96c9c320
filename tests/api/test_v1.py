"""/v1 as programs use it: the official SDK, and raw HTTP for what the SDK does not send."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import orjson
import pytest

from core import errors
from core.api import api_state
from core.messages import Begun, Done, Event, TextDelta, ThinkingDelta, TokenLogprob, Usage
from core.providers import Provider, Status, discover
from tests.api._server import HELLO, Api, MakeSettings, Puppet, serving

ASK: list[Any] = [{"role": "user", "content": "Hi"}]
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
PNG_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()


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


# What is answered


async def test_models(client: openai.AsyncOpenAI) -> None:
    models = [model async for model in client.models.list()]
    assert [model.id for model in models] == ["puppet/able", "puppet/unable"]
    able = models[0]
    assert (able.object, able.owned_by) == ("model", "puppet")
    extra = able.model_extra or {}
    assert extra["context_window"] == 8192
    assert extra["abilities"]["vision"] is True
    assert (await client.models.retrieve("puppet/able")).id == "puppet/able"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("puppet/nobody")


async def test_models_that_cannot_be_used_are_not_listed(settings: MakeSettings) -> None:
    puppet = Puppet(state=Status("no_key", "No key.", "Add one."))
    async with serving(settings(), {"puppet": puppet}) as api, api.client() as client:
        assert [model async for model in client.models.list()] == []


async def test_a_whole_answer(client: openai.AsyncOpenAI, puppet: Puppet) -> None:
    usage = Usage(input=100, cached=40, output=20, reasoning=15)
    puppet.script = (Begun(), ThinkingDelta("Let me see. "), *HELLO[1:3], Done(usage, "length"))
    answer = await client.chat.completions.create(model="puppet/able", messages=ASK)
    [choice] = answer.choices
    assert choice.message.content == "Hello there."
    assert choice.finish_reason == "length"
    assert (choice.message.model_extra or {})["reasoning_content"] == "Let me see. "
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (100, 20, 120)
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 40
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == 15
    assert answer.model == "puppet/able"


async def test_the_ledger_knows_every_call(api: Api, client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="puppet/able", messages=ASK)
    parley = (answer.model_extra or {})["parley"]
    assert parley["cost_dollars"] is None and parley["cost_nano_dollars"] is None, "unknown is not 0"
    assert parley["first_token"] >= 0
    row = api.services.ledger.call(int(parley["call"]))
    assert row is not None
    assert (row.feature, row.status, row.model, row.visitor) == ("api", "ok", "puppet/able", "local")


async def test_a_stream(client: openai.AsyncOpenAI, puppet: Puppet) -> None:
    puppet.script = (Begun(), ThinkingDelta("Hm."), *HELLO[1:])
    stream = await client.chat.completions.create(
        model="puppet/able", messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == "Hello there."
    assert "".join((delta.model_extra or {}).get("reasoning_content", "") for delta in deltas) == "Hm."
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "stop"
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 3
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert (chunks[-2].model_extra or {})["parley"]["call"]


async def test_a_stream_without_usage_ends_in_done(api: Api) -> None:
    frames = await lines(api)
    assert frames[-1] == "[DONE]"
    assert frames[-2]["choices"][0]["finish_reason"] == "stop"
    assert not any("usage" in frame for frame in frames[:-1])


async def test_log_probabilities(client: openai.AsyncOpenAI, puppet: Puppet) -> None:
    entry = TokenLogprob("Hé", -0.25, (("Hé", -0.25), ("Ho", -1.5)))
    puppet.script = (TextDelta("Hé", (entry,)), Done(Usage(1, output=1)))
    answer = await client.chat.completions.create(model="puppet/able", messages=ASK, logprobs=True, top_logprobs=2)
    assert puppet.requests[-1].parameters.logprobs == 2
    stream = await client.chat.completions.create(model="puppet/able", messages=ASK, logprobs=True, stream=True)
    chunks = [chunk async for chunk in stream]
    for found in (answer.choices[0].logprobs, chunks[1].choices[0].logprobs):
        assert found is not None and found.content is not None
        [token] = found.content
        assert (token.token, token.logprob, token.bytes) == ("Hé", -0.25, [72, 195, 169])
        assert [(top.token, top.logprob) for top in token.top_logprobs] == [("Hé", -0.25), ("Ho", -1.5)]
    assert puppet.requests[-1].parameters.logprobs == 0


async def test_the_model_that_answered_is_named(settings: MakeSettings, puppet: Puppet) -> None:
    puppet.script = (Begun(), errors.ProviderUnavailable("Down."))
    ask: dict[str, Any] = {"model": "puppet/able", "messages": ASK, "extra_body": {"fallbacks": ["other/able"]}}
    providers: dict[str, Provider] = {"puppet": puppet, "other": Puppet(name="other")}
    async with serving(settings(PARLEY_RETRIES=0), providers) as api, api.client() as client:
        answer = await client.chat.completions.create(**ask)
        assert answer.model == "other/able"
        notices = (answer.model_extra or {})["parley"]["notices"]
        assert [notice["kind"] for notice in notices] == ["fallback"]
        stream = await client.chat.completions.create(**ask, stream=True)
        assert {chunk.model async for chunk in stream} == {"other/able"}


async def test_an_earlier_answer_is_used_when_asked_for(client: openai.AsyncOpenAI, puppet: Puppet) -> None:
    for _ in range(2):
        answer = await client.chat.completions.create(
            model="puppet/able", messages=ASK, temperature=0, extra_body={"cache": True}
        )
    assert (answer.model_extra or {})["parley"]["cache_hit"] is True
    assert len(puppet.requests) == 1


# What is asked


async def test_everything_asked_reaches_the_provider(client: openai.AsyncOpenAI, puppet: Puppet) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    await client.chat.completions.create(
        model="puppet/able",
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "system", "content": [{"type": "text", "text": "Be kind."}]},
            {"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "two"}]},
            {"role": "assistant", "content": "Three"},
            {"role": "user", "content": "مرحبا 👩‍👩‍👧 \u202eabc"},
        ],
        temperature=0.5,
        top_p=0.9,
        seed=7,
        stop=["END", "\n\n"],
        max_completion_tokens=50,
        reasoning_effort="low",
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
        user="somebody",
        extra_body={"frequency_penalty": 0.5, "some_future_field": {"a": 1}},
    )
    [request] = puppet.requests
    assert [(m.role, m.text) for m in request.messages] == [
        ("system", "Be brief."),
        ("system", "Be kind."),
        ("user", "One\n\ntwo"),
        ("assistant", "Three"),
        ("user", "مرحبا 👩‍👩‍👧 \u202eabc"),
    ]
    parameters = request.parameters
    assert (parameters.temperature, parameters.top_p, parameters.seed) == (0.5, 0.9, 7)
    assert (parameters.stop, parameters.max_tokens, parameters.effort) == (("END", "\n\n"), 50, "low")
    assert parameters.response_schema == schema
    assert (request.feature, request.visitor, dict(request.keys)) == ("api", "local", {})


async def test_files_in_a_message(client: openai.AsyncOpenAI, puppet: Puppet) -> None:
    text = base64.b64encode(b"the contents of notes").decode()
    await client.chat.completions.create(
        model="puppet/able",
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": PNG_URL, "detail": "low"}},
                    {"type": "file", "file": {"filename": "notes.txt", "file_data": f"data:text/plain;base64,{text}"}},
                ],
            }
        ],
    )
    [message] = puppet.requests[0].messages
    assert message.text.startswith("What is this?") and "the contents of notes" in message.text
    [image] = message.attachments
    assert (image.media_type, image.data) == ("image/png", PNG)


async def test_what_a_model_does_not_take_is_left_out_and_said(api: Api, puppet: Puppet) -> None:
    status, answer = await post(
        api, model="puppet/unable", temperature=0.3, top_p=0.5, seed=1, reasoning_effort="high", logit_bias={"1": 2}
    )
    assert status == 200
    assert sorted(answer["parley"]["ignored"]) == ["logit_bias", "reasoning_effort", "seed", "temperature", "top_p"]
    sent = puppet.requests[0].parameters
    assert (sent.temperature, sent.top_p, sent.seed, sent.effort) == (None, None, None, None)


async def test_reasoning_can_be_switched_off(api: Api, puppet: Puppet) -> None:
    assert (await post(api, reasoning_effort="none"))[0] == 200
    assert puppet.requests[0].parameters.thinking is False


IMAGE = {"type": "image_url", "image_url": {"url": PNG_URL}}
BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"model": None}, "model", "missing"),
    ({"model": 5}, "model", "must be a string, not an integer"),
    ({"messages": None}, "messages", "missing"),
    ({"messages": []}, "messages", "at least one"),
    ({"messages": "Hi"}, "messages", "must be a list"),
    ({"messages": ["Hi"]}, "messages[0]", "must be an object"),
    ({"messages": [{"content": "Hi"}]}, "messages[0].role", "missing"),
    ({"messages": [{"role": "wizard", "content": "Hi"}]}, "messages[0].role", "must be one of"),
    ({"messages": [{"role": "tool", "content": "Hi"}]}, "messages[0].role", "not supported yet"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "missing"),
    ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content", "string or a list"),
    ({"messages": [{"role": "user", "content": ""}]}, "messages[0].content", "empty"),
    ({"messages": [{"role": "user", "content": " \n\t"}]}, "messages[0].content", "empty"),
    ({"messages": [{"role": "user", "content": []}]}, "messages[0].content", "empty"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text", "missing"),
    ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "messages[0].content[0].type", "must be"),
    ({"messages": [{"role": "system", "content": "Hi"}]}, "messages", "at least one"),
    ({"messages": [{"role": "assistant", "content": [IMAGE]}]}, "messages[0].content[0].type", "messages of the user"),
    ({"temperature": "hot"}, "temperature", "must be a number, not a string"),
    ({"temperature": True}, "temperature", "must be a number, not a boolean"),
    ({"temperature": 3}, "temperature", "between 0 and 2"),
    ({"top_p": -0.1}, "top_p", "between 0 and 1"),
    ({"max_tokens": 0}, "max_tokens", "between 1"),
    ({"max_tokens": 1.5}, "max_tokens", "an integer, not a number"),
    ({"seed": 2**63}, "seed", "between"),
    ({"stop": 5}, "stop", "list of strings"),
    ({"stop": ["a", ""]}, "stop", "empty"),
    ({"stream": "yes"}, "stream", "must be a boolean"),
    ({"stream_options": []}, "stream_options", "must be an object"),
    ({"n": 2}, "n", "must be 1"),
    ({"tools": [{"type": "function"}]}, "tools", "not supported yet"),
    ({"modalities": ["text", "audio"]}, "modalities", "only be text"),
    ({"reasoning_effort": "extreme"}, "reasoning_effort", "must be one of"),
    ({"reasoning_effort": "xhigh"}, "reasoning_effort", "low, medium, high for this model"),
    ({"top_logprobs": 3}, "top_logprobs", "needs logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "between 0 and 20"),
    ({"response_format": "json"}, "response_format", "must be an object"),
    ({"response_format": {}}, "response_format.type", "missing"),
    ({"response_format": {"type": "xml"}}, "response_format.type", "must be one of"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "schema"),
    ({"fallbacks": "other/able"}, "fallbacks", "list of strings"),
    ({"cache": 1}, "cache", "boolean"),
    ({"model": "puppet/unable", "logprobs": True}, "logprobs", "no log-probabilities"),
    ({"model": "puppet/unable", "stop": "x"}, "stop", "no stop sequences"),
    ({"model": "puppet/unable", "response_format": {"type": "json_object"}}, "response_format", "cannot be held"),
    ({"fallbacks": ["puppet/unable"], "logprobs": True}, "logprobs", "puppet/unable"),
]


@pytest.mark.parametrize(("body", "param", "message"), BAD)
async def test_bad_fields_are_named(api: Api, puppet: Puppet, body: dict[str, Any], param: str, message: str) -> None:
    status, answer = await post(api, **body)
    error = answer["error"]
    assert (status, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert message in error["message"]
    assert not puppet.requests


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}, "nothing is fetched"),
        ({"type": "image_url", "image_url": "http://169.254.169.254/"}, "nothing is fetched"),
        ({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, "nothing is fetched"),
        ({"type": "image_url", "image_url": {"url": "data:image/png,abc"}}, "not a data: URL in base64"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,?!"}}, "not valid base64"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}, "empty"),
        ({"type": "file", "file": {"file_id": "file-1"}}, "not supported"),
        ({"type": "file", "file": {"filename": "a.bin", "file_data": "AAECAwQFBgc="}}, "a.bin"),
    ],
)
async def test_bad_files(api: Api, puppet: Puppet, part: dict[str, Any], message: str) -> None:
    status, answer = await post(api, messages=[{"role": "user", "content": [part]}])
    assert status == 400 and message in answer["error"]["message"]
    assert answer["error"]["param"].startswith("messages[0].content[0]")
    assert not puppet.requests


async def test_an_image_for_a_model_without_eyes(api: Api, puppet: Puppet) -> None:
    content = [{"type": "text", "text": "What is it?"}, IMAGE]
    status, answer = await post(api, model="puppet/unable", messages=[{"role": "user", "content": content}])
    assert status == 400 and answer["error"]["param"] == "messages[0].content[1].type"
    assert not puppet.requests


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b'"x"', b"\xff\xfe", b'{"a": NaN}', b'{"model":"\\ud800"}'])
async def test_what_is_not_json(api: Api, raw: bytes) -> None:
    status, _, answer = await api.call("POST", "/v1/chat/completions", raw)
    assert (status, orjson.loads(answer)["error"]["type"]) == (400, "invalid_request_error")


async def test_nul_bytes_and_a_megabyte(api: Api, puppet: Puppet) -> None:
    assert (await post(api, messages=[{"role": "user", "content": "a\x00b"}]))[0] == 200
    assert puppet.requests[0].messages[0].text == "ab"
    assert (await post(api, messages=[{"role": "user", "content": "word " * 200_000}]))[0] == 200


async def test_text_that_is_not_unicode_is_sent_all_the_same(api: Api, puppet: Puppet) -> None:
    puppet.script = (TextDelta("a\ud83d"), TextDelta("b"), Done(Usage()))
    frames = await lines(api)
    assert "".join(f["choices"][0]["delta"].get("content", "") for f in frames[:-1]) == "a?b"
    assert (await post(api))[1]["choices"][0]["message"]["content"] == "a?b"


@pytest.mark.parametrize("chunked", [False, True])
async def test_too_large(settings: MakeSettings, puppet: Puppet, chunked: bool) -> None:
    async with serving(settings(PARLEY_MAX_UPLOAD_MB=1), {"puppet": puppet}) as api:
        body = b"x" * 6_000_000
        if chunked:
            body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:3_000_000], body[3_000_000:]))
            length = b"transfer-encoding: chunked"
        else:
            length = b"content-length: 6000000"
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n" + length + b"\r\n\r\n"
        reader, writer = await api.raw(head + body)
        status = await reader.readline()
        assert b" 413 " in status
        writer.close()


@pytest.mark.parametrize(
    "model", ["puppet", "gpt-4o", "nobody/at-all", "/", "puppet/", "../../etc/passwd", "'; DROP--/x"]
)
async def test_unknown_models(client: openai.AsyncOpenAI, model: str) -> None:
    for stream in (False, True):
        with pytest.raises(openai.NotFoundError) as caught:
            await client.chat.completions.create(model=model, messages=ASK, stream=stream)
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


async def test_other_addresses_and_methods(api: Api) -> None:
    status, _, answer = await api.call("POST", "/v1/embeddings", b"{}")
    assert (status, orjson.loads(answer)["error"]["code"]) == (404, "not_found")
    status, headers, answer = await api.call("GET", "/v1/chat/completions")
    assert (status, headers["allow"]) == (405, "post")
    assert (await api.call("DELETE", "/v1/models/puppet/able"))[0] == 405


# What goes wrong


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
    while not puppet.requests:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert not puppet.ended.is_set()
    hung_up = time.monotonic()
    writer.close()
    await asyncio.wait_for(puppet.ended.wait(), 2)
    assert time.monotonic() - hung_up < 1
    await asyncio.sleep(0.1)
    [row] = api.services.ledger.calls()
    assert row.status == "cancelled"


async def test_breaking_out_of_the_sdks_stream_stops_the_provider(client: openai.AsyncOpenAI, puppet: Puppet) -> None:
    puppet.script = (*HELLO[:2], 60.0)
    stream = await client.chat.completions.create(model="puppet/able", messages=ASK, stream=True)
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    await stream.close()
    await asyncio.wait_for(puppet.ended.wait(), 2)


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
    puppet.script = (Begun(), TextDelta("a"), 0.15, TextDelta("b"), 0.15, TextDelta("c"), Done(Usage()))
    began = time.monotonic()
    stream = await client.chat.completions.create(model="puppet/able", messages=ASK, stream=True)
    times = [time.monotonic() - began async for chunk in stream if chunk.choices[0].delta.content]
    assert len(times) == 3
    assert times[1] - times[0] > 0.1 and times[2] - times[1] > 0.1


# Who may ask


async def test_with_keys_only_their_holders_get_in(settings: MakeSettings, puppet: Puppet) -> None:
    made = settings(PARLEY_API_KEYS="first-key second-key", PARLEY_HOST="0.0.0.0")
    async with serving(made, {"puppet": puppet}) as api:
        for key in ("first-key", "second-key"):
            async with api.client(key) as client:
                await client.chat.completions.create(model="puppet/able", messages=ASK)
        visitors = {request.visitor for request in puppet.requests}
        assert len(visitors) == 2 and all(name.startswith("api-") for name in visitors)
        for key in ("first-ke", "first-key2", "wrong"):
            async with api.client(key) as client:
                with pytest.raises(openai.AuthenticationError) as caught:
                    await client.models.list()
                assert caught.value.code == "invalid_api_key"
                assert key not in str(caught.value).replace("wrong.", "")
        for headers in (
            {},
            {"authorization": "first-key"},
            {"authorization": "Basic first-key"},
            {"authorization": "Bearer"},
        ):
            status, answer_headers, _ = await api.call("GET", "/v1/models", **headers)
            assert (status, answer_headers["www-authenticate"]) == (401, "bearer")
        # A key opens the door from everywhere.
        status, _, _ = await api.call(
            "GET", "/v1/models", host="parley.example", authorization="bearer first-key", origin="https://x.example"
        )
        assert status == 200


async def test_other_machines_need_keys(settings: MakeSettings, puppet: Puppet) -> None:
    made = settings(PARLEY_HOST="0.0.0.0")
    enabled, sentence = api_state(made)
    assert not enabled and "PARLEY_API_KEYS" in sentence
    async with serving(made, {"puppet": puppet}) as api:
        status, answer = await post(api)
        assert status == 403 and "PARLEY_API_KEYS" in answer["error"]["message"]
    assert not puppet.requests


def test_what_the_start_says_of_the_api(settings: MakeSettings) -> None:
    assert api_state(settings())[0]
    enabled, sentence = api_state(settings(PARLEY_HOST="0.0.0.0", PARLEY_API_KEYS="very-secret"))
    assert enabled and "very-secret" not in sentence


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example:7860"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "localhost.evil.example"},
        {"host": "192.168.1.5:7860"},
        {"host": "[::2]:80"},
        {"host": "["},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:9999"},
        {"origin": "http://127.0.0.1"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"x_forwarded_for": "203.0.113.5"},
        {"forwarded": "for=203.0.113.5"},
    ],
)
async def test_web_pages_of_others_are_refused(api: Api, puppet: Puppet, headers: dict[str, str]) -> None:
    body = orjson.dumps({"model": "puppet/able", "messages": ASK})
    status, _, answer = await api.call("POST", "/v1/chat/completions", body, **headers)  # type: ignore[arg-type]
    assert status == 403 and "PARLEY_API_KEYS" in orjson.loads(answer)["error"]["message"]
    assert not puppet.requests


async def test_this_machine_is_let_in(api: Api) -> None:
    own = f"127.0.0.1:{api.port}"
    for host in ("localhost", f"LOCALHOST:{api.port}", own, "[::1]:80", "127.8.8.8"):
        assert (await api.call("GET", "/v1/models", host=host))[0] == 200
    assert (await api.call("GET", "/v1/models", origin=f"http://{own}", sec_fetch_site="same-origin"))[0] == 200


async def test_programs_get_no_cookies(api: Api) -> None:
    _, headers, _ = await api.call("GET", "/v1/models")
    assert "set-cookie" not in headers


# Real models


async def test_the_embedded_model_answers(settings: MakeSettings, weights: Path) -> None:
    made = settings(PARLEY_MODELS_DIR=weights.parent, PARLEY_EMBEDDED_CONTEXT=2048)
    providers: dict[str, Provider] = {name: p for name, p in discover(made).items() if name == "embedded"}
    async with serving(made, providers) as api, api.client() as client:
        [model] = [model.id async for model in client.models.list() if "smollm2" in model.id.lower()]
        answer = await client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "Say hello."}],
            max_tokens=12,
            temperature=0,
            logprobs=True,
            top_logprobs=2,
        )
        assert answer.choices[0].message.content
        assert answer.usage is not None and 0 < answer.usage.completion_tokens <= 12
        assert answer.choices[0].logprobs is not None and answer.choices[0].logprobs.content
        assert (answer.model_extra or {})["parley"]["cost_nano_dollars"] == 0, "a model of one's own costs nothing"
        stream = await client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "Say hello."}],
            max_tokens=12,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        assert text == answer.choices[0].message.content
        schema = {
            "type": "object",
            "properties": {"word": {"type": "string", "maxLength": 10}},
            "required": ["word"],
            "additionalProperties": False,
        }
        shaped = await client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "A word, please."}],
            max_tokens=60,
            temperature=0,
            response_format={"type": "json_schema", "json_schema": {"name": "w", "schema": schema}},
        )
        assert list(json.loads(shaped.choices[0].message.content or "")) == ["word"]
