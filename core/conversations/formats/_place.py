"""Reading JSON that somebody else may have written: every complaint names the place."""

from __future__ import annotations

import base64
import binascii
import datetime
import math
from typing import Any, TypeVar

from core import json_place
from core.conversations.clean import is_id
from core.text import clean

T = TypeVar("T")

LARGE = 2**62  # no count of ours comes near it, and both databases can hold it


class Place(json_place.Place):
    """A value of an export of conversations. All methods raise BadRequest."""

    def field(self, name: str) -> Place:
        """What stands under this name; a missing one is the same as null."""
        if not isinstance(self.value, dict):
            raise self.wrong("is not an object")
        return self.at(self.value.get(name), f"{self.path}.{name}" if self.path else name)

    @property
    def empty(self) -> bool:
        return self.value is None

    def text(self, default: str | None = None) -> str:
        return clean(super().text(default))

    def one_of(self, options: tuple[T, ...]) -> T:
        for option in options:
            if self.value == option and type(self.value) is type(option):
                return option
        raise self.wrong(f"is none of {', '.join(map(str, options))}")

    def integer(self, low: int = 0, high: int = LARGE) -> int:
        if isinstance(self.value, bool) or not isinstance(self.value, int) or not low <= self.value <= high:
            raise self.wrong("is missing" if self.value is None else f"is not a whole number from {low} to {high}")
        return self.value

    def number(self, low: float = 0.0, high: float = 1e12) -> float:
        right = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        if not right or not math.isfinite(self.value) or not low <= self.value <= high:
            raise self.wrong("is missing" if self.value is None else f"is not a number from {low:g} to {high:g}")
        return float(self.value)

    def object(self) -> dict[str, Any]:
        if not isinstance(self.value, dict):
            raise self.wrong("is not an object")
        return self.value

    def id(self) -> str:
        if not is_id(self.value):
            raise self.wrong("is missing" if self.value is None else "is not an id of 32 hexadecimal digits")
        return str(self.value)

    def moment(self) -> datetime.datetime:
        """An ISO 8601 time with its offset from UTC, given back in UTC."""
        try:
            moment = datetime.datetime.fromisoformat(self.text())
            if moment.tzinfo is None:
                raise ValueError
            return moment.astimezone(datetime.UTC)
        except (ValueError, OverflowError):
            raise self.wrong("is not a time like 2026-11-20T10:00:00+00:00") from None

    def data(self) -> bytes:
        try:
            return base64.b64decode(self.text(), validate=True)
        except (binascii.Error, ValueError):
            raise self.wrong("is not base64") from None
