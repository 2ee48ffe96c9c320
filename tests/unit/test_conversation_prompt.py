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
def store(request: pytest.FixtureRequest, settings: Callable[..., Settings]) -> Iterator[Conversations]:
    own = {}
    if request.param == "postgresql":
        own["PARLEY_DATABASE_URL"] = request.getfixturevalue("postgres_database")
    house = House(settings(**own))
    yield house.store
    house.close()


def test_a_prompt_is_kept_changed_and_taken_away(store: Conversations) -> None:
    made = store.create(ME, prompt=CHOICE)
    assert made.prompt == CHOICE == store.get(ME, made.id).prompt
    assert store.create(ME).prompt is None
    store.update(ME, made.id, title="New")
    assert store.get(ME, made.id).prompt == CHOICE
    assert store.update(ME, made.id, prompt=PromptChoice("greeting@v3")).prompt == PromptChoice("greeting@3")
    assert store.update(ME, made.id, prompt=PromptChoice(" greeting ")).prompt == PromptChoice("greeting@latest")
    assert store.update(ME, made.id, prompt=None).prompt is None
    assert store.list(ME)[0].prompt is None


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
def test_what_cannot_be_kept_is_refused(store: Conversations, choice: PromptChoice, complaint: str) -> None:
    made = store.create(ME, prompt=CHOICE)
    with pytest.raises(BadRequest, match=complaint):
        store.create(ME, prompt=choice)
    with pytest.raises(BadRequest, match=complaint):
        store.update(ME, made.id, title="x", prompt=choice)
    assert store.get(ME, made.id) == made
    assert len(store.list(ME)) == 1


def test_values_are_cleaned(store: Conversations) -> None:
    made = store.create(ME, prompt=PromptChoice("p", {"a\x00": ("\ud83d\ude00", "\ud800")}))
    assert made.prompt == PromptChoice("p@latest", {"a\ufffd": ["\U0001f600", "\ufffd"]})
    assert store.get(ME, made.id) == made


def exported(store: Conversations) -> dict[str, Any]:
    made = store.create(ME, title="Led", prompt=CHOICE)
    turn = store.add(ME, made.id, parent=None, role="assistant", text="", model="m/a", status="streaming")
    meter = Meter(1, Usage(10, output=5), 1_000_000, 0.1, 0.5, "stop", None, "support/reply@3")
    store.save(turn.id, text="Yes", status="complete", meter=meter)
    loaded: dict[str, Any] = json.loads(export_json(store, ME, [made.id]))
    return loaded


def test_it_goes_out_and_comes_in(store: Conversations) -> None:
    [copy] = import_json(store, OTHER, json.dumps(exported(store)))
    assert copy.prompt == CHOICE
    [turn] = store.whole(OTHER, copy.id).turns
    assert turn.meter is not None
    assert turn.meter.prompt == "support/reply@3"


def test_an_export_of_before_has_none(store: Conversations) -> None:
    data = exported(store)
    del data["conversations"][0]["prompt"]
    del data["conversations"][0]["turns"][0]["meter"]["prompt"]
    [copy] = import_json(store, OTHER, json.dumps(data))
    assert copy.prompt is None
    [turn] = store.whole(OTHER, copy.id).turns
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
def test_a_wrong_one_is_refused_by_its_place(store: Conversations, prompt: Any, complaint: str) -> None:
    data = exported(store)
    data["conversations"][0]["prompt"] = prompt
    with pytest.raises(BadRequest, match=complaint):
        import_json(store, OTHER, json.dumps(data))
    assert store.list(OTHER) == []


def test_a_reader_sees_which_prompt_it_was(store: Conversations) -> None:
    exported(store)
    [made] = store.list(ME)
    markdown = export_markdown(store, ME, [made.id])
    assert "## Prompt\n\n> support/reply@production\n> customer = Ada & <b>\n> lines = [" in markdown
    assert "*m/a · support/reply@3 · 10 in, 5 out" in markdown
    page = export_html(store, ME, [made.id])
    assert "support/reply@production\ncustomer = Ada &amp; &lt;b&gt;" in page
    assert "m/a · support/reply@3 · 10 in" in page
