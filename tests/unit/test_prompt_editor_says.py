"""What the editor of prompts says of a draft and of an answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from core.chat.runs import Snapshot
from core.conversations import Meter
from core.errors import BadRequest
from core.messages import Usage
from core.models.info import Abilities, ModelInfo
from core.prompts.content import parse_content
from core.prompts.editing.drafts import Draft, MessageRow, ParameterTexts, VariableRow
from core.prompts.editing.estimates import Estimate
from core.services import Services
from core.settings import Settings
from pages.kit.markdown import shown
from pages.prompts.editor.looks import DraftChecks, cost_line, fit
from pages.prompts.editor.run import Running, below, drawn
from pages.prompts.editor.save import Saving
from tests.scripted import Scripted

INFO = ModelInfo("lab/dear", label="Dear", context=8192)
METER = Meter(1, Usage(input=10, output=5), 1000, 0.5, 1.0, "stop")


@pytest.mark.parametrize(
    ("guess", "line", "more", "bad"),
    [
        (
            Estimate(412, 1024, "asked", 824_000, 11_064_000, 8192),
            "about 412 tokens in · $0.00082 and the answer, at most $0.011 a run",
            "At most with the longest answer set here: 1,024 tokens. Tokens are estimated.",
            "",
        ),
        (
            Estimate(5, 1000, "assumed", None, None, None),
            "about 5 tokens in · price unknown",
            "Nobody knows what Dear costs.",
            "",
        ),
        (
            Estimate(5, 800, "model", 0, 0, 8192),
            "about 5 tokens in · $0 a run",
            "With the longest answer that the model gives: 800 tokens, estimated.",
            "",
        ),
        (
            Estimate(9000, 1, "window", 0, 0, 8192),
            "about 9,000 tokens in · $0 a run",
            "With all that is left of the model's context window: 1 tokens, estimated.",
            "This does not fit: Dear takes 8,192 tokens in all.",
        ),
    ],
)
def test_the_line_about_cost(guess: Estimate, line: str, more: str, bad: str) -> None:
    assert cost_line(guess, INFO, "lab/dear") == {"line": line, "more": more, "bad": bad}


def test_without_a_model_no_cost() -> None:
    assert "Choose a model" in cost_line(None, INFO, "")["line"]


def test_parameters_that_the_model_does_not_take() -> None:
    able = Abilities(temperature=False, seed=True, stop=False, json_schema=False, efforts=("low", "xhigh"))
    draft = Draft(parameters=ParameterTexts(temperature="1", seed="2", stop="x"), answer_schema="{}")
    told = fit(ModelInfo("lab/dear", label="Dear", max_output=500, abilities=able), draft)
    assert (told["temperature"], told["seed"], told["max_tokens"]) == (False, True, "up to 500")
    assert told["effort"] == [["low", "low"], ["xhigh", "extra high"]]
    assert told["unused"] == "Dear does not take a temperature, stop texts and a JSON schema: left out when it runs."
    assert fit(ModelInfo("lab/dear"), Draft())["unused"] == ""


def snapshot(text: str, status: str = "complete", **more: Any) -> Snapshot:
    return Snapshot("t", text, more.pop("thinking", ""), status, meter=METER, **more)


def test_what_stands_below_an_answer() -> None:
    line = below(snapshot("hi"), "Dear <b>", None)
    assert "Dear &lt;b&gt; · 10 in · 5 out" in line
    assert "JSON" not in line
    assert "fits the JSON schema" in below(snapshot('{"a": 1}'), "Dear", "")
    wrong = below(snapshot("{}"), "Dear", "'a' is a required <property>.")
    assert "&#x27;a&#x27; is a required &lt;property&gt;" in wrong and "fits the JSON schema" not in wrong
    assert "waiting for the first token" in below(snapshot("", "streaming"), "Dear", None)
    failed = below(snapshot("", "failed", error="No <key>."), "Dear", None)
    assert 'role="alert"' in failed and "No &lt;key&gt;." in failed


def test_an_answer_in_json_is_a_block_of_code() -> None:
    (message,) = drawn(snapshot('{"a":1}'), "Dear", None, as_json=True)
    assert message.content[0].text == '```json\n{\n  "a": 1\n}\n```'
    (message,) = drawn(snapshot('{"a":', "streaming"), "Dear", None, as_json=True)
    assert message.content[0].text == '```json\n{"a":\n```'
    (message,) = drawn(snapshot('{"a":1}'), "Dear", None, as_json=False)
    assert message.content[0].text == shown('{"a":1}') and "```" not in message.content[0].text
    thought, _ = drawn(snapshot("so", thinking="hm"), "Dear", None, as_json=False)
    assert thought.content[0].text == "hm"


@pytest.fixture
async def services(settings: Callable[..., Settings]) -> AsyncIterator[Services]:
    made = Services.open(settings(PARLEY_PROMPTS_WRITE="on"), {"scripted": Scripted()})
    try:
        yield made
    finally:
        await made.close()


def rows(*texts: str) -> list[MessageRow]:
    return [MessageRow(role="user", content=text) for text in texts]


async def test_a_look_at_a_draft(services: Services) -> None:
    looks = DraftChecks(services)
    draft = Draft(
        made_from=1,
        turn=7,
        messages=rows("{{ b }} and {{ a }}"),
        variables={"a": VariableRow(example="x"), "old": VariableRow()},
        model="scripted/echo",
    )
    told = looks.look(draft)
    assert (told["turn"], told["error"], told["missing"], told["asks"]) == (7, "", ["b", "old"], False)
    assert [(one["name"], one["used"], one["start"]) for one in told["variables"]] == [
        ("b", True, ""),
        ("a", True, "x"),
        ("old", False, ""),
    ]
    assert told["preview"] == [{"role": "user", "text": "⟨b⟩ and x"}]
    json.dumps(told)


async def test_a_look_at_what_is_still_wrong_never_fails(services: Services) -> None:
    looks = DraftChecks(services)
    for messages in ([], rows("{{ a"), rows("{% include 'no/such' %}"), rows("{{ a.b.c }}"), rows("{{ 1/0 }}")):
        told = looks.look(Draft(messages=messages, variables={"a": VariableRow(example="x")}, values={"a": "["}))
        assert told["error"], messages
        json.dumps(told)
    told = looks.look(Draft(messages=rows("{{ a"), variables={"a": VariableRow(example="x")}))
    assert [(one["name"], one["start"]) for one in told["known"]] == [("a", "x")]  # the fields need not go


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        ({"type": "objekt"}, "The JSON schema is wrong at type"),
        (
            {"$schema": "http://json-schema.org/draft-04/schema#", "enum": [{"a": n} for n in range(3000)]},
            "The JSON schema could not be checked: it takes longer than 2 seconds.",
        ),
    ],
)
async def test_a_wrong_schema_is_told_and_neither_run_nor_saved(
    services: Services, schema: dict[str, Any], sentence: str
) -> None:
    looks = DraftChecks(services)
    draft = Draft(messages=rows("Hi"), answer_schema=json.dumps(schema), model="scripted/echo")
    told = await asyncio.to_thread(looks.look, draft)
    assert told["troubles"]["schema"].startswith(sentence)
    with pytest.raises(BadRequest, match=sentence):
        await asyncio.to_thread(looks.content, draft)


async def test_the_samples_variables_go_with_its_texts(services: Services) -> None:
    looks = DraftChecks(services)
    changed = Draft.sample().model_copy(update={"messages": rows("{{ mine }} {{ shop }}")})
    assert set(looks.content(changed).variables) == {"mine", "shop"}
    assert [one["name"] for one in looks.look(changed)["variables"]] == ["mine", "shop"]
    kept = changed.model_copy(update={"made_from": 2})
    assert set(looks.content(kept).variables) == {"mine", "shop", "question"}


async def test_nothing_is_saved_where_it_is_not_allowed(settings: Callable[..., Settings]) -> None:
    services = Services.open(settings(PARLEY_PROMPTS_WRITE="off"), {"scripted": Scripted()})
    try:
        saving = Saving(services, DraftChecks(services))
        source = Draft.sample().model_copy(update={"name": "a/b"}).model_dump_json()
        event, request = SimpleNamespace(_data={"change": "x"}), SimpleNamespace(headers={})
        window, version = await saving.save(source, event, request)  # type: ignore[arg-type]
        assert "not saved from the browser" in window
        assert version is None
        packed = json.loads(await saving.download(source, request))
        assert packed["name"] == "a-b.v1.yaml"
        assert "You answer customers of {{ shop }}" in packed["text"]
    finally:
        await services.close()


async def test_the_call_says_which_version_it_was(services: Services) -> None:
    content = parse_content({"messages": [{"role": "system", "content": "Be {{ mood }}."}], "model": "scripted/echo"})
    version = services.registry.save("a/b", services.templates.check(content), author="Ada").version
    running = Running(services, DraftChecks(services))
    request: Any = SimpleNamespace(headers={"x-parley-visitor": "v"})
    draft = Draft.of(version).model_copy(update={"values": {"mood": "calm"}})
    with pytest.raises(BadRequest, match="ends without a question"):
        running._request(draft, request)
    asked = running._request(draft.model_copy(update={"question": "Hi"}), request)
    assert [(message.role, message.text) for message in asked.messages] == [("system", "Be calm."), ("user", "Hi")]
    assert (asked.prompt, asked.prompt_hash, asked.feature) == ("a/b@1", version.hash, "prompt")
    other = draft.model_copy(update={"question": "Hi", "model": "scripted/words"})
    asked = running._request(other, request)
    assert (asked.prompt, asked.prompt_version) == ("a/b", None)
    assert asked.prompt_hash != version.hash
