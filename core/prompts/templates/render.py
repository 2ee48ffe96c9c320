"""What a rendered prompt is, and how values, defaults and few-shot examples get into it."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import BadRequest
from core.messages import Message
from core.prompts.content import Example, Variable

MOST_VALUES = 8_000_000  # characters of all values as JSON
_UNSENT = re.compile("[\ud800-\udfff]")  # halves of a character


class MissingVariables(BadRequest):
    """Required values were not given. `names` holds all of them, in the order of their first use."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        one = len(self.names) == 1
        super().__init__(
            f"The prompt needs {'a value' if one else 'values'} for {listed(self.names)}.",
            f"Give {'it' if one else 'them'}, or set a default in the prompt.",
        )


@dataclass(frozen=True, slots=True)
class Needed:
    """A variable of a prompt. Not `declared`: it was only found in the text."""

    name: str
    variable: Variable
    declared: bool


@dataclass(frozen=True, slots=True)
class Part:
    """A prompt that was included, as its reference was resolved."""

    name: str
    number: int
    hash: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """The messages as they are sent, and all included prompts (also nested), each once."""

    messages: tuple[Message, ...]
    parts: tuple[Part, ...] = ()


def filled(needed: Sequence[Needed], values: Mapping[str, Any]) -> dict[str, Any]:
    """A value for each variable: the given one, else the default; None if there need not be one.

    Raises MissingVariables, and BadRequest for a value that is no JSON value or too large.
    """
    found: dict[str, Any] = {}
    missing: list[str] = []
    for one in needed:
        given = values.get(one.name)
        found[one.name] = one.variable.default if given is None else given
        if found[one.name] is None and one.variable.required:
            missing.append(one.name)
    if missing:
        raise MissingVariables(missing)
    return found


def as_json(values: Mapping[str, Any]) -> bytes:
    """An object of the values that are not None. BadRequest for one that is no JSON value or too large."""
    found: list[str] = []
    for name, value in values.items():
        if value is None:
            continue
        try:
            found.append(f'"{name}": {json.dumps(value, ensure_ascii=False)}')
        except (TypeError, ValueError, RecursionError):
            what = f"The value of {name} cannot be used: it is or holds something that JSON does not have."
            raise BadRequest(what, "Give text, a number, true or false, a list or a mapping.") from None
        if sum(map(len, found)) > MOST_VALUES:
            what = f"The value of {name} cannot be used: the values have more than {MOST_VALUES:,} characters."
            raise BadRequest(what, "Give a smaller one.")
    return _UNSENT.sub("\ufffd", f"{{{', '.join(found)}}}").encode()


def refuse_unknown(values: Iterable[str], known: Collection[str]) -> None:
    """BadRequest if a value is for no variable; it names the one that may be meant."""
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            if near:
                fix = f"Did you mean {near[0]}?"
            else:
                fix = f"Its variables: {', '.join(known)}." if known else "It has no variables."
            raise BadRequest(f"The prompt has no variable {str(name)[:80]!r}.", fix)


def with_examples(messages: Sequence[Message], examples: Iterable[Example]) -> tuple[Message, ...]:
    """Each example as a question and its answer, between the system message and the rest."""
    first = 1 if messages and messages[0].role == "system" else 0
    shots = [
        message
        for example in examples
        for message in (Message("user", example.input), Message("assistant", example.output))
    ]
    return (*messages[:first], *shots, *messages[first:])


def question_of(messages: Sequence[Message], values: Mapping[str, Any]) -> str:
    """What examples are chosen for: the last user message, else all values."""
    for message in reversed(messages):
        if message.role == "user":
            return message.text
    return "\n".join(str(value) for value in values.values() if value not in ("", None))


def listed(names: Iterable[str]) -> str:
    """`a, b and c`."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
