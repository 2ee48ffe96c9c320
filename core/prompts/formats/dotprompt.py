"""dotprompt: Google's .prompt files, Handlebars below a frontmatter.

Followed: google.github.io/dotprompt/reference (frontmatter, template, picoschema) and the sources of dotpromptz at
856196b and 9ae54e7, HANDLEBARS_PARITY.md of 2026-08-13; what is written here was rendered with the package dotprompt
1.1.2 and with handlebars.js 4.7.10. Line breaks around a message separate it from {{role}}.
Variables are described by `input.schema`; answers by `output.schema`, which is written as JSON Schema.
"""

from __future__ import annotations

from typing import Any

from core.errors import BadRequest
from core.prompts import yamltext
from core.prompts.formats import _handlebars, _jinja, _schemas
from core.prompts.formats._fields import Fields, Place
from core.prompts.formats._given import NOTHING, Given
from core.prompts.formats._handlebars_out import Unsaid, Writer
from core.prompts.formats._jinja_out import write
from core.prompts.formats._model import Format, Plan
from core.prompts.formats._nodes import Each, walk
from core.prompts.formats._reading import Names, Reading, model_in
from core.prompts.formats._writing import Writing, as_it_stands, frontmatter, one_file_each, without_nothing

_CONFIG = {
    "temperature": "temperature",
    "topP": "top_p",
    "maxOutputTokens": "max_tokens",
    "stopSequences": "stop",
    "seed": "seed",
}
_MAKERS = {"googleai": "google", "vertexai": "google"}


def _file(writing: Writing) -> bytes:
    writing.lose_about("description")
    writing.lose_variables("description", "default", "required")
    content = writing.content
    messages = writing.messages()
    lists: set[str] = set()
    parts = []
    for number, message in enumerate(messages):
        role = "model" if message.role == "assistant" else message.role
        text = _text(message.content, f"messages[{number}].content", writing, lists)
        parts.append(f'{{{{role "{role}"}}}}\n{text}\n')
    schema = content.answer_schema
    if schema is not None and not _schemas.is_json_schema(schema):
        writing.lose("schema", "dotprompt takes a JSON schema only if it names its type; it is left out")
        schema = None
    fields = {
        "name": writing.version.name,
        "description": writing.version.description,
        "model": content.model,
        "config": writing.parameters(_CONFIG),
        "input": without_nothing({"default": writing.values("default"), "schema": _input(writing, lists)}),
        "output": {"format": "json", "schema": schema} if schema is not None else None,
    }
    return frontmatter(yamltext.dump(without_nothing(fields)), "".join(parts))


def _text(text: str, field: str, writing: Writing, lists: set[str]) -> str:
    if text.strip("\n") != text:
        writing.lose(field, "line breaks at its beginning or end are not kept")
    if not text.strip():
        writing.lose(field, "an empty message is left out there")
    writer = Writer()
    try:
        nodes = _jinja.parse(text)
        writer.write(nodes)
    except (Unsaid, BadRequest) as error:
        writing.lose(field, as_it_stands("dotprompt", [str(error)]))
        return text
    lists.update(node.path[0] for node in walk(nodes) if isinstance(node, Each) and len(node.path) == 1)
    return "".join(writer.out)


def _input(writing: Writing, lists: set[str]) -> dict[str, Any]:
    """Picoschema, one line a variable."""
    found: dict[str, Any] = {}
    for name, variable in writing.content.variables.items():
        value = variable.default if variable.default is not None else variable.example
        type_ = "array" if name in lists else _schemas.type_of(value)
        about = " ".join(variable.description.split()).lstrip(",")
        if type_ in ("array", "object"):
            about = about.replace("(", "[").replace(")", "]")
        if about != variable.description:
            writing.lose(f"variables.{name}.description", "is one line there, for lists without round brackets")
        mark = "" if variable.required else "?"
        if type_ in ("array", "object"):
            inside = f"{type_}, {about}" if about else type_
            found[f"{name}{mark}({inside})"] = {"(*)": "any"} if type_ == "object" else "any"
        else:
            found[f"{name}{mark}"] = f"{type_}, {about}" if about else type_
    if "type" in found or "properties" in found:  # would be taken for JSON Schema
        return _schemas.pico(Place(found, "", ""))
    return found


def read(given: Given) -> Plan:
    split = given.split
    reading = Reading("", given.filename, split.fields)
    fields = reading.place.fields()
    stem, _, variant = given.path.name.removesuffix(given.path.suffix).partition(".")
    folder = "" if given.path.is_absolute() or given.path.parent.name == "" else f"{given.path.parent.as_posix()}/"
    name = fields.take("name").text("") or f"{folder}{stem}"
    variant = fields.take("variant").text("") or variant
    reading.call(f"{name}-{variant}" if variant else name, Names())
    if variant:
        reading.lose("variant", "is a part of the name here")
    found = _handlebars.read(split.body, reading)
    if not found:
        raise BadRequest(f"{given.filename} holds no prompt.", NOTHING)
    turns = [{"role": role, "content": write(nodes)} for role, nodes in found]
    messages = reading.chat(reading.at(turns, "messages").items(), lambda text, _: text)
    config = fields.take("config").fields()
    output = fields.take("output").fields()
    schema_place = output.take("schema")
    schema = _schemas.from_pico(schema_place) if schema_place.value is not None else None
    if output.take("format").text("json") != "json":
        reading.lose("output.format", "only JSON can be asked for here")
    draft = reading.draft(
        messages,
        _variables(fields.take("input").fields(), reading),
        model=_model(fields.take("model").text("")),
        parameters=reading.parameters(config, _CONFIG),
        schema=schema,
        description=fields.take("description").text(""),
    )
    return Plan((draft,), reading.losses)


def _model(text: str) -> str:
    maker, slash, name = text.partition("/")
    return f"{_MAKERS.get(maker, maker)}/{name}" if slash else model_in(text)


def _variables(fields: Fields, reading: Reading) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    place = fields.take("schema")
    if _schemas.is_json_schema(place.value):
        schema = place.fields()
        required = schema.take("required").texts()
        for name, inner in schema.take("properties").fields().each():
            given = inner.fields("variables here have no type")
            type_ = given.take("type").value
            found[reading.variable(name)] = _variable(
                reading, inner.path, str(type_ or "any"), given.take("description").text(""), name in required
            )
        schema.drop()
    elif isinstance(place.value, str):
        reading.lose(place.path, "names a schema that is not in the file")
    else:
        for key, inner in place.fields().each():
            name, optional, type_, description = _schemas.named(key)
            if isinstance(inner.value, str) and not type_:
                type_, description = (part.strip() for part in f"{inner.value},".split(",", 1))
                description = description.removesuffix(",").strip()
            elif inner.value not in ("any", "string", {"(*)": "any"}):
                reading.lose(inner.path, "variables here have no type")
            found[reading.variable(name)] = _variable(reading, inner.path, type_ or "object", description, not optional)
    for name, default in fields.take("default").fields().each():
        found.setdefault(reading.variable(name), {})["default"] = default.value
    return found


def _variable(reading: Reading, field: str, type_: str, description: str, required: bool) -> dict[str, Any]:
    if type_ not in ("string", "any"):
        reading.lose(field, f"variables here have no type; there it is {type_[:40]}")
    return {"description": description, "required": required}


def fits(given: Given) -> int:
    if given.extension == ".prompt":
        return 100
    return 40 if given.kind == "text" and "{{role " in given.text else 0


FORMATS = (
    Format("dotprompt", "dotprompt", (".prompt",), True, one_file_each("dotprompt", ".prompt", _file), read, fits),
)
