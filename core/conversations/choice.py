"""The prompt that a conversation is led by: which version, and the values of its variables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.errors import BadRequest
from core.names import Ref
from core.text import clean

LARGEST = 1_000_000  # characters of all values as JSON
DEEPEST = 50  # lists and objects within each other


@dataclass(frozen=True, slots=True)
class PromptChoice:
    """`ref` is `name@production`, which follows the label, or `name@3`. `values` are JSON values by variable."""

    ref: str
    values: Mapping[str, Any] = field(default_factory=dict)


def checked(choice: PromptChoice) -> PromptChoice:
    """The choice as it can be kept. BadRequest when `ref` is no reference, or a value is none of JSON's or too large.

    Whether the prompt exists and has these variables is seen when it is used.
    """
    ref, values = str(Ref.parse(choice.ref)), _clean(dict(choice.values), 0)
    if len(json.dumps(values, ensure_ascii=False)) > LARGEST:
        raise BadRequest("The values of the prompt's variables are too long.", f"At most {LARGEST:,} characters fit.")
    return PromptChoice(ref, values)


def choice_to_json(choice: PromptChoice | None) -> dict[str, Any] | None:
    return None if choice is None else {"ref": choice.ref, "values": dict(choice.values)}


def choice_of(stored: Any) -> PromptChoice | None:
    """A choice from what was stored."""
    return None if stored is None else PromptChoice(stored["ref"], stored.get("values") or {})


def choice_text(choice: PromptChoice) -> str:
    """The choice to be read: the reference, then a line for each value."""
    lines = (
        f"{name} = {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in choice.values.items()
    )
    return "\n".join([choice.ref, *lines])


def _clean(value: Any, depth: int) -> Any:
    """A JSON value with clean texts, and with lists for tuples."""
    if depth > DEEPEST:
        raise BadRequest(f"A value of the prompt's variables is more than {DEEPEST} levels deep.", "Make it flatter.")
    match value:
        case str():
            return clean(value)
        case None | bool() | int():
            return value
        case float() if abs(value) < float("inf"):
            return value
        case list() | tuple():
            return [_clean(item, depth + 1) for item in value]
        case Mapping() if all(isinstance(name, str) for name in value):
            return {clean(name): _clean(item, depth + 1) for name, item in value.items()}
    raise BadRequest(
        "A value of the prompt's variables cannot be written as JSON.", "Use text, numbers, lists or yes/no."
    )
