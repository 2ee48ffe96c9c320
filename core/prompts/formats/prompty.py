"""Prompty: Microsoft's .prompty files, Jinja2 and lines of `system:`, `user:`, `assistant:` below a frontmatter.

Followed: spec/spec.md 0.1.0-draft of 2026-04-04 (02d4e10) and spec/jinja-subset.md of microsoft/prompty, which is
Prompty 2; of Prompty 1 `sample`, `model.parameters` and `model.configuration` are read as core/migration.py there does.
Templates render there without trim_blocks and lstrip_blocks. The runtime looks for roles after it has rendered. What is
written here was loaded and rendered with the package prompty 2.1.0.
"""

from __future__ import annotations

import re
from typing import Any

from core.errors import BadRequest
from core.prompts import yamltext
from core.prompts.formats import _braces, _jinja, _schemas
from core.prompts.formats._fields import Fields, Place
from core.prompts.formats._given import NOTHING, Given
from core.prompts.formats._jinja_out import write
from core.prompts.formats._model import Format, Plan
from core.prompts.formats._reading import Names, Reading, model_in
from core.prompts.formats._writing import Writing, as_it_stands, frontmatter, one_file_each, without_nothing

_OPTIONS = {
    "temperature": "temperature",
    "maxOutputTokens": "max_tokens",
    "topP": "top_p",
    "seed": "seed",
    "stopSequences": "stop",
}
_OLD = {"max_tokens": "max_tokens", "top_p": "top_p", "stop": "stop", "temperature": "temperature", "seed": "seed"}
_MORE = {"reasoning_effort": "effort"}  # in additionalProperties, which go to the provider as they are
_FILTERS = frozenset(("upper", "lower", "trim", "join", "length", "default"))
_MARK = r"[ \t]*#?[ \t]*(system|user|assistant|developer|tool)(\[[^\]\n']*\])?[ \t]*:[ \t]*"
_ROLE = re.compile(rf"^{_MARK}$", re.IGNORECASE | re.MULTILINE)
_QUOTED_ROLE = re.compile(rf"^\{{\{{ '({_MARK})' \}}\}}$", re.IGNORECASE | re.MULTILINE)
_RICH = ("thread", "image", "file", "audio")


def _file(writing: Writing) -> bytes:
    version, content = writing.version, writing.content
    writing.lose_about("description", "author", "tags", "number")
    messages = writing.messages()
    parts = [f"{m.role}:\n{_text(m.content, f'messages[{n}].content', writing)}\n" for n, m in enumerate(messages)]
    provider, slash, model = content.model.partition("/")
    options = writing.parameters(_OPTIONS | _MORE)
    more = {name: options.pop(name) for name in _MORE if name in options}
    if more:
        options["additionalProperties"] = more
    outputs = _schemas.to_properties(content.answer_schema)
    if content.answer_schema is not None and outputs is None:
        writing.lose("schema", "Prompty's outputs cannot say all of it; they are left out")
    fields = {
        "name": version.name,
        "description": version.description,
        "metadata": without_nothing(
            {
                "authors": [version.author] if version.author else None,
                "tags": list(version.tags),
                "version": str(version.number),
            }
        ),
        "model": without_nothing(
            {"id": model if slash else content.model, "provider": provider if slash else "", "options": options}
        ),
        "inputs": [_input(name, variable) for name, variable in content.variables.items()],
        "outputs": outputs,
        "template": {"format": {"kind": "jinja2"}, "parser": {"kind": "prompty"}},
    }
    return frontmatter(yamltext.dump(without_nothing(fields)), "\n".join(parts))


def _input(name: str, variable: Any) -> dict[str, Any]:
    value = variable.default if variable.default is not None else variable.example
    return (
        {"name": name, "kind": _schemas.kind_of(value)}
        | without_nothing({"description": variable.description, "required": variable.required})
        | {key: given for key in ("default", "example") if (given := getattr(variable, key)) is not None}
    )


def _text(text: str, field: str, writing: Writing) -> str:
    if text.strip("\n") != text:
        writing.lose(field, "line breaks at its beginning or end are not kept")
    try:
        if problems := _jinja.beyond(text, _FILTERS):
            writing.lose(field, f"not every runtime of Prompty knows {', '.join(problems[:5])}")
        text = write(_jinja.parse(text), trim=False) if "{%" in text or "{#" in text else text
    except BadRequest as error:
        writing.lose(field, as_it_stands("Prompty", [error.what]))
    if _ROLE.search(text):
        writing.lose(field, "a line of it reads like a role; Prompty refuses it, or begins a new message there")
        text = _ROLE.sub(lambda found: f"{{{{ '{found[0]}' }}}}", text)
    return text


def read(given: Given) -> Plan:
    split = given.split
    reading = Reading("", given.filename, split.fields)
    fields = reading.place.fields()
    reading.call(fields.take("name").text("") or given.path.stem, Names())
    mustache = _template(fields, reading)
    metadata = fields.take("metadata").fields()
    model, parameters = _model(fields.take("model"), reading)
    draft = reading.draft(
        _messages(split.body, mustache, reading),
        _inputs(fields, reading),
        model=model,
        parameters=parameters,
        schema=_outputs(fields, reading),
        description=fields.take("description").text(""),
        tags=_either(fields, metadata, "tags").texts(),
        author=", ".join(_either(fields, metadata, "authors").texts()),
        number=_either(fields, metadata, "version").number(),
    )
    return Plan((draft,), reading.losses)


def _either(fields: Fields, metadata: Fields, name: str) -> Place:
    """In the metadata, or at the top as Prompty 1 had it."""
    return metadata.take(name) if name in metadata else fields.take(name)


def _template(fields: Fields, reading: Reading) -> bool:
    """Whether it is Mustache. Another language than Jinja and Mustache is refused."""
    place = fields.take("template")
    if isinstance(place.value, str):
        kind = place.value
    else:
        inner = place.fields()
        format = inner.take("format", "type")
        kind = format.value if isinstance(format.value, str) else format.fields().take("kind").text("jinja2")
        parser = inner.take("parser")
        how = parser.value if isinstance(parser.value, str) else parser.fields().take("kind").text("prompty")
        if how != "prompty":
            reading.lose(parser.path, f"the parser {how[:40]!r} is not known here; roles are read as Prompty does")
    if kind not in ("jinja2", "mustache"):
        raise place.wrong(f"asks for {kind[:40]!r}; jinja2 and mustache can be read")
    return kind == "mustache"


def _messages(body: str, mustache: bool, reading: Reading) -> list[dict[str, Any]]:
    parts: list[tuple[str, list[str]]] = [("system", [])]
    explicit = False
    for line in body.split("\n"):
        if found := _ROLE.fullmatch(line):
            if explicit or "".join(parts[-1][1]).strip():
                parts.append(("", []))
            parts[-1] = (found[1].lower(), [])
            explicit = True
            if found[2]:
                reading.lose("messages", f"{found[2][:60]} beside a role has no place here")
        else:
            parts[-1][1].append(line)
    items = [{"role": role, "content": "\n".join(lines).strip("\n")} for role, lines in parts]
    if not any(item["content"] for item in items):
        raise BadRequest(f"{reading.where} holds no prompt below its fields.", NOTHING)

    def text(plain: str, place: str) -> str:
        plain = _QUOTED_ROLE.sub(r"\1", plain)
        if mustache:
            return _braces.read(plain, place, reading)
        return write(_jinja.parse(plain, trim=False)) if "{%" in plain or "{#" in plain else plain

    try:
        return reading.chat([reading.at(item, f"messages[{n}]") for n, item in enumerate(items)], text)
    except BadRequest as error:
        if error.what.startswith("The template"):
            raise BadRequest(f"{reading.where}: {error.what}", NOTHING) from None
        raise


def _model(place: Place, reading: Reading) -> tuple[str, dict[str, Any]]:
    if isinstance(place.value, str):
        return _id(place, "", reading), {}
    fields = place.fields()
    id, provider = fields.take("id").text(""), fields.take("provider").text("")
    old = fields.take("configuration").fields()
    if "type" in old:
        kind = old.take("type").text()
        id = id or old.take("azure_deployment").text("") or old.take("name").text("")
        provider = provider or {"azure_openai": "azure", "openai": "openai"}.get(kind, "")
    old.drop()
    if "connection" in fields or "configuration" in fields:
        fields.take("connection")
        reading.lose("model.connection", "addresses and keys are never imported; they are settings here")
    if fields.take("apiType").text("chat") not in ("chat", "responses"):
        reading.lose("model.apiType", "only chat is possible here")
    fields.take("api")
    options = fields.take("options").fields()
    found = reading.parameters(options, _OPTIONS)
    found |= reading.parameters(options.take("additionalProperties").fields(), _MORE)
    found |= reading.parameters(fields.take("parameters").fields(), _OLD)
    return _id(reading.at(id, "model.id"), provider, reading), found


def _id(place: Place, provider: str, reading: Reading) -> str:
    id = place.text("")
    if id.startswith("${"):
        reading.lose(place.path, f"{id[:60]} is not looked up")
        return ""
    return model_in(id, provider) if id else ""


def _inputs(fields: Fields, reading: Reading) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for one in _properties(fields.take("inputs", "inputSchema"), reading):
        inner = reading.at(one, f"inputs.{one['name']}").fields()
        name = reading.variable(inner.take("name").text())
        old = "type" in inner or "sample" in inner
        kind = inner.take("kind", "type").text("string")
        if kind in _RICH:
            reading.lose(inner.path, f"a value of the kind {kind} has no place here; it is text")
        elif kind not in ("string", "any"):
            reading.lose(inner.path, f"variables here have no type; there it is {kind[:40]}")
        found[name] = {
            "description": inner.take("description").text(""),
            "required": inner.take("required").flag(old),
            "default": inner.take("default").value,
            "example": inner.take("example", "sample").value,
        }
    for key, sample in _samples(fields, reading):
        found.setdefault(reading.variable(key), {}).setdefault("example", sample)
    return found


def _samples(fields: Fields, reading: Reading) -> list[tuple[str, Any]]:
    """The values of Prompty 1's `sample`."""
    place = fields.take("sample")
    if isinstance(place.value, str):
        reading.lose("sample", "points to a file; files that a prompt names are never read")
        return []
    return [(name, inner.value) for name, inner in place.fields().each()]


def _outputs(fields: Fields, reading: Reading) -> dict[str, Any] | None:
    properties = _properties(fields.take("outputs", "outputSchema"), reading)
    return _schemas.from_properties(properties) if properties else None


def _properties(place: Place, reading: Reading) -> list[dict[str, Any]]:
    given = place.value
    if isinstance(given, dict) and isinstance(given.get("properties"), dict | list):
        given = given["properties"]
    if not isinstance(given, dict | list | None):
        raise place.wrong("is neither a list nor an object")
    found = _schemas.as_list(given or [])
    if len(found) != len(given or []):
        reading.lose(place.path, "holds something without a name; it is left out")
    return found


def fits(given: Given) -> int:
    if given.extension == ".prompty":
        return 100
    return 45 if given.kind == "text" and given.split.declared and _ROLE.search(given.split.body) else 0


FORMATS = (Format("prompty", "Prompty", (".prompty",), True, one_file_each("Prompty", ".prompty", _file), read, fits),)
