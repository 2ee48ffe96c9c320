from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest

from core.errors import (
    AuthenticationFailed,
    BadRequest,
    ContextTooLong,
    Interrupted,
    ModelNotFound,
    ParleyError,
    ProviderUnavailable,
    RateLimited,
    SettingsError,
    TimedOut,
)
from core.messages import (
    Attachment,
    Begun,
    ChatRequest,
    Done,
    Message,
    Notice,
    Parameters,
    Reply,
    TextDelta,
    Usage,
    collect,
)
from core.models.info import Abilities, ModelInfo
from core.providers._ollama_wire import address_of
from core.providers.ollama import Ollama, providers
from core.settings import Settings
from tests.fake_ollama import FakeOllama
from tests.waiting import until

CHAT = Abilities(seed=True, json_schema=True, logprobs=True)


@pytest.fixture(scope="module")
def running() -> Iterator[FakeOllama]:
    with FakeOllama() as fake:
        yield fake


@pytest.fixture
def server(running: FakeOllama) -> FakeOllama:
    running.log.clear()
    running.shown.clear()
    running.closed.clear()
    return running


@pytest.fixture
async def ollama(server: FakeOllama) -> AsyncIterator[Ollama]:
    provider = Ollama(server.url)
    yield provider
    await provider.close()


def asked(
    text: str = "Hi",
    *,
    model: str = "plain:1b",
    stream: bool = True,
    files: tuple[Attachment, ...] = (),
    keys: Any = None,
    **parameters: Any,
) -> ChatRequest:
    return ChatRequest(
        f"ollama/{model}", (Message("user", text, files),), Parameters(**parameters), stream=stream, keys=keys or {}
    )


async def answer(provider: Ollama, request: ChatRequest) -> Reply:
    infos = {info.id: info for info in await provider.models({})} if request.model_name != "nothing" else {}
    return await collect(provider.stream(request, infos.get(request.model, ModelInfo(request.model, abilities=CHAT))))


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("", "http://127.0.0.1:11434"),
        ("http://127.0.0.1:11434", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("http://0.0.0.0:9999/", "http://127.0.0.1:9999"),
        ("[::]:11434", "http://[::1]:11434"),
        (":5000", "http://127.0.0.1:5000"),
        ("localhost", "http://localhost:11434"),
        ("http://localhost", "http://localhost:11434"),
        ("gpu-box", "http://gpu-box:11434"),
        ("http://gpu-box", "http://gpu-box:80"),
        ("https://ollama.example/path/", "https://ollama.example:443/path"),
        ("http://user:secret@gpu:1", "http://gpu:1"),
    ],
)
def test_the_host_in_all_its_forms(host: str, address: str) -> None:
    assert address_of(host) == address


@pytest.mark.parametrize("host", ["http://gpu:port", "ftp://gpu", "http://gpu:99999"])
def test_a_host_that_is_none(host: str) -> None:
    with pytest.raises(SettingsError, match="OLLAMA_HOST"):
        address_of(host)


async def test_lists_what_can_chat_with_its_abilities(ollama: Ollama, server: FakeOllama) -> None:
    models = {info.name: info for info in await ollama.models({})}
    assert set(models) == {"plain:1b", "think:4b", "oss:20b", "gptoss-old:20b", "see:7b", "old:1b"}
    plain = models["plain:1b"]
    assert (plain.id, plain.context, plain.note, plain.live) == ("ollama/plain:1b", 40960, "1.2B Q4_K_M", True)
    assert plain.abilities.json_schema and plain.abilities.logprobs and not plain.abilities.thinking
    assert models["see:7b"].abilities.vision
    think, oss = models["think:4b"].abilities, models["oss:20b"].abilities
    assert think.thinking and think.thinking_off and think.tools and think.efforts == ()
    assert oss.efforts == ("low", "medium", "high") and not oss.thinking_off
    assert models["gptoss-old:20b"].abilities.efforts == oss.efforts
    server.shown.clear()
    await ollama.models({})
    assert server.shown == []


async def test_streams_text_usage_and_end(ollama: Ollama, server: FakeOllama) -> None:
    info = ModelInfo("ollama/plain:1b", abilities=CHAT)
    events = [event async for event in ollama.stream(asked("echo Grüße aus Köln 🙂"), info)]
    assert events[0] == Begun("plain:1b") and events[-1] == Done(Usage(11, output=12), "stop")
    deltas = [event for event in events if isinstance(event, TextDelta)]
    assert len(deltas) > 2 and "".join(delta.text for delta in deltas) == "Grüße aus Köln 🙂"
    whole = await collect(ollama.stream(asked("echo all at once", stream=False), info))
    assert whole.text == "all at once" and server.log[-1]["stream"] is False


async def test_sends_what_was_asked_for(ollama: Ollama, server: FakeOllama) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    request = asked(temperature=0.5, top_p=0.9, seed=3, stop=("x",), max_tokens=50, response_schema=schema, logprobs=2)
    reply = await answer(ollama, request)
    sent = server.log[-1]
    options = {"num_ctx": 4096, "temperature": 0.5, "top_p": 0.9, "seed": 3, "stop": ["x"], "num_predict": 50}
    assert (
        sent["options"] == options
        and sent["format"] == schema
        and (sent["logprobs"], sent["top_logprobs"]) == (True, 2)
    )
    assert "think" not in sent
    assert reply.done.stop_reason == "length"
    assert reply.logprobs[0].logprob == -0.25 and reply.logprobs[0].top == (("t0", -1.0), ("t1", -2.0))
    await answer(ollama, asked(json_object=True))
    assert server.log[-1]["format"] == "json"


async def test_context_grows_with_the_prompt_up_to_the_model(ollama: Ollama, server: FakeOllama) -> None:
    for words, model, num_ctx in (
        (1, "plain:1b", 4096),
        (1, "see:7b", 8192),
        (8000, "see:7b", 16384),
        (32000, "see:7b", 40960),
    ):
        await answer(ollama, asked("abcd" * words, model=model))
        assert server.log[-1]["options"]["num_ctx"] == num_ctx
    with pytest.raises(ContextTooLong, match=r"about 50,004 tokens.* 40,960"):
        await answer(ollama, asked("abcd" * 50_000))
    provider = Ollama(server.url)
    await collect(provider.stream(asked(), ModelInfo("ollama/plain:1b")))  # before any list
    assert server.log[-1]["options"]["num_ctx"] == 4096
    await provider.close()


@pytest.mark.parametrize(
    ("model", "parameters", "sent"),
    [
        ("think:4b", {}, None),
        ("think:4b", {"thinking": True}, True),
        ("think:4b", {"thinking": False}, False),
        ("oss:20b", {"effort": "high"}, "high"),
        ("oss:20b", {"thinking": False}, None),
        ("plain:1b", {"thinking": True}, None),
        ("plain:1b", {"effort": "high"}, None),
    ],
)
async def test_thinking(
    ollama: Ollama, server: FakeOllama, model: str, parameters: dict[str, Any], sent: object
) -> None:
    reply = await answer(ollama, asked(model=model, **parameters))
    assert server.log[-1].get("think") == sent
    thinks = model != "plain:1b" and sent is not False
    assert reply.thinking == ("Let me see." if thinks else "")
    assert reply.text.startswith("word0 word1")
    left_out = [notice for notice in reply.notices if isinstance(notice, Notice)]
    assert bool(left_out) == (bool(parameters) and sent is None)


async def test_thinking_in_tags_is_told_apart(ollama: Ollama) -> None:
    reply = await answer(ollama, asked(model="tags:1b"))
    assert reply.thinking == "Hm." and reply.text.startswith("word0")


async def test_images_are_sent_to_who_sees(ollama: Ollama, server: FakeOllama) -> None:
    file = Attachment("a.png", "image/png", b"\x89PNG picture")
    await answer(ollama, asked(model="see:7b", files=(file,)))
    assert server.log[-1]["messages"][0]["images"] == [base64.b64encode(file.data).decode()]
    with pytest.raises(BadRequest, match="does not read images"):
        await answer(ollama, asked(files=(file,)))


async def test_usage_is_estimated_where_the_server_counts_nothing(ollama: Ollama) -> None:
    usage = (await answer(ollama, asked("echo " + "x" * 40, model="uncounted:1b"))).done.usage
    assert usage.estimated and usage.output == 10 and usage.input == 16


@pytest.mark.parametrize("model", ["cut:1b", "junk:1b"])
async def test_a_stream_without_its_end_is_interrupted(ollama: Ollama, model: str) -> None:
    got: list[str] = []
    with pytest.raises(Interrupted):
        async for event in ollama.stream(asked(model=model), ModelInfo(f"ollama/{model}")):
            if isinstance(event, TextDelta):
                got += [event.text]
    assert "".join(got).startswith("word0 word1")


async def test_errors_name_what_is_wrong(ollama: Ollama) -> None:
    with pytest.raises(ModelNotFound, match="no model called nothing") as missing:
        await answer(ollama, asked(model="nothing"))
    assert "ollama pull nothing" in missing.value.fix
    with pytest.raises(ModelNotFound):
        await answer(ollama, asked(model="nothing", stream=False))
    with pytest.raises(ProviderUnavailable, match="overloaded"):
        await answer(ollama, asked(model="busy:1b"))
    with pytest.raises(ProviderUnavailable, match="llama runner process has terminated"):
        await answer(ollama, asked(model="error:1b"))


async def test_stop_closes_the_connection(ollama: Ollama, server: FakeOllama) -> None:
    info = ModelInfo("ollama/slow:1b")
    await ollama.models({})
    task = asyncio.create_task(collect(ollama.stream(asked(model="slow:1b"), info)))
    await until(lambda: server.log)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    stream = ollama.stream(asked(model="slow:1b"), info)
    async for event in stream:
        if isinstance(event, TextDelta):
            break
    await stream.aclose()  # type: ignore[attr-defined]
    await until(lambda: server.closed, lambda closed: closed == ["slow:1b", "slow:1b"])


async def test_a_server_that_is_not_there(settings: Callable[..., Settings]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    (provider,) = providers(settings(OLLAMA_HOST=host))
    status = await provider.status({})
    assert (status.state, status.fix) == ("unreachable", "Start Ollama, or set OLLAMA_HOST.")
    assert host in status.what
    with pytest.raises(ProviderUnavailable, match=host):
        await provider.models({})
    for stream in (True, False):
        with pytest.raises(ProviderUnavailable, match=host) as raised:
            await collect(provider.stream(asked(stream=stream), ModelInfo("ollama/plain:1b")))
        assert raised.value.fix == "Start Ollama, or set OLLAMA_HOST."
    await provider.close()


async def test_status(ollama: Ollama) -> None:
    assert (await ollama.status({})).state == "ready"
    with FakeOllama(empty=True) as bare:
        provider = Ollama(bare.url)
        assert (await provider.status({})).state == "missing"
        await provider.close()


async def test_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeOllama("right") as guarded:
        provider = Ollama(guarded.url)
        assert (await provider.status({})).state == "no_key"
        with pytest.raises(AuthenticationFailed, match="wants a key"):
            await collect(provider.stream(asked(), ModelInfo("ollama/plain:1b")))
        assert not provider.takes_key
        await provider.close()
        owner = Ollama(guarded.url, "right")
        assert (await owner.status({})).state == "ready"
        owner.takes_key = True  # as for a server on another machine
        with pytest.raises(AuthenticationFailed, match="does not accept the key") as raised:
            await collect(owner.stream(asked(keys={"ollama": "wrong-key"}), ModelInfo("ollama/plain:1b")))
        assert "wrong-key" not in str(raised.value)
        assert (await owner.status({"ollama": "with\nbreak"})).state == "no_key"
        assert (await collect(owner.stream(asked(), ModelInfo("ollama/plain:1b")))).text
        await owner.close()
    assert Ollama("http://gpu:11434").takes_key


def broken(handler: Callable[[httpx.Request], httpx.Response]) -> Ollama:
    return Ollama("http://gpu:11434", transport=httpx.MockTransport(handler))


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (httpx.ReadTimeout("late"), TimedOut),
        (httpx.ConnectTimeout("late"), ProviderUnavailable),
        (httpx.ConnectError("no route"), ProviderUnavailable),
        (httpx.RemoteProtocolError("gone"), ProviderUnavailable),
        (httpx.Response(200, text="<html>a proxy</html>"), ProviderUnavailable),
        (httpx.Response(200, json=[1, 2]), ProviderUnavailable),
        (httpx.Response(200, json={"message": 5}), ProviderUnavailable),
        (httpx.Response(200, text=""), Interrupted),
        (httpx.Response(301, headers={"location": "http://evil.example"}), BadRequest),
        (httpx.Response(429, json={"error": "too many requests"}), RateLimited),
        (httpx.Response(500, json={"error": "out of memory"}), ProviderUnavailable),
        (httpx.Response(400, json={"error": '"plain" does not support thinking'}), BadRequest),
        (httpx.Response(404, text="404 page not found"), ModelNotFound),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_faults(fault: httpx.Response | Exception, error: type[ParleyError], stream: bool) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/show":
            return httpx.Response(404, json={"error": "not found"})
        if isinstance(fault, Exception):
            raise fault
        return httpx.Response(fault.status_code, headers=fault.headers, content=fault.content)

    if error is Interrupted and not stream:
        error = ProviderUnavailable
    provider = broken(handler)
    with pytest.raises(error) as raised:
        await collect(provider.stream(asked(stream=stream), ModelInfo("ollama/plain:1b")))
    assert raised.value.what and raised.value.fix
    await provider.close()


async def test_a_list_of_another_shape() -> None:
    for data in ({}, {"models": "x"}, {"models": [{"size": "x"}]}, []):
        provider = broken(lambda _, data=data: httpx.Response(200, json=data))  # type: ignore[misc]
        with pytest.raises(ProviderUnavailable, match="cannot be read"):
            await provider.models({})
        assert (await provider.status({})).state == "unreachable"


async def test_lone_surrogates_and_control_characters_are_sent(ollama: Ollama) -> None:
    reply = await answer(ollama, asked("echo a\ud800b\x00c 🙂"))
    assert "b\x00c 🙂" in reply.text
