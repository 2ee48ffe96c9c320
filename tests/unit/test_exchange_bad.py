"""Files that make no sense: each is refused with its line or field, and says that nothing was imported."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from core.errors import BadRequest
from core.prompts.formats import formats, read
from core.prompts.formats._given import LARGEST

MESSAGE = {"role": "user", "content": "Hi"}
TEXT = {"name": "a", "type": "text", "prompt": "Hi"}


def whole(*versions: dict[str, Any], **prompt: Any) -> dict[str, Any]:
    return {"format": "parley-prompts", "version": 1, "prompts": [{"name": "a", "versions": list(versions)} | prompt]}


VERSION = {"number": 1, "messages": [MESSAGE], "time": "2026-11-20T12:00:00Z"}


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        # not what it seems to be
        ("a.json", '{\n "name": "a",\n oops}', "a.json, line 3, is not valid JSON"),
        ("a.json", '{"a": 1, "a": 2}', "'a' stands there twice"),
        ("a.json", '{"messages": NaN}', "NaN is no number of JSON"),
        ("a.json", "[" * 100_000, "not valid JSON|levels deep"),
        ("a.json", '{"a":' * 200 + "1" + "}" * 200, "nested more than 100 levels deep"),
        (
            "a.json",
            '{"a": 1' + "0" * 10_000 + "}",
            "not valid JSON: .* an impossible number",
        ),
        ("a.yaml", "prompt: |\n  a\n b: [", "a.yaml, line 3"),
        ("a.yaml", "a: &x [1, 2]\nb: *x", "a.yaml, line 1 .*anchors"),
        ("a.yaml", "system: !!python/object:os.system x", "tags .* are not allowed"),
        ("a.yaml", "a: " + "[" * 60 + "]" * 60, "more than 40 levels"),
        ("a.prompty", "---\nname: a\nmodel: [\n---\nHi", "a.prompty, line 4 is not valid YAML"),
        ("a.prompty", "---\nname: a\nsystem:\nHi", "line 1: the frontmatter that begins here does not end"),
        ("a.prompt", "---\n- a\n---\nHi", "holds no fields"),
        ("a.prompty", "---\nname: a\n---\n\n", "holds no prompt"),
        ("a.prompt", "---\nname: a\n---\n", "holds no prompt"),
        ("a.json", "   ", "a.json is empty"),
        ("a.txt", "A poem about the sea.", "a.txt is in no format that is known here"),
        ("a.json", '{"hello": "world"}', "in no format"),
        ("a.json", "42", "in no format"),
        # wrong types and missing fields
        ("a.prompty", "---\nname: [1]\n---\nHi", r"a.prompty: name is not a text"),
        (
            "a.prompty",
            "---\nmodel:\n  id: m\n  options:\n    temperature: warm\n---\nHi",
            "options.temperature must be",
        ),
        ("a.prompty", "---\nmetadata:\n  tags: support\n---\nHi", r"metadata.tags is not a list"),
        ("a.prompty", "---\ntemplate: liquid\n---\nHi", "template asks for 'liquid'"),
        ("a.prompty", "---\ninputs: 5\n---\nHi", "inputs is neither a list nor an object"),
        ("a.prompty", "---\nname: a\n---\nuser:\nHi {{ x", r"messages\[0\], line 1 is no template"),
        ("a.prompty", "---\nname: a\n---\nuser:\n{% if x %}", "The template is wrong in line 1"),
        ("a.prompt", "---\nconfig: hot\n---\nHi", "config is not an object"),
        ("a.prompt", "---\ninput:\n  default: [1]\n---\nHi", "input.default is not an object"),
        ("a.prompt", "---\noutput:\n  schema: {a: Missing}\n---\nHi", "output.schema.a names a schema 'Missing'"),
        ("a.json", {"name": 5, "type": "text", "prompt": "Hi"}, "a.json: name is not a text"),
        ("a.json", {"name": "a", "type": "text", "prompt": [MESSAGE]}, "prompt is not a text"),
        ("a.json", {"name": "a", "type": "image", "prompt": "Hi"}, "is of the type 'image'"),
        (
            "a.json",
            [TEXT | {"type": "chat", "prompt": [{"role": "user"}]}],
            r"\[0\].prompt\[0\].content is missing",
        ),
        ("a.json", {"name": "a", "type": "chat", "prompt": []}, "a has no messages"),
        (
            "a.json",
            TEXT | {"config": {"max_tokens": "many"}},
            "config.max_tokens must be",
        ),
        ("a.json", {"messages": [MESSAGE], "response_format": {"type": "json_schema"}}, "is no JSON schema"),
        ("a.json", {"messages": ["Hi"]}, r"messages\[0\] is not an object"),
        ("a.json", json.dumps(TEXT | {"tags": ["\ud83d"]}), "a character that no file can hold"),
        ("a.yaml", 'prompt: "a\\0b"', "a character that no file can hold"),
        ("a.yaml", "prompts: [5]", r"prompts\[0\] is not an object"),
        ("a.yaml", "prompts: ['file://a.txt']", r"holds no prompt: prompts\[0\] points to 'file://a.txt'"),
        ("a.yaml", "prompts: ['Hi']\ntests:\n- vars: [1]", r"tests\[0\].vars is not an object"),
        ("a.yaml", "prompts:\n- label: a\n  raw: '{% for %}'", r"prompts\[0\]: The template is wrong"),
        ("a.yaml", "system: [1]\nprompt: Hi", "system is not a text"),
        ("a.yaml", "prompt: Hi\nschema_object: 5", "schema_object is no JSON schema"),
        ("a.json", whole(VERSION, VERSION), "holds a number twice"),
        ("a.json", whole({**VERSION, "number": 0}), "has no number"),
        ("a.json", whole({**VERSION, "messages": []}), r"prompts\[0\].versions\[0\].*messages"),
        ("a.json", whole({**VERSION, "colour": "red"}), "colour is not a field of this format"),
        ("a.json", whole({**VERSION, "time": "yesterday"}), "has a time that is no time"),
        ("a.json", {**whole(VERSION), "version": 2}, "made by a newer Parley"),
        ("a.json", {**whole(VERSION), "prompts": {}}, "prompts is not a list"),
        ("a.json", {**whole(), "prompts": [{"name": "a", "versions": [VERSION]}] * 2}, "is there twice: a"),
        ("a.json", whole(), "a.json holds no prompts"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(name: str, data: Any, says: str) -> None:
    text = data if isinstance(data, str) else json.dumps(data)
    with pytest.raises(BadRequest) as error:
        read(text.encode(), name)
    assert re.search(says, error.value.what), error.value.what
    assert error.value.fix
    assert "/" not in error.value.what.replace("file://", "").replace("support/", "").replace("!!python/", "")


def test_files_that_are_no_text_or_too_large() -> None:
    with pytest.raises(BadRequest, match="line 2, is not UTF-8"):
        read(b"name: a\n\xff\xfe", "a.yaml")
    with pytest.raises(BadRequest, match="larger than 20 MB"):
        read(b" " * (LARGEST + 1), "a.json")


def test_the_path_that_was_given_is_not_told() -> None:
    with pytest.raises(BadRequest) as error:
        read(b"{", "/home/ada/secret/a.json")
    assert "secret" not in str(error.value)


def test_an_unknown_format_and_a_wrong_one() -> None:
    with pytest.raises(BadRequest, match="no format 'word'"):
        read(b"Hi", "a.txt", "word")
    for one in formats():
        if one.id not in ("prompty", "dotprompt"):
            with pytest.raises(BadRequest):
                read(b"12", "a.json", one.id)


@pytest.mark.parametrize("name", ["../../etc/passwd", "CON", "Ünïcode", "x" * 300, "A/b/../c", " ", "🙂"])
@pytest.mark.parametrize("format_id", ["langfuse", "json", "prompty"])
def test_names_that_are_not_allowed_become_others_and_are_told(name: str, format_id: str) -> None:
    texts = {
        "langfuse": json.dumps({"name": name, "type": "text", "prompt": "Hi"}),
        "json": json.dumps(whole(VERSION, name=name)),
        "prompty": f"---\nname: {json.dumps(name, ensure_ascii=False)}\n---\nHi",
    }
    plan = read(texts[format_id].encode(), "file." + format_id, format_id)
    (draft,) = plan.drafts
    assert re.fullmatch(r"[a-z0-9_/-]+", draft.name)
    assert ".." not in draft.name
    assert ("name" in {loss.field for loss in plan.losses}) == (name != draft.name)


def test_two_names_that_look_alike_stay_two_prompts() -> None:
    objects = [{"name": name, "type": "text", "prompt": "Hi"} for name in ("My Prompt", "my-prompt", "My  Prompt")]
    plan = read(json.dumps(objects).encode(), "a.json")
    assert [draft.name for draft in plan.drafts] == ["my-prompt", "my-prompt-2", "my-prompt-3"]


def test_a_file_in_the_name_of_a_path_gives_no_path() -> None:
    for name in ("/etc/cron.d/job.yaml", "..\\..\\job.yaml", "../job.yaml"):
        assert read(b"system: Be kind.", name).drafts[0].name == "job"
    assert read(b"system: Be kind.", "support/job.yaml").drafts[0].name == "support/job"


def test_values_that_do_not_fit_are_told_and_left_out() -> None:
    value = {
        "messages": [MESSAGE, {"role": "system", "content": "Late"}],
        "temperature": 9,
        "stop": ["x"] * 20,
        "reasoning_effort": "tremendous",
        "metadata": {"description": "d" * 3000},
    }
    plan = read(json.dumps(value).encode(), "a.json")
    (draft,) = plan.drafts
    assert draft.content.parameters.model_dump(exclude_defaults=True) == {}
    assert [message.role for message in draft.content.messages] == ["user", "user"]
    assert len(draft.description) == 2000
    assert {loss.field for loss in plan.losses} == {
        "temperature",
        "stop",
        "reasoning_effort",
        "messages[1].role",
        "description",
    }


def test_tags_and_labels_that_cannot_be() -> None:
    value = TEXT | {"tags": ["a, b", "x" * 50, "ok"], "labels": ["v1", "latest", "Up"]}
    plan = read(json.dumps(value).encode(), "a.json")
    (draft,) = plan.drafts
    assert draft.tags == ("a b", "x" * 40, "ok")
    assert draft.labels == ()
    assert {loss.field for loss in plan.losses} == {"tags", "labels"}


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        (
            "a.json",
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi", "cache": 1}]}]},
            "messages[0].content[0].cache",
        ),
        (
            "a.json",
            {
                "messages": [MESSAGE],
                "response_format": {"type": "json_schema", "json_schema": {"schema": {}}, "deep": 1},
            },
            "response_format.deep",
        ),
        (
            "a.prompty",
            "---\nname: a\ntemplate: {format: {kind: jinja2, strict: true}}\n---\nHi",
            "template.format.strict",
        ),
        ("a.prompty", "---\nname: a\ninputs: [{name: x}, {kind: string}]\n---\nHi {{ x }}", "inputs"),
    ],
)
def test_what_stands_deep_in_a_file_and_is_not_known_is_told(name: str, value: Any, field: str) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    assert field in {loss.field for loss in read(text.encode(), name).losses}
