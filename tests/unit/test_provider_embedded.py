from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from core.errors import ContextTooLong, Interrupted, ModelNotFound, ProviderUnavailable
from core.messages import ChatRequest, Done, Message, Parameters, Reply, TextDelta, collect
from core.models.info import Abilities, ModelInfo
from core.providers._engine import Engine
from core.providers._gguf import read_head
from core.providers.embedded import Embedded, files, providers, short_name
from core.settings import Settings
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
SKY = "Why is the sky blue?"


@pytest.fixture
async def embedded(weights: Path) -> AsyncIterator[Embedded]:
    provider = Embedded(weights.parent, 1024)
    yield provider
    await provider.close()


def asked(text: str, *, stream: bool = True, model: str = "embedded/smollm2-135m", **parameters: Any) -> ChatRequest:
    return ChatRequest(model, (Message("user", text),), Parameters(**parameters), stream=stream)


async def answer(provider: Embedded, request: ChatRequest) -> Reply:
    info = {info.id: info for info in await provider.models({})}.get(request.model, ModelInfo(request.model))
    return await collect(provider.stream(request, info))


def gone(pid: int) -> bool:
    """Waits until the process has ended."""
    return wait_until(lambda: _ended(pid))


def _ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135m"),
        ("Qwen2.5-0.5B-Instruct-Q4_K_M.gguf", "qwen2.5-0.5b"),
        ("gemma-3-270m-it-IQ4_XS.gguf", "gemma-3-270m"),
        ("Mine.gguf", "mine"),
        ("phi.F16.gguf", "phi"),
        ("Qwen3-4B-UD-Q4_K_XL.gguf", "qwen3-4b"),
    ],
)
def test_short_names(file: str, name: str) -> None:
    assert short_name(Path(file)) == name


def test_names_that_collide_stay_whole_and_parts_of_models_are_left_out(tmp_path: Path) -> None:
    for name in (
        "a-Q4_0.gguf",
        "a-Q8_0.gguf",
        "mmproj-a.gguf",
        "b-00001-of-00002.gguf",
        "b-00002-of-00002.gguf",
        "SmolLM2-135M.gguf",
    ):
        (tmp_path / name).write_bytes(b"")
    assert list(files(tmp_path)) == ["smollm2-135m", "a-q4_0", "a-q8_0", "b-00001-of-00002"]
    assert files(tmp_path / "nowhere") == {}


async def test_lists_the_model_with_its_facts(embedded: Embedded) -> None:
    (info,) = [info for info in await embedded.models({}) if info.id == "embedded/smollm2-135m"]
    assert info.note == "demonstration model, expect mistakes"
    assert (info.context, info.live) == (1024, True)
    can = info.abilities
    assert can.temperature and can.seed and can.stop and can.json_schema and can.logprobs and can.prefill
    assert not (can.vision or can.pdf or can.tools or can.thinking)
    assert (await embedded.status({})).state == "ready"


async def test_context_is_never_more_than_the_model_was_trained_for(weights: Path) -> None:
    assert read_head(weights).context == 8192
    (info, *_) = await Embedded(weights.parent, 131072).models({})
    assert info.context == 8192


async def test_answers_in_a_stream(embedded: Embedded) -> None:
    info = ModelInfo("embedded/smollm2-135m")
    events = [event async for event in embedded.stream(asked(SKY, max_tokens=24), info)]
    deltas = [event for event in events if isinstance(event, TextDelta)]
    assert len(deltas) > 5 and "".join(delta.text for delta in deltas).strip()
    done = events[-1]
    assert isinstance(done, Done) and done.stop_reason == "length"
    assert done.usage.output == 24 and done.usage.input > 10 and not done.usage.estimated


async def test_parameters_reach_the_engine(embedded: Embedded) -> None:
    request = asked("Say something.", stream=False, max_tokens=12, temperature=0.9, seed=7, logprobs=2)
    first, second = await answer(embedded, request), await answer(embedded, request)
    assert first.text == second.text
    assert len(first.logprobs) == 12 and all(len(token.top) == 2 for token in first.logprobs)
    assert all(token.logprob <= 0 and math.isfinite(token.logprob) for token in first.logprobs)
    stopped = await answer(embedded, asked("Count: 1, 2, 3, 4, 5, 6, 7", max_tokens=60, temperature=0, stop=(",", " ")))
    assert "," not in stopped.text and stopped.done.usage.output < 60


async def test_json_schema_is_kept_to(embedded: Embedded) -> None:
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string", "maxLength": 20},
            "size": {"type": "integer", "maximum": 99, "minimum": 1},
        },
        "required": ["city", "size"],
        "additionalProperties": False,
    }
    reply = await answer(embedded, asked("A city as JSON.", max_tokens=80, response_schema=schema))
    assert set(json.loads(reply.text)) == {"city", "size"}


async def test_continues_an_answer_that_is_the_last_message(embedded: Embedded) -> None:
    messages = (Message("user", "Say the alphabet."), Message("assistant", "A, B, C, D, E, F,"))
    request = ChatRequest("embedded/smollm2-135m", messages, Parameters(max_tokens=8, temperature=0))
    text = (await answer(embedded, request)).text
    assert "G" in text and "A, B" not in text


async def test_too_long_a_prompt_says_both_counts(embedded: Embedded) -> None:
    with pytest.raises(ContextTooLong, match=r"\b3,0\d\d tokens.* 1,024"):
        await answer(embedded, asked("word " * 3000))


async def test_an_answer_without_limit_ends(embedded: Embedded) -> None:
    reply = await answer(embedded, asked("Count from 1 to 1000.", temperature=0))
    assert reply.done.usage.output <= 1024


async def test_twelve_at_once_on_four_slots(embedded: Embedded) -> None:
    requests = [asked(f"Tell me about the number {n}.", max_tokens=6, stream=n % 2 == 0) for n in range(12)]
    replies = await asyncio.gather(*(answer(embedded, request) for request in requests))
    assert all(reply.text.strip() for reply in replies)
    assert len(embedded._loading) == 1


async def test_stopping_before_the_first_token_leaves_the_engine_usable(embedded: Embedded) -> None:
    await embedded.warm()
    task = asyncio.create_task(answer(embedded, asked("word " * 900, max_tokens=100)))
    await asyncio.sleep(0.1)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert (await answer(embedded, asked("Hello", max_tokens=3))).text


async def test_one_who_stops_waiting_does_not_stop_the_loading(embedded: Embedded) -> None:
    first = asyncio.create_task(answer(embedded, asked("Hello", max_tokens=3)))
    second = asyncio.create_task(answer(embedded, asked("Hello", max_tokens=3)))
    await asyncio.sleep(0.1)
    first.cancel()
    assert (await second).text


async def test_an_engine_that_died_is_started_again(embedded: Embedded) -> None:
    await embedded.warm()
    (future,) = embedded._loading.values()
    engine = future.result().engine
    os.kill(engine.pid, signal.SIGKILL)
    wait_until(lambda: not engine.alive)
    assert (await answer(embedded, asked("Hello", max_tokens=3))).text


async def test_close_while_streams_run_ends_them_and_the_engine(embedded: Embedded) -> None:
    info = ModelInfo("embedded/smollm2-135m", abilities=Abilities())
    streams = [embedded.stream(asked("Write a long story.", max_tokens=900), info) for _ in range(3)]
    for stream in streams:
        async for event in stream:
            if isinstance(event, TextDelta):
                break
    (future,) = embedded._loading.values()
    await embedded.close()
    assert gone(future.result().engine.pid)
    for stream in streams:
        with pytest.raises((Interrupted, ProviderUnavailable)):
            async for _ in stream:
                pass
    with pytest.raises(ProviderUnavailable, match="shutting down"):
        await embedded.warm()


PROGRAM = """
import asyncio, signal, sys
from pathlib import Path
from core.messages import ChatRequest, Message, Parameters, TextDelta
from core.models.info import ModelInfo
from core.providers.embedded import Embedded

async def main():
    provider = Embedded(Path(sys.argv[1]), 1024)
    request = ChatRequest("embedded/smollm2-135m", (Message("user", "Tell a story."),), Parameters(max_tokens=900))
    stream = provider.stream(request, ModelInfo(request.model))
    async for event in stream:
        if isinstance(event, TextDelta):
            break
    (future,) = provider._loading.values()
    print(future.result().engine.pid, flush=True)
    async for event in stream:
        if sys.argv[2] == "exit":
            return

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [("exit", 0), (signal.SIGINT, None), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_the_program_may_end_in_any_way_while_a_stream_runs(weights: Path, end: Any, code: int | None) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(weights.parent), str(end)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert program.stdout is not None
    pid = int(program.stdout.readline())
    if end != "exit":
        program.send_signal(end)
    ended = program.wait(60)
    program.stdout.close()
    assert ended != -signal.SIGSEGV and (code is None or ended == code)
    assert gone(pid)


async def test_damaged_files_say_so_and_the_rest_works(weights: Path, tmp_path: Path) -> None:
    (tmp_path / weights.name).symlink_to(weights)
    (tmp_path / "text.gguf").write_text("hello " * 100)
    (tmp_path / "empty.gguf").write_bytes(b"")
    head = weights.read_bytes()[:3_000_000]
    (tmp_path / "half.gguf").write_bytes(head)
    (tmp_path / "start.gguf").write_bytes(head[:500])
    provider = Embedded(tmp_path, 512)
    try:
        notes = {info.id: info.note for info in await provider.models({})}
        assert "not a GGUF file" in notes["embedded/text"] and "empty.gguf" in notes["embedded/empty"]
        for name in ("text", "empty", "half", "start"):
            with pytest.raises(ProviderUnavailable, match=rf"{name}\.gguf") as raised:
                await answer(provider, asked("Hello", model=f"embedded/{name}"))
            assert str(tmp_path) not in str(raised.value)
        with pytest.raises(ModelNotFound, match="embedded/nothing"):
            await answer(provider, asked("Hello", model="embedded/nothing"))
        assert (await answer(provider, asked("Hello", max_tokens=3))).text
        shutil.copy(weights, tmp_path / "half.gguf.part")
        (tmp_path / "half.gguf.part").replace(tmp_path / "half.gguf")
        assert (await answer(provider, asked("Hello", max_tokens=3, model="embedded/half"))).text
    finally:
        await provider.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the sentence is that of Linux's dynamic linker")
@pytest.mark.parametrize(("library", "fix"), [("libgomp.so.1", "libgomp1"), ("libvulkan.so.1", "the package")])
def test_a_library_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, fix: str
) -> None:
    said = f"{library}: cannot open shared object file: No such file or directory"
    (tmp_path / "xllamacpp.py").write_text(f"raise ImportError({said!r})")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    model = tmp_path / "tiny.gguf"
    model.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 0))
    with pytest.raises(ProviderUnavailable, match=f"needs {library}") as raised:
        Engine.load(model, context=512)
    assert fix in raised.value.fix


async def test_without_weights_it_says_how_to_get_them(settings: Callable[..., Settings]) -> None:
    (provider,) = providers(settings())
    assert await provider.models({}) == []
    status = await provider.status({})
    assert (status.state, status.fix) == ("missing", "Run `python app.py models fetch`.")
    with pytest.raises(ProviderUnavailable, match="models fetch"):
        await collect(provider.stream(asked("Hello"), ModelInfo("embedded/smollm2-135m")))
    await provider.close()
    assert providers(settings(PARLEY_EMBEDDED="off")) == []


async def test_the_server_is_closed_to_others(embedded_engine: Engine) -> None:
    base = embedded_engine.url.removesuffix("/v1")
    assert base.startswith("http://127.0.0.1:")
    good: Mapping[str, str] = {"Authorization": f"Bearer {embedded_engine.key}"}
    body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}
    async with httpx2.AsyncClient(base_url=base) as client:
        assert (await client.post("/v1/chat/completions", json=body)).status_code == 401
        wrong = await client.post("/v1/chat/completions", json=body, headers={"Authorization": "Bearer no"})
        assert wrong.status_code == 401 and embedded_engine.key not in wrong.text
        assert (await client.get("/slots", headers=good)).status_code in (404, 501)
        assert (await client.get("/", headers=good)).status_code == 404
        foreign = await client.options("/v1/chat/completions", headers={"Origin": "http://evil.example"})
        assert foreign.headers.get("access-control-allow-origin") in (None, "")


async def test_the_official_sdk_works_with_the_shared_engine(embedded_engine: Engine, embedded_url: str) -> None:
    async with openai.AsyncOpenAI(base_url=embedded_url, api_key=embedded_engine.key) as client:
        made = await client.chat.completions.create(
            model=embedded_engine.model, messages=[{"role": "user", "content": "Hello"}], max_tokens=4
        )
    assert made.choices[0].message.content
