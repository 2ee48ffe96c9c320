"""Remembers, outside of the registry, what was seen of each prompt: how far the history of its labels went and which
files its versions had. So no number is given twice, and `verify` notices what was cut off, removed or written anew."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import structlog
from pydantic import BaseModel, ConfigDict, Field

from core.errors import StorageError
from core.prompts.registry import files, labels
from core.prompts.registry.labels import History
from core.prompts.registry.records import Finding, Problem

if TYPE_CHECKING:
    from core.prompts.registry.prompt_folder import PromptFolder

log = structlog.get_logger()
GIT = "Look at it with git, and bring back what was there."
PAUSE = 0.05  # seconds after which a line that was being written is whole


class Memory(BaseModel):
    """What is remembered of a prompt."""

    model_config = ConfigDict(strict=True, frozen=True)

    moves: int = Field(default=0, ge=0)  # of its labels
    hash: str = ""  # of the last of them
    files: dict[int, str] = {}  # by version: SHA-256 of the file's bytes, in hex

    def holds(self, history: History) -> bool:
        """Whether the history goes as far as it was seen to go, on the same way."""
        if not self.moves:
            return True
        return len(history.moves) >= self.moves and history.moves[self.moves - 1].hash == self.hash

    def with_history(self, history: History) -> Memory:
        """Itself when the history does not go on from what is remembered."""
        if len(history.moves) <= self.moves or not self.holds(history):
            return self
        return self.model_copy(update={"moves": len(history.moves), "hash": history.moves[-1].hash})

    def with_files(self, found: Mapping[int, str]) -> Memory:
        return self.model_copy(update={"files": dict(sorted({**self.files, **found}.items()))})


class Damaged(Exception):
    """What is remembered of a prompt cannot be read."""


class Audit:
    """One small file for each prompt. Thread-safe, and several processes may use one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = files.Lock(folder)

    def saw(self, name: str, what: History | Mapping[int, str]) -> None:
        """A history was read or added to, or files of versions were written by this program (their SHA-256 by number).

        What is damaged stays as it is, so that `verify` tells of it. A folder that cannot be written is logged.
        """
        try:
            if self._merged(name, what) is None:
                return
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._lock.held():
                memory = self._merged(name, what)  # another process may have seen more
                if memory is not None:
                    data = orjson.dumps(memory.model_dump(), option=orjson.OPT_NON_STR_KEYS)
                    files.replace(self._path(name), data, lasting=False)
        except Damaged:
            return
        except (OSError, StorageError) as error:
            log.warning("prompts.audit", what="What was seen of a prompt could not be kept.", error=str(error))

    def highest(self, name: str) -> int:
        """The highest number that a version was saved under or seen with; 0 when none is remembered."""
        try:
            memory = self.read(name)
        except Damaged:
            return 0
        return max(memory.files, default=0) if memory else 0

    def read(self, name: str) -> Memory | None:
        """None when nothing is remembered. Damaged."""
        try:
            memory = Memory.model_validate_json(self._path(name).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise Damaged from error
        if bool(memory.moves) != bool(memory.hash) or not (memory.moves or memory.files):
            raise Damaged
        return memory

    def names(self) -> list[str]:
        """The prompts of which something is remembered."""
        return sorted(path.stem.replace("%2F", "/") for path in self.folder.glob("*.json"))

    def place(self, name: str) -> str:
        """The file that remembers a prompt, as people find it."""
        path = self._path(name)
        return "/".join((*path.parts[-3:-1], path.name)) + " in the data folder"

    def _path(self, name: str) -> Path:
        return self.folder / f"{name.replace('/', '%2F')}.json"

    def _merged(self, name: str, what: History | Mapping[int, str]) -> Memory | None:
        """None when nothing is to be remembered beyond what is."""
        old = self.read(name) or Memory()
        new = old.with_history(what) if isinstance(what, History) else old.with_files(what)
        return None if new == old else new


def check(folder: PromptFolder, audit: Audit) -> Iterator[Finding]:
    """What is wrong in one folder; it must be a fresh one. What is seen for the first time is remembered."""
    yield from map(_problem, folder.entry().problems)
    name = folder.name
    if not name:
        return
    history = folder.labels().history
    if history.torn:
        time.sleep(PAUSE)
        history = folder.labels().history
    if history.torn:
        what = f"{name}/{labels.FILE} ends with {history.torn} bytes that are no move of a label."
        yield Finding(name, what, "edited", f"Unless it crashed while it wrote them: {GIT}")
    told: set[int] = set()
    yield from _targets(folder, history, told)
    if not folder.exists():
        return
    memory = Memory()
    meant = f"{GIT} If it was meant, delete {audit.place(name)}: then it is not remembered any more."
    try:
        memory = audit.read(name) or memory
    except Damaged:
        yield _unreadable(name, audit)
    yield from _missing(folder, memory, told, meant)
    intact = {number: file.state.raw for number, file in folder.files().items() if file.state and not file.problem}
    for number, raw in sorted(intact.items()):
        if number not in told and memory.files.get(number, raw) != raw:
            what = f"v{number} was written anew: its file fits its seal, but is another one than was seen before."
            yield Finding(name, what, "tampered", meant)
    if not memory.holds(history):
        lost = memory.moves - len(history.moves)
        how = f"lacks its last {lost} moves of {memory.moves}" if lost > 0 else "holds other moves than it did"
        yield Finding(name, f"{name}/{labels.FILE} {how}.", "tampered", meant)
    audit.saw(name, history)
    audit.saw(name, {number: raw for number, raw in intact.items() if number not in memory.files})


def gone(names: set[str], audit: Audit) -> Iterator[Finding]:
    """Prompts that are remembered and are not among `names`."""
    for name in audit.names():
        if name in names:
            continue
        try:
            memory = audit.read(name)
        except Damaged:
            yield _unreadable(name, audit)
            continue
        if memory is None:
            continue
        what = f"{len(memory.files)} of its versions had been seen"
        if memory.moves:
            what = f"its labels had moved {memory.moves} times"
        meant = f"If it was meant to go, delete {audit.place(name)}: then it is not remembered any more."
        yield Finding(name, f"{name} is gone, although {what}.", "tampered", f"Bring it back with git. {meant}")


def _unreadable(name: str, audit: Audit) -> Finding:
    what = f"{audit.place(name)} cannot be read, so nobody remembers what was seen of {name}."
    return Finding(name, what, "edited", "Look at the prompt with git; then delete that file, it is made anew.")


def _problem(problem: Problem) -> Finding:
    if problem.kind == "history" or (problem.kind in ("link", "name") and problem.name.endswith(f"/{labels.FILE}")):
        return Finding(problem.name, problem.what, "tampered", problem.fix)
    if problem.kind in ("link", "name"):
        return Finding(problem.name, problem.what, "note", problem.fix)
    if problem.draft is not None:
        what = f"v{problem.number} is not as it was saved: its hash or seal does not fit."
        return Finding(problem.name, what, "edited", "Restore it, or save what it says now as a new version.")
    return Finding(problem.name, problem.what, "edited", problem.fix)


def _targets(folder: PromptFolder, history: History, told: set[int]) -> Iterator[Finding]:
    """Versions that labels were set to and that are not there any more, or are others."""
    now = history.positions()
    for (number, content), label in {(move.to, move.content): move.label for move in reversed(history.moves)}.items():
        if number is None:
            continue
        set_to = "points to it" if now.get(label) == number else "was set to it once"
        file = folder.file(number)
        if file is None:
            what = f"v{number} is missing, and {label} {set_to}."
        elif file.facts is not None and file.facts.hash != content:
            what = f"v{number} is another one than when {label} was set to it."
        else:
            continue
        told.add(number)
        yield Finding(folder.name, what, "tampered", GIT)


def _missing(folder: PromptFolder, memory: Memory, told: set[int], meant: str) -> Iterator[Finding]:
    """Versions that were there once, and gaps in the numbers: the program leaves none."""
    numbers = folder.listing().numbers
    lost = memory.files.keys() - set(numbers)
    for number in sorted(lost - told):
        yield Finding(folder.name, f"v{number} is missing, and it had been seen.", "tampered", meant)
    for first, last in _gaps({*numbers, *lost, *told}):
        what = f"v{first} is missing." if first == last else f"v{first} to v{last} are missing."
        yield Finding(folder.name, what, "edited", f"The numbers of versions have no gaps. {GIT}")


def _gaps(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    for before, after in pairwise([0, *sorted(numbers)]):
        if after > before + 1:
            yield before + 1, after - 1
