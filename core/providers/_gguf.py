"""The head of a *.gguf file: what the model is, without loading it.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MOST_KEYS = 10_000
_LONGEST = 64 * 1024 * 1024  # bytes of one value; a vocabulary of 256k words has about 4 MB


@dataclass(frozen=True, slots=True)
class GgufHead:
    """What is said at the beginning of a file. "" and None where it says nothing."""

    architecture: str
    name: str
    context: int | None  # tokens that the model was trained for
    template: str  # its chat template


def read_head(path: Path) -> GgufHead:
    """Raises ValueError for a file that is no GGUF or is cut off, OSError for one that cannot be read."""
    try:
        with path.open("rb") as file:
            values = _values(file)
    except (struct.error, UnicodeDecodeError, OverflowError, MemoryError):
        raise ValueError("is damaged") from None
    architecture = _text(values.get("general.architecture"))
    context = values.get(f"{architecture}.context_length")
    return GgufHead(
        architecture,
        _text(values.get("general.name")),
        context if isinstance(context, int) and context > 0 else None,
        _text(values.get("tokenizer.chat_template")),
    )


def _values(file: BinaryIO) -> dict[str, Any]:
    if file.read(4) != b"GGUF":
        raise ValueError("is not a GGUF file")
    version, _tensors, count = struct.unpack("<IQQ", file.read(20))
    if version not in (2, 3) or count > _MOST_KEYS:
        raise ValueError("is not a GGUF file of a version that is known")
    values: dict[str, Any] = {}
    for _ in range(count):
        key = _string(file)
        values[key] = _value(file, *struct.unpack("<I", file.read(4)))
    return values


def _string(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > _LONGEST:
        raise ValueError("is damaged")
    data = file.read(length)
    if len(data) < length:
        raise ValueError("is cut off")
    return data.decode("utf-8")


def _value(file: BinaryIO, kind: int) -> Any:
    """A value; of an array, which nothing here needs, only that it has been read over."""
    if kind == _STRING:
        return _string(file)
    if kind == _ARRAY:
        return _skip_array(file)
    if kind not in _NUMBERS:
        raise ValueError("is damaged")
    form = "<" + _NUMBERS[kind]
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]


def _skip_array(file: BinaryIO) -> None:
    kind, count = struct.unpack("<IQ", file.read(12))
    if count > _LONGEST:
        raise ValueError("is damaged")
    if kind in _NUMBERS:
        file.seek(struct.calcsize("<" + _NUMBERS[kind]) * count, 1)
        return
    if kind != _STRING:
        raise ValueError("is damaged")
    for _ in range(count):
        (length,) = struct.unpack("<Q", file.read(8))
        file.seek(length, 1)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
