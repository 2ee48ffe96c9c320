"""The labels of one prompt, read again only when their file has changed."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from hashlib import sha256

from core.prompts.registry import files, labels, problems
from core.prompts.registry.files import Stamp
from core.prompts.registry.labels import History
from core.prompts.registry.listing import Folder, Listing
from core.prompts.registry.records import Problem
from core.prompts.registry.witness import Seen

TRIES = 10  # looks at a history that has become shorter, before it is believed
PAUSE = 0.01  # seconds between them


@dataclass(slots=True)
class Labels:
    """The history of the labels as it was when it was read."""

    stamp: Stamp = (0, 0, 0)
    settled: bool = False
    raw: bytes = b""  # SHA-256 of the file
    history: History = field(default_factory=History)
    problem: Problem | None = None


class Marks:
    """Not thread-safe: a shelf's lock stands before it."""

    def __init__(self, folder: Folder, seen: Seen) -> None:
        self._folder = folder
        self._seen = seen
        self._labels = Labels()

    def look(self, listing: Listing) -> Labels:
        """The same object as before when nothing has changed."""
        found = self._read(listing)
        for _ in range(TRIES):  # git takes a file away before it writes the new one
            if len(found.history.moves) >= len(self._labels.history.moves):
                break
            time.sleep(PAUSE)
            self._folder.changed()
            found = self._read(self._folder.look())
        if found.history != self._labels.history:
            self._seen(self._folder.name, found.history)
        self._labels = found
        return found

    def changed(self) -> None:
        """Do not trust the file's time at the next look."""
        self._labels.settled = False

    def _read(self, listing: Listing) -> Labels:
        if not listing.history and self._labels.stamp == (0, 0, 0) and not self._labels.problem:
            return self._labels
        old = self._labels
        now = time.time_ns()
        path = f"{self._folder.path}{os.sep}{labels.FILE}"
        found = Labels()
        try:
            if listing.history:
                stamp = files.stamp_of(os.lstat(path))
                if old.stamp == stamp and old.settled:
                    return old
                data, stamp = files.read(path, labels.LARGEST)
                raw = sha256(data).digest()
                if old.raw == raw:
                    old.stamp, old.settled = stamp, files.settled(stamp, now)
                    return old
                history = labels.parse(data)
                problem = problems.damaged(self._folder.name, history)
                found = Labels(stamp, files.settled(stamp, now), raw, history, problem)
        except FileNotFoundError:
            self._folder.changed()
        except OSError as error:
            told = problems.closed(self._folder.name, None, f"{self._folder.name}/{labels.FILE}", error)
            found = Labels(problem=Problem(self._folder.name, None, "history", told.what, told.fix))
        return found
