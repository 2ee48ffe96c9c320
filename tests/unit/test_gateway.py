"""The door itself: what it refuses, what it cleans, how it ends, and in which order its layers lie."""

from __future__ import annotations

import asyncio
import pkgutil
import sys
from contextlib import aclosing
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

import core.gateway
from core.errors import BadRequest, ModelNotFound, ParleyError
from core.messages import Attachment, ChatRequest, Done, Message, Parameters, TextDelta, Usage
from tests.puppet import Puppet, ask, bench, ended, said
from tests.waiting import until


def test_layers_are_found_by_their_presence() -> None:
    found = {m.name for m in pkgutil.iter_modules(core.gateway.__path__) if not m.name.startswith("_")}
    assert {"fallback", "retry", "quota", "record", "cache", "breaker", "limits", "timeouts"} <= found
    orders = {name: __import__(f"core.gateway.{name}", fromlist=["ORDER"]).ORDER for name in found}
    inside = sorted(orders, key=orders.__getitem__)
    known = [
        name
        for name in inside
        if name in ("fallback", "retry", "quota", "record", "cache", "breaker", "limits", "timeouts")
    ]
    assert known == ["fallback", "retry", "quota", "record", "cache", "breaker", "limits", "timeouts"]
    assert len(set(orders.values())) == len(orders)


async def test_an_answer_comes_through_whole(settings) -> None:
    puppet = Puppet()
    with bench(settings(), puppet) as it:
        events = await it.events(ask())
        assert said(events) == "Hello there"
        done = ended(events)
        assert (done.model, done.usage, done.cost) == ("puppet/one", Usage(input=10, output=2), None)
        assert done.call is not None
        assert done.first_token is not None and 0 <= done.first_token <= done.duration < 5
        reply = await it.gateway.complete(ask())
        assert reply.text == "Hello there" and reply.done.call != done.call
        assert [request.stream for request in puppet.requests] == [True, False]


@pytest.mark.parametrize("text", ["", " \n\t ", "\0", " \0\u2003"])
async def test_an_empty_message_is_refused(settings, text: str) -> None:
    puppet = Puppet()
    with bench(settings(), puppet) as it:
        for messages in (
            (Message("user", text),),
            (Message("user", "first"), Message("assistant", "yes"), Message("user", text)),
        ):
            with pytest.raises(BadRequest, match="empty"):
                await it.events(ChatRequest("puppet/one", messages))
        picture = Attachment("a.png", "image/png", b"x")
        await it.events(ChatRequest("puppet/one", (Message("user", text, (picture,)),)))
        assert len(puppet.requests) == 1 and len(it.rows()) == 1


async def test_a_request_without_a_question_is_refused(settings) -> None:
    with bench(settings(), Puppet()) as it:
        for messages in ((), (Message("system", "Be kind."),), (Message("assistant", "Yes?"),)):
            with pytest.raises(BadRequest, match="no message"):
                await it.gateway.complete(ChatRequest("puppet/one", messages))
        assert it.rows() == []


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("a\0b", "ab"),
        ("lone \ud83d end", "lone \ufffd end"),
        ("two \ud83d\ude00", "two 😀"),
        ("שלום 😀 مرحبا \u202e", "שלום 😀 مرحبا \u202e"),
        ("x" * 1_000_000, "x" * 1_000_000),
        ("語" * 350_000, "語" * 350_000),
    ],
    ids=["nul", "lone surrogate", "pair", "right to left", "1 MB", "1 MB of CJK"],
)
async def test_what_reaches_the_provider_is_clean(settings, text: str, sent: str) -> None:
    puppet = Puppet()
    with bench(settings(), puppet) as it:
        request = ChatRequest("puppet/one", (Message("system", text), Message("user", text)), Parameters(stop=(text,)))
        await it.events(request)
    (got,) = puppet.requests
    assert [message.text for message in got.messages] == [sent, sent]
    assert got.parameters.stop == (sent,)


@pytest.mark.parametrize("model", ["nobody/one", "puppet", "puppet/", "", "/", "a\ud800/b", "x" * 5000])
async def test_a_model_that_nobody_has(settings, model: str) -> None:
    with bench(settings(), Puppet()) as it:
        with pytest.raises(ModelNotFound, match="no model called") as caught:
            await it.events(ask(model))
        assert len(str(caught.value)) < 300
        str(caught.value).encode()


async def test_a_bug_shows_nothing_but_the_log_says_where(settings) -> None:
    structlog.reset_defaults()
    puppet = Puppet(plan=[(ValueError("the user wrote: secret words"),)])
    with bench(settings(), puppet) as it:
        with capture_logs() as logs, pytest.raises(ParleyError) as caught:
            await it.events(ask())
        assert type(caught.value) is ParleyError and "secret" not in str(caught.value)
        assert caught.value.__cause__ is None and caught.value.__suppress_context__
        assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["gateway.bug"]
        (row,) = it.rows()
        assert (row.status, row.error_code) == ("failed", "error") and "secret" not in row.error


async def test_closing_ends_the_provider_at_once(settings) -> None:
    puppet = Puppet(plan=[(TextDelta("a"), 3600.0, Done(Usage()))])
    with bench(settings(), puppet) as it:
        async with aclosing(it.gateway.stream(ask())) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    break
        assert (puppet.closed, puppet.open) == (1, 0)


async def test_cancelling_before_the_first_token_ends_the_provider_at_once(settings) -> None:
    puppet = Puppet(plan=[(3600.0, Done(Usage()))])
    with bench(settings(), puppet) as it:
        task = asyncio.create_task(it.gateway.complete(ask()))
        await until(lambda: puppet.open)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (puppet.closed, puppet.open) == (1, 0)


async def test_many_at_once_leave_nothing_behind(settings) -> None:
    puppet = Puppet()
    with bench(settings(PARLEY_CONCURRENCY="*=7"), puppet) as it:
        await asyncio.gather(*(it.gateway.complete(ask(text=f"number {n}")) for n in range(200)))
        assert (puppet.most, puppet.open) == (7, 0)
        rows = it.rows()
        assert len(rows) == 200 and {row.status for row in rows} == {"ok"}


async def test_a_new_layer_is_one_new_file(settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "louder.py").write_text(LOUDER)
    monkeypatch.setattr(core.gateway, "__path__", [*core.gateway.__path__, str(tmp_path)])
    try:
        with bench(settings(), Puppet()) as it:
            assert said(await it.events(ask())) == "HELLO THERE"
    finally:
        sys.modules.pop("core.gateway.louder")


LOUDER = """
from contextlib import aclosing
from dataclasses import replace
from core.messages import TextDelta

ORDER = 15

def make(context):
    async def layer(call, inner):
        async with aclosing(inner(call)) as events:
            async for event in events:
                yield replace(event, text=event.text.upper()) if isinstance(event, TextDelta) else event
    return layer
"""
