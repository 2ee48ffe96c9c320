"""The labels of one prompt, read again only when their file has changed."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

from core.prompts.registry import files, labels, problems
from core.prompts.registry.files import State
from core.prompts.registry.labels import History
from core.prompts.registry.listing import Folder, Listing
from core.prompts.registry.records import Problem

TRIES = 10  # looks at a history that has become shorter, before it is believed
PAUSE = 0.01  # seconds between them


@dataclass(frozen=True, slots=True)
class Labels:
    """The history of the labels as it was when it was read."""

    state: State | None = None  # None when there is no file, or none that can be read
    history: History = field(default_factory=History)
    problem: Problem | None = None


NOTHING = Labels()


class LabelCache:
    """Not thread-safe: the lock of a PromptFolder stands before it."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self.labels = NOTHING  # as of the last look

    def look(self, listing: Listing) -> Labels:
        """The same object as before when nothing has changed. `listing`: what is in the folder now."""
        found = self._read(listing)
        for _ in range(TRIES):  # git takes a file away before it writes the new one
            if len(found.history.moves) >= len(self.labels.history.moves):
                break
            time.sleep(PAUSE)
            found = self._read(self._folder.look())
        self.labels = found
        return found

    def _read(self, listing: Listing) -> Labels:
        name, old = self._folder.name, self.labels
        if not listing.history:
            return NOTHING
        try:
            state, data = files.look(f"{self._folder.path}{os.sep}{labels.FILE}", labels.LARGEST, old.state)
        except FileNotFoundError:
            return NOTHING
        except OSError as error:
            told = problems.closed(name, None, f"{name}/{labels.FILE}", error)
            return Labels(problem=Problem(name, None, "history", told.what, told.fix))
        if data is None:
            return old if state is old.state else Labels(state, old.history, old.problem)
        history = labels.parse(data)
        return Labels(state, history, problems.damaged(name, history))
