"""OpenAI prompts as JSON: the messages of a request with {{variables}} in them, beside what the request sets.

OpenAI's stored prompt objects (`prompt: {id, version, variables}` of the Responses API, openai SDK 3.52) hold messages
with {{variable}} in them and are being retired since June 2026; the advice is to keep their messages in files. So the
file is a body of Chat Completions whose `prompt` field keeps the object's id, version and typical values. Read are
also `input` and `instructions` of the Responses API.
"""

from __future__ import annotations

from typing import Any

from core.prompts.formats import _braces
from core.prompts.formats._fields import Fields, Place
from core.prompts.formats._given import Given
from core.prompts.formats._model import Format, Plan
from core.prompts.formats._reading import Convert, Names, Reading, model_in, model_out
from core.prompts.formats._writing import OPENAI, OPENAI_READ, Writing, json_text, one_file_each, without_nothing

# "max_tokens" is out of use there.
_PARAMETERS = {("max_completion_tokens" if theirs == "max_tokens" else theirs): ours for theirs, ours in OPENAI.items()}
_LONGEST_METADATA = 512  # characters of a value


def _file(writing: Writing) -> bytes:
    version = writing.version
    writing.lose_about("number", "description")
    writing.lose_variables("default", "example")
    messages = []
    for number, message in enumerate(writing.messages()):
        text = _braces.text_of(message.content, f"messages[{number}].content", writing)
        messages.append({"role": message.role, "content": text})
    description = version.description[:_LONGEST_METADATA]
    if description != version.description:
        writing.lose("description", f"is cut after {_LONGEST_METADATA} characters")
    body = {
        "prompt": {"id": version.name, "version": str(version.number), "variables": _typical(writing)},
        "model": model_out(writing.content.model),
        "messages": messages,
        **writing.parameters(_PARAMETERS),
        "response_format": writing.response_format(),
        "metadata": {"description": description} if description else None,
    }
    return json_text(without_nothing(body))


def _typical(writing: Writing) -> dict[str, Any]:
    """One value for each variable: its example, or else its default. Values are texts there."""
    found: dict[str, Any] = {}
    for name, variable in writing.content.variables.items():
        if variable.default is not None:
            other = "; the example stands in its place" if variable.example is not None else "; it is an example there"
            writing.lose(f"variables.{name}.default", f"{writing.format} has no defaults{other}")
        value = variable.default if variable.example is None else variable.example
        if value is not None:
            if not isinstance(value, str):
                writing.lose(f"variables.{name}.example", "values are texts there")
            found[name] = value if isinstance(value, str) else str(value)
    return found


def read(given: Given) -> Plan:
    reading = Reading("", given.filename, given.value)
    top = reading.place.fields()
    prompt = top.take("prompt").fields()
    ids = (prompt.take("id").text(""), prompt.take("prompt_id").text(""), top.take("name").text(""))
    original = next((id for id in ids if id), "")
    reading.call(original or given.path.stem, Names())

    def text(plain: str, place: str) -> str:
        return _braces.read(plain, place, reading)

    messages = _messages(top, reading, text)
    metadata = top.take("metadata").fields()
    number = prompt.take("version").number()
    parameters = reading.parameters(top, OPENAI_READ)
    if "reasoning" in top:
        parameters |= reading.parameters(top.take("reasoning").fields(), {"effort": "effort"})
    schema = reading.response_format(top.take("response_format"))
    if "text" in top:
        schema = reading.response_format(top.take("text").fields().take("format"))
    draft = reading.draft(
        messages,
        {reading.variable(name): {"example": place.value} for name, place in prompt.take("variables").fields().each()},
        model=model_in(top.take("model").text("")),
        parameters=parameters,
        schema=schema,
        description=metadata.take("description").text(""),
        number=number,
    )
    return Plan((draft,), reading.losses)


def _messages(top: Fields, reading: Reading, text: Convert) -> list[dict[str, Any]]:
    """`messages`, or `instructions` and `input`, of which the input may be one text."""
    place = top.take("messages")
    if place.value is None:
        place = top.take("input")
    items = [_message("user", place, reading)] if isinstance(place.value, str) else place.items()
    if "instructions" in top:
        items.insert(0, _message("system", top.take("instructions"), reading))
    return reading.chat(items, text)


def _message(role: str, place: Place, reading: Reading) -> Place:
    return reading.at({"role": role, "content": place.text()}, place.path)


def fits(given: Given) -> int:
    if given.kind != "json" or not isinstance(given.value, dict):
        return 0
    value = given.value
    if value.get("format") == 1:
        return 0
    if any(isinstance(value.get(name), list) for name in ("messages", "input")):
        return 80
    return 50 if isinstance(value.get("instructions"), str) else 0


FORMATS = (Format("openai", "OpenAI", (".json",), True, one_file_each("OpenAI's JSON", ".json", _file), read, fits),)
