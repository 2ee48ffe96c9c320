"""All prompts at once, in memory: for the list and the search. Kept right by looks at the folders that changed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import structlog

from core.prompts.registry.audit import Audit
from core.prompts.registry.cache import Cache, Known
from core.prompts.registry.listing import Root
from core.prompts.registry.prompt_folder import Look, PromptFolder
from core.prompts.registry.records import Problem, PromptEntry
from core.prompts.registry.words import fold

log = structlog.get_logger()
AT_ONCE = 100  # folders whose versions are written to the cache together


class Index:
    """Thread-safe. A folder's lock is taken before the one here, never after it."""

    def __init__(self, root: Path, cache: Cache, audit: Audit) -> None:
        self.root = root
        self._root = Root.of(root)
        self.scanned = threading.Event()  # whether everything has been looked at once
        self.callbacks: list[Callable[[set[str]], None]] = []
        self._cache = cache
        self._audit = audit
        self._lock = threading.Lock()
        self._scanning = threading.Lock()
        self._folders: dict[str, PromptFolder] = {}
        self._looks: dict[str, Look] = {}  # what was last seen, of folders that are there
        self._prompts: tuple[Look, ...] | None = None  # by name
        self.generation = 0  # changes with the set of folders

    def folder(self, name: str) -> PromptFolder:
        """The folder of this name, whether or not anything is there."""
        with self._lock:
            found = self._folders.get(name)
        return found or PromptFolder(self._root, name, self._cache, self._audit)

    def keep(self, folder: PromptFolder) -> None:
        """Have what was read of a prompt that is there at hand the next time, also before everything was looked at."""
        with self._lock:
            if folder.name not in self._folders:
                self._folders[folder.name] = folder
                self.generation += 1

    def prompts(self) -> tuple[Look, ...]:
        """As of the last look, by name."""
        with self._lock:
            if self._prompts is None:
                looks = (self._looks[name] for name in sorted(self._looks))
                self._prompts = tuple(look for look in looks if look.listing.is_prompt)
            return self._prompts

    def marks(self) -> dict[str, str]:
        """Of each prompt that has a version what changes with the newest one."""
        return {look.entry.name: look.mark for look in self.prompts() if look.mark}

    def found(self, query: str, tag: str, label: str) -> list[PromptEntry]:
        """Entries that have the tag and the label, and every word of `query` in name, tags or description."""
        words = fold(query).split()
        return [
            look.entry
            for look in self.prompts()
            if (not label or label in look.entry.labels)
            and (not tag or tag in look.tags)
            and all(word in look.head for word in words)
        ]

    def problems(self) -> list[Problem]:
        """Of all folders, by name."""
        with self._lock:
            looks = [self._looks[name] for name in sorted(self._looks)]
        return [problem for look in looks for problem in look.entry.problems]

    def paths(self) -> list[Path]:
        """All folders that were looked at and are there, the root first."""
        with self._lock:
            return [self._folders[name].path for name in sorted(self._folders)]

    def scan(self, stop: threading.Event | None = None) -> None:
        """Look at everything. What an earlier run read and has not changed since is not read."""
        with self._scanning:
            known = {} if self.scanned.is_set() else self._cache.known()
            changed: set[str] = set()
            visited: set[str] = set()
            waiting = [""]
            while waiting and not (stop and stop.is_set()):
                with self._cache.batch():
                    for _ in range(min(AT_ONCE, len(waiting))):
                        name = waiting.pop()
                        visited.add(name)
                        waiting += self._look(name, known.pop(name, None), changed)
            if stop and stop.is_set():
                return
            with self._lock:
                others = self._folders.keys() - visited
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
            with self._lock:
                before = self._looks.get(name)
            inside = before.listing.folders if before else ()
            waiting += set(inside) ^ set(self._look(name, None, changed))
        self._tell(changed)

    def _look(self, name: str, known: Mapping[int, Known] | None, changed: set[str]) -> tuple[str, ...]:
        """Take what is in this folder now. Gives the folders in it."""
        folder = self.folder(name)
        with folder.lock:
            look = folder.look(known)
            with self._lock:
                old = self._looks.pop(name, None)
                if (name in self._folders) != look.listing.there:
                    self.generation += 1
                if look.listing.there:
                    self._folders[name], self._looks[name] = folder, look
                else:
                    self._folders.pop(name, None)
                if look is not old and (look.listing.is_prompt or (old and old.listing.is_prompt)):
                    self._prompts = None
                    changed.add(name)
        return look.listing.folders

    def _tell(self, changed: set[str]) -> None:
        if not changed:
            return
        for callback in self.callbacks:
            try:
                callback(set(changed))
            except Exception as error:  # whoever listens must not stop the registry
                log.warning("prompts.callback", error=type(error).__name__)
