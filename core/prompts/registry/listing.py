"""The names in a prompt's folder, read again only when the folder has changed."""

from __future__ import annotations

import os
import re
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from core.prompts.registry import files, labels, problems
from core.prompts.registry.records import Problem
from core.prompts.version import SCHEMA_FILE

FILE = re.compile(r"v([1-9][0-9]{0,8})\.yaml")


class Root(NamedTuple):
    """The registry's root. `caseless`: its file system finds `Reply` as `reply` too."""

    path: str
    caseless: bool

    @classmethod
    def of(cls, root: Path) -> Root:
        return cls(str(root), not files.case_counts(root / SCHEMA_FILE))


@dataclass(frozen=True, slots=True)
class Listing:
    """What is in a folder."""

    numbers: tuple[int, ...] = ()  # of files that are named like versions, ascending
    folders: tuple[str, ...] = ()  # names of the prompts, or folders of prompts, in it
    history: bool = False  # whether labels have been moved
    problems: tuple[Problem, ...] = ()
    there: bool = False

    @property
    def is_prompt(self) -> bool:
        """Whether it holds anything named like a version, or labels."""
        return bool(self.numbers) or self.history


class Folder:
    """Not thread-safe: the lock of a PromptFolder stands before it."""

    def __init__(self, root: Root, name: str) -> None:
        self.name = name
        self.path = os.path.join(root.path, *name.split("/")) if name else root.path  # noqa: PTH118 - 10,000 of them at the start
        self._parents = [
            os.path.join(root.path, *name.split("/")[:depth])  # noqa: PTH118
            for depth in range(1, name.count("/") + 1)
        ]
        self._caseless = root.caseless
        self._stamp: files.Stamp = (0, 0, 0)
        self._seen = 0  # when it was read, in ns
        self._listing = Listing()

    def look(self) -> Listing:
        """The same object as before when the folder has not changed. A link is as good as no folder."""
        now = time.time_ns()
        stamp: files.Stamp = (0, 0, 0)
        try:
            for parent in self._parents:
                _check(os.lstat(parent))
            status = os.lstat(self.path) if self.name else os.stat(self.path)  # noqa: PTH116 - a hot path
            _check(status)
            stamp = (status.st_mtime_ns, status.st_dev, status.st_ino)
            if stamp == self._stamp and files.settled(stamp, self._seen):
                return self._listing
            if self._caseless and self.name and not files.spelled_so(Path(self.path)):
                raise NotADirectoryError
            found = self._scanned()
        except (FileNotFoundError, NotADirectoryError):
            found, stamp = Listing(), (0, 0, 0)
        except OSError as error:
            problem = problems.closed(self.name, None, f"The folder {self.name}".strip(), error)
            found, stamp = Listing(problems=(problem,), there=True), (0, 0, 0)
        self._stamp, self._seen = stamp, now
        if found != self._listing:
            self._listing = found
        return self._listing

    def _scanned(self) -> Listing:
        numbers: list[int] = []
        folders: list[str] = []
        odd: list[Problem | None] = []
        history = False
        with os.scandir(self.path) as entries:
            for entry in entries:
                own = entry.name
                inside = f"{self.name}/{own}" if self.name else own
                if own.startswith("."):
                    if own.startswith(files.TEMPORARY):
                        files.sweep(entry.path)
                elif entry.is_symlink():
                    odd.append(problems.link(inside))
                elif entry.is_dir(follow_symlinks=False):
                    if problem := problems.folder(inside):
                        odd.append(problem)
                    else:
                        folders.append(inside)
                elif self.name and (found := FILE.fullmatch(own)):
                    numbers.append(int(found[1]))
                elif self.name and own == labels.FILE:
                    history = True
                else:
                    odd.append(problems.file(self.name, inside))
        kept = sorted((problem for problem in odd if problem), key=lambda problem: problem.name)
        return Listing(tuple(sorted(numbers)), tuple(sorted(folders)), history, tuple(kept), True)


def _check(status: os.stat_result) -> None:
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError
