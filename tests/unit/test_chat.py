"""Asking, stopping, branching, comparing: the Chat tab's work without a browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import pytest

from core.chat.chat import Chat
from core.chat.runs import LEFT_ALONE, SHUT_DOWN, Snapshot
from core.conversations import Conversations, Turn
from core.errors import BadRequest, NotFound
from core.ledger.store import Filter
from core.messages import Parameters
from core.services import Services
from core.settings import Settings
from tests.scripted import Scripted
from tests.waiting import until

ME = "local"


@pytest.fixture
def provider() -> Scripted:
    return Scripted()


@pytest.fixture
async def services(
    settings: Callable[..., Settings], provider: Scripted, request: pytest.FixtureRequest
) -> AsyncIterator[Services]:
    unwatched = getattr(request, "param", 60)  # seconds
    opened = Services.open(settings(PARLEY_RETRIES=0, PARLEY_UNWATCHED_SECONDS=unwatched), {"scripted": provider})
    yield opened
    await opened.close()


@pytest.fixture
def chat(services: Services) -> Chat:
    return services.chat


@pytest.fixture
def conversations(services: Services) -> Conversations:
    return services.conversations


async def finished(chat: Chat, turns: list[str]) -> dict[str, Snapshot]:
    last: dict[str, Snapshot] = {}
    async for changed in chat.watch(ME, turns, every=0.01):
        last.update(changed)
    return last


async def shown(chat: Chat, turn: str) -> None:
    """Wait until some of the answer is to be seen."""
    async with aclosing(chat.watch(ME, [turn], every=0.01)) as watching:  # type: ignore[type-var]
        async for changed in watching:
            if changed[turn].text:
                return


async def ask(chat: Chat, conversation: str, text: str, *models: str) -> list[str]:
    turns = await chat.ask(ME, conversation, text, models=[f"scripted/{model}" for model in models])
    await finished(chat, turns)
    return turns


def texts(path: list[Turn]) -> list[str]:
    return [turn.text for turn in path]


async def test_an_answer_is_shown_and_kept(services: Services, provider: Scripted) -> None:
    conversation = services.conversations.create(ME, system="Be brief.", parameters=Parameters(temperature=0.5))
    [turn] = await services.chat.ask(ME, conversation.id, "Why?", models=["scripted/words"])
    seen = [c[turn].text async for c in services.chat.watch(ME, [turn], every=0.02) if turn in c]
    expected = "".join(f"word{n} " for n in range(20))
    assert seen[-1] == expected
    assert len(seen) > 3, "it came in pieces"
    stored = services.conversations.turn(ME, turn)
    assert (stored.text, stored.status, stored.thinking) == (expected, "complete", "hm")
    assert stored.meter is not None
    assert stored.meter.usage.output == 20
    assert stored.meter.call is not None
    row = services.ledger.call(stored.meter.call)
    assert row is not None
    assert (row.status, row.conversation, row.feature) == ("ok", conversation.id, "chat")
    sent = provider.requests[0]
    assert [(m.role, m.text) for m in sent.messages] == [("system", "Be brief."), ("user", "Why?")]
    assert sent.parameters.temperature == 0.5


async def test_the_second_question_carries_the_first(chat: Chat, conversations: Conversations) -> None:
    conversation = conversations.create(ME)
    await ask(chat, conversation.id, "one", "echo")
    await ask(chat, conversation.id, "two", "echo")
    assert texts(conversations.path(ME, conversation.id)) == ["one", "one", "two", "two"]


@pytest.mark.parametrize("model", ["silent", "words"])
async def test_stop_keeps_the_text(services: Services, provider: Scripted, model: str) -> None:
    provider.pace = 0.03
    conversation = services.conversations.create(ME)
    [turn] = await services.chat.ask(ME, conversation.id, "go", models=[f"scripted/{model}"])
    watching = asyncio.create_task(finished(services.chat, [turn]))
    if model == "words":
        await shown(services.chat, turn)
    await until(lambda: provider.requests)
    services.chat.stop(ME, [turn])
    last = await watching
    assert provider.closed == 1
    assert last[turn].status == "stopped"
    stored = services.conversations.turn(ME, turn)
    assert stored.status == "stopped"
    assert stored.text == last[turn].text
    assert bool(stored.text) == (model == "words")
    [row] = services.ledger.calls(Filter(conversation=conversation.id))
    assert row.status == "cancelled"
    assert stored.meter is not None
    assert stored.meter.call == row.id
    assert stored.meter.usage.estimated


async def test_stop_in_the_same_moment_as_the_question(services: Services) -> None:
    conversation = services.conversations.create(ME)
    [turn] = await services.chat.ask(ME, conversation.id, "go", models=["scripted/words"])
    services.chat.stop(ME, [turn])
    await finished(services.chat, [turn])
    assert services.conversations.turn(ME, turn).status == "stopped"


async def test_what_breaks_off_is_interrupted_and_can_be_continued(services: Services, provider: Scripted) -> None:
    conversation = services.conversations.create(ME)
    [turn] = await ask(services.chat, conversation.id, "go", "breaks")
    broken = services.conversations.turn(ME, turn)
    assert (broken.status, broken.text) == ("interrupted", "word0 word1 word2 ")
    assert "broke off" in broken.error
    assert await services.chat.proceed(ME, turn) == [turn]
    await finished(services.chat, [turn])
    assert services.conversations.turn(ME, turn).text == "word0 word1 word2 " * 2
    assert provider.requests[1].messages[-1].role == "user", "the model cannot be prefilled, so it is asked"
    assert provider.requests[1].messages[-2].text == "word0 word1 word2 "
    assert len(services.ledger.calls(Filter(conversation=conversation.id))) == 2


async def test_continuing_adds_up_the_meter(chat: Chat, conversations: Conversations) -> None:
    conversation = conversations.create(ME)
    [turn] = await ask(chat, conversation.id, "go", "long")
    await chat.proceed(ME, turn)
    await finished(chat, [turn])
    meter = conversations.turn(ME, turn).meter
    assert meter is not None
    assert meter.usage.output == 40
    assert meter.stop_reason == "length"


async def test_a_provider_that_fails_says_what_to_do(chat: Chat, conversations: Conversations) -> None:
    conversation = conversations.create(ME)
    [turn] = await ask(chat, conversation.id, "go", "fails")
    stored = conversations.turn(ME, turn)
    assert stored.status == "failed"
    assert "out of order" in stored.error
    assert "Try again" in stored.error
    await ask(chat, conversation.id, "again", "echo")
    path = conversations.path(ME, conversation.id)
    assert texts(path) == ["go", "", "again", "go\n\nagain"], "what was not answered goes with the next question"


async def test_retry_and_edit_make_branches_and_lose_none(chat: Chat, conversations: Conversations) -> None:
    conversation = conversations.create(ME)
    [first] = await ask(chat, conversation.id, "one", "echo")
    question = conversations.turn(ME, first).parent
    assert question is not None
    [second] = await chat.retry(ME, first, model="scripted/words")
    await finished(chat, [second])
    assert conversations.turn(ME, second).siblings == (first, second)
    [third] = await chat.edit(ME, question, "uno")
    await finished(chat, [third])
    path = conversations.path(ME, conversation.id)
    assert path[0].text == "uno"
    assert len(path[0].siblings) == 2
    conversations.select(ME, conversation.id, first)
    assert texts(conversations.path(ME, conversation.id)) == ["one", "one"]


async def test_compare_goes_on_in_each_and_one_can_be_picked(chat: Chat, conversations: Conversations) -> None:
    conversation = conversations.create(ME)
    first = await ask(chat, conversation.id, "one", "echo", "words")
    panes = conversations.get(ME, conversation.id).panes
    assert [pane.leaf for pane in panes] == first
    assert conversations.turn(ME, first[0]).parent == conversations.turn(ME, first[1]).parent
    second = await ask(chat, conversation.id, "two", "echo", "words")
    for before, after in zip(first, second, strict=True):
        path = [turn.id for turn in conversations.path(ME, conversation.id, after)]
        assert before in path
    [again] = await chat.retry(ME, second[1])
    await finished(chat, [again])
    assert [pane.leaf for pane in conversations.get(ME, conversation.id).panes] == [second[0], again]
    await ask(chat, conversation.id, "three", "words")
    assert conversations.get(ME, conversation.id).panes == ()


async def test_an_edit_in_a_comparison_asks_all_that_were_asked(chat: Chat, conversations: Conversations) -> None:
    conversation = conversations.create(ME)
    first = await ask(chat, conversation.id, "one", "echo", "words")
    question = conversations.turn(ME, first[0]).parent
    assert question is not None
    fresh = await chat.edit(ME, question, "uno")
    await finished(chat, fresh)
    assert [conversations.turn(ME, turn).model for turn in fresh] == ["scripted/echo", "scripted/words"]
    assert conversations.turn(ME, fresh[0]).text == "uno"


async def test_one_failing_model_does_not_stop_the_other(chat: Chat, conversations: Conversations) -> None:
    conversation = conversations.create(ME)
    turns = await ask(chat, conversation.id, "one", "fails", "words")
    assert [conversations.turn(ME, turn).status for turn in turns] == ["failed", "complete"]


async def test_a_reload_finds_the_running_answer(chat: Chat, conversations: Conversations, provider: Scripted) -> None:
    provider.pace = 0.03
    conversation = conversations.create(ME)
    [turn] = await chat.ask(ME, conversation.id, "go", models=["scripted/words"])
    watching = chat.watch(ME, [turn], every=0.01)
    await anext(watching)
    await watching.aclose()
    assert chat.running(ME, conversation.id) == [turn]
    last = await finished(chat, [turn])
    assert last[turn].status == "complete"


@pytest.mark.parametrize("services", [1], indirect=True)
async def test_what_nobody_watches_is_stopped_and_kept(services: Services, provider: Scripted) -> None:
    provider.pace, provider.words = 0.05, 100_000
    conversation = services.conversations.create(ME)
    [turn] = await services.chat.ask(ME, conversation.id, "go", models=["scripted/words"])
    await until(lambda: not services.chat.running(ME, conversation.id))
    stored = services.conversations.turn(ME, turn)
    assert (stored.status, stored.error) == ("interrupted", LEFT_ALONE)
    assert stored.text
    assert provider.closed == 1


async def test_a_shutdown_saves_what_was_shown(services: Services, provider: Scripted) -> None:
    provider.pace = 0.02
    conversation = services.conversations.create(ME)
    [turn] = await services.chat.ask(ME, conversation.id, "go", models=["scripted/words"])
    await shown(services.chat, turn)
    await services.chat.close()
    stored = services.conversations.turn(ME, turn)
    assert (stored.status, stored.error) == ("interrupted", SHUT_DOWN)
    assert stored.text


async def test_the_text_is_saved_while_it_comes(services: Services, provider: Scripted) -> None:
    provider.pace, provider.words = 0.05, 100_000
    conversation = services.conversations.create(ME)
    [turn] = await services.chat.ask(ME, conversation.id, "go", models=["scripted/words"])
    watching = asyncio.create_task(finished(services.chat, [turn]))
    stored = await until(lambda: services.conversations.turn(ME, turn), lambda stored: "word0" in stored.text)
    assert stored.status == "streaming"
    services.chat.stop(ME, [turn])
    await watching


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
async def test_an_empty_message_is_refused(chat: Chat, conversations: Conversations, text: str) -> None:
    conversation = conversations.create(ME)
    with pytest.raises(BadRequest, match="empty"):
        await chat.ask(ME, conversation.id, text, models=["scripted/echo"])
    assert conversations.path(ME, conversation.id) == []


async def test_two_questions_at_once_are_refused(chat: Chat, conversations: Conversations) -> None:
    conversation = conversations.create(ME)
    await chat.ask(ME, conversation.id, "go", models=["scripted/silent"])
    with pytest.raises(BadRequest, match="still being written"):
        await chat.ask(ME, conversation.id, "go", models=["scripted/echo"])


async def test_nobody_touches_what_is_not_theirs(chat: Chat, conversations: Conversations) -> None:
    conversation = conversations.create(ME)
    [turn] = await chat.ask(ME, conversation.id, "go", models=["scripted/silent"])
    for attempt in (
        chat.ask("other", conversation.id, "go", models=["scripted/echo"]),
        chat.retry("other", turn),
        chat.edit("other", turn, "x"),
        chat.proceed("other", turn),
    ):
        with pytest.raises(NotFound):
            await attempt
    with pytest.raises(NotFound):
        await anext(chat.watch("other", [turn]))
    chat.stop("other", [turn])
    assert chat.running("other", conversation.id) == []
    assert chat.running(ME, conversation.id) == [turn]


async def test_deleting_many_while_one_streams(services: Services, provider: Scripted) -> None:
    provider.pace = 0.02
    mine = [services.conversations.create(ME).id for _ in range(300)]
    [turn] = await services.chat.ask(ME, mine[0], "go", models=["scripted/words"])
    watching = asyncio.create_task(finished(services.chat, [turn]))
    await shown(services.chat, turn)
    await services.chat.delete(ME, *mine)
    await watching
    assert services.conversations.list(ME) == []
    with pytest.raises(NotFound):
        services.conversations.turn(ME, turn)


async def test_a_file_goes_as_text_or_as_itself(services: Services, provider: Scripted) -> None:
    conversation = services.conversations.create(ME)
    files = [("notes.md", b"# Title\nhello")]
    turns = await services.chat.ask(ME, conversation.id, "Read", files, models=["scripted/echo"])
    await finished(services.chat, turns)
    assert "hello" in provider.requests[0].messages[0].text
    assert "notes.md" in provider.requests[0].messages[0].text
    with pytest.raises(BadRequest):
        await services.chat.ask(ME, conversation.id, "Read", [("x.bin", bytes(range(256)))], models=["scripted/echo"])
    assert len(services.conversations.path(ME, conversation.id)) == 2, "nothing was saved of what was refused"
