"""Langfuse prompts: what its API takes and gives, one object or a list of them.

Followed: the public API's CreateChatPromptRequest and CreateTextPromptRequest as of client 0.15 (2026), the data
model, config, message placeholders and prompt references of langfuse.com/docs/prompt-management (read in November
2026). Templates know {{variable}} only. A text prompt is a single message of the user; a list holds all versions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from core.names import Ref
from core.prompts.content import PromptMessage
from core.prompts.formats import _braces
from core.prompts.formats._given import Given
from core.prompts.formats._model import Exported, ExportFile, Format, ImportedVersion, Loss, Packed, Plan
from core.prompts.formats._nodes import Include, Node, Text, pieces
from core.prompts.formats._reading import Names, Reading, model_in, model_out, reference
from core.prompts.formats._writing import OPENAI, OPENAI_READ, Writing, json_text, without_nothing
from core.prompts.version import Version

_REFERENCE = re.compile(r"@@@langfusePrompt:name=([^|@\n]+)\|(?:version|label)=([^|@\n]+)@@@")
_HOUSEKEEPING = ("id", "projectId", "createdAt", "updatedAt", "createdBy", "isActive", "resolutionGraph")


def export(entries: Sequence[Exported]) -> Packed:
    objects: list[dict[str, Any]] = []
    losses: list[Loss] = []
    for entry in entries:
        for version in reversed(entry.versions):
            writing = Writing(entry, version, "Langfuse")
            objects.append(_object(writing, version))
            losses += writing.losses
    single = len(objects) == 1
    name = f"{entries[0].chosen.name}.json" if single else "prompts.langfuse.json"
    return Packed((ExportFile(name, json_text(objects[0] if single else objects)),), tuple(losses))


def _object(writing: Writing, version: Version) -> dict[str, Any]:
    writing.lose_about("tags", "change", "number", "labels", "versions")
    writing.lose_variables()
    messages = writing.messages()
    texts = [_text(message, number, writing) for number, message in enumerate(messages)]
    chat = len(messages) != 1 or messages[0].role != "user"
    config = {
        "model": model_out(writing.content.model),
        **writing.parameters(OPENAI),
        "response_format": writing.response_format(),
    }
    prompt = [{"role": message.role, "content": text} for message, text in zip(messages, texts, strict=True)]
    return {
        "name": version.name,
        "type": "chat" if chat else "text",
        "prompt": prompt if chat else texts[0],
        "config": without_nothing(config),
        "version": version.number,
        "labels": writing.entry.labels_of(version),
        "tags": list(version.tags),
    } | ({"commitMessage": version.change} if version.change else {})


def _text(message: PromptMessage, number: int, writing: Writing) -> str:
    return _braces.text_of(message.content, f"messages[{number}].content", writing, _refer)


def _refer(ref: str) -> str:
    to = Ref.parse(ref)
    selector = f"label={to.label}" if to.number is None else f"version={to.number}"
    return f"@@@langfusePrompt:name={to.name}|{selector}@@@"


def read(given: Given) -> Plan:
    names = Names()
    values = given.value if isinstance(given.value, list) else [given.value]
    paths = [f"[{n}]" for n in range(len(values))] if isinstance(given.value, list) else [""]
    readings = [Reading("", given.filename, *item) for item in zip(values, paths, strict=True)]
    drafts = sorted((_draft(one, names) for one in readings), key=lambda draft: draft.number or 0)
    return Plan(tuple(drafts), tuple(dict.fromkeys(loss for one in readings for loss in one.losses)))


def _draft(reading: Reading, names: Names) -> ImportedVersion:
    fields = reading.place.fields()
    reading.call(fields.take("name").text(), names)

    def text(plain: str, place: str) -> str:
        return _braces.read(plain, place, reading, lambda piece: _references(piece, place, names, reading))

    prompt = fields.take("prompt")
    kind = fields.take("type").text("chat" if isinstance(prompt.value, list) else "text")
    if kind not in ("chat", "text"):
        raise prompt.wrong(f"is of the type {kind[:40]!r}; text and chat are known")
    if kind == "text":
        messages = [{"role": "user", "content": text(prompt.text(), prompt.path)}]
    else:
        messages = reading.chat(prompt.items(), text)
    config = fields.take("config").fields()
    model = config.take("model").text("")
    parameters = reading.parameters(config, OPENAI_READ)
    schema = reading.response_format(config.take("response_format"))
    for name in _HOUSEKEEPING:
        fields.take(name)
    return reading.draft(
        messages,
        model=model_in(model),
        parameters=parameters,
        schema=schema,
        tags=fields.take("tags").texts(),
        labels=reading.labels(fields.take("labels").texts()),
        change=fields.take("commitMessage").text(""),
        number=fields.take("version").number(),
    )


def _references(text: str, place: str, names: Names, reading: Reading) -> Sequence[Node]:
    def node_of(found: re.Match[str]) -> Node:
        if ref := reference(found[1], found[2], names):
            return Include(ref)
        reading.lose(place, f"{found[0][:80]!r} cannot be a reference here; it stays as text")
        return Text(found[0])

    return pieces(text, _REFERENCE, node_of)


def fits(given: Given) -> int:
    if given.kind != "json":
        return 0
    first = given.value[0] if isinstance(given.value, list) and given.value else given.value
    if not isinstance(first, dict) or "name" not in first or not isinstance(first.get("prompt"), str | list):
        return 0
    return 90 if first.get("type") in ("text", "chat") else 70


FORMATS = (Format("langfuse", "Langfuse", (".json",), False, export, read, fits),)
