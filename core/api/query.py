"""The part of an address behind the question mark, by name and type; what does not fit is a BadField that names it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.types import Scope

from core.api.wire import BadField
from core.errors import BadRequest

MOST = 50  # pairs


class Query:
    """Absent and empty are the same: ""."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    @classmethod
    def of(cls, scope: Scope) -> Query:
        """BadRequest for what cannot be read or says a thing twice."""
        text: bytes = scope["query_string"]
        if not text:
            return cls({})
        try:
            pairs = parse_qsl(
                text.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST, separator="&"
            )
        except ValueError:
            raise BadRequest(
                "What stands behind the ? of the address cannot be read.",
                "Write it as ?name=value&name=value in UTF-8.",
            ) from None
        values: dict[str, str] = {}
        for name, value in pairs:
            if name in values:
                raise BadField(name[:100], f"{name[:100]} stands in the address twice.", "Give it once.")
            values[name] = value
        return cls(values)

    def only(self, *names: str) -> None:
        """BadField for any other name: a misspelt `label` must not read another version than was meant."""
        for name in self._values:
            if name not in names:
                near = difflib.get_close_matches(name[:100], names, 1)
                fix = (
                    f"Did you mean {near[0]}?"
                    if near
                    else f"There are {', '.join(names)}."
                    if names
                    else "Leave it out."
                )
                raise BadField(name[:100], f"There is no {name[:100]!r} at this address.", fix)

    def text(self, name: str) -> str:
        return self._values.get(name, "")

    def filled(self, name: str) -> str:
        """As `text`, but a name that stands there must have a value: an empty variable of a shell is a mistake."""
        if self._values.get(name) == "":
            raise BadField(name, f"{name} is empty.", "Give it a value or leave it out.")
        return self._values.get(name, "")

    def integer(self, name: str, low: int, high: int, default: int) -> int:
        value = self._values.get(name, "")
        if not value:
            return default
        if not value.isascii() or not value.isdigit() or len(value) > 12 or not low <= int(value) <= high:
            raise BadField(name, f"{name} must be a whole number between {low} and {high}, not {value[:100]!r}.")
        return int(value)
