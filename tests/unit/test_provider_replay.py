from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from core.errors import BadRequest, ModelNotFound, StorageError
from core.files import recordings
from core.files.recordings import Recorded
from core.messages import (
    Begun,
    ChatRequest,
    Done,
    Message,
    Parameters,
    Reply,
    Role,
    TextDelta,
    ThinkingDelta,
    TokenLogprob,
    Usage,
    collect,
)
from core.providers.replay import Replay, providers
from core.settings import Settings


def asked(
    *texts: str, model: str = "replay/demo", system: str = "", stream: bool = True, **parameters: Any
) -> ChatRequest:
    """User and assistant in turn."""
    roles: list[Role] = ["user", "assistant"]
    messages = [Message(roles[n % 2], text) for n, text in enumerate(texts)]
    if system:
        messages.insert(0, Message("system", system))
    return ChatRequest(model, tuple(messages), Parameters(**parameters), stream=stream)


def entry(question: str, answer: str, **fields: Any) -> str:
    return json.dumps({"messages": [{"role": "user", "content": question}], "answer": answer, **fields})


def put(folder: Path, *lines: str, name: str = "demo") -> Path:
    path = folder / f"{name}.jsonl"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


async def answer(provider: Replay, request: ChatRequest) -> Reply:
    info = {info.id: info for info in await provider.models({})}[request.model]
    return await collect(provider.stream(request, info))


async def test_answers_the_exact_messages_before_the_last_question(tmp_path: Path) -> None:
    exact = {
        "messages": [{"role": "system", "content": "Be rude."}, {"role": "user", "content": "Hi"}],
        "answer": "Go away.",
    }
    put(tmp_path, entry("Hi", "Hello!"), json.dumps(exact), entry("Bye", "See you."))
    provider = Replay(tmp_path)
    assert (await answer(provider, asked("Hi"))).text == "Hello!"
    assert (await answer(provider, asked("Hi", system="Be rude."))).text == "Go away."
    assert (await answer(provider, asked("One", "Two", " Bye\n", system="Any"))).text == "See you."


async def test_a_question_that_is_not_recorded(tmp_path: Path) -> None:
    put(tmp_path, *(entry(question, "x") for question in ("First?", "First?", "S" * 200, "Third?", "Fourth?")))
    with pytest.raises(BadRequest, match="no answer to that") as raised:
        await answer(Replay(tmp_path), asked("Unknown"))
    assert '"First?"; "SSS' in raised.value.fix and '…"; "Third?"' in raised.value.fix
    assert "Fourth" not in raised.value.fix and len(raised.value.fix) < 200


async def test_all_that_was_recorded_comes_back(tmp_path: Path) -> None:
    tokens = [
        {"token": "Hel", "logprob": -0.1, "top": [["Hel", -0.1], ["Yo", -2.5]]},
        {"token": "lo!", "logprob": -0.2},
    ]
    usage = {"input": 9, "cached": 4, "output": 7, "reasoning": 5}
    put(
        tmp_path,
        entry("Hi", "Hello!", thinking="Hmm.", usage=usage, logprobs=tokens, stop_reason="length", model="openai/x"),
    )
    provider = Replay(tmp_path)
    (info,) = await provider.models({})
    assert info.abilities.logprobs and info.abilities.thinking and not info.abilities.temperature
    assert info.note == "1 recorded answer"
    events = [event async for event in provider.stream(asked("Hi", logprobs=1), info)]
    assert events == [
        Begun("openai/x"),
        ThinkingDelta("Hmm."),
        TextDelta("Hello!", (TokenLogprob("Hel", -0.1, (("Hel", -0.1), ("Yo", -2.5))), TokenLogprob("lo!", -0.2))),
        Done(Usage(9, 4, output=7, reasoning=5), "length"),
    ]
    assert (await answer(provider, asked("Hi"))).logprobs == ()


async def test_usage_is_estimated_where_none_was_recorded(tmp_path: Path) -> None:
    put(tmp_path, entry("x" * 40, "y" * 80))
    usage = (await answer(Replay(tmp_path), asked("x" * 40))).done.usage
    assert usage == Usage(input=14, output=20, estimated=True)


async def test_timing_as_recorded_and_faster(tmp_path: Path) -> None:
    timing = {"first_token": 0.1, "duration": 0.4}
    text = "one two  three\nfour " * 10
    provider = Replay(tmp_path)
    now = asyncio.get_running_loop().time
    for speed in (1, 4, 0):
        put(
            tmp_path, json.dumps({"replay": {"speed": speed}}), entry("Hi", text, timing=timing, thinking="I think so.")
        )
        (info,) = await provider.models({})
        started, times, pieces = now(), [], []
        async for event in provider.stream(asked("Hi"), info):
            if isinstance(event, (TextDelta, ThinkingDelta)):
                times.append(now())
                pieces.append(event.text)
        assert "".join(pieces) == "I think so." + text
        if speed:
            assert times[0] - started >= 0.1 / speed - 0.001 and len(pieces) > 3
            assert times[-1] - times[0] == pytest.approx(0.3 / speed, abs=0.02)
        else:
            assert times[-1] == times[0]
    put(tmp_path, entry("Hi", text, timing={"first_token": 500, "duration": 900}))
    assert (await answer(provider, asked("Hi", stream=False))).text == text


async def test_can_be_stopped_before_the_first_token(tmp_path: Path) -> None:
    put(tmp_path, entry("Hi", "Hello", timing={"first_token": 50, "duration": 60}))
    provider = Replay(tmp_path)
    task = asyncio.create_task(answer(provider, asked("Hi")))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (info,) = await provider.models({})
    async with aclosing(provider.stream(asked("Hi"), info)) as stream:  # type: ignore[type-var]
        async for _ in stream:
            break


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{not json", "line 2 is not JSON"),
        ("[1]", "line 2 is not a JSON object"),
        ('{"answer": "x"}', "line 2 has no messages"),
        ('{"messages": []}', "line 2 has no messages"),
        ('{"messages": [{"role": "robot", "content": "x"}], "answer": "x"}', "line 2 has a message whose role"),
        ('{"messages": [{"role": "user"}], "answer": "x"}', "line 2 has no content"),
        (entry("x", "y").replace('"y"', "7"), "line 2 has no answer"),
        (entry("x", "y", usage={"input": -1}), "line 2 has a usage"),
        (entry("x", "y", timing={"duration": "long"}), "line 2 has a duration"),
        (entry("x", "y", timing={"duration": 1e300}), "line 2 has a duration"),
        (entry("x", "y", logprobs=[{"token": "y"}]), "line 2 has logprobs"),
        (entry("x", "y", logprobs=[{"token": "y", "logprob": 3}]), "line 2 has a logprob"),
        (entry("x", "y", stop_reason="bored"), "line 2 has a stop_reason"),
        ('{"replay": {"speed": -1}}', "line 2 has a speed"),
        ("[" * 100_000, "line 2 is not JSON"),
    ],
)
async def test_a_wrong_line_is_named_and_other_files_work(tmp_path: Path, line: str, why: str) -> None:
    put(tmp_path, entry("Hi", "Hello!"), line)
    put(tmp_path, entry("Hi", "Fine."), name="other")
    provider = Replay(tmp_path)
    with pytest.raises(BadRequest) as raised:
        await answer(provider, asked("Hi"))
    assert f"demo.jsonl: {why}" in raised.value.what
    assert str(tmp_path) not in str(raised.value)
    assert (await answer(provider, asked("Hi", model="replay/other"))).text == "Fine."
    notes = {info.id: info.note for info in await provider.models({})}
    assert why in notes["replay/demo"]


async def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = put(tmp_path, "broken")
    provider = Replay(tmp_path)
    with pytest.raises(BadRequest):
        await answer(provider, asked("Hi"))
    put(tmp_path, "\ufeff" + entry("Hi", "Hello!"), "", "  ")
    os.utime(path, ns=(1, 1))
    assert (await answer(provider, asked("Hi"))).text == "Hello!"
    path.unlink()
    with pytest.raises(ModelNotFound, match="called demo"):
        await collect(provider.stream(asked("Hi"), (await Replay(tmp_path).models({}) or [None])[0]))  # type: ignore[arg-type]


async def test_an_empty_folder_and_no_path_out_of_it(settings: Callable[..., Settings], tmp_path: Path) -> None:
    put(tmp_path, entry("Hi", "secret"), name="outside")
    (provider,) = providers(settings(PARLEY_REPLAY_DIR=tmp_path / "inside"))
    assert await provider.models({}) == []
    assert (await provider.status({})).state == "missing"
    from core.models.info import ModelInfo

    with pytest.raises(ModelNotFound):
        await collect(provider.stream(asked("Hi", model="replay/../outside"), ModelInfo("replay/../outside")))
    await provider.close()


async def test_what_is_written_is_replayed_the_same(tmp_path: Path) -> None:
    written = [
        Recorded(
            (Message("system", "S"), Message("user", "Grüße 🙂")),
            "a\nb",
            "t",
            Usage(1, 2, 3, 4, 5, 6, True),
            0.5,
            1.5,
            "length",
            "openai/x",
            (TokenLogprob("a\nb", -0.5, (("a", -0.7),)),),
        ),
        Recorded((Message("user", "Lone \ud800 surrogate"),), "ok"),
    ]
    path = tmp_path / "new" / "demo.jsonl"
    recordings.write(path, written, speed=0)
    assert len(path.read_bytes().splitlines()) == 3
    reply = await answer(Replay(path.parent), asked("Grüße 🙂", system="S", logprobs=1))
    assert (reply.text, reply.thinking, reply.logprobs) == ("a\nb", "t", written[0].logprobs)
    assert reply.done.usage == written[0].usage and reply.done.stop_reason == "length"
    assert os.listdir(path.parent) == ["demo.jsonl"]


def test_a_recording_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        recordings.write(tmp_path / "file" / "x.jsonl", [])
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(StorageError):
        recordings.write(tmp_path / "folder.jsonl", [])
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.jsonl"]
