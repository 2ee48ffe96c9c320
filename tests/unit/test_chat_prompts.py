"""A conversation that is led by a prompt: what the model is given, what the ledger says, and what happens without."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from core.conversations import Conversation, PromptChoice
from core.errors import BadRequest, NotFound
from core.ledger.store import Filter
from core.messages import Parameters
from core.prompts.content import Content, parse_content
from core.prompts.templates.render import MissingVariables
from core.services import Services
from core.settings import Settings
from tests.scripted import Scripted

ME = "local"


def content(*messages: tuple[str, str], **fields: Any) -> Content:
    return parse_content({"messages": [{"role": role, "content": text} for role, text in messages], **fields})


SYSTEM = content(("system", "You help {{ customer }}."), parameters={"temperature": 0.25, "max_tokens": 50})
SHOWN = [("system", "A"), ("user", "Hi"), ("assistant", "Yes")]


@pytest.fixture
def provider() -> Scripted:
    return Scripted(pace=0)


@pytest.fixture
async def services(settings: Callable[..., Settings], provider: Scripted) -> AsyncIterator[Services]:
    opened = Services.open(settings(PARLEY_RETRIES=0), {"scripted": provider})
    yield opened
    await opened.close()


def save(services: Services, name: str, saved: Content, label: str = "") -> int:
    version = services.registry.save(name, services.templates.check(saved)).version
    if label:
        services.registry.move(name, label, version.number, by="Ada", why="tested")
    return version.number


def talk(services: Services, ref: str, values: dict[str, Any] | None = None, **fields: Any) -> Conversation:
    return services.conversations.create(ME, prompt=PromptChoice(ref, values or {}), **fields)


async def finish(services: Services, turns: list[str]) -> None:
    async for _ in services.chat.watch(ME, turns, every=0.01):
        continue


async def ask(services: Services, made: Conversation, text: str = "Why?", model: str = "echo") -> str:
    turns = await services.chat.ask(ME, made.id, text, models=[f"scripted/{model}"])
    await finish(services, turns)
    return turns[0]


def sent(provider: Scripted, number: int = -1) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in provider.requests[number].messages]


async def test_the_prompt_leads_and_the_books_say_so(services: Services, provider: Scripted) -> None:
    save(services, "desk/tone", content(("user", "Be warm to {{ customer }}.")), "live")
    body = ("system", "You help {{ customer }}.\n{% include 'desk/tone@live' %}")
    save(services, "desk/answer", content(body), "production")
    made = talk(services, "desk/answer@production", {"customer": "Ada"})
    turn = await ask(services, made)
    assert sent(provider) == [("system", "You help Ada.\nBe warm to Ada."), ("user", "Why?")]
    meter = services.conversations.turn(ME, turn).meter
    assert meter is not None and meter.call is not None
    assert meter.prompt == "desk/answer@1"
    row = services.ledger.call(meter.call)
    version = services.registry.version("desk/answer@1")
    assert (row.prompt_name, row.prompt_version, row.prompt_hash) == ("desk/answer", 1, version.hash)
    assert row.prompt_parts == (("desk/tone", 1),)
    services.conversations.rate(ME, turn, 1)
    use = services.prompt_usage.uses(ME)["desk/answer"]
    assert (use.calls, use.up, use.down) == (1, 1, 0)


async def test_a_label_that_moves_is_followed_and_a_version_stays(services: Services, provider: Scripted) -> None:
    save(services, "greeting", content(("system", "One.")), "production")
    live, fixed = talk(services, "greeting@production"), talk(services, "greeting@1")
    await ask(services, live)
    save(services, "greeting", content(("system", "Two.")), "production")
    first, second = await ask(services, live), await ask(services, fixed)
    assert [sent(provider, number)[0][1] for number in range(3)] == ["One.", "Two.", "One."]
    meters = [services.conversations.turn(ME, turn).meter for turn in (first, second)]
    assert [meter and meter.prompt for meter in meters] == ["greeting@2", "greeting@1"]
    versions = services.prompt_usage.by_version("greeting")
    assert {number: use.calls for number, use in versions.items()} == {1: 2, 2: 1}


@pytest.mark.parametrize(
    ("messages", "system", "expected"),
    [
        ([("system", "A\n")], "B", [("system", "A\n\nB")]),
        ([("system", "A")], " \n", [("system", "A")]),
        ([("user", "Hi"), ("assistant", "Hello")], "B", [("system", "B"), ("user", "Hi"), ("assistant", "Hello")]),
        ([("system", "A"), ("user", "Q")], "", [("system", "A")]),
        ([*SHOWN, ("user", "Q")], "", SHOWN),
        ([("user", "Only a question")], "B", [("system", "B")]),
        ([("user", "Only a question")], "", []),
    ],
)
async def test_what_goes_before_the_conversation(
    services: Services, provider: Scripted, messages: list[Any], system: str, expected: list[Any]
) -> None:
    save(services, "p", content(*messages))
    made = talk(services, "p", system=system)
    await ask(services, made, "one")
    assert sent(provider) == [*expected, ("user", "one")]
    await ask(services, made, "two")
    assert sent(provider) == [*expected, ("user", "one"), ("assistant", "one"), ("user", "two")]


async def test_a_prompt_that_is_only_a_question_is_booked_when_it_was_asked(
    services: Services, provider: Scripted
) -> None:
    save(services, "desk/tone", content(("user", "like a pirate")))
    save(services, "p", content(("user", "Answer {% include 'desk/tone' %}: {{ what }}\n"), parameters={"seed": 1}))
    values = {"what": "Why?"}
    for value, system, text in ((values, "", "Why?"), ({}, "", "Answer like a pirate: "), (values, "Be kind.", "Why?")):
        made = talk(services, "p", value, system=system)
        turn = await ask(services, made, text)
        request = provider.requests[-1]
        assert request.prompt_name is request.prompt_version is request.prompt_hash is None
        assert request.prompt_parts == ()
        meter = services.conversations.turn(ME, turn).meter
        assert meter is not None and meter.prompt is None
    assert not services.prompt_usage.uses(ME)
    made = talk(services, "p", values)
    for text in ("Answer like a pirate: Why?", "And now?"):
        await ask(services, made, text)
        request = provider.requests[-1]
        assert (request.prompt_name, request.prompt_version) == ("p", 1)
        assert request.prompt_hash == services.registry.version("p").hash
        assert request.prompt_parts == (("desk/tone", 1),)
    assert services.prompt_usage.uses(ME)["p"].calls == 2


async def test_the_closing_question_is_the_users_and_needs_no_values(services: Services, provider: Scripted) -> None:
    both = content(
        ("system", "Answer as {{ who }}."),
        ("user", "{{ who }}, {{ ticket }}?"),
        variables={"ticket": {"description": "what is asked"}, "who": {}},
        examples=[{"input": "In", "output": "Out"}],
    )
    save(services, "p", both)
    made = talk(services, "p", {"who": "Ada"})
    assert [needed.name for needed in services.prompt_context.variables("p")] == ["who"]
    await ask(services, made)
    expected = [("system", "Answer as Ada."), ("user", "In"), ("assistant", "Out"), ("user", "Why?")]
    assert sent(provider) == expected
    services.conversations.update(ME, made.id, prompt=PromptChoice("p", {"who": "Ada", "ticket": "{{ x }}"}))
    await ask(services, made, "again")
    assert sent(provider)[:3] == expected[:3]
    with pytest.raises(BadRequest, match="mood"):
        await ask(services, talk(services, "p", {"who": "Ada", "mood": "x"}))


async def test_own_parameters_go_before_the_prompts(services: Services, provider: Scripted) -> None:
    save(services, "p", SYSTEM)
    made = talk(services, "p", {"customer": "Ada"}, parameters=Parameters(temperature=0.75, stop=("END",)))
    await ask(services, made)
    assert provider.requests[0].parameters == Parameters(temperature=0.75, max_tokens=50, stop=("END",))


async def test_values_stay_text(services: Services, provider: Scripted) -> None:
    save(services, "p", SYSTEM)
    await ask(services, talk(services, "p", {"customer": "{{ 7 * 6 }}{% include 'p' %}"}))
    assert sent(provider)[0][1] == "You help {{ 7 * 6 }}{% include 'p' %}."


@pytest.mark.parametrize(
    ("ref", "values", "expected"),
    [
        ("p", {}, MissingVariables),
        ("gone", {}, NotFound),
        ("p@9", {"customer": "Ada"}, NotFound),
        ("p@production", {"customer": "Ada"}, NotFound),
        ("p", {"customer": "Ada", "other": 1}, BadRequest),
    ],
)
async def test_what_cannot_work_is_refused_before_anything_is_saved(
    services: Services, provider: Scripted, ref: str, values: dict[str, Any], expected: type[Exception]
) -> None:
    save(services, "p", SYSTEM)
    made = talk(services, ref, values)
    with pytest.raises(expected):
        await services.chat.ask(ME, made.id, "Why?", [("a.txt", b"x")], models=["scripted/echo", "scripted/words"])
    assert services.conversations.path(ME, made.id) == []
    assert provider.requests == []
    assert services.ledger.total().calls == 0


async def test_what_was_written_by_hand_is_not_used(services: Services, provider: Scripted) -> None:
    folder = services.registry.root / "byhand"
    folder.mkdir()
    (folder / "v1.yaml").write_text("format: 1\nmessages:\n- role: system\n  content: You mock.\n", "utf-8")
    made = talk(services, "byhand@1")
    with pytest.raises(BadRequest, match="byhand"):
        await ask(services, made)
    assert services.conversations.path(ME, made.id) == []
    assert provider.requests == []


async def test_a_prompt_that_is_gone_fails_the_answer_and_loses_nothing(services: Services, provider: Scripted) -> None:
    save(services, "gone-soon", SYSTEM)
    made = talk(services, "gone-soon@1", {"customer": "Ada"})
    turn = await ask(services, made)
    shutil.rmtree(services.registry.root / "gone-soon")
    [again] = await services.chat.retry(ME, turn)
    await finish(services, [again])
    failed = services.conversations.turn(ME, again)
    assert (failed.status, failed.text) == ("failed", "")
    assert "gone-soon" in failed.error
    assert str(services.registry.root) not in failed.error
    assert len(services.ledger.calls()) == len(provider.requests) == 1


async def test_a_value_that_lacks_meanwhile_fails_the_answer_and_loses_nothing(
    services: Services, provider: Scripted
) -> None:
    save(services, "p", SYSTEM)
    made = talk(services, "p@1", {"customer": "Ada"})
    turn = await ask(services, made)
    question = services.conversations.turn(ME, turn).parent
    assert question is not None
    services.conversations.update(ME, made.id, prompt=PromptChoice("p@1"))
    [again] = await services.chat.retry(ME, turn)
    await finish(services, [again])
    failed = services.conversations.turn(ME, again)
    assert (failed.status, failed.text, failed.meter) == ("failed", "", None)
    assert "customer" in failed.error
    assert services.conversations.turn(ME, turn).text == "Why?"
    with pytest.raises(MissingVariables):
        await services.chat.edit(ME, question, "Why not?")
    assert len(services.conversations.turn(ME, question).siblings) == 1, "no question was saved"
    assert len(services.ledger.calls(Filter(conversation=made.id))) == len(provider.requests) == 1
    services.conversations.update(ME, made.id, prompt=None)
    await ask(services, made, "Now?")
    assert sent(provider) == [("user", "Why?\n\nNow?")], "what was not answered goes with it, the prompt does not"
    assert provider.requests[-1].prompt_name is None


async def test_a_stopped_and_a_continued_answer_name_their_prompt(services: Services, provider: Scripted) -> None:
    save(services, "p", SYSTEM)
    made = talk(services, "p", {"customer": "Ada"})
    turn = await ask(services, made, model="breaks")
    broken = services.conversations.turn(ME, turn)
    assert (broken.status, broken.meter and broken.meter.prompt) == ("interrupted", "p@1")
    save(services, "p", content(("system", "New for {{ customer }}.")))
    await services.chat.proceed(ME, turn)
    await finish(services, [turn])
    continued = services.conversations.turn(ME, turn).meter
    assert continued is not None and continued.prompt == "p@2", "the version that wrote its end"
    assert [row.prompt for row in services.ledger.calls()] == ["p@2", "p@1"]


async def test_all_panes_and_a_fallback_have_the_prompt(services: Services, provider: Scripted) -> None:
    save(services, "p", SYSTEM)
    made = talk(services, "p", {"customer": "Ada"})
    models = ["scripted/echo", "scripted/fails"]
    turns = await services.chat.ask(ME, made.id, "Why?", models=models, fallbacks=["scripted/words"])
    await finish(services, turns)
    rows = services.ledger.calls(Filter(prompt_name="p", prompt_version=1))
    assert sorted(row.model for row in rows) == ["scripted/echo", "scripted/fails", "scripted/words"]
    assert {request.messages[0].text for request in provider.requests} == {"You help Ada."}


async def test_nobody_uses_the_prompt_of_a_conversation_that_is_not_theirs(services: Services) -> None:
    save(services, "p", SYSTEM)
    made = talk(services, "p", {"customer": "Ada"})
    with pytest.raises(NotFound):
        services.conversations.update("other", made.id, prompt=None)
    assert services.conversations.get(ME, made.id).prompt == PromptChoice("p@latest", {"customer": "Ada"})
