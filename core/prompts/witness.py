"""Remembers, outside of the registry, how far each history of labels went: so that a cut-off tail is noticed."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import NamedTuple

import orjson
import structlog

from core.prompts import files
from core.prompts.labels import History

log = structlog.get_logger()


class Head(NamedTuple):
    """The last move that was seen."""

    moves: int  # until then, with it
    hash: str


class Witness:
    """One small file for each prompt whose labels have moved. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[str, int] = {}
        self._lock = threading.Lock()

    def saw(self, name: str, history: History) -> None:
        """A history was read or added to. It is remembered when it goes on from what was seen before."""
        count = len(history.moves)
        if not count:
            return
        with self._lock:
            if count <= self._seen.get(name, 0):
                return
            old = self._read(name)  # another process may have seen more
            if old and (count <= old.moves or not holds(history, old)):
                return
            head = Head(count, history.moves[-1].hash)
            self._seen[name] = count
            try:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                files.replace(self._path(name), orjson.dumps(head._asdict()), lasting=False)
            except OSError as error:
                log.warning("prompts.witness", what="The head of a label history could not be kept.", error=str(error))

    def heads(self) -> dict[str, Head]:
        """All that is remembered, by prompt, as it is on the disk."""
        try:
            names = [path.stem.replace("%2F", "/") for path in self._folder.glob("*.json")]
        except OSError:
            return {}
        return {name: head for name in sorted(names) if (head := self._read(name))}

    def _path(self, name: str) -> Path:
        return self._folder / f"{name.replace('/', '%2F')}.json"

    def _read(self, name: str) -> Head | None:
        try:
            return Head(**orjson.loads(self._path(name).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None


def holds(history: History, head: Head) -> bool:
    """Whether the history goes as far as it was seen to go, on the same way."""
    return len(history.moves) >= head.moves and history.moves[head.moves - 1].hash == head.hash
