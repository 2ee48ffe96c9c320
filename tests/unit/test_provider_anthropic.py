"""Anthropic's Messages API through the real SDK against a real local server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from core import errors
from core.messages import Attachment, Begun, ChatRequest, Done, Message, Parameters, Reply, TextDelta, collect
from core.models.facts import facts_of
from core.providers._engine import Engine
from core.providers.anthropic import Anthropic, providers
from tests.fake_server import FakeServer

TWENTY = "".join(f"token {n} " for n in range(1, 21))
KEY = "sk-ant-test-0123456789"
SONNET, OPUS, HAIKU = "anthropic/claude-sonnet-5-5", "anthropic/claude-opus-5-5", "anthropic/claude-haiku-5-5"


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    with FakeServer() as running:
        yield running


@pytest.fixture
async def claude(server: FakeServer) -> AsyncIterator[Anthropic]:
    server.clear()
    provider = Anthropic(server.url, KEY)
    yield provider
    await provider.close()


def request(model: str = "ok", prompt: str = "hello", **more: Any) -> ChatRequest:
    name = model if "/" in model else f"anthropic/{model}"
    return ChatRequest(name, (Message("user", prompt),), more.pop("parameters", Parameters()), **more)


async def ask(provider: Anthropic, asked: ChatRequest) -> Reply:
    return await collect(provider.stream(asked, facts_of(asked.model)))


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer(claude: Anthropic, server: FakeServer, stream: bool) -> None:
    events = [event async for event in claude.stream(request(stream=stream), facts_of("anthropic/ok"))]
    assert isinstance(events[0], Begun) and events[0].usage is not None and events[0].request_id == "req-1"
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == TWENTY
    assert isinstance(events[-1], Done) and events[-1].usage.output == 20
    assert server.last.path == "/v1/messages" and server.last.headers["authorization"] == f"Bearer {KEY}"
    assert server.last.headers["anthropic-version"] and "x-api-key" not in server.last.headers


@pytest.mark.parametrize("stream", [True, False])
async def test_thinking_usage_and_ends(claude: Anthropic, stream: bool) -> None:
    reply = await ask(claude, request("thinking+usage-cache", stream=stream))
    usage = reply.done.usage
    assert reply.thinking == "First I think." and reply.text == TWENTY
    assert usage.input == 1 + 5 + 3 and usage.cached == 3
    assert (usage.cache_write_5m, usage.cache_write_1h, usage.reasoning, usage.output) == (3, 2, 4, 20)
    assert (await ask(claude, request("length", stream=stream))).done.stop_reason == "length"
    refused = (await ask(claude, request("refusal", stream=stream))).done
    assert (refused.stop_reason, refused.detail) == ("refusal", "cyber: It could do harm.")


THINKING = [
    # model, wanted, effort -> what is sent
    (SONNET, None, None, {"type": "adaptive", "display": "summarized"}),
    (SONNET, True, "max", {"type": "adaptive", "display": "summarized"}),
    (SONNET, False, None, {"type": "between_tools"}),
    (SONNET, False, "high", {"type": "between_tools"}),
    (SONNET, False, "xhigh", {"type": "adaptive", "display": "summarized"}),
    (OPUS, None, None, {"type": "adaptive", "display": "summarized"}),
    (OPUS, False, None, {"type": "adaptive", "display": "summarized"}),
    (HAIKU, False, "low", {"type": "disabled"}),
    ("anthropic/claude-sonnet-5", False, "max", {"type": "disabled"}),
    ("anthropic/claude-opus-4-8", None, None, None),
    ("anthropic/claude-opus-4-8", True, None, {"type": "adaptive", "display": "summarized"}),
    ("anthropic/claude-opus-4-8", False, None, None),
    ("anthropic/claude-haiku-4-5", None, None, None),
    ("anthropic/claude-haiku-4-5", True, None, {"type": "enabled", "budget_tokens": 8192}),
    ("anthropic/somebody-elses", True, None, None),
]


@pytest.mark.parametrize(("model", "wanted", "effort", "sent"), THINKING)
async def test_thinking_as_each_model_wants_it(
    claude: Anthropic, server: FakeServer, model: str, wanted: bool | None, effort: Any, sent: dict[str, Any] | None
) -> None:
    await ask(claude, request(model, parameters=Parameters(thinking=wanted, effort=effort)))
    assert server.last.body.get("thinking") == sent
    assert (server.last.body.get("output_config") or {}).get("effort") == effort


async def test_what_cannot_be_switched_off_is_said(claude: Anthropic) -> None:
    (notice,) = (await ask(claude, request(OPUS, parameters=Parameters(thinking=False)))).notices
    assert notice.kind == "parameter" and "thinking" in notice.text
    (notice,) = (await ask(claude, request(SONNET, parameters=Parameters(thinking=False, effort="max")))).notices
    assert "left on" in notice.text


async def test_a_budget_fits_into_the_limit(claude: Anthropic, server: FakeServer) -> None:
    model = "anthropic/claude-haiku-4-5"
    await ask(claude, request(model, parameters=Parameters(thinking=True, max_tokens=4000)))
    assert server.last.body["thinking"]["budget_tokens"] == 2000
    reply = await ask(claude, request(model, parameters=Parameters(thinking=True, max_tokens=500)))
    assert "thinking" not in server.last.body and "1,024" in reply.notices[0].text


async def test_parameters_follow_the_model(claude: Anthropic, server: FakeServer) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "object", "properties": {}}}}
    wanted = Parameters(temperature=0.3, top_p=0.5, seed=3, stop=("END",), logprobs=1, response_schema=schema)
    reply = await ask(claude, request(SONNET, parameters=wanted))
    body = server.last.body
    assert not {"temperature", "top_p", "seed", "logprobs"} & set(body)
    assert body["stop_sequences"] == ["END"] and body["max_tokens"] == 32_000
    closed = body["output_config"]["format"]["schema"]
    assert closed["additionalProperties"] is False and closed["properties"]["a"]["additionalProperties"] is False
    assert "additionalProperties" not in schema and "temperature or top_p or seed or logprobs" in reply.notices[0].text
    await ask(claude, request("anthropic/local-model", parameters=wanted))
    assert server.last.body["temperature"] == 0.3 and server.last.body["max_tokens"] == 8192


async def test_system_history_and_files(claude: Anthropic, server: FakeServer) -> None:
    picture = Attachment("a.png", "image/png", b"\x89PNG")
    paper = Attachment("b.pdf", "application/pdf", b"%PDF")
    messages = (
        Message("system", "Be brief."),
        Message("user", "See", (picture, paper)),
        Message("assistant", "I see  \n"),
    )
    asked = ChatRequest(SONNET, messages)
    await ask(claude, asked)
    body = server.last.body
    assert body["system"] == "Be brief." and body["messages"][-1] == {"role": "assistant", "content": "I see"}
    assert [block["type"] for block in body["messages"][0]["content"]] == ["image", "document", "text"]
    assert body["messages"][0]["content"][0]["source"] == {
        "type": "base64",
        "media_type": "image/png",
        "data": "iVBORw==",
    }
    with pytest.raises(errors.BadRequest, match=r"a\.png"):
        await ask(claude, ChatRequest("anthropic/local-model", messages))


async def test_only_long_conversations_are_cached(claude: Anthropic, server: FakeServer) -> None:
    def talk(length: int, turns: int) -> ChatRequest:
        return ChatRequest(SONNET, tuple(Message("user", "x" * length) for _ in range(turns)))

    for length, turns, cached in ((10, 10, False), (20_000, 1, False), (5000, 4, True)):
        await ask(claude, talk(length, turns))
        assert ("cache_control" in server.last.body) is cached


async def test_too_long_says_both_numbers(claude: Anthropic) -> None:
    with pytest.raises(errors.ContextTooLong, match=r"210,000 tokens.*200,000"):
        await ask(claude, request("context"))


@pytest.mark.parametrize(("model", "wait"), [("429-2", 2.0), ("429", None)])
async def test_retry_after(claude: Anthropic, model: str, wait: float | None) -> None:
    with pytest.raises(errors.RateLimited) as caught:
        await ask(claude, request(model))
    assert caught.value.retry_after == wait


async def test_a_visitors_key_is_used_for_that_call_only(claude: Anthropic, server: FakeServer) -> None:
    await ask(claude, request(keys={"anthropic": "sk-visitor-123", "openai": "sk-other"}))
    assert server.last.headers["authorization"] == "Bearer sk-visitor-123"
    await ask(claude, request())
    assert server.last.headers["authorization"] == f"Bearer {KEY}"


async def test_no_key_is_an_error_and_not_a_search(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-environment")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "token-environment")
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "X-Api-Key: environment")
    server.clear()
    without = Anthropic(server.url, "  ")
    with pytest.raises(errors.AuthenticationFailed, match="ANTHROPIC_API_KEY"):
        await ask(without, request())
    with pytest.raises(errors.AuthenticationFailed):
        await without.models({})
    with pytest.raises(errors.AuthenticationFailed, match="line break"):
        await ask(without, request(keys={"anthropic": "sk\nant"}))
    assert server.log == []
    await ask(without, request(keys={"anthropic": "sk-visitor-123"}))
    assert "environment" not in repr(server.last.headers)
    await without.close()


def capable(**overrides: Any) -> dict[str, Any]:
    yes, no = {"supported": True}, {"supported": False}
    can = {
        "batch": yes, "citations": yes, "code_execution": yes, "context_management": no, "image_input": yes,
        "pdf_input": no, "server_tools": no, "structured_outputs": yes,
        "effort": {"supported": True, "low": yes, "medium": yes, "high": yes, "max": no, "xhigh": None},
        "thinking": {
            "supported": True,
            "types": {"adaptive": yes, "between_tools": no, "disabled": no, "enabled": no},
        },
    }  # fmt: skip
    return {**can, **overrides}


async def test_the_live_list_drives_the_abilities() -> None:
    listed = [
        {"type": "model", "id": "claude-next-9", "display_name": "Claude Next", "max_input_tokens": 500_000,
         "max_tokens": 70_000, "lifecycle": "deprecated", "retires_at": "2027-01-02T00:00:00Z",
         "capabilities": capable()},
        {"type": "model", "id": "claude-gone", "display_name": "Gone", "lifecycle": "retired"},
        {"id": "claude-haiku-4-5"},
    ]  # fmt: skip
    with FakeServer(models=listed) as server:
        provider = Anthropic(server.url, KEY)
        models = await provider.models({})
        with pytest.raises(errors.AuthenticationFailed):
            await provider.models({"anthropic": "wrong"})
        await provider.close()
    assert [model.id for model in models] == ["anthropic/claude-next-9", "anthropic/claude-haiku-4-5"]
    new, old = models
    assert (new.label, new.context, new.max_output, str(new.retires)) == ("Claude Next", 500_000, 70_000, "2027-01-02")
    assert new.abilities.efforts == ("low", "medium", "high") and not new.abilities.thinking_off
    assert new.abilities.vision and not new.abilities.pdf and not new.abilities.temperature and new.live
    assert old.context == 200_000 and old.abilities == facts_of(old.id).abilities


async def test_status(settings: Any) -> None:
    (provider,) = providers(settings())
    status = await provider.status({})
    assert status.state == "no_key" and status.fix == "Add ANTHROPIC_API_KEY, or paste a key in Settings."
    assert (await provider.status({"anthropic": "sk-mine"})).state == "ready"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_real_engine_on_anthropics_wire(embedded_engine: Engine, stream: bool) -> None:
    provider = Anthropic(embedded_engine.url.removesuffix("/v1"), embedded_engine.key)
    asked = request(f"anthropic/{embedded_engine.model}", "Say hello.", stream=stream,
                    parameters=Parameters(max_tokens=12, temperature=0.0))  # fmt: skip
    reply = await ask(provider, asked)
    await provider.close()
    assert reply.text.strip() and reply.done.usage.output >= 1 and reply.done.usage.input > 5


async def test_json_without_a_schema_is_refused_and_not_forgotten(claude: Anthropic, server: FakeServer) -> None:
    with pytest.raises(errors.BadRequest, match="schema"):
        await ask(claude, request(SONNET, parameters=Parameters(json_object=True)))
    assert server.log == []
