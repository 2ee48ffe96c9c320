"""OpenAI's Responses API through the real SDK against a real local server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from core import errors
from core.messages import Attachment, Begun, ChatRequest, Done, Message, Parameters, Reply, TextDelta, collect
from core.models.facts import facts_of
from core.providers._chat_completions import ChatCompletions
from core.providers.openai import OpenAI, providers
from core.settings import Settings
from tests.fake_server import FakeServer

TWENTY = "".join(f"token {n} " for n in range(1, 21))
KEY = "sk-test-0123456789"


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    with FakeServer() as running:
        yield running


@pytest.fixture
async def openai(server: FakeServer) -> AsyncIterator[OpenAI]:
    server.clear()
    provider = OpenAI(server.url + "/v1", KEY)
    yield provider
    await provider.close()


def request(model: str = "ok", prompt: str = "hello", **more: Any) -> ChatRequest:
    parameters = more.pop("parameters", Parameters())
    return ChatRequest(f"openai/{model}", (Message("user", prompt),), parameters, **more)


async def ask(provider: Any, asked: ChatRequest, like: str = "") -> Reply:
    return await collect(provider.stream(asked, facts_of(like or asked.model)))


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer(openai: OpenAI, server: FakeServer, stream: bool) -> None:
    events = [event async for event in openai.stream(request(stream=stream), facts_of("openai/ok"))]
    assert isinstance(events[0], Begun) and events[0].model == "fake-1" and events[0].request_id == "req-1"
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == TWENTY
    assert isinstance(events[-1], Done) and events[-1].usage.output == 20 and not events[-1].usage.estimated
    assert server.last.path == "/v1/responses" and server.last.body["store"] is False
    assert server.last.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("stream", [True, False])
async def test_reasoning_usage_and_ends(openai: OpenAI, stream: bool) -> None:
    reply = await ask(openai, request("thinking+usage-cache", stream=stream))
    assert reply.thinking == "First I think." and reply.text == TWENTY
    assert (reply.done.usage.cached, reply.done.usage.cache_write_5m, reply.done.usage.reasoning) == (3, 2, 4)
    assert (await ask(openai, request("length", stream=stream))).done.stop_reason == "length"
    refused = (await ask(openai, request("refusal", stream=stream))).done
    assert refused.stop_reason == "refusal" and refused.detail


async def test_usage_that_is_missing_is_estimated(openai: OpenAI) -> None:
    usage = (await ask(openai, request("usage-none"))).done.usage
    assert usage.estimated and usage.output > 0 and usage.input > 0


async def test_parameters_follow_the_model(openai: OpenAI, server: FakeServer) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    wanted = Parameters(
        max_tokens=500, temperature=0.5, top_p=0.9, seed=7, stop=("x",), effort="high", thinking=True,
        response_schema=schema, logprobs=2,
    )  # fmt: skip
    reply = await ask(openai, request(parameters=wanted), like="openai/gpt-6-luna")
    body = server.last.body
    assert body["max_output_tokens"] == 500 and body["reasoning"] == {"effort": "high", "summary": "auto"}
    assert body["text"]["format"]["strict"] is True
    assert not {"temperature", "top_p", "seed", "stop", "include"} & set(body)
    assert len(reply.notices) == 1 and "temperature" in reply.notices[0].text

    reply = await ask(openai, request(parameters=wanted), like="openai/gpt-4.1")
    assert server.last.body["temperature"] == 0.5 and "reasoning" not in server.last.body
    assert server.last.body["include"] == ["message.output_text.logprobs"] and server.last.body["top_logprobs"] == 2
    assert reply.logprobs[0].logprob == -0.25 and len(reply.logprobs[0].top) == 2
    await ask(openai, request(parameters=Parameters(thinking=False)), like="openai/gpt-6-luna")
    assert server.last.body["reasoning"] == {"effort": "none"}
    await ask(openai, request(), like="openai/gpt-6-luna")
    assert "reasoning" not in server.last.body


async def test_system_history_and_files(openai: OpenAI, server: FakeServer) -> None:
    picture = Attachment("a.png", "image/png", b"\x89PNG")
    paper = Attachment("b.pdf", "application/pdf", b"%PDF")
    asked = ChatRequest(
        "openai/ok",
        (Message("system", "Be brief."), Message("assistant", "Yes?"), Message("user", "See", (picture, paper))),
    )
    await ask(openai, asked, like="openai/gpt-6-luna")
    body = server.last.body
    assert body["instructions"] == "Be brief." and body["input"][0] == {"role": "assistant", "content": "Yes?"}
    kinds = [part["type"] for part in body["input"][1]["content"]]
    assert kinds == ["input_image", "input_file", "input_text"]
    assert body["input"][1]["content"][0]["image_url"] == "data:image/png;base64,iVBORw=="
    with pytest.raises(errors.BadRequest, match=r"a\.png"):
        await ask(openai, asked, like="somebody/unknown")


@pytest.mark.parametrize(("model", "kind"), [("quota", errors.BudgetExceeded), ("filter", errors.Refused)])
@pytest.mark.parametrize("stream", [True, False])
async def test_http_errors_of_openai_alone(
    openai: OpenAI, server: FakeServer, model: str, kind: type, stream: bool
) -> None:
    with pytest.raises(errors.ParleyError) as caught:
        await ask(openai, request(model, stream=stream))
    assert type(caught.value) is kind
    assert len(server.log) == 1, "no retries here"


@pytest.mark.parametrize(("model", "low", "high"), [("429-2", 2, 2), ("429-date", 3, 5)])
async def test_retry_after(openai: OpenAI, model: str, low: float, high: float) -> None:
    with pytest.raises(errors.RateLimited) as caught:
        await ask(openai, request(model))
    assert caught.value.retry_after is not None and low <= caught.value.retry_after <= high


async def test_a_visitors_key_is_used_for_that_call_only(openai: OpenAI, server: FakeServer) -> None:
    await ask(openai, request(keys={"openai": " sk-visitor-123 ", "anthropic": "sk-other"}))
    assert server.last.headers["authorization"] == "Bearer sk-visitor-123"
    await ask(openai, request())
    assert server.last.headers["authorization"] == f"Bearer {KEY}"
    assert "sk-visitor-123" not in repr(vars(openai)) + repr(vars(openai._endpoint))


async def test_keys_that_cannot_be_sent(server: FakeServer) -> None:
    server.clear()
    provider = OpenAI(server.url + "/v1", "")
    with pytest.raises(errors.AuthenticationFailed, match="OPENAI_API_KEY"):
        await ask(provider, request())
    with pytest.raises(errors.AuthenticationFailed) as caught:
        await ask(provider, request(keys={"openai": "sk-with\nbreak"}))
    assert "sk-with" not in str(caught.value) and server.log == []
    await provider.close()


async def test_nothing_is_taken_from_the_environment(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-environment")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-environment")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Environment: yes")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    provider = OpenAI(server.url + "/v1", "own-key-1234")
    await ask(provider, request())
    assert "environment" not in repr(server.last.headers)
    await provider.close()


async def test_the_list_of_models() -> None:
    listed = [
        {"id": "gpt-6-luna", "created": 1, "object": "model", "owned_by": "openai", "shutdown_date": "2027-02-03"},
        {"id": "text-embedding-3-small"},
        {"id": "whisper-1"},
        {"id": "gpt-99"},
    ]
    with FakeServer(models=listed) as server:
        provider = OpenAI(server.url + "/v1", KEY)
        models = await provider.models({})
        assert [model.id for model in models] == ["openai/gpt-6-luna", "openai/gpt-99"]
        assert models[0].live and models[0].context == 1_050_000 and str(models[0].retires) == "2027-02-03"
        with pytest.raises(errors.AuthenticationFailed):
            await provider.models({"openai": "wrong"})
        await provider.close()


async def test_status(settings: Any) -> None:
    (without,) = providers(settings())
    assert (await without.status({})).state == "no_key" and "OPENAI_API_KEY" in (await without.status({})).fix
    assert (await without.status({"openai": "sk-mine"})).state == "ready"


@pytest.mark.parametrize(
    ("address", "responses"),
    [
        ("", True),
        ("https://api.openai.com/v1", True),
        ("http://localhost:8000/v1", False),
        ("https://api.openai.com.evil.example/v1", False),
    ],
)
def test_which_wire(settings: Any, address: str, responses: bool) -> None:
    configured: Settings = settings(OPENAI_BASE_URL=address, OPENAI_API_KEY=KEY)
    (provider,) = providers(configured)
    assert isinstance(provider, OpenAI) is responses and isinstance(provider, ChatCompletions)
    assert provider.name == "openai" and provider.takes_key
