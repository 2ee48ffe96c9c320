"""Fields of a file that somebody else wrote: every complaint names the place, and what nobody asked for is listed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from core.errors import BadRequest
from core.prompts.formats._given import NOTHING


class Place:
    """A value and where it stands, like `messages[2].role`. All methods raise BadRequest."""

    def __init__(self, value: Any, path: str, where: str, opened: dict[str, Fields] | None = None) -> None:
        self.value = value
        self.path = path
        self.where = where  # the file
        self._opened: dict[str, Fields] = {} if opened is None else opened  # by path, of all that one reading opened

    def wrong(self, reason: str) -> BadRequest:
        place = f"{self.where}: {self.path}" if self.path else self.where
        return BadRequest(f"{place} {reason}.", NOTHING)

    def text(self, default: str | None = None) -> str:
        if self.value is None and default is not None:
            return default
        if not isinstance(self.value, str):
            raise self.wrong("is missing" if self.value is None else "is not a text")
        return self.value

    def number(self) -> int | None:
        """A whole number from 1 on, also written as text; None without one."""
        value = self.value
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value[:12])
        return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**9 else None

    def flag(self, default: bool) -> bool:
        if self.value is None:
            return default
        if not isinstance(self.value, bool):
            raise self.wrong("is not true or false")
        return self.value

    def items(self) -> list[Place]:
        """The items of a list; null is an empty one."""
        if self.value is None:
            return []
        if not isinstance(self.value, list):
            raise self.wrong("is not a list")
        return [Place(item, f"{self.path}[{n}]", self.where, self._opened) for n, item in enumerate(self.value)]

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
        return self._opened.setdefault(self.path, Fields(self.value or {}, self, why, self._opened))


class Fields:
    """An object. It remembers which of its fields were taken."""

    def __init__(self, values: dict[str, Any], place: Place, why: str, opened: dict[str, Fields]) -> None:
        self._values = values
        self._taken: set[str] = set()
        self._why = why
        self._opened = opened
        self.path = place.path
        self.where = place.where

    def __contains__(self, name: str) -> bool:
        return self._values.get(name) is not None

    def take(self, name: str) -> Place:
        """What stands under this name; a missing one is the same as null."""
        self._taken.add(name)
        return Place(self._values.get(name), f"{self.path}.{name}".lstrip("."), self.where, self._opened)

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
