"""The prompts that ship: whole, usable as they are, and found by people who describe them in their own words."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from core.messages import ChatRequest
from core.prompts import yamltext
from core.prompts.registry.registry import Registry
from core.prompts.templates.templates import Templates
from core.prompts.version import SCHEMA_FILE, Version, from_text, published_schema
from core.providers.embedded import Embedded
from core.settings import Settings
from core.store.embeddings import embedder
from core.store.vectors import Vectors
from tests.puppet import Bench, bench
from tests.rendering import templates_of
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2] / "prompts"
NAMES = (
    "classify",
    "creative-writing",
    "extract-json",
    "judge/pairwise",
    "judge/rubric",
    "reason-step-by-step",
    "shared/tone",
    "summarise",
    "summarise-conversation",
    "support/reply",
    "technical-assistant",
)
FILES = {name: ROOT / name / "v1.yaml" for name in NAMES}
WITH_SCHEMA = ("classify", "extract-json", "judge/pairwise", "judge/rubric")
MODEL = "embedded/smollm2-135m"

# What somebody might look for who does not know what the prompt is called: in words that neither its name nor its
# description nor its tags have.
PARAPHRASES = {
    "classify": "assign a tag to incoming mail",
    "creative-writing": "compose a novel or some verses",
    "extract-json": "turn a purchase request letter into structured data",
    "judge/pairwise": "pick the stronger of two responses",
    "judge/rubric": "assess an essay against a points scheme",
    "reason-step-by-step": "work out a maths puzzle",
    "summarise": "condense an essay into a brief overview",
    "summarise-conversation": "remember what was discussed in a dialogue",
    "support/reply": "respond to an unhappy buyer without breaking our rules",
    "technical-assistant": "my software crashes, fix the exception",
    "shared/tone": "friendly manner of speaking",
}
EMPTY = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be by can for from has have how i in into is it its me my no not of on one or our out so "
        "than that the their them then they this to two was what when which who will with without you your",
    )
)


@pytest.fixture
def registry(settings: Callable[..., Settings], tmp_path: Path) -> Iterator[Registry]:
    """A registry as it ships: what else was saved in the folder since, and where labels went, is left out."""
    for name in NAMES:
        folder = tmp_path / "prompts" / name
        folder.mkdir(parents=True)
        shutil.copy(ROOT / name / "v1.yaml", folder)
        with (ROOT / name / "labels.jsonl").open("rb") as file:
            (folder / "labels.jsonl").write_bytes(file.readline())
    opened = Registry.open(settings())
    yield opened
    opened.close()


@pytest.fixture
def templates(registry: Registry) -> Templates:
    return templates_of(registry.version)


def shipped(name: str) -> Version:
    return from_text(FILES[name].read_text("utf-8"), name, 1).version


def examples(version: Version) -> dict[str, Any]:
    return {name: variable.example for name, variable in version.content.variables.items()}


def test_all_of_them_are_here(registry: Registry) -> None:
    assert tuple(entry.name for entry in registry.list()) == NAMES
    assert all((entry.numbers, dict(entry.labels)) == ((1,), {"production": 1}) for entry in registry.list())
    assert registry.problems() == []
    assert registry.verify() == []


def test_a_new_registry_begins_with_them(settings: Callable[..., Settings]) -> None:
    opened = Registry.open(settings())
    try:
        assert {entry.name for entry in opened.list()} >= set(NAMES)
        assert opened.version("support/reply@1") == shipped("support/reply")
        assert opened.history("support/reply")[-1].why == "Ships with Parley"
        assert (opened.root / SCHEMA_FILE).is_file()
    finally:
        opened.close()


def test_the_published_schema_is_the_one_of_the_program() -> None:
    published = json.loads((ROOT / SCHEMA_FILE).read_text("utf-8"))
    assert published == published_schema()
    Draft202012Validator.check_schema(published)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_as_it_was_saved_and_fits_the_schema(name: str) -> None:
    text = FILES[name].read_text("utf-8")
    assert from_text(text, name, 1).intact
    fields = yamltext.load(text, name)
    Draft202012Validator(published_schema()).validate(fields)
    header = text.splitlines()[0].removeprefix(yamltext.HEADER)
    assert (FILES[name].parent / header).resolve() == ROOT / SCHEMA_FILE


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_says_what_it_is_for(name: str, templates: Templates) -> None:
    version = shipped(name)
    assert (version.author, version.change, version.parent) == ("Parley", "First version", None)
    assert 60 < len(version.description) < 220
    assert version.tags
    assert version.content.model == "", "it is run with the model that one has"
    needed = templates.variables(version)
    assert [one.name for one in needed if not one.declared] == []
    for variable in needed:
        assert variable.variable.description.endswith("."), variable.name
        assert variable.variable.example not in (None, "", []), variable.name
    used = {one for message in version.content.messages for one in re.findall(r"\w+", message.content)}
    assert set(version.content.variables) <= used


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_renders_with_its_examples_and_with_nothing_but_what_it_needs(name: str, templates: Templates) -> None:
    version = shipped(name)
    full = examples(version)
    least = {
        name: full[name] for name, one in version.content.variables.items() if one.required and one.default is None
    }
    for values in (full, least):
        for message in templates.render(version, values).messages:
            assert message.text.strip() == message.text
            assert not re.search(r"\{[{%]|[%}]\}|\n{3}|None", message.text)
    said = "\n".join(message.text for message in templates.render(version, full).messages)
    for value in full.values():
        for part in value if isinstance(value, list) else [value]:
            assert str(part) in said


def test_the_reply_includes_the_tone_and_says_which(templates: Templates) -> None:
    tone = shipped("shared/tone")
    rendered = templates.render(shipped("support/reply"), examples(shipped("support/reply")))
    assert rendered.messages[0].text.endswith(tone.content.messages[0].content)
    assert [(part.name, part.number, part.hash) for part in rendered.parts] == [("shared/tone", 1, tone.hash)]


@pytest.mark.parametrize("given", [["red", "dark blue"], "red, dark blue"], ids=["list", "text"])
def test_labels_can_be_a_list_or_text(given: object, templates: Templates) -> None:
    rendered = templates.render(shipped("classify"), {"labels": given, "message": "What colour is the sea?"})
    assert "\n- red\n- dark blue\n- other\n" in rendered.messages[0].text


def test_a_rubric_can_be_a_list_or_lines(templates: Templates) -> None:
    values = {"question": "Why?", "answer": "Because."}
    for rubric in (["True: it is so.", "Short"], "True: it is so.\n\n Short\n"):
        said = templates.render(shipped("judge/rubric"), {**values, "rubric": rubric}).messages[0].text
        assert "1. True: it is so.\n2. Short\n</rubric>" in said


@pytest.mark.parametrize("name", WITH_SCHEMA)
def test_an_answer_schema_is_one_that_every_provider_takes(name: str) -> None:
    schema = shipped(name).content.answer_schema
    assert schema is not None
    Draft202012Validator.check_schema(schema)
    understood = {"type", "properties", "required", "additionalProperties", "items", "enum", "description"}

    def check(part: dict[str, Any]) -> None:
        assert set(part) <= understood
        if part["type"] == "object":
            assert part["additionalProperties"] is False
            assert part["required"] == list(part["properties"])
            for child in part["properties"].values():
                check(child)
        elif part["type"] == "array":
            check(part["items"])

    check(schema)


@pytest.mark.parametrize(
    ("name", "verdict"), [("classify", "label"), ("judge/pairwise", "winner"), ("judge/rubric", "score")]
)
def test_the_reasons_come_before_the_verdict(name: str, verdict: str) -> None:
    schema = shipped(name).content.answer_schema or {}
    assert list(schema["properties"])[-1] == verdict


@pytest.mark.parametrize("name", ["classify", "extract-json"])
def test_the_examples_fit_the_schema_and_look_like_the_question(name: str, templates: Templates) -> None:
    version = shipped(name)
    rendered = templates.render(version, examples(version))
    frame = re.sub(r">.*<", "><", rendered.messages[-1].text, flags=re.DOTALL)
    for example in version.content.examples:
        Draft202012Validator(version.content.answer_schema).validate(json.loads(example.output))
        assert re.sub(r">.*<", "><", example.input, flags=re.DOTALL) == frame
    labels = {json.loads(example.output).get("label") for example in version.content.examples}
    assert labels <= {None, *(version.content.variables["labels"].default if name == "classify" else ()), "other"}


@pytest.fixture
def by_meaning(registry: Registry, settings: Callable[..., Settings]) -> Iterator[Registry]:
    """The registry with its search by meaning ready: real embeddings, real Chroma."""
    vectors = Vectors(settings(), embedder(settings()), delay=0)
    registry.attach(vectors)
    wait_until(vectors.state, lambda state: state.ready and state.indexed >= len(NAMES))
    yield registry
    vectors.close()


def test_they_are_found_by_other_words(by_meaning: Registry) -> None:
    found = {}
    for name, asked in PARAPHRASES.items():
        words = set(re.findall(r"[a-z]+", asked.lower())) - EMPTY
        version = shipped(name)
        told = f"{name} {version.description} {' '.join(version.tags)}".lower()
        assert words.isdisjoint(re.findall(r"[a-z]+", told)), f"{asked} has a word of the description"
        found[asked] = [one.name for one in by_meaning.search(asked)][:3]
    assert {asked for name, asked in PARAPHRASES.items() if name not in found[asked]} == set(), found
    assert by_meaning.search("boil the ocean today") == []


@pytest.fixture
async def embedded(weights: Path, settings: Callable[..., Settings]) -> AsyncIterator[Bench]:
    provider = Embedded(weights.parent, 2048)
    with bench(settings(), provider) as it:  # type: ignore[arg-type]
        yield it
        await provider.close()


async def test_the_embedded_model_answers_as_the_schema_says(embedded: Bench, templates: Templates) -> None:
    """What it says is of no worth: it is tiny. That its answer fits the schema is what a program builds on."""
    version = shipped("judge/pairwise")
    messages = templates.render(version, examples(version)).messages
    request = ChatRequest(MODEL, messages, version.content.as_parameters(), stream=False)
    reply = await embedded.gateway.complete(request)
    Draft202012Validator(version.content.answer_schema).validate(json.loads(reply.text))
    assert reply.notices == ()
