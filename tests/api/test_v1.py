"""/v1 as programs use it, through the official SDK: what is answered, last by a real model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openai
import pytest

from core import errors
from core.messages import Begun, Done, TextDelta, ThinkingDelta, TokenLogprob, Usage
from core.providers import Provider, Status, discover
from tests.api._server import HELLO, Api, MakeSettings, Puppet, serving
from tests.api._v1 import ASK, api, client, lines, puppet

__all__ = ["api", "client", "puppet"]


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
