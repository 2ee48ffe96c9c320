"""What happens in the same moment: two tabs, two clicks, a page that goes away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import pytest

from core.errors import BadRequest, StorageError
from core.services import Services
from core.settings import Settings
from tests.scripted import Scripted
from tests.waiting import LONG, until

ME = "local"


@pytest.fixture
def provider() -> Scripted:
    return Scripted()


@pytest.fixture
async def services(settings: Callable[..., Settings], provider: Scripted) -> AsyncIterator[Services]:
    opened = Services.open(settings(PARLEY_RETRIES=0), {"scripted": provider})
    yield opened
    await opened.close()


async def ended(services: Services, turns: list[str]) -> None:
    async for _ in services.chat.watch(ME, turns, every=0.01):
        continue


async def test_of_two_questions_in_one_moment_one_is_refused(services: Services, provider: Scripted) -> None:
    conversation = services.conversations.create(ME)
    ask = services.chat.ask
    asked = [ask(ME, conversation.id, text, models=["scripted/words"]) for text in ("first", "second")]
    first, second = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(first, list)
    assert isinstance(second, BadRequest)
    await ended(services, first)
    assert len(provider.requests) == 1, "the other one costs nothing"
    again = await services.chat.ask(ME, conversation.id, "third", models=["scripted/echo"])
    await ended(services, again)


async def test_stopping_twice_saves_the_answer_all_the_same(
    services: Services, provider: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled, begun, go_on = services.ledger.settled, threading.Event(), threading.Event()

    def slow(call: int) -> object:
        begun.set()
        go_on.wait(LONG)
        return settled(call)

    monkeypatch.setattr(services.ledger, "settled", slow)
    provider.pace = 0.02
    conversation = services.conversations.create(ME)
    turns = await services.chat.ask(ME, conversation.id, "go", models=["scripted/words"])
    async with aclosing(services.chat.watch(ME, turns, every=0.01)) as watching:  # type: ignore[type-var]
        async for changed in watching:
            if changed[turns[0]].text:
                break
    services.chat.stop(ME, turns)
    await until(begun.is_set)
    services.chat.stop(ME, turns)
    await asyncio.sleep(0.05)
    go_on.set()
    await ended(services, turns)
    stored = services.conversations.turn(ME, turns[0])
    assert stored.status == "stopped"
    assert stored.text.startswith("word0")
    assert stored.meter is not None


async def test_a_page_that_goes_away_while_it_asks_leaves_no_answer_hanging(services: Services) -> None:
    conversation = services.conversations.create(ME)
    page = asyncio.create_task(services.chat.ask(ME, conversation.id, "go", models=["scripted/echo"]))
    while len(services.conversations.path(ME, conversation.id)) < 2 and not page.done():
        await asyncio.sleep(0)
    assert not page.done()
    page.cancel()
    await asyncio.wait([page])
    await until(
        lambda: [turn.status for turn in services.conversations.path(ME, conversation.id)],
        lambda found: "streaming" not in found and not services.chat.running(ME, conversation.id),
    )


async def test_a_file_that_cannot_be_read_is_a_failed_answer(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(visitor: str, file: str) -> bytes:
        raise StorageError("The file could not be read.")

    monkeypatch.setattr(services.conversations, "file_data", unreadable)
    conversation = services.conversations.create(ME)
    files = [("notes.md", b"hello")]
    turns = await services.chat.ask(ME, conversation.id, "Read", files, models=["scripted/echo"] * 2)
    await ended(services, turns)
    answers = [services.conversations.turn(ME, turn) for turn in turns]
    assert [turn.status for turn in answers] == ["failed", "failed"]
    assert "could not be read" in answers[0].error
