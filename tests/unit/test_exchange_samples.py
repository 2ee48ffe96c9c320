"""Files of others as people write them: what is understood, what is told, and that they go back as they came."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.prompts import yamltext
from core.prompts.formats import Exported, ImportedVersion, Plan, export, read
from core.prompts.formats._verify import differences
from core.prompts.version import Version
from tests.prompt_samples import DOTPROMPT, LANGFUSE, LLM, OPENAI, PROMPTFOO, PROMPTY, PROMPTY_1


def only(plan: Plan) -> ImportedVersion:
    (draft,) = plan.drafts
    return draft


def texts(draft: ImportedVersion) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in draft.content.messages]


def told(plan: Plan) -> set[str]:
    return {loss.field for loss in plan.losses}


def fields_of(text: str) -> str:
    return text.split("\n---\n")[0].partition("---\n")[2]


def again(draft: ImportedVersion, format_id: str) -> tuple[dict[str, Any], ImportedVersion]:
    """The draft as a file of theirs once more, and what that one says."""
    version = Version(
        draft.name, draft.number or 1, draft.content, draft.description, draft.tags, draft.change, draft.author
    )
    packed = export([Exported((version,), dict.fromkeys(draft.labels, version.number))], format_id)
    file = packed.files[0]
    text = file.data.decode()
    front = format_id in ("prompty", "dotprompt")
    value = (
        json.loads(text)
        if file.name.endswith(".json")
        else yamltext.load(text.split("\n---\n")[0][4:] if front else text, "")
    )
    back = read(file.data, file.name).drafts[0]
    unheld = {loss.field for loss in packed.losses}
    assert {field for field in differences(version, back) if field not in unheld} == set()
    return value, back


def test_prompty() -> None:
    plan = read(PROMPTY.encode(), "refund.prompty")
    draft = only(plan)
    assert (plan.format, draft.name, draft.author, draft.tags, draft.number) == (
        "prompty",
        "refund-reply",
        "Noor",
        ("support", "mail"),
        4,
    )
    assert texts(draft) == [
        (
            "system",
            "You write for a shop. Orders can be sent back for {{ days }} days.\n\n"
            "{% if customer %}\nBegin with {{ customer }}.\n{% endif %}\n",
        ),
        ("user", "{{ question }}"),
        ("assistant", "Thank you."),
    ]
    assert draft.content.model == "openai/gpt-6-luna"
    assert draft.content.parameters.max_tokens == 400
    assert draft.content.variables["customer"].model_dump() == {
        "description": "How we call them",
        "default": None,
        "required": True,
        "example": "Ms Lind",
    }
    assert draft.content.variables["days"].default == 14
    assert draft.content.answer_schema == {
        "type": "object",
        "properties": {"reply": {"type": "string", "description": "The mail"}},
        "required": ["reply"],
    }
    assert told(plan) == {"name", "model.connection", "model.options.topK", "inputs.days"}
    assert not any("OPENAI_ENDPOINT" in loss.why for loss in plan.losses)
    value, _ = again(draft, "prompty")
    theirs = yamltext.load(fields_of(PROMPTY), "refund.prompty")
    assert value["outputs"] == theirs["outputs"]
    assert value["metadata"] == theirs["metadata"]
    assert value["inputs"][0] == theirs["inputs"][0]
    assert value["model"]["options"] == {"temperature": 0.3, "maxOutputTokens": 400}


def test_prompty_1() -> None:
    plan = read(PROMPTY_1.encode(), "old.prompty")
    draft = only(plan)
    assert draft.author == "Ada"
    assert draft.content.model == "azure/gpt-35-turbo"
    assert draft.content.parameters.max_tokens == 128
    assert {name: one.example for name, one in draft.content.variables.items()} == {
        "firstName": "Jane",
        "question": "What can you tell me?",
    }
    again(draft, "prompty")


def test_a_prompty_without_roles_or_fields_is_a_system_message() -> None:
    assert texts(only(read(b"Just {{ this }}.\n", "plain.prompty"))) == [("system", "Just {{ this }}.")]
    mustache = b"---\ntemplate: mustache\n---\nuser:\nHi {{name}}, {{#list}}{{.}}{{/list}}"
    plan = read(mustache, "m.prompty")
    assert texts(only(plan)) == [("user", "Hi {{name}}, {{ '{' }}{{ '{' }}#list}}{{ '{' }}{.}}{{ '{' }}{/list}}")]
    assert "messages[0].content" in told(plan)


def test_dotprompt() -> None:
    plan = read(DOTPROMPT.encode(), "greet.formal.prompt")
    draft = only(plan)
    assert draft.name == "greet-formal"
    assert texts(draft) == [
        (
            "system",
            "You greet people in a {{mood}} mood.\n{% if topics %}\nThey like:\n"
            "{% for topic in topics %}\n- {{topic}}\n{% endfor %}\n{% endif %}\n",
        ),
        ("user", "Greet {{name}}. Show {{ '{' }}{braces}} and {\"json\": {{name}} }."),
        ("assistant", "Hello"),
    ]
    assert draft.content.model == "google/gemini-3-flash"
    assert draft.content.parameters.stop == ("STOP",)
    assert draft.content.variables["name"].description == "who is greeted"
    assert draft.content.variables["mood"].model_dump(exclude_defaults=True) == {"default": "sunny", "required": False}
    assert draft.content.answer_schema == {
        "type": "object",
        "properties": {
            "greeting": {"type": "string", "description": "the words"},
            "stars": {"type": ["integer", "null"]},
            "kind": {"enum": ["SHORT", "LONG"]},
        },
        "required": ["greeting", "kind"],
        "additionalProperties": False,
    }
    assert told(plan) == {"variant", "config.topK", "input.schema.topics(array, what they like)"}
    value, _ = again(draft, "dotprompt")
    assert value["input"] == {
        "default": {"mood": "sunny"},
        "schema": {
            "name": "string, who is greeted",
            "mood?": "string",
            "topics(array, what they like)": "any",
        },
    }


def test_langfuse() -> None:
    plan = read(json.dumps(LANGFUSE).encode(), "export.json")
    rules, critic = plan.drafts
    assert texts(rules) == [("user", "Never tell the end. {{ '{' }}{ not | this }}")]
    assert texts(critic) == [
        ("system", 'You are an {{level}} critic. {% include "movies/rules@1" %}'),
        ("user", "Is {{movie}} good?"),
    ]
    assert (critic.labels, critic.number, critic.change, critic.tags) == (("production",), 2, "Shorter", ("movies",))
    assert critic.content.model == "openai/gpt-6-luna"
    assert {(loss.place, loss.field) for loss in plan.losses} == {
        ("movies/critic", "labels"),
        ("movies/critic", "[0].config.supported_languages"),
        ("movies/critic", "[0].prompt[1]"),
        ("movies/rules", "[1].prompt"),
    }
    value, _ = again(critic, "langfuse")
    expected = {key: LANGFUSE[0][key] for key in ("name", "type", "version", "tags", "commitMessage")}
    assert {key: value[key] for key in expected} == expected
    assert value["prompt"] == [LANGFUSE[0]["prompt"][0], LANGFUSE[0]["prompt"][2]]
    assert value["config"] == {"model": "gpt-6-luna", "temperature": 0}


def test_promptfoo() -> None:
    plan = read(PROMPTFOO.encode(), "promptfooconfig.yaml")
    plain, chat = plan.drafts
    assert (plain.name, chat.name) == ("promptfooconfig-1", "chat-version")
    assert texts(plain) == [("user", "Translate to {{language}}: {{text}}")]
    assert texts(chat) == [
        ("system", "You translate into {{ language | upper }}."),
        ("user", "{% if formal %}\n\nFormally: {% endif %}{{ text }} {{ data | tojson }}"),
    ]
    assert {name: (one.default, one.example) for name, one in plain.content.variables.items()} == {
        "language": ("French", None),
        "text": (None, "Hello world"),
    }
    assert (plain.content.model, chat.content.parameters.temperature) == ("openai/gpt-6-luna", 0.1)
    assert chat.content.parameters.max_tokens == plain.content.parameters.max_tokens == 100
    assert {
        "prompts[2]",
        "providers",
        "vars.expected",
        "tests[0].assert",
        "description",
        "prompts[1].id",
        "name",
    } == told(plan)
    assert any("file://prompts/other.txt" in loss.why for loss in plan.losses)
    value, _ = again(chat, "promptfoo")
    assert json.loads(value["prompts"][0]["raw"])[1]["content"] == (
        "{% if formal %}\nFormally: {% endif %}{{ text }} {{ data | dump }}"
    )
    assert value["providers"] == ["openai:gpt-6-luna"]


@pytest.mark.parametrize("name", ["chat.json", "chat.yaml"])
def test_a_chat_of_promptfoo(name: str) -> None:
    messages = [{"role": "system", "content": "Be {{ tone }}."}, {"role": "user", "content": "{{question}}"}]
    text = (
        json.dumps(messages)
        if name.endswith("json")
        else '- role: system\n  content: Be {{ tone }}.\n- role: user\n  content: "{{question}}"\n'
    )
    plan = read(text.encode(), name)
    assert (plan.format, only(plan).name) == ("promptfoo", "chat")
    assert texts(only(plan)) == [("system", "Be {{ tone }}."), ("user", "{{question}}")]


def test_llm() -> None:
    plan = read(LLM.encode(), "summary.yaml")
    draft = only(plan)
    assert (plan.format, draft.name) == ("llm", "summary")
    assert texts(draft) == [
        ("system", "You speak like {{ who }}. It costs $5."),
        ("user", "Summarise this{{ suffix }}x: {{ input }}\n"),
    ]
    assert draft.content.variables["who"].default == "a pirate"
    assert told(plan) == {"extract"}
    value, _ = again(draft, "llm")
    assert {**value, "extract": True} == yamltext.load(LLM, "")


def test_openai() -> None:
    plan = read(json.dumps(OPENAI).encode(), "weather.json")
    draft = only(plan)
    assert (plan.format, draft.name, draft.number) == ("openai", "pmpt_68a1", 2)
    assert texts(draft) == [
        ("system", "You tell the weather in {{ unit_system }} units."),
        ("user", "Be brief."),
        ("user", "How is it in {{city}}?"),
    ]
    assert {name: one.example for name, one in draft.content.variables.items()} == {
        "unit_system": "metric",
        "city": "Oslo",
    }
    assert draft.content.parameters.model_dump(exclude_defaults=True) == {
        "temperature": 1.0,
        "max_tokens": 200,
        "effort": "low",
    }
    assert draft.content.answer_schema == {"type": "object"}
    assert told(plan) == {
        "input[0].role",
        "input[1].content[1]",
        "input[2].role",
        "variables.unit-system",
        "reasoning.summary",
        "text.format.name",
        "text.format.strict",
        "tools",
        "store",
    }
    value, _ = again(draft, "openai")
    assert value["prompt"] == {
        "id": "pmpt_68a1",
        "version": "2",
        "variables": {"unit_system": "metric", "city": "Oslo"},
    }
    assert [one["content"] for one in value["messages"]] == [text for _, text in texts(draft)]


@pytest.mark.parametrize(
    ("name", "text", "format_id"),
    [
        ("prompt.md", "---\nname: a\n---\nsystem:\nBe kind.", "prompty"),
        ("prompt.txt", '{{role "system"}}Be kind.', "dotprompt"),
        ("noextension", '{"name": "a", "type": "text", "prompt": "Hi"}', "langfuse"),
        ("noextension", "prompts:\n- Hi {{ x }}\n", "promptfoo"),
        ("t.yml", "system: Be kind.\n", "llm"),
        ("r.json", '{"messages": [{"role": "user", "content": "Hi"}]}', "openai"),
        ("v2.yaml", "format: 1\nmessages:\n- role: user\n  content: Hi\n", "yaml"),
    ],
)
def test_a_format_is_recognised_by_what_the_file_says(name: str, text: str, format_id: str) -> None:
    assert read(text.encode(), name).format == format_id
