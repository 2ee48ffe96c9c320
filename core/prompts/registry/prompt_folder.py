"""One prompt as it is on the disk at this moment. What has not changed since it was read is not read again."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

from core.errors import BadRequest
from core.prompts.content import LARGEST
from core.prompts.registry import files, problems
from core.prompts.registry.audit import Audit
from core.prompts.registry.cache import Cache, Facts, Known
from core.prompts.registry.files import State
from core.prompts.registry.label_cache import LabelCache, Labels
from core.prompts.registry.listing import Folder, Listing, Root
from core.prompts.registry.records import Problem, PromptEntry, Unread
from core.prompts.registry.words import Words, fold
from core.prompts.version import Version, from_text

MOST = LARGEST * 4  # bytes of a file


@dataclass(frozen=True, slots=True)
class VersionFile:
    """One version's file as it was when it was read."""

    state: State | None  # None when it could not be read
    facts: Facts | None  # of what was saved; None when that is not known
    problem: Problem | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """All that a list and a search need of a prompt."""

    listing: Listing
    entry: PromptEntry
    head: str  # what is shown in the list and can be filtered by, folded
    words: tuple[Words, ...] = ()  # of the versions that can be used, newest first
    tags: tuple[str, ...] = ()  # of the newest
    mark: str = ""  # changes with the newest version


class PromptFolder:
    """Thread-safe. Every method looks at the disk first, which takes microseconds when nothing has changed."""

    def __init__(self, root: Root, name: str, cache: Cache, audit: Audit | None) -> None:
        """`audit` is told of every history that was read, and of every file that was written."""
        self.name = name
        self.lock = threading.RLock()
        self._folder = Folder(root, name)
        self._cache = cache
        self._audit = audit
        self._label_cache = LabelCache(self._folder)
        self._files: dict[int, VersionFile] = {}
        self._look = Look(Listing(), PromptEntry(name, (), None, {}), "")
        self._seen: object = None  # what `_look` was made from

    @property
    def path(self) -> Path:
        return Path(self._folder.path)

    def listing(self) -> Listing:
        """The names in the folder."""
        with self.lock:
            return self._folder.look()

    def exists(self) -> bool:
        """Whether it is a prompt."""
        return self.listing().is_prompt

    def file(self, number: int) -> VersionFile | None:
        """What is known of the file of this number; None when there is none."""
        with self.lock:
            return self._file(number) if number in self.listing().numbers else None

    def files(self) -> dict[int, VersionFile]:
        """Of all versions, by number, ascending."""
        with self.lock:
            return self._all(self.listing())

    def version(self, number: int) -> Version | None:
        """What was saved under this number; None when there is no such file. BadRequest when the file is another one
        now and what was saved is not known."""
        with self.lock:
            for _ in range(3):  # because the file may change between two looks
                file = self.file(number)
                if file is None:
                    return None
                if file.facts is None:
                    problem = file.problem or problems.closed(self.name, number, f"{self.name}@{number}", OSError())
                    raise BadRequest(problem.what, problem.fix)
                if version := self._version(number, file, file.facts):
                    return version
            return None

    def latest(self) -> Version | None:
        """The newest version that can be used."""
        with self.lock:
            for number in reversed(self.listing().numbers):
                file = self._file(number)
                with contextlib.suppress(BadRequest):  # it was edited since, and what was saved is not known
                    if file and file.facts and (version := self.version(number)):
                        return version
            return None

    def labels(self) -> Labels:
        """The history of the labels, as far as it can be trusted."""
        with self.lock:
            return self._labelled(self.listing())

    def next_number(self, above: int) -> int:
        """The first number above this one and above all that were ever given, as far as that is known."""
        used = [move.to or 0 for move in self.labels().history.moves]
        remembered = self._audit.highest(self.name) if self._audit else 0
        return max([above, remembered, self._cache.highest(self.name), *used]) + 1

    def entry(self) -> PromptEntry:
        return self.look().entry

    def look(self, known: Mapping[int, Known] | None = None) -> Look:
        """All of it; the same object as before when nothing has changed. `known`: what was read in earlier runs."""
        with self.lock:
            listing = self.listing()
            found = self._all(listing, known or {})
            labels = self._labelled(listing)
            facts = [(number, file.facts) for number, file in found.items() if file.facts]
            trouble = [*listing.problems, *(file.problem for file in found.values() if file.problem)]
            trouble += [labels.problem] if labels.problem else []
            seen = (listing, facts, trouble, labels.history)
            if seen != self._seen:
                positions = MappingProxyType(labels.history.positions())
                entry = PromptEntry(self.name, tuple(number for number, _ in facts), None, positions, tuple(trouble))
                self._look, self._seen = self._made(listing, facts, entry), seen
            return self._look

    def saved(self, version: Version, data: bytes) -> None:
        """This process wrote this version just now: it need not be read."""
        with self.lock, contextlib.suppress(OSError):
            now = time.time_ns()
            state = State(files.stamp_of(os.lstat(self._path(version.number))), now, sha256(data).hexdigest())
            self._files[version.number] = VersionFile(state, self._cache.put(version, state))
            if self._audit:
                self._audit.saw(self.name, {version.number: state.raw})

    def _made(self, listing: Listing, facts: list[tuple[int, Facts]], entry: PromptEntry) -> Look:
        if not facts:
            return Look(listing, entry, fold(self.name))
        number, newest = facts[-1]
        if latest := self._cache.recent(self.name, number, newest.raw):
            entry = replace(entry, latest=latest)
        else:
            entry = Unread(entry, lambda: self._newest(number, newest))
        mark = f"{self.name}@{number}:{newest.raw[:12]}"
        words = tuple(one.words for _, one in reversed(facts))
        return Look(listing, entry, words[0].line[: words[0].ends[2]], words, newest.tags, mark)

    def _labelled(self, listing: Listing) -> Labels:
        old = self._label_cache.labels.history
        found = self._label_cache.look(listing)
        if self._audit and found.history != old:
            self._audit.saw(self.name, found.history)
        return found

    def _newest(self, number: int, facts: Facts) -> Version | None:
        return self._cache.version(self.name, number, facts.raw) or self.latest()

    def _all(self, listing: Listing, known: Mapping[int, Known] = MappingProxyType({})) -> dict[int, VersionFile]:
        for number in self._files.keys() - set(listing.numbers):
            del self._files[number]
        return {number: file for number in listing.numbers if (file := self._file(number, known.get(number)))}

    def _path(self, number: int) -> str:
        return f"{self._folder.path}{os.sep}v{number}.yaml"

    def _version(self, number: int, file: VersionFile, facts: Facts) -> Version | None:
        """None when the file turned out to be another one than when it was looked at."""
        if file.problem:
            found = self._cache.version(self.name, number, facts.raw)
            if found is None:
                problem = problems.forgotten(self.name, number, file.problem)
                self._files[number] = VersionFile(file.state, None, problem)
            return found
        if found := self._cache.recent(self.name, number, facts.raw):
            return found
        with contextlib.suppress(OSError, BadRequest):
            data, _ = files.read(self._path(number), MOST)
            if sha256(data).hexdigest() == facts.raw:
                version = from_text(data.decode("utf-8-sig"), self.name, number).version
                self._cache.remember(version, facts.raw, len(data))
                return version
        self._files.pop(number, None)
        return None

    def _file(self, number: int, known: Known | None = None) -> VersionFile | None:
        old = self._files.get(number)
        path = self._path(number)
        facts = old.facts if old else None
        try:
            if old is None and known and files.unchanged(path, known.state):
                self._files[number] = VersionFile(known.state, known.facts)
                return self._files[number]
            state, data = files.look(path, MOST, old.state if old else None)
        except FileNotFoundError:
            return None
        except OSError as error:
            facts = facts or self._cache.facts(self.name, number)
            found = VersionFile(None, facts, problems.closed(self.name, number, f"{self.name}/v{number}.yaml", error))
        else:
            if data is not None or old is None:
                found = self._read(number, data or b"", state, facts)
            else:
                found = old if state is old.state else replace(old, state=state)
        self._files[number] = found
        return found

    def _read(self, number: int, data: bytes, state: State, facts: Facts | None) -> VersionFile:
        """`facts`: of what was saved, if that was known before."""
        where = f"{self.name}/v{number}.yaml"
        draft: Version | None = None
        what, fix = f"{where} is no text in UTF-8.", "Save it as UTF-8."
        try:
            found = from_text(data.decode("utf-8-sig"), self.name, number)
            if found.intact:
                return VersionFile(state, self._cache.put(found.version, state))
            draft = found.version
        except UnicodeDecodeError:
            pass
        except BadRequest as error:
            what, fix = error.what, error.fix
        except ValueError:  # whatever it is that nobody thought of: one file must not stop the look at all others
            what, fix = f"{where} holds something that no version can hold.", "Correct it, or bring it back with git."
        facts = facts or self._cache.facts(self.name, number)
        if draft:
            problem = problems.edited(self.name, number, draft, facts is not None)
        else:
            problem = problems.unreadable(self.name, number, what, fix, facts is not None)
        return VersionFile(state, facts, problem)
