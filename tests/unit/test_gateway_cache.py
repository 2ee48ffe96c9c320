"""Answers that are given again, and those that must not be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.errors import Interrupted, ParleyError
from core.gateway.cache import PER_ENTRY, AnswerCache, CachedAnswer
from core.messages import (
    Attachment,
    ChatRequest,
    Done,
    Message,
    Parameters,
    TextDelta,
    ThinkingDelta,
    TokenLogprob,
    ToolUse,
    Usage,
)
from tests.puppet import Puppet, ask, bench, ended, said

RICH = (
    ThinkingDelta("hm"),
    TextDelta("Hel", (TokenLogprob("Hel", -0.1, (("Hel", -0.1), ("Hal", -3.0))),)),
    TextDelta("lo"),
    ToolUse("1", "f", "{}"),
    Done(Usage(input=10, output=2), "tool_use", provider_cost=5),
)
COLD = ask("openai/gpt-6-luna", temperature=0.0, cache=True)


async def test_the_second_answer_costs_nothing(settings) -> None:
    puppet = Puppet("openai", plan=[RICH])
    with bench(settings(), puppet) as it:
        first = await it.gateway.complete(COLD)
        again = await it.gateway.complete(COLD)
        rows = it.rows()
    assert len(puppet.requests) == 1
    assert (again.text, again.thinking, again.tools, again.logprobs) == (
        first.text,
        first.thinking,
        first.tools,
        first.logprobs,
    )
    assert (first.done.cache_hit, first.done.cost) == (False, 5)
    assert (again.done.cache_hit, again.done.cost, again.done.usage) == (True, 0, first.done.usage)
    assert again.done.call != first.done.call and again.done.stop_reason == "tool_use"
    assert [(row.status, row.cache_hit, row.cost) for row in rows] == [("ok", False, 5), ("ok", True, 0)]


async def test_a_stream_and_a_whole_answer_share(settings) -> None:
    puppet = Puppet("openai", plan=[RICH])
    with bench(settings(), puppet) as it:
        await it.gateway.complete(COLD)
        events = await it.events(COLD)
    assert said(events) == "Hello" and ended(events).cache_hit and len(puppet.requests) == 1


@pytest.mark.parametrize("temperature", [None, 0.1, 1.0])
async def test_only_at_temperature_zero(settings, temperature: float | None) -> None:
    puppet = Puppet()
    with bench(settings(PARLEY_CACHE="on"), puppet) as it:
        for _ in range(2):
            assert not ended(await it.events(ask(temperature=temperature, cache=True))).cache_hit
    assert len(puppet.requests) == 2


async def test_off_unless_asked_for(settings) -> None:
    puppet = Puppet()
    with bench(settings(), puppet) as it:
        for _ in range(2):
            await it.events(ask(temperature=0))
        assert len(puppet.requests) == 2
    with bench(settings(PARLEY_CACHE="on"), puppet) as it:
        for _ in range(2):
            await it.events(ask(temperature=0))
        assert len(puppet.requests) == 3


def png(data: bytes) -> tuple[Message, ...]:
    return (Message("user", "Hello?", (Attachment("a.png", "image/png", data),)),)


VARIANTS = [
    replace(COLD, model="openai/gpt-6-astra"),
    replace(COLD, messages=(Message("user", "Hello!"),)),
    replace(COLD, messages=(Message("system", ""), *COLD.messages)),
    replace(COLD, messages=(Message("user", "Hel"), Message("user", "lo?"))),
    replace(COLD, messages=png(b"1")),
    replace(COLD, messages=png(b"2")),
    replace(COLD, parameters=Parameters(temperature=0.0, max_tokens=5)),
    replace(COLD, parameters=Parameters(temperature=0.0, stop=("a", "b"))),
    replace(COLD, parameters=Parameters(temperature=0.0, stop=("ab",))),
    replace(COLD, parameters=Parameters(temperature=0.0, response_schema={"type": "object"})),
    replace(COLD, parameters=Parameters(temperature=0.0, logprobs=2)),
    replace(COLD, keys={"openai": "mine"}),
    replace(COLD, keys={"openai": "yours"}),
]


async def test_what_differs_at_all_is_asked_anew(settings) -> None:
    puppet = Puppet("openai", plan=[RICH])
    with bench(settings(), puppet) as it:
        for request in [COLD, *VARIANTS]:
            assert not ended(await it.events(request)).cache_hit
        for request in [COLD, *VARIANTS]:
            assert ended(await it.events(request)).cache_hit
        for request in (replace(COLD, visitor="v2", conversation="c"), replace(COLD, keys={"anthropic": "x"})):
            assert ended(await it.events(request)).cache_hit


@pytest.mark.parametrize(
    "end",
    [Done(Usage(), "refusal"), Done(Usage(), "other"), Interrupted("Broken.")],
    ids=["refusal", "other", "broken"],
)
async def test_what_is_not_whole_is_not_kept(settings, end: Done | ParleyError) -> None:
    puppet = Puppet("openai", plan=[(TextDelta("a"), end)])
    with bench(settings(), puppet) as it:
        for _ in range(2):
            try:
                await it.events(COLD)
            except Interrupted:
                continue
    assert len(puppet.requests) == 2


def answer(text: str) -> CachedAnswer:
    return CachedAnswer("", text, (), (), Done(Usage()))


def test_the_least_used_go_first() -> None:
    kept = AnswerCache(10 * PER_ENTRY)
    for name in b"abcdefgh":
        kept.put(bytes([name]), answer("x" * 200))
    assert kept.get(b"a") is not None and kept.size == 8 * (PER_ENTRY + 200)
    kept.put(b"i", answer(""))
    assert kept.get(b"b") is None and kept.get(b"a") is not None and kept.size <= 10 * PER_ENTRY
    kept.put(b"i", answer("y"))
    assert kept.size == 7 * (PER_ENTRY + 200) + PER_ENTRY + 1
    kept.put(b"big", answer("x" * 9 * PER_ENTRY))
    assert kept.get(b"big") is None and kept.get(b"a") is not None


async def test_a_schema_that_is_not_a_dict(settings) -> None:
    from types import MappingProxyType

    schema = MappingProxyType({"type": "object", "properties": MappingProxyType({})})
    request = ChatRequest("puppet/one", COLD.messages, Parameters(temperature=0, response_schema=schema), cache=True)
    with bench(settings(), Puppet()) as it:
        await it.events(request)
        assert ended(await it.events(request)).cache_hit
