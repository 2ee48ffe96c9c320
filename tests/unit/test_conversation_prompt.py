"""The prompt of a conversation is kept, changed, and goes out and in with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core.conversations import Conversations, Meter, PromptChoice
from core.conversations.choice import DEEPEST, LARGEST
from core.conversations.formats.html import export_html
from core.conversations.formats.json import export_json, import_json
from core.conversations.formats.markdown import export_markdown
from core.errors import BadRequest
from core.messages import Usage
from core.settings import Settings
from tests.unit.test_conversations import ME, OTHER, House

VALUES = {"customer": "Ada & <b>", "lines": ["a", {"deep": [1, 2.5, None, True]}]}
CHOICE = PromptChoice("support/reply@production", VALUES)


@pytest.fixture(params=["sqlite", "postgresql"])
def book(request: pytest.FixtureRequest, settings: Callable[..., Settings]) -> Iterator[Conversations]:
    own = {}
    if request.param == "postgresql":
        own["PARLEY_DATABASE_URL"] = request.getfixturevalue("postgres_database")
    house = House(settings(**own))
    yield house.book
    house.close()


def test_a_prompt_is_kept_changed_and_taken_away(book: Conversations) -> None:
    made = book.create(ME, prompt=CHOICE)
    assert made.prompt == CHOICE == book.get(ME, made.id).prompt
    assert book.create(ME).prompt is None
    book.update(ME, made.id, title="New")
    assert book.get(ME, made.id).prompt == CHOICE
    assert book.update(ME, made.id, prompt=PromptChoice("greeting@v3")).prompt == PromptChoice("greeting@3")
    assert book.update(ME, made.id, prompt=PromptChoice(" greeting ")).prompt == PromptChoice("greeting@latest")
    assert book.update(ME, made.id, prompt=None).prompt is None
    assert book.list(ME)[0].prompt is None


def deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("choice", "complaint"),
    [
        (PromptChoice("../etc"), "cannot be the name"),
        (PromptChoice(""), "no name"),
        (PromptChoice("p@Production"), "cannot be a label"),
        (PromptChoice("p", {"a": float("nan")}), "JSON"),
        (PromptChoice("p", {"a": {1: "x"}}), "JSON"),
        (PromptChoice("p", {"a": {"x"}}), "JSON"),
        (PromptChoice("p", {"a": deep(DEEPEST + 1)}), "levels deep"),
        (PromptChoice("p", {"a": "x" * LARGEST}), "too long"),
    ],
)
def test_what_cannot_be_kept_is_refused(book: Conversations, choice: PromptChoice, complaint: str) -> None:
    made = book.create(ME, prompt=CHOICE)
    with pytest.raises(BadRequest, match=complaint):
        book.create(ME, prompt=choice)
    with pytest.raises(BadRequest, match=complaint):
        book.update(ME, made.id, title="x", prompt=choice)
    assert book.get(ME, made.id) == made
    assert len(book.list(ME)) == 1


def test_values_are_cleaned(book: Conversations) -> None:
    made = book.create(ME, prompt=PromptChoice("p", {"a\x00": ("\ud83d\ude00", "\ud800")}))
    assert made.prompt == PromptChoice("p@latest", {"a\ufffd": ["\U0001f600", "\ufffd"]})
    assert book.get(ME, made.id) == made


def exported(book: Conversations) -> dict[str, Any]:
    made = book.create(ME, title="Led", prompt=CHOICE)
    turn = book.add(ME, made.id, parent=None, role="assistant", text="", model="m/a", status="streaming")
    meter = Meter(1, Usage(10, output=5), 1_000_000, 0.1, 0.5, "stop", None, "support/reply@3")
    book.save(turn.id, text="Yes", status="complete", meter=meter)
    loaded: dict[str, Any] = json.loads(export_json(book, ME, [made.id]))
    return loaded


def test_it_goes_out_and_comes_in(book: Conversations) -> None:
    [copy] = import_json(book, OTHER, json.dumps(exported(book)))
    assert copy.prompt == CHOICE
    [turn] = book.whole(OTHER, copy.id).turns
    assert turn.meter is not None
    assert turn.meter.prompt == "support/reply@3"


def test_an_export_of_before_has_none(book: Conversations) -> None:
    data = exported(book)
    del data["conversations"][0]["prompt"]
    del data["conversations"][0]["turns"][0]["meter"]["prompt"]
    [copy] = import_json(book, OTHER, json.dumps(data))
    assert copy.prompt is None
    [turn] = book.whole(OTHER, copy.id).turns
    assert turn.meter is not None and turn.meter.prompt is None


@pytest.mark.parametrize(
    ("prompt", "complaint"),
    [
        ("support/reply", r"conversations\[0\].prompt is not an object"),
        ({}, r"conversations\[0\].prompt.ref is missing"),
        ({"ref": "../up", "values": {}}, r"conversations\[0\].prompt is no choice of a prompt"),
        ({"ref": "a@1", "values": []}, r"conversations\[0\].prompt.values is not an object"),
        ({"ref": "a@1", "values": {"a": deep(DEEPEST + 1)}}, r"conversations\[0\].prompt is no choice.*levels deep"),
    ],
)
def test_a_wrong_one_is_refused_by_its_place(book: Conversations, prompt: Any, complaint: str) -> None:
    data = exported(book)
    data["conversations"][0]["prompt"] = prompt
    with pytest.raises(BadRequest, match=complaint):
        import_json(book, OTHER, json.dumps(data))
    assert book.list(OTHER) == []


def test_a_reader_sees_which_prompt_it_was(book: Conversations) -> None:
    exported(book)
    [made] = book.list(ME)
    markdown = export_markdown(book, ME, [made.id])
    assert "## Prompt\n\n> support/reply@production\n> customer = Ada & <b>\n> lines = [" in markdown
    assert "*m/a · support/reply@3 · 10 in, 5 out" in markdown
    page = export_html(book, ME, [made.id])
    assert "support/reply@production\ncustomer = Ada &amp; &lt;b&gt;" in page
    assert "m/a · support/reply@3 · 10 in" in page
