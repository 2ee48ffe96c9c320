"""The texts of fields to values and back. BadRequest, which names the field, for what does not parse."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any

from core.errors import BadRequest

FIX = "Correct it or empty it."
NOTHING = '""'  # a line that stands for an empty text
# What a field of several lines cannot show, or what means something else there.
_ESCAPED = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\\]")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.|$)", re.DOTALL)
_SHORT = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}
_LETTERS = {"\n": "n", "\r": "r", "\\": "\\"}


def whole(name: str, text: str, low: int, high: int) -> int | None:
    """A whole number, None for no text."""
    cleaned = text.strip().replace(",", "").replace("_", "")
    if not cleaned:
        return None
    try:
        value = int(cleaned) if len(cleaned) < 30 else low - 1
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        limits = f" from {low:,} to {high:,}" if low > 0 else ""
        raise BadRequest(f"{name} must be a whole number{limits}.", FIX)
    return value


def real(name: str, text: str, low: float, high: float) -> float | None:
    """A number, None for no text."""
    if not text.strip():
        return None
    try:
        value = float(text.strip().replace(",", "."))
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise BadRequest(f"{name} must be a number from {low:g} to {high:g}.", FIX)
    return value


def json_value(name: str, text: str) -> Any:
    """Any JSON value whose numbers can be saved."""
    try:
        return json.loads(text, parse_constant=_no_constant, parse_float=_float, parse_int=_integer)
    except _TooLarge:
        raise BadRequest(f"{name} holds a number that is too large.", "Write it as text, in quotes.") from None
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno}: {error.msg.lower()})" if isinstance(error, json.JSONDecodeError) else ""
        raise BadRequest(f"{name} is not valid JSON{where}.", FIX) from None


def as_text(value: Any) -> str:
    """A JSON value as a field shows it: text as it is, everything else as JSON, nothing for none."""
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def as_json(value: Any) -> str:
    """A JSON value as JSON, nothing for none."""
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def written(value: float | None) -> str:
    """A number as a field shows it, nothing for none."""
    if value is None:
        return ""
    short = f"{value:g}"
    return short if isinstance(value, float) and float(short) == value else repr(value)


def lines_of(texts: Iterable[str]) -> str:
    """Texts as a field shows them, one a line, with \\n for a line break in one and \\\\ for a backslash."""
    return "\n".join(map(_line, texts))


def texts_of(name: str, field: str) -> list[str]:
    """What `lines_of` wrote, without blank lines."""

    def unescaped(found: re.Match[str]) -> str:
        letter = found[1]
        if len(letter) == 5:
            return chr(int(letter[1:], 16))
        if letter not in _SHORT:
            raise BadRequest(
                f"{name} holds \\{letter}, which stands for nothing.",
                r"Write \\ for a backslash and \n for a line break.",
            )
        return _SHORT[letter]

    lines = field.replace("\r\n", "\n").split("\n")
    return ["" if line == NOTHING else _ESCAPE.sub(unescaped, line) for line in lines if line]


def _line(text: str) -> str:
    if text in ("", NOTHING):
        return r"\u0022" + '"' if text else NOTHING
    return _ESCAPED.sub(lambda found: "\\" + _LETTERS.get(found[0], f"u{ord(found[0]):04x}"), text)


class _TooLarge(ValueError):
    pass


def _float(text: str) -> float:
    if math.isinf(value := float(text)):
        raise _TooLarge
    return value


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:  # more digits than Python reads
        raise _TooLarge from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
