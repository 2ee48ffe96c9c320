"""Any endpoint that speaks Chat Completions, through the real SDK: a local server with faults, and a real engine."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from core import errors
from core.messages import Attachment, Begun, ChatRequest, Done, Message, Parameters, Reply, TextDelta, collect
from core.models.facts import facts_of
from core.models.info import Abilities, ModelInfo
from core.providers._chat_completions import ChatCompletions
from core.providers._engine import Engine
from core.providers.compatible import providers
from tests.fake_server import FakeServer

TWENTY = "".join(f"token {n} " for n in range(1, 21))
ALL = Abilities(
    seed=True, vision=True, pdf=True, json_schema=True, logprobs=True, thinking=True, efforts=("low", "high")
)


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    with FakeServer() as running:
        yield running


@pytest.fixture
async def vllm(server: FakeServer) -> AsyncIterator[ChatCompletions]:
    server.clear()
    provider = ChatCompletions("vllm", "vllm at 127.0.0.1", server.url + "/v1")
    yield provider
    await provider.close()


def request(model: str = "ok", prompt: str = "hello", **more: Any) -> ChatRequest:
    return ChatRequest(f"vllm/{model}", (Message("user", prompt),), more.pop("parameters", Parameters()), **more)


async def ask(provider: ChatCompletions, asked: ChatRequest, can: Abilities | None = None) -> Reply:
    info = facts_of(asked.model) if can is None else ModelInfo(asked.model, abilities=can)
    return await collect(provider.stream(asked, info))


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_without_a_key(vllm: ChatCompletions, server: FakeServer, stream: bool) -> None:
    events = [event async for event in vllm.stream(request(stream=stream), facts_of("vllm/ok"))]
    assert isinstance(events[0], Begun) and events[0].model == "fake-1" and events[0].request_id == "req-1"
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == TWENTY
    assert isinstance(events[-1], Done) and events[-1].usage.output == 20 and events[-1].stop_reason == "stop"
    assert "authorization" not in server.last.headers


async def test_what_arrives_together_is_one_event(vllm: ChatCompletions) -> None:
    asked = request("burst-100", parameters=Parameters(logprobs=0))
    events = [event async for event in vllm.stream(asked, ModelInfo("vllm/x", abilities=ALL))]
    pieces = [event for event in events if isinstance(event, TextDelta)]
    assert len(pieces) <= 2 and [p.token for piece in pieces for p in piece.logprobs][:2] == ["token 1 ", "token 2 "]
    assert sum(len(piece.logprobs) for piece in pieces) == 100


@pytest.mark.parametrize("stream", [True, False])
async def test_reasoning_however_it_comes(vllm: ChatCompletions, stream: bool) -> None:
    for model in ("thinking", "think-tags"):
        reply = await ask(vllm, request(model, stream=stream))
        assert (reply.thinking, reply.text) == ("First I think.", TWENTY)


@pytest.mark.parametrize("stream", [True, False])
async def test_usage_cost_and_ends(vllm: ChatCompletions, stream: bool) -> None:
    done = (await ask(vllm, request("usage-cost+usage-cache", stream=stream))).done
    assert done.provider_cost == 1_250_000
    assert (done.usage.cached, done.usage.cache_write_5m, done.usage.reasoning) == (3, 2, 4)
    assert (await ask(vllm, request("length", stream=stream))).done.stop_reason == "length"
    refused = (await ask(vllm, request("refusal", stream=stream))).done
    assert refused.stop_reason == "refusal" and refused.detail
    guessed = (await ask(vllm, request("usage-none", stream=stream))).done
    assert guessed.usage.estimated and guessed.usage.output > 10 and guessed.provider_cost is None


async def test_an_end_without_done(vllm: ChatCompletions) -> None:
    assert (await ask(vllm, request("done-none"))).text == TWENTY


async def test_parameters_follow_the_model(vllm: ChatCompletions, server: FakeServer) -> None:
    wanted = Parameters(
        max_tokens=50, temperature=0.2, top_p=0.8, seed=5, stop=("END",), effort="high", thinking=False,
        response_schema={"type": "object", "properties": {"a": {"type": "string"}}}, logprobs=3,
    )  # fmt: skip
    reply = await ask(vllm, request(parameters=wanted), ALL)
    body = server.last.body
    assert body["max_tokens"] == 50 and "max_completion_tokens" not in body and body["seed"] == 5
    assert body["stop"] == ["END"] and body["reasoning_effort"] == "high" and body["top_logprobs"] == 3
    assert body["response_format"]["json_schema"]["strict"] is False
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert body["stream_options"] == {"include_usage": True} and reply.notices == ()
    assert json.loads(reply.text) == {"answer": 42} and len(reply.logprobs[0].top) == 3

    reply = await ask(vllm, request(parameters=wanted), Abilities(temperature=False, stop=False))
    sent = set(server.last.body) - {"model", "messages", "stream", "stream_options"}
    assert sent == {"max_tokens"} and len(reply.notices) == 1
    await ask(vllm, request(parameters=Parameters(json_object=True)), Abilities())
    assert server.last.body["response_format"] == {"type": "json_object"}


async def test_gpt_behind_another_address_has_its_own_limit_name(vllm: ChatCompletions, server: FakeServer) -> None:
    await ask(vllm, request("openai/gpt-6-luna", parameters=Parameters(max_tokens=9)))
    assert server.last.body["max_completion_tokens"] == 9 and "max_tokens" not in server.last.body


async def test_files(vllm: ChatCompletions, server: FakeServer) -> None:
    files = (Attachment("a.png", "image/png", b"\x89PNG"), Attachment("b.pdf", "application/pdf", b"%PDF"))
    asked = ChatRequest("vllm/ok", (Message("user", "See", files),))
    await ask(vllm, asked, ALL)
    parts = server.last.body["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["image_url", "file", "text"]
    assert parts[1]["file"] == {"filename": "b.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}
    with pytest.raises(errors.BadRequest, match=r"a\.png"):
        await ask(vllm, asked, Abilities())


async def test_connections_are_used_again(vllm: ChatCompletions, server: FakeServer) -> None:
    await ask(vllm, request("ok"))
    client = await vllm._endpoint.client()
    pool = client._client._transport.client.connector
    for model, stream in (("late-end", True), ("ok", False), ("ok", True)):
        await ask(vllm, request(model, stream=stream))
        assert sum(len(idle) for idle in pool._conns.values()) == 1
    assert sum(len(idle) for idle in pool._conns.values()) == 1 and not pool._acquired


async def test_endpoints_by_name(settings: Any, server: FakeServer) -> None:
    server.clear()
    configured = settings(
        PARLEY_ENDPOINTS=f"qwen={server.url}/v1 my-lab={server.url}/v1",
        QWEN_API_KEY="qwen-key-123",
        MY_LAB_API_KEY="lab-key-123",
    )
    qwen, lab = providers(configured)
    assert (qwen.name, lab.name) == ("qwen", "my-lab") and qwen.takes_key and server.url[7:] in qwen.label
    for provider, key in ((qwen, "qwen-key-123"), (lab, "lab-key-123")):
        await collect(provider.stream(ChatRequest(f"{provider.name}/ok", (Message("user", "x"),)), facts_of("a/ok")))
        assert server.last.headers["authorization"] == f"Bearer {key}"
    asked = ChatRequest("qwen/ok", (Message("user", "x"),), keys={"my-lab": "theirs-1234"})
    await collect(qwen.stream(asked, facts_of("a/ok")))
    assert server.last.headers["authorization"] == "Bearer qwen-key-123"
    for provider in (qwen, lab):
        await provider.close()


def test_names_of_our_own_are_taken(settings: Any) -> None:
    with pytest.raises(errors.SettingsError, match="ollama"):
        providers(settings(PARLEY_ENDPOINTS="ollama=http://h/v1"))
    assert providers(settings()) == []


LISTED: list[dict[str, Any]] = [
    {"id": "Qwen/Qwen3-8B", "max_model_len": 20_000},
    {"id": "local.gguf", "meta": {"n_ctx_train": 8192, "n_params": 1}},
    {"id": "text-embedding-small"},
    {"id": "mistral-embedder", "capabilities": {"completion_chat": False}},
    {"id": "mistral-small", "max_context_length": 131_072, "capabilities": {"completion_chat": True, "vision": True}},
    {
        "id": "maker/router-model",
        "name": "Maker: Router Model",
        "context_length": 400_000,
        "top_provider": {"max_completion_tokens": 12_000},
        "architecture": {"input_modalities": ["text", "image", "file"]},
        "supported_parameters": ["tools", "reasoning", "structured_outputs", "max_tokens"],
        "pricing": {"prompt": "0.1"},
    },
    {"id": "odd", "context_length": "many", "architecture": None, "supported_parameters": None, "top_provider": None},
]


async def test_what_servers_say_of_their_models() -> None:
    with FakeServer(models=LISTED) as server:
        provider = ChatCompletions("lab", "lab", server.url + "/v1")
        models = {model.name: model for model in await provider.models({})}
        await provider.close()
    assert set(models) == {"Qwen/Qwen3-8B", "local.gguf", "mistral-small", "maker/router-model", "odd"}
    assert models["Qwen/Qwen3-8B"].context == 20_000 and models["local.gguf"].context == 8192
    assert models["mistral-small"].context == 131_072 and models["mistral-small"].abilities.vision
    routed = models["maker/router-model"]
    assert (routed.label, routed.context, routed.max_output) == ("Maker: Router Model", 400_000, 12_000)
    can = routed.abilities
    assert can.vision and can.pdf and can.tools and can.json_schema and can.thinking and can.efforts
    assert not (can.temperature or can.seed or can.stop or can.logprobs)
    assert models["odd"].context is None


@pytest.mark.parametrize("listed", [[1, 2], [{"no": "id"}], {"a": 1}])
async def test_a_list_that_cannot_be_read(listed: Any) -> None:
    with FakeServer(models=listed) as server:
        provider = ChatCompletions("lab", "lab", server.url + "/v1")
        with pytest.raises(errors.ProviderUnavailable):
            await provider.models({})
        await provider.close()


async def test_status(server: FakeServer) -> None:
    here = ChatCompletions("lab", "lab", server.url + "/v1")
    assert (await here.status({})).state == "ready"
    assert (await here.status({"lab": "wrong"})).state == "no_key"
    nowhere = ChatCompletions("lab", "lab", "http://127.0.0.1:9/v1")
    status = await nowhere.status({})
    assert status.state == "unreachable" and "127.0.0.1:9" in status.what
    far = ChatCompletions("lab", "lab", "https://models.example/v1", "key-12345")
    assert (await far.status({})).state == "ready"
    for provider in (here, nowhere, far):
        await provider.close()


async def test_a_server_elsewhere_has_no_switch_for_thinking(server: FakeServer) -> None:
    provider = ChatCompletions("lab", "lab", "https://models.example/v1")
    info = provider._as_here(ModelInfo("lab/x", abilities=ALL))
    assert not info.abilities.thinking_off
    assert provider._switched(request(parameters=Parameters(thinking=False)), info) == {}
    await provider.close()


def test_addresses_are_shown_without_what_is_secret() -> None:
    provider = ChatCompletions("lab", "lab", "https://user:secret@host:8443/v1?token=abc", "k")
    assert provider._endpoint.address == "https://host:8443/v1"
    assert "secret" not in repr(provider._endpoint.target())


async def test_a_real_engine(embedded_engine: Engine) -> None:
    provider = ChatCompletions("lab", "lab", embedded_engine.url, embedded_engine.key)
    can = Abilities(seed=True, logprobs=True, json_schema=True)
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    for stream in (True, False):
        parameters = Parameters(max_tokens=24, temperature=0.0, seed=1, logprobs=2, response_schema=schema)
        asked = ChatRequest(f"lab/{embedded_engine.model}", (Message("user", "Is it ok?"),), parameters, stream=stream)
        reply = await ask(provider, asked, can)
        assert isinstance(json.loads(reply.text)["ok"], bool)
        assert reply.logprobs and len(reply.logprobs[0].top) == 2 and reply.done.usage.input > 5
    long = ChatRequest(f"lab/{embedded_engine.model}", (Message("user", "word " * 9000),))
    with pytest.raises(errors.ContextTooLong, match=r"\d,\d{3} tokens"):
        await ask(provider, long, can)
    with pytest.raises(errors.AuthenticationFailed):
        await ask(provider, ChatRequest("lab/x", (Message("user", "a"),), keys={"lab": "wrong-key-1"}), can)
    await provider.close()
