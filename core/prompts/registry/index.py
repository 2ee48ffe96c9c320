"""All prompts at once, in memory: for the list and the search. Kept right by looks at the folders that changed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import structlog

from core.prompts.registry.cache import Cache, CacheRow
from core.prompts.registry.listing import Root
from core.prompts.registry.prompt_folder import PromptFolder
from core.prompts.registry.records import Problem, PromptEntry
from core.prompts.registry.witness import Seen
from core.prompts.registry.words import Words, fold

log = structlog.get_logger()
AT_ONCE = 100  # folders whose versions are written to the cache together


class Index:
    """Thread-safe. A shelf's lock is taken before the one here, never after it."""

    def __init__(self, root: Path, cache: Cache, seen: Seen) -> None:
        self.root = root
        self._root = Root.of(root)
        self.scanned = threading.Event()  # whether everything has been looked at once
        self.callbacks: list[Callable[[set[str]], None]] = []
        self._cache = cache
        self._seen = seen
        self._lock = threading.Lock()
        self._scanning = threading.Lock()
        self._shelves: dict[str, PromptFolder] = {}
        self._entries: dict[str, PromptEntry] = {}
        self._odd: dict[str, tuple[Problem, ...]] = {}  # by folder
        self._heads: dict[str, tuple[str, tuple[str, ...]]] = {}  # the words in the list and the tags, by prompt
        self._inside: dict[str, tuple[str, ...]] = {}  # the folders in each folder
        self._sorted: tuple[PromptEntry, ...] | None = None
        self.generation = 0  # changes with the set of folders

    def shelf(self, name: str) -> PromptFolder:
        """The shelf of this name, whether or not anything is there."""
        with self._lock:
            found = self._shelves.get(name)
        return found or PromptFolder(self._root, name, self._cache, self._seen)

    def keep(self, shelf: PromptFolder) -> None:
        """Have what was read of a prompt that is there at hand the next time, also before everything was looked at."""
        with self._lock:
            if shelf.name not in self._shelves:
                self._shelves[shelf.name] = shelf
                self.generation += 1

    def entries(self) -> tuple[PromptEntry, ...]:
        """As of the last look, by name."""
        with self._lock:
            return self._listed()

    def found(self, query: str, tag: str, label: str) -> list[PromptEntry]:
        """Entries that have the tag and the label, and every word of `query` in name, tags or description."""
        words = fold(query).split()
        with self._lock:
            entries = self._listed()
            heads = {entry.name: self._heads[entry.name] for entry in entries} if words or tag else {}
        return [
            entry
            for entry in entries
            if (not label or label in entry.labels)
            and (not tag or tag in heads[entry.name][1])
            and all(word in heads[entry.name][0] for word in words)
        ]

    def _listed(self) -> tuple[PromptEntry, ...]:
        if self._sorted is None:
            self._sorted = tuple(self._entries[name] for name in sorted(self._entries))
        return self._sorted

    def words(self) -> dict[str, tuple[Words, ...]]:
        """Of each prompt the words of its versions, newest first."""
        with self._lock:
            return {name: self._shelves[name].words for name in self._entries}

    def marks(self) -> dict[str, str]:
        """Of each prompt that has a version what changes with the newest one."""
        with self._lock:
            return {name: mark for name in self._entries if (mark := self._shelves[name].mark)}

    def problems(self) -> list[Problem]:
        """Of all folders, by name."""
        with self._lock:
            groups = dict(self._odd) | {name: entry.problems for name, entry in self._entries.items()}
        return [problem for name in sorted(groups) for problem in groups[name]]

    def folders(self) -> list[Path]:
        """All folders that were looked at and are there, the root first."""
        with self._lock:
            return [self._shelves[name].folder for name in sorted(self._shelves)]

    def scan(self, stop: threading.Event | None = None) -> None:
        """Look at everything. What an earlier run read and has not changed since is not read."""
        with self._scanning:
            rows = {} if self.scanned.is_set() else self._cache.rows()
            changed: set[str] = set()
            visited: set[str] = set()
            waiting = [""]
            while waiting and not (stop and stop.is_set()):
                with self._cache.batch():
                    for _ in range(min(AT_ONCE, len(waiting))):
                        name = waiting.pop()
                        visited.add(name)
                        waiting += self._look(name, rows.pop(name, None), changed)
            if stop and stop.is_set():
                return
            with self._lock:
                others = self._shelves.keys() - visited
            for name in others:
                self._look(name, None, changed)
            self.scanned.set()
        self._tell(changed)

    def refresh(self, names: Iterable[str]) -> None:
        """Look at these folders, and at what is new in them."""
        changed: set[str] = set()
        waiting = list(names)
        seen: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            before = self._inside.get(name, ())
            waiting += set(before) ^ set(self._look(name, None, changed))
        self._tell(changed)

    def _look(self, name: str, rows: Mapping[int, CacheRow] | None, changed: set[str]) -> tuple[str, ...]:
        """Take what is in this folder now. Gives the folders in it."""
        shelf = self.shelf(name)
        with shelf.lock:
            entry = shelf.entry(rows)
            listing = shelf.listed
            with self._lock:
                if (name in self._shelves) != listing.there:
                    self.generation += 1
                if listing.there:
                    self._shelves[name] = shelf
                    self._inside[name] = listing.folders
                else:
                    self._shelves.pop(name, None)
                    self._inside.pop(name, None)
                self._take(shelf, entry, changed)
        return listing.folders

    def _take(self, shelf: PromptFolder, entry: PromptEntry, changed: set[str]) -> None:
        name = shelf.name
        is_prompt = shelf.is_prompt
        old = self._entries.get(name)
        if is_prompt:
            self._entries[name] = entry
            self._heads[name] = _head(shelf, entry), shelf.tags
        elif old is not None:
            del self._entries[name], self._heads[name]
        if not is_prompt and entry.problems:
            self._odd[name] = entry.problems
        else:
            self._odd.pop(name, None)
        if old is not (entry if is_prompt else None):
            self._sorted = None
            changed.add(name)

    def _tell(self, changed: set[str]) -> None:
        if not changed:
            return
        for callback in self.callbacks:
            try:
                callback(set(changed))
            except Exception as error:  # whoever listens must not stop the registry
                log.warning("prompts.callback", error=type(error).__name__)


def _head(shelf: PromptFolder, entry: PromptEntry) -> str:
    if shelf.words:
        return shelf.words[0].line[: shelf.words[0].ends[2]]
    return fold(entry.name)
