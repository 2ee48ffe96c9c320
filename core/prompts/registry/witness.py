"""Remembers, outside of the registry, how far each history of labels went and which files of versions there were: so
that a cut-off tail, a version or prompt that is gone and a file that was written and sealed anew are noticed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import structlog

from core.errors import StorageError
from core.prompts.registry import files
from core.prompts.registry.labels import History

log = structlog.get_logger()
Files = Mapping[int, str]  # of versions that were seen intact, by number: SHA-256 of the file's bytes, in hex
Seen = Callable[[str, History | Files], None]  # told of what was read, or written by this program, of a prompt


class AuditHead(NamedTuple):
    """The last move that was seen, and the files."""

    moves: int = 0  # until then, with it
    hash: str = ""
    files: Files = {}  # noqa: RUF012 - never changed


class Damaged(Exception):
    """What is remembered of a prompt cannot be read."""


class Witness:
    """One small file for each prompt. Thread-safe, and several processes may use one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: dict[str, int] = {}
        self._lock = files.Lock(folder)

    def saw(self, name: str, what: History | Files) -> None:
        """A history was read or added to, or files were written. A history is remembered when it goes on from what was
        seen before, a file in any case: it is this program that wrote it."""
        if isinstance(what, History) and len(what.moves) <= self._seen.get(name, 0):
            return
        self.keep(name, what)
        if isinstance(what, History):
            self._seen[name] = len(what.moves)

    def keep(self, name: str, what: History | Files) -> None:
        """As `saw`, whatever was seen in this run. What is damaged stays as it is, so that `verify` tells of it."""
        try:
            if _merged(self.read(name), what) is None:
                return
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._lock.held():
                head = _merged(self.read(name), what)  # another process may have seen more
                if head is not None:
                    files.replace(self.folder / file_of(name), orjson.dumps(_values(head)), lasting=False)
        except Damaged:
            return
        except (OSError, StorageError) as error:
            log.warning("prompts.witness", what="What was seen of a prompt could not be kept.", error=str(error))

    def heads(self) -> Memory:
        """All that is remembered, as it is on the disk."""
        found = Memory(self)
        try:
            names = sorted(path.stem.replace("%2F", "/") for path in self.folder.glob("*.json"))
        except OSError:
            return found
        for name in names:
            try:
                if head := self.read(name):
                    found[name] = head
            except Damaged:
                found.damaged.append(name)
        return found

    def read(self, name: str) -> AuditHead | None:
        """None when nothing is remembered. Damaged."""
        try:
            return _head(orjson.loads((self.folder / file_of(name)).read_bytes()))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise Damaged from error


class Memory(dict[str, AuditHead]):
    """What is remembered, by prompt."""

    def __init__(self, witness: Witness) -> None:
        super().__init__()
        self.damaged: list[str] = []  # prompts of which it cannot be read
        self.keep = witness.keep
        self._folder = f"{witness.folder.parent.name}/{witness.folder.name}"

    def place(self, name: str) -> str:
        """The file that remembers a prompt, as people find it."""
        return f"{self._folder}/{file_of(name)} in the data folder"


def file_of(name: str) -> str:
    return f"{name.replace('/', '%2F')}.json"


def holds(history: History, head: AuditHead) -> bool:
    """Whether the history goes as far as it was seen to go, on the same way."""
    if not head.moves:
        return True
    return len(history.moves) >= head.moves and history.moves[head.moves - 1].hash == head.hash


def _merged(old: AuditHead | None, what: History | Files) -> AuditHead | None:
    """None when nothing is to be remembered beyond `old`."""
    old = old or AuditHead()
    if not isinstance(what, History):
        both = {**old.files, **what}
        return None if both == old.files else old._replace(files=both)
    count = len(what.moves)
    if count <= old.moves or not holds(what, old):
        return None
    return old._replace(moves=count, hash=what.moves[-1].hash)


def _values(head: AuditHead) -> dict[str, Any]:
    return {**head._asdict(), "files": {str(number): head.files[number] for number in sorted(head.files)}}


def _head(value: Any) -> AuditHead:
    """ValueError when it is none."""
    if not isinstance(value, dict):
        raise ValueError
    moves, hash, seen = value.get("moves"), value.get("hash"), value.get("files", {})
    if type(moves) is not int or not isinstance(hash, str) or not isinstance(seen, dict):
        raise ValueError
    if moves < 0 or (moves > 0) != bool(hash) or not (moves or seen):
        raise ValueError
    if not all(number.isdecimal() and isinstance(raw, str) for number, raw in seen.items()):
        raise ValueError
    return AuditHead(moves, hash, {int(number): raw for number, raw in seen.items()})
