"""Fields of a file that somebody else wrote: every complaint names the place, and what nobody asked for is listed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from core import json_place


class Place(json_place.Place):
    """A value of a file with prompts. All methods raise BadRequest."""

    def __init__(self, value: Any, path: str = "", where: str = "", opened: dict[str, Fields] | None = None) -> None:
        super().__init__(value, path, where)
        self._opened: dict[str, Fields] = {} if opened is None else opened  # by path, of all that one reading opened

    def at(self, value: Any, path: str) -> Place:
        return Place(value, path, self.where, self._opened)

    def number(self) -> int | None:
        """A whole number from 1 on, also written as text; None without one."""
        value = self.value
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value[:12])
        return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**9 else None

    def texts(self) -> list[str]:
        return [item.text() for item in self.items()]

    def schema(self) -> dict[str, Any] | None:
        if not isinstance(self.value, dict | None):
            raise self.wrong("is no JSON schema")
        return self.value

    def fields(self, why: str = "has no place here") -> Fields:
        """The same ones each time. Null is an object without fields. `why` is told of those that nobody takes."""
        if not isinstance(self.value, dict | None):
            raise self.wrong("is not an object with fields")
        return self._opened.setdefault(self.path, Fields(self.value or {}, self, why))


class Fields:
    """An object. It remembers which of its fields were taken."""

    def __init__(self, values: dict[str, Any], place: Place, why: str) -> None:
        self._values = values
        self._taken: set[str] = set()
        self._why = why
        self._place = place
        self.path = place.path
        self.where = place.where

    def __contains__(self, name: str) -> bool:
        return self._values.get(name) is not None

    def take(self, *names: str) -> Place:
        """What stands under the first of these names that is there; a missing one is the same as null."""
        name = next((name for name in names if name in self), names[0])
        self._taken.add(name)
        return self._place.at(self._values.get(name), f"{self.path}.{name}".lstrip("."))

    def drop(self) -> None:
        """Takes all of them: what they say is told in another way, or must not be told."""
        self._taken.update(self._values)

    def each(self) -> Iterator[tuple[str, Place]]:
        """Every field that is not taken yet, and takes it."""
        for name in [name for name in self._values if name not in self._taken]:
            yield name, self.take(name)

    def left(self) -> list[tuple[str, str]]:
        """The fields that nobody took, each with the reason why it is lost."""
        return [
            (f"{self.path}.{name}".lstrip("."), self._why)
            for name, value in self._values.items()
            if name not in self._taken and value is not None
        ]
