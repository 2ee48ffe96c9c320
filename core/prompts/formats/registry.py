"""The whole registry as one JSON or YAML file: every version, every label and their history, without loss.

{"format": "parley-prompts", "version": 1, "prompts": [
  {"name", "labels": {label: number}, "history": [a move as in labels.jsonl, the oldest first],
   "versions": [{"number", and the fields of a version's file but its seal}, the oldest first]}]}
A version's own file is read too.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from core.errors import BadRequest
from core.prompts import yamltext
from core.prompts.content import checked
from core.prompts.formats._fields import Fields, Place
from core.prompts.formats._given import NOTHING, Given
from core.prompts.formats._model import Exported, ExportFile, Format, ImportedVersion, Packed, Plan
from core.prompts.formats._reading import Names, Reading
from core.prompts.registry import labels
from core.prompts.registry.records import Move
from core.prompts.version import PromptFile, Version, content_of

NAME = "parley-prompts"
VERSION = 1
UNKNOWN = "is not a field of this format"
_VERSION_FILE = re.compile(r"v([1-9][0-9]{0,8})")


def _fits(given: Given) -> int:
    """Whether the value is a registry, or a version's file."""
    value = given.value
    if not isinstance(value, dict):
        return 0
    if value.get("format") == NAME:
        return 100
    return 60 if value.get("format") == 1 and "messages" in value else 0


def _value(entries: Sequence[Exported]) -> dict[str, Any]:
    prompts = []
    for entry in entries:
        prompt: dict[str, Any] = {"name": entry.chosen.name}
        if entry.labels:
            prompt["labels"] = dict(entry.labels)
        if entry.history:
            prompt["history"] = [labels.values_of(move) for move in reversed(entry.history)]
        prompt["versions"] = [_version(version) for version in reversed(entry.versions)]
        prompts.append(prompt)
    return {"format": NAME, "version": VERSION, "prompts": prompts}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def _version(version: Version) -> dict[str, Any]:
    fields = version.as_dict()
    del fields["seal"]
    return {"number": version.number, **fields}


def _read(given: Given) -> Plan:
    whole = Reading("", given.filename, given.value)
    top = whole.place.fields(UNKNOWN)
    if top.take("format").value != NAME:
        return _one_version(given)
    version = top.take("version").number()
    if version is None or version > VERSION:
        raise BadRequest(
            f"{given.filename} was made by a newer Parley (its format is version {version or 'unknown'}).",
            "Update this Parley, then try again.",
        )
    names = Names()
    drafts: list[ImportedVersion] = []
    moves: dict[str, tuple[Move, ...]] = {}
    readings = [Reading("", given.filename, item.value, item.path) for item in top.take("prompts").items()]
    for reading in readings:
        fields = reading.place.fields(UNKNOWN)
        name_place = fields.take("name")
        reading.call(name_place.text(), names)
        if any(draft.name == reading.name for draft in drafts):
            raise name_place.wrong(f"is there twice: {reading.name}")
        own = _versions(fields, reading)
        history = _history(fields.take("history"), own, reading)
        drafts += _labelled(fields.take("labels").fields(), own, history, reading)
        if history:
            moves[reading.name] = history
    losses = [loss for one in (*readings, whole) for loss in one.losses]
    return Plan(tuple(drafts), tuple(losses), moves=moves)


def _versions(fields: Fields, reading: Reading) -> list[ImportedVersion]:
    found = [_draft(item, reading) for item in fields.take("versions").items()]
    numbers = [draft.number for draft in found]
    if len(set(numbers)) != len(numbers):
        raise BadRequest(f"{fields.where}: {fields.path}.versions holds a number twice.", NOTHING)
    return sorted(found, key=lambda draft: draft.number or 0)


def _draft(item: Place, reading: Reading, number: int | None = None) -> ImportedVersion:
    if not isinstance(item.value, dict):
        raise item.wrong("is not an object with fields")
    values = dict(item.value)
    if number is None:
        number = Place(values.pop("number", None), f"{item.path}.number", item.where).number()
        if number is None:
            raise item.wrong("has no number")
    file = checked(PromptFile, values, f"{item.where}: {item.path or reading.name}")
    content = content_of(file)
    if file.hash and file.hash != content.digest():
        reading.lose(f"v{number}.hash", "does not fit the text: it was changed after it was written")
    return ImportedVersion(
        reading.name,
        content,
        file.description,
        file.tags,
        file.change,
        file.author,
        _time(file.time, item, reading),
        number,
        (),
        file.parent,
    )


def _time(text: str, item: Place, reading: Reading) -> datetime.datetime | None:
    if not text:
        return None
    try:
        time = datetime.datetime.fromisoformat(text).astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        raise item.wrong("has a time that is no time like 2026-11-20T12:00:00Z") from None
    if time.microsecond:
        reading.lose("time", "parts of a second are left out")
    return time.replace(microsecond=0)


def _history(place: Place, drafts: list[ImportedVersion], reading: Reading) -> tuple[Move, ...]:
    """The moves, if they are whole and tell of versions that the file holds."""
    moves = place.items()
    if not moves:
        return ()
    lines = [json.dumps(move.value, ensure_ascii=False, separators=(",", ":")).encode() for move in moves]
    history = labels.parse(b"".join(line + b"\n" for line in lines))
    hashes = {draft.number: draft.content.digest() for draft in drafts}
    why = f"is broken at move {history.damaged}: {history.why}" if history.damaged else ""
    last = {move.label: move for move in history.moves}
    if any(move.to is not None and hashes.get(move.to) != move.content for move in last.values()):
        why = "tells of versions that the file does not hold as they were"
    if why:
        reading.lose("history", f"{why}; it is left out")
        return ()
    return history.moves


def _labelled(
    fields: Fields, drafts: list[ImportedVersion], history: tuple[Move, ...], reading: Reading
) -> list[ImportedVersion]:
    """The drafts with their labels: as the history says, or else as the list of labels does."""
    where = {move.label: move.to for move in history}
    for label, place in fields.each():
        number = place.number()
        if number is None or all(draft.number != number for draft in drafts):
            reading.lose(f"labels.{label}", "names no version of the file")
        elif not history and reading.labels([label]):
            where[label] = number
    return [
        replace(draft, labels=tuple(sorted(label for label, to in where.items() if to == draft.number)))
        for draft in drafts
    ]


def _one_version(given: Given) -> Plan:
    """A version's own file, named like support/reply/v3.yaml or like the prompt."""
    named = _VERSION_FILE.fullmatch(given.path.stem)
    parts = given.path.parts[:-1] if named else (*given.path.parts[:-1], given.path.stem)
    inside = "/".join(parts) if not given.path.is_absolute() else (parts or ("",))[-1]
    reading = Reading("", given.filename, {key: value for key, value in given.value.items() if key != "seal"})
    reading.call(inside or "imported", Names())
    draft = _draft(reading.place, reading, int(named[1]) if named else 0)
    return Plan((replace(draft, number=draft.number or None, time=None, parent=None),), reading.losses)


def _format(id: Literal["json", "yaml"], extensions: tuple[str, ...], dump: Callable[[Any], str]) -> Format:
    def export(entries: Sequence[Exported]) -> Packed:
        return Packed((ExportFile(f"prompts.{id}", dump(_value(entries)).encode()),))

    def fits(given: Given) -> int:
        return _fits(given) if given.kind == id else 0

    return Format(id, f"Registry as {id.upper()}", extensions, False, export, _read, fits, lossless=True)


FORMATS = (_format("json", (".json",), _json), _format("yaml", (".yaml", ".yml"), yamltext.dump))
