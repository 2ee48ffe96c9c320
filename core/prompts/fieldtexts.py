"""The texts of fields to values and back. BadRequest, which names the field, for what does not parse."""

from __future__ import annotations

import json
from typing import Any

from core.errors import BadRequest

FIX = "Correct it or empty it."


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
    """Any JSON value."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno}: {error.msg.lower()})" if isinstance(error, json.JSONDecodeError) else ""
        raise BadRequest(f"{name} is not valid JSON{where}.", FIX) from None


def as_text(value: Any) -> str:
    """A JSON value as a field shows it: text as it is, everything else as JSON, nothing for none."""
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def written(value: float | None) -> str:
    """A number as a field shows it, nothing for none."""
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
