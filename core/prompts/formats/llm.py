"""Templates of the `llm` command: YAML with a system and a user prompt, and $variables.

Followed: docs/templates.md and llm/templates.py of simonw/llm 0.36 (name, prompt, system, model, defaults,
options, schema_object, extract, extract_last, attachments, fragments, tools, functions). Templates are Python's
string.Template: $name, ${name}, $$. The name is the file's. What the user types is $input.
"""

from __future__ import annotations

import re
import string

from core.errors import BadRequest
from core.prompts import yamltext
from core.prompts.formats import _jinja
from core.prompts.formats._fields import Place
from core.prompts.formats._given import NOTHING, Given
from core.prompts.formats._jinja_out import write
from core.prompts.formats._model import Format, Plan
from core.prompts.formats._nodes import Node, Text, Value, pieces
from core.prompts.formats._reading import Names, Reading, model_in, model_out
from core.prompts.formats._writing import OPENAI, Writing, one_file_each, without_nothing

_KEYS = frozenset(
    ("prompt", "system", "model", "defaults", "options", "schema_object", "extract", "extract_last", "fragments")
)


def _file(writing: Writing) -> bytes:
    writing.lose_about()
    writing.lose_variables("default")
    content = writing.content
    if content.examples:
        writing.lose("examples", "llm has no few-shot examples; they are left out")
        if content.nearest is not None:
            writing.lose("nearest", "llm has no few-shot examples")
    found: dict[str, str] = {}
    roles = {"system": "system", "user": "prompt"}
    if all(message.role == "assistant" for message in content.messages):
        roles = {"assistant": "prompt"}
        writing.lose("messages[0].role", "is user in llm")
    for number, message in enumerate(content.messages):
        name = roles.get(message.role, "")
        if not name or name in found:
            writing.lose(f"messages[{number}]", "llm has one system and one user message; this one is left out")
            continue
        found[name] = _text(message.content, f"messages[{number}].content", writing)
        if not found[name].strip():
            writing.lose(f"messages[{number}]", "an empty message is left out there")
    options = writing.parameters(OPENAI)
    if "stop" in options:
        if len(options["stop"]) > 1:
            writing.lose("parameters.stop", "llm takes one stop sequence; the first is there")
        options["stop"] = options["stop"][0]
    fields = {
        "model": model_out(content.model),
        **found,
        "defaults": writing.values("default"),
        "options": options,
        "schema_object": content.answer_schema,
    }
    return yamltext.dump(without_nothing(fields)).encode()


def _text(text: str, field: str, writing: Writing) -> str:
    def say(node: Node, _: str, following: Node | None) -> str | None:
        match node:
            case Text(plain):
                return plain.replace("$", "$$")
            case Value((name,), _, None) if name.isascii():
                glued = isinstance(following, Text) and (following.text[0].isalnum() or following.text[0] == "_")
                return f"${{{name}}}" if glued else f"${name}"
        return None

    return writing.simple(text, field, say, lambda text: text.replace("$", "$$"))


def read(given: Given) -> Plan:
    reading = Reading("", given.filename, given.value)
    fields = reading.place.fields()
    path = given.path.with_suffix("")
    name = path.name if path.is_absolute() or ".." in path.parts else path.as_posix()
    reading.call(fields.take("name").text("") or name, Names())
    messages = []
    for role, key in (("system", "system"), ("user", "prompt")):
        if key in fields:
            messages.append({"role": role, "content": _ours(fields.take(key), reading)})
    if not messages:
        raise BadRequest(f"{given.filename} has neither a prompt nor a system prompt.", NOTHING)
    options = fields.take("options").fields()
    defaults = {
        reading.variable(key): {"default": place.value} for key, place in fields.take("defaults").fields().each()
    }
    draft = reading.draft(
        messages,
        defaults,
        model=model_in(fields.take("model").text("")),
        parameters=reading.parameters(options, OPENAI),
        schema=fields.take("schema_object").schema(),
    )
    if messages[-1]["role"] == "user" and "input" not in _jinja.names_in(messages[-1]["content"]):
        reading.lose("prompt", "llm adds what the user types at its end; write {{ input }} where it belongs")
    return Plan((draft,), reading.losses)


def _ours(place: Place, reading: Reading) -> str:
    def node_of(found: re.Match[str]) -> Node:
        if name := found["named"] or found["braced"]:
            return Value((reading.variable(name),))
        if found["escaped"] is None:
            reading.lose(place.path, "a single $ stands there, which llm refuses; it stays as text")
        return Text("$" if found["escaped"] is not None else found[0])

    return write(pieces(place.text(), string.Template.pattern, node_of))


def fits(given: Given) -> int:
    if given.kind != "yaml" or not isinstance(given.value, dict):
        return 0
    keys = given.value.keys()
    return 60 if any(isinstance(given.value.get(key), str) for key in ("prompt", "system")) and keys & _KEYS else 0


FORMATS = (Format("llm", "llm template", (".yaml", ".yml"), True, one_file_each("llm", ".yaml", _file), read, fits),)
