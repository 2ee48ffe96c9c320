"""/v1 as programs use it: what is asked, and what is said of what cannot be asked."""

from __future__ import annotations

import base64
from typing import Any

import openai
import orjson
import pytest

from core.messages import Done, TextDelta, Usage
from tests.api._server import Api, MakeSettings, Puppet, serving
from tests.api._v1 import ASK, api, client, lines, post, puppet

__all__ = ["api", "client", "puppet"]

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
PNG_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()


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
