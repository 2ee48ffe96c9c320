"""Reads fields of a JSON object by name and type; what does not fit is a BadField that names the field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.api.wire import BadField

_NAMES = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "an integer", float: "a number"}


class Fields:
    """One object of the request. Absent and null are the same: None."""

    __slots__ = ("_values", "prefix")

    def __init__(self, values: Mapping[str, Any], prefix: str = "") -> None:
        self._values = values
        self.prefix = prefix  # "messages[0]." in front of the names in errors

    def given(self, *names: str) -> list[str]:
        """Those of `names` that stand there with a value."""
        return [name for name in names if self._values.get(name) is not None]

    def any(self, name: str) -> Any:
        return self._values.get(name)

    def text(self, name: str) -> str | None:
        value = self._values.get(name)
        if value is None or isinstance(value, str):
            return value
        raise self.wrong(name, "a string", value)

    def flag(self, name: str) -> bool | None:
        value = self._values.get(name)
        if value is None or isinstance(value, bool):
            return value
        raise self.wrong(name, "a boolean", value)

    def integer(self, name: str, low: int, high: int) -> int | None:
        value = self._values.get(name)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(name, "an integer", value)
        if not low <= value <= high:
            raise self.error(name, f"must lie between {low} and {high}, not {value}.")
        return value

    def number(self, name: str, low: float, high: float) -> float | None:
        value = self._values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(name, "a number", value)
        if not low <= value <= high:
            raise self.error(name, f"must lie between {low:g} and {high:g}, not {value:g}.")
        return float(value)

    def choice(self, name: str, options: Sequence[str]) -> str | None:
        value = self.text(name)
        if value is not None and value not in options:
            raise self.error(name, f"must be one of {', '.join(options)}, not {value[:100]!r}.")
        return value

    def texts(self, name: str, most: int) -> tuple[str, ...]:
        """A list of strings that are not empty."""
        value = self._values.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(name, "a list of strings", value)
        if len(value) > most or not all(value):
            raise self.error(name, f"must hold at most {most} strings, none of them empty.")
        return tuple(value)

    def object(self, name: str) -> Fields | None:
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong(name, "an object", value)
        return Fields(value, f"{self.prefix}{name}.")

    def mapping(self, name: str) -> Mapping[str, Any]:
        """An object with names of the sender's own choice; empty where there is none."""
        value = self._values.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.wrong(name, "an object", value)
        return value

    def objects(self, name: str, most: int) -> list[Fields]:
        value = self._values.get(name)
        if not isinstance(value, list):
            raise self.wrong(name, "a list", value)
        if len(value) > most:
            raise self.error(name, f"must hold at most {most} entries, not {len(value)}.")
        found = []
        for number, item in enumerate(value):
            if not isinstance(item, dict):
                raise self.wrong(f"{name}[{number}]", "an object", item)
            found.append(Fields(item, f"{self.prefix}{name}[{number}]."))
        return found

    def only(self, *names: str) -> None:
        """BadField for any other field that stands there."""
        for name in self._values:
            if name not in names:
                raise self.error(name[:100], "is not a field of this request.", f"There are {', '.join(names)}.")

    def required(self, name: str) -> str:
        value = self.text(name)
        if not value:
            raise self.error(name, "is missing.")
        return value

    def wrong(self, name: str, wanted: str, value: Any) -> BadField:
        if value is None:
            return self.error(name, f"is missing; it must be {wanted}.")
        return self.error(name, f"must be {wanted}, not {_NAMES.get(type(value), 'that')}.")

    def error(self, name: str, what: str, fix: str | None = None) -> BadField:
        return BadField(f"{self.prefix}{name}", f"{self.prefix}{name} {what}", fix)
