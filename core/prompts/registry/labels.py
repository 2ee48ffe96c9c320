"""The history of a prompt's labels: lines that are only ever added, each holding the hash of the one before."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import orjson

from core.permissions import as_its_folder
from core.prompts.content import digest
from core.prompts.registry import files
from core.prompts.registry.records import Move

FILE = "labels.jsonl"
LARGEST = 64_000_000  # bytes
_FIELDS = tuple(field.name for field in fields(Move))


@dataclass(frozen=True, slots=True)
class History:
    """What the file says as far as it can be trusted."""

    moves: tuple[Move, ...] = ()
    end: int = 0  # bytes up to here are good lines
    damaged: int = 0  # the line that breaks the chain; 0 when none does
    why: str = ""  # what is wrong with that line
    ended: bool = True  # the last good line ends with a line break
    torn: int = 0  # bytes after that which are no line: what a crash left of one, or somebody else

    def positions(self) -> dict[str, int]:
        """Where each label that is set points to, by name."""
        found = {move.label: move.to for move in self.moves}
        return {label: to for label, to in sorted(found.items()) if to is not None}

    def last(self, label: str) -> Move | None:
        return next((move for move in reversed(self.moves) if move.label == label), None)

    def earlier(self, label: str) -> int | None:
        """Where a rollback goes: back along the way that the label came, also when that was rolled back before."""
        way: list[int] = []
        now: int | None = None
        for move in self.moves:
            if move.label != label:
                continue
            now = move.to
            if now is None:
                continue
            if now in way[-2:]:
                way = way[: len(way) - way[::-1].index(now)]
            else:
                way.append(now)
        if now is not None:
            way.pop()
        return way[-1] if way else None


def parse(data: bytes) -> History:
    """Read a history. A last line that a crash cut off is left out; what breaks the chain ends it.

    A last line without its line break counts when it is a move. When it is none, but whole JSON, no crash has cut it.
    """
    moves: list[Move] = []
    end = 0
    lines = data.split(b"\n")
    torn = lines.pop()  # empty when the file ends as it should
    for number, line in enumerate(lines, 1):
        move, why = _move(line, moves)
        if move is None:
            return History(tuple(moves), end, number, why)
        moves.append(move)
        end += len(line) + 1
    if torn:
        move, why = _move(torn, moves)
        if move is not None:
            return History((*moves, move), end + len(torn), ended=False)
        if _whole(torn):
            return History(tuple(moves), end, len(lines) + 1, why)
    return History(tuple(moves), end, torn=len(torn))


def _whole(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except ValueError:
        return False
    return True


def _move(line: bytes, before: list[Move]) -> tuple[Move | None, str]:
    try:
        value = orjson.loads(line)
        move = Move(**value | {"time": datetime.datetime.fromisoformat(value["time"])})
        fits = tuple(value) == _FIELDS and move.time.tzinfo is not None and _typed(value)
    except (ValueError, TypeError, KeyError):
        return None, "it is no move of a label"
    if not fits:
        return None, "it is no move of a label"
    if move.hash != _hash(value):
        return None, "it was changed after it was written"
    if move.previous != (before[-1].hash if before else "") or move.number != len(before) + 1:
        return None, "it does not follow the line before: a line was removed, added or moved"
    return move, ""


def _typed(value: Mapping[str, Any]) -> bool:
    texts = all(isinstance(value[name], str) for name in ("by", "label", "why", "content", "previous", "hash"))
    return texts and all(value[name] is None or type(value[name]) is int for name in ("before", "to"))


def _hash(values: Mapping[str, Any]) -> str:
    return digest({name: value for name, value in values.items() if name != "hash"})


def values_of(move: Move) -> dict[str, Any]:
    """What a line of the file says, by field."""
    return asdict(move) | {"time": move.time.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")}


def line_of(move: Move) -> bytes:
    """The move as a line of the file, without its line break."""
    return json.dumps(values_of(move), ensure_ascii=False, separators=(",", ":")).encode()


def following(history: History, label: str, to: int | None, content: str, by: str, why: str) -> Move:
    """The move that comes next. Never dated before the last one, whatever the clock says."""
    last = history.moves[-1] if history.moves else None
    now = datetime.datetime.now(datetime.UTC)
    move = Move(
        number=len(history.moves) + 1,
        time=max(now, last.time) if last else now,
        by=by,
        label=label,
        before=history.positions().get(label),
        to=to,
        why=why,
        content=content,
        previous=last.hash if last else "",
        hash="",
    )
    return replace(move, hash=_hash(values_of(move)))


def append(path: Path, history: History, move: Move) -> None:
    """Add a line, on the disk when this returns. OSError, and nothing is added, when that cannot be."""
    new = not path.exists()
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0) as file:
        file.truncate(history.end)  # what a crash left of a line
        file.seek(history.end)
        data = (b"" if history.ended else b"\n") + line_of(move) + b"\n"
        try:
            if file.write(data) != len(data):
                raise OSError(28, "no space")
            os.fsync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(history.end)
            raise
    if new:
        as_its_folder(path)
        files.sync(path.parent)
