"""Entries, versions, rendered prompts and moves of labels as JSON values, for the API and the command line."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from core.names import LATEST
from core.prompts.registry.records import Move, PromptEntry
from core.prompts.templates.render import Rendered
from core.prompts.version import Version


def labels_of(version: Version, labels: Mapping[str, int], latest: Version | None) -> list[str]:
    """The labels that point to a version, `latest` last."""
    found = sorted(label for label, number in labels.items() if number == version.number)
    return [*found, LATEST] if latest is not None and latest.number == version.number else found


def summary_json(entry: PromptEntry) -> dict[str, Any]:
    """A line of the list. `latest` is null where no version can be used."""
    latest = entry.latest
    return {
        "name": entry.name,
        "description": "" if latest is None else latest.description,
        "tags": [] if latest is None else list(latest.tags),
        "versions": list(entry.numbers),
        "latest": None if latest is None else latest.number,
        "labels": dict(sorted(entry.labels.items())),
    }


def version_json(version: Version, labels: list[str]) -> dict[str, Any]:
    """All of a version; every field is always there."""
    content = version.content
    return {
        "name": version.name,
        **history_json(version, labels),
        "messages": [message.model_dump() for message in content.messages],
        "variables": {name: variable.model_dump() for name, variable in content.variables.items()},
        "examples": [example.model_dump() for example in content.examples],
        "nearest": content.nearest,
        "model": content.model,
        "parameters": parameters_json(version),
        "schema": content.answer_schema,
    }


def parameters_json(version: Version) -> dict[str, Any]:
    """Those that are set, by the names of the file format."""
    return version.content.parameters.model_dump(mode="json", exclude_defaults=True)


def history_json(version: Version, labels: list[str]) -> dict[str, Any]:
    """A version among others."""
    return {
        "version": version.number,
        "hash": version.hash,
        "labels": labels,
        "description": version.description,
        "tags": list(version.tags),
        "change": version.change,
        "author": version.author,
        "time": time_json(version.time),
        "parent": version.parent,
    }


def rendered_json(version: Version, rendered: Rendered) -> dict[str, Any]:
    """A prompt with its variables filled in, and the prompts that it includes as they were resolved."""
    return {
        "name": version.name,
        "version": version.number,
        "hash": version.hash,
        "parts": [{"name": part.name, "version": part.number, "hash": part.hash} for part in rendered.parts],
        "model": version.content.model,
        "parameters": parameters_json(version),
        "schema": version.content.answer_schema,
        "messages": [{"role": message.role, "content": message.text} for message in rendered.messages],
    }


def move_json(move: Move) -> dict[str, Any]:
    """One entry of the labels' history: who moved which label from where to where, when and why."""
    return {
        "label": move.label,
        "from": move.before,
        "to": move.to,
        "by": move.by,
        "time": time_json(move.time),
        "why": move.why,
    }


def time_json(time: datetime.datetime) -> str:
    """In UTC, as 2026-11-20T12:00:00Z."""
    return time.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
