"""Prompts as plain text for a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from core.messages import Message
from core.prompts.content import Variable
from core.prompts.json_views import parameters_json, time_json
from core.prompts.registry.records import PromptEntry
from core.prompts.version import Version

HEADS = ("NAME", "LATEST", "LABELS", "TAGS", "DESCRIPTION")
LONGEST = 60  # characters of a description in the table
# A text from elsewhere must not play tricks with a terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_RED, _GREEN, _CYAN, _PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[36m", "\x1b[0m"


def table(entries: Sequence[PromptEntry]) -> str:
    """A line for each prompt."""
    rows = [HEADS, *map(_row, entries)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def about(version: Version, labels: Sequence[str]) -> str:
    """What there is to know of a version beside its messages."""
    content = version.content
    made = f", made from v{version.parent}" if version.parent else ""
    lines = [
        f"{version.ref}{'  ' if labels else ''}{', '.join(labels)}",
        version.description,
        f"saved {time_json(version.time)}{f' by {version.author}' if version.author else ''}{made}",
        f"change: {version.change}" if version.change else "",
        f"hash: {version.hash}",
        f"tags: {', '.join(version.tags)}" if version.tags else "",
        f"model: {content.model}" if content.model else "",
    ]
    parameters = parameters_json(version)
    if parameters:
        lines.append("parameters: " + ", ".join(f"{name} {_value(value)}" for name, value in parameters.items()))
    if content.examples:
        sent = f", nearest sent: {content.nearest}" if content.nearest else ""
        lines.append(f"examples: {len(content.examples)}{sent}")
    if content.answer_schema:
        lines.append(f"answer: must fit {json.dumps(content.answer_schema, ensure_ascii=False)}")
    if content.variables:
        lines += ["variables:", *(f"  {_variable(name, one)}" for name, one in content.variables.items())]
    return "".join(f"{line}\n" for line in lines if line)


def messages(found: Iterable[Message]) -> str:
    """Each under its role."""
    return "\n".join(f"[{message.role}]\n{message.text.rstrip(chr(10))}\n" for message in found)


def counted(number: int, thing: str) -> str:
    """`1 version`, `2 versions`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def harmless(text: str) -> str:
    """Without what a terminal would obey."""
    return _CONTROL.sub("\ufffd", text)


def escaped(text: str) -> str:
    """The same JSON, without what a terminal would obey."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def coloured(diff: str) -> str:
    """A unified diff, with its two lines of heading, in the colours that everybody knows."""
    lines = diff.split("\n")
    return "\n".join([*lines[:2], *map(_colour, lines[2:])])


def _colour(line: str) -> str:
    colour = {"+": _GREEN, "-": _RED, "@": _CYAN}.get(line[:1], "")
    return f"{colour}{line}{_PLAIN}" if colour else line


def _row(entry: PromptEntry) -> tuple[str, ...]:
    latest = entry.latest
    description = latest.description.replace("\n", " ") if latest else ""
    return (
        entry.name,
        f"v{latest.number}" if latest else "-",
        " ".join(f"{label}=v{number}" for label, number in sorted(entry.labels.items())),
        ", ".join(latest.tags) if latest else "",
        description if len(description) <= LONGEST else f"{description[: LONGEST - 1].rstrip()}…",
    )


def _variable(name: str, variable: Variable) -> str:
    if variable.default is not None:
        need = f"default {_value(variable.default)}"
    else:
        need = "required" if variable.required else "may be left out"
    example = f"; for example {_value(variable.example)}" if variable.example is not None else ""
    return f"{name}: {variable.description}{' ' if variable.description else ''}({need}{example})"


def _value(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
