"""A value of JSON or YAML that somebody else wrote, and where it stands: every complaint names the place."""

from __future__ import annotations

from typing import Any, Self

from core.errors import BadRequest


class Place:
    """A value at a path like `conversations[2].turns[5].role` of a file. All methods raise BadRequest."""

    def __init__(self, value: Any, path: str = "", where: str = "") -> None:
        self.value = value
        self.path = path
        self.where = where  # the file

    def at(self, value: Any, path: str) -> Self:
        """Another value of the same file."""
        return type(self)(value, path, self.where)

    def wrong(self, reason: str) -> BadRequest:
        place = ": ".join(part for part in (self.where, self.path) if part) or "The file"
        return BadRequest(f"{place} {reason}.", "Nothing was imported. Correct the file and try again.")

    def items(self) -> list[Self]:
        """The items of a list; null is an empty one."""
        if self.value is None:
            return []
        if not isinstance(self.value, list):
            raise self.wrong("is not a list")
        return [self.at(item, f"{self.path}[{number}]") for number, item in enumerate(self.value)]

    def text(self, default: str | None = None) -> str:
        if self.value is None and default is not None:
            return default
        if not isinstance(self.value, str):
            raise self.wrong("is missing" if self.value is None else "is not a text")
        return self.value

    def flag(self, default: bool) -> bool:
        if self.value is None:
            return default
        if not isinstance(self.value, bool):
            raise self.wrong("is not true or false")
        return self.value
