"""JSON on the wire: orjson, what it is too strict for, and values that may be of another type than they should be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

_LARGEST = 2**40


def encode(value: Any) -> bytes:
    """JSON as UTF-8. Lone surrogates, which no UTF-8 can hold, become the replacement character."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return orjson.dumps(_clean(value))


def decode(data: bytes) -> Any:
    """Any JSON, also with NaN or half of an emoji, which some servers send. Raises ValueError."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return _clean(json.loads(data.decode("utf-8", "replace")))


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def count(value: object) -> int | None:
    """The value if it is a count that can be true, else None: sums of counts must fit what a database holds."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST else None


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]
    return value
