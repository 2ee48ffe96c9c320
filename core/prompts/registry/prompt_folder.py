"""One prompt as it is on the disk at this moment. What has not changed since it was read is not read again."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

from core.errors import BadRequest
from core.prompts.content import LARGEST
from core.prompts.registry import files
from core.prompts.registry import problems as oddities
from core.prompts.registry.cache import Cache, CacheRow, Facts
from core.prompts.registry.files import Stamp
from core.prompts.registry.label_cache import Labels, Marks
from core.prompts.registry.listing import Folder, Listing, Root
from core.prompts.registry.records import Problem, PromptEntry, Unread
from core.prompts.registry.witness import Seen
from core.prompts.registry.words import Words
from core.prompts.version import Version, from_text


@dataclass(slots=True)
class VersionFile:
    """One version's file as it was when it was read."""

    stamp: Stamp
    settled: bool
    raw: bytes  # SHA-256 of the file
    facts: Facts | None  # of what was saved; None when that is not known
    problem: Problem | None = None


class PromptFolder:
    """Thread-safe. Every method looks at the disk first, which takes microseconds when nothing has changed."""

    def __init__(self, root: Root, name: str, cache: Cache, seen: Seen) -> None:
        """`seen` is told of every history that was read, and of every file that was written."""
        self.name = name
        self.lock = threading.RLock()
        self._folder = Folder(root, name)
        self._cache = cache
        self._listing = Listing()
        self._marks = Marks(self._folder, seen)
        self._seen = seen
        self._labels = Labels()
        self._cards: dict[int, VersionFile] = {}
        self._changed = True
        self._entry = PromptEntry(name, (), None, {})
        self.words: tuple[Words, ...] = ()  # of the versions that can be used, newest first, as of the last `entry()`
        self.tags: tuple[str, ...] = ()  # of the newest
        self.mark = ""  # changes with the newest version

    @property
    def folder(self) -> Path:
        return Path(self._folder.path)

    def listing(self) -> Listing:
        """The names in the folder."""
        with self.lock:
            found = self._folder.look()
            if found is not self._listing:
                for number in self._cards.keys() - set(found.numbers):
                    del self._cards[number]
                self._listing, self._changed = found, True
            return found

    def exists(self) -> bool:
        """Whether it is a prompt: whether it holds anything named like a version, or had labels."""
        self.listing()
        return self.is_prompt

    @property
    def listed(self) -> Listing:
        """As `listing`, as of the last look."""
        return self._listing

    @property
    def is_prompt(self) -> bool:
        """As `exists`, as of the last look."""
        return bool(self.name) and (bool(self._listing.numbers) or self._listing.history)

    def card(self, number: int) -> VersionFile | None:
        """What is known of the file of this number; None when there is none."""
        with self.lock:
            return self._card(number) if number in self.listing().numbers else None

    def intact(self) -> dict[int, str]:
        """SHA-256 in hex of the files that are as they were saved, by number. One look at the folder for all."""
        with self.lock:
            cards = {number: self._card(number) for number in self.listing().numbers}
            return {number: card.raw.hex() for number, card in cards.items() if card and not card.problem}

    def version(self, number: int) -> Version | None:
        """What was saved under this number; None when there is no such file. BadRequest when the file is another one
        now and what was saved is not known."""
        with self.lock:
            for _ in range(3):  # because the file may change between two looks
                card = self.card(number)
                if card is None:
                    return None
                if card.facts is None:
                    problem = card.problem or oddities.closed(self.name, number, f"{self.name}@{number}", OSError())
                    raise BadRequest(problem.what, problem.fix)
                if version := self._read_version(number, card, card.facts):
                    return version
            return None

    def latest(self) -> Version | None:
        """The newest version that can be used."""
        with self.lock:
            for number in reversed(self.listing().numbers):
                card = self._card(number)
                with contextlib.suppress(BadRequest):  # it was edited since, and what was saved is not known
                    if card and card.facts and (version := self.version(number)):
                        return version
            return None

    def labels(self) -> Labels:
        """The history of the labels, as far as it can be trusted."""
        with self.lock:
            return self._labelled(self.listing())

    def entry(self, rows: Mapping[int, CacheRow] | None = None) -> PromptEntry:
        """All of it; the same object as before when nothing has changed. `rows`: what was read in earlier runs."""
        with self.lock:
            listing = self.listing()
            cards = {n: card for n in listing.numbers if (card := self._card(n, rows.get(n) if rows else None))}
            marked = self._labelled(listing)
            if not self._changed:
                return self._entry
            usable = [(number, card.facts) for number, card in cards.items() if card.facts]
            newest = usable[-1][1] if usable else None
            latest = self._cache.recent(self.name, usable[-1][0], newest.raw) if newest else None
            problems = [*listing.problems, *(card.problem for card in cards.values() if card.problem)]
            entry = PromptEntry(
                self.name,
                tuple(number for number, _ in usable),
                latest,
                MappingProxyType(marked.history.positions()),
                tuple([*problems, marked.problem] if marked.problem else problems),
            )
            if newest and latest is None:
                entry = Unread(entry, self._newest)
            self.tags = newest.tags if newest else ()
            self.words = tuple(facts.words for _, facts in reversed(usable))
            self.mark = f"{self.name}@{usable[-1][0]}:{usable[-1][1].raw.hex()[:12]}" if usable else ""
            self._changed = False
            self._entry = entry
            return entry

    def saved(self, version: Version, data: bytes) -> None:
        """This process wrote this version just now: it need not be read."""
        with self.lock:
            self._folder.changed()
            raw = sha256(data).digest()
            try:
                stamp = files.stamp_of(os.lstat(self._path(version.number)))
            except OSError:
                return
            self._cards[version.number] = VersionFile(stamp, False, raw, self._cache.put(version, raw, stamp))
            self._changed = True
            self._seen(self.name, {version.number: raw.hex()})

    def changed(self) -> None:
        """This process wrote something here."""
        with self.lock:
            self._folder.changed()
            self._marks.changed()

    def _path(self, number: int) -> str:
        return f"{self._folder.path}{os.sep}v{number}.yaml"

    def _newest(self) -> Version | None:
        with self.lock:
            number = self._entry.numbers[-1]
            card = self._cards.get(number)
            found = self._cache.version(self.name, number, card.facts.raw) if card and card.facts else None
            return found or self.latest()

    def _read_version(self, number: int, card: VersionFile, facts: Facts) -> Version | None:
        if card.raw != facts.raw:
            found = self._cache.version(self.name, number, facts.raw)
            if found is None:
                card.facts, self._changed = None, True
                card.problem = oddities.forgotten(self.name, number, card.problem)
            return found
        if found := self._cache.recent(self.name, number, facts.raw):
            return found
        try:
            data, _ = files.read(self._path(number), LARGEST * 4)
            if sha256(data).digest() == facts.raw:
                version = from_text(data.decode("utf-8-sig"), self.name, number).version
                self._cache.remember(version, facts.raw, len(data))
                return version
        except (OSError, BadRequest):
            pass
        card.settled = False  # it changed after we looked
        return None

    def _card(self, number: int, row: CacheRow | None = None) -> VersionFile | None:
        path = self._path(number)
        now = time.time_ns()
        old = self._cards.get(number)
        try:
            stamp = files.stamp_of(os.lstat(path))
            if old and old.stamp == stamp and old.settled:
                return old
            if old is None and row and row.stamp == stamp and files.settled(stamp, row.seen):
                self._changed = True
                self._cards[number] = VersionFile(stamp, True, row.facts.raw, row.facts)
                return self._cards[number]
            data, stamp = files.read(path, LARGEST * 4)
        except FileNotFoundError:
            self._folder.changed()
            return None
        except OSError as error:
            facts = old.facts if old else self._cache.facts(self.name, number)
            problem = oddities.closed(self.name, number, f"{self.name}/v{number}.yaml", error)
            return self._kept(number, VersionFile((0, 0, 0), False, b"", facts, problem), old)
        raw = sha256(data).digest()
        if old and old.raw == raw:
            old.stamp, old.settled = stamp, files.settled(stamp, now)
            return old
        return self._kept(number, self._read(number, data, raw, stamp, now, old), old)

    def _kept(self, number: int, card: VersionFile, old: VersionFile | None) -> VersionFile:
        self._changed = self._changed or old is None or (old.facts, old.problem) != (card.facts, card.problem)
        self._cards[number] = card
        return card

    def _read(
        self, number: int, data: bytes, raw: bytes, stamp: Stamp, now: int, old: VersionFile | None
    ) -> VersionFile:
        where = f"{self.name}/v{number}.yaml"
        settled = files.settled(stamp, now)
        draft: Version | None = None
        what, fix = f"{where} is no text in UTF-8.", "Save it as UTF-8."
        try:
            found = from_text(data.decode("utf-8-sig"), self.name, number)
            if found.intact:
                return VersionFile(stamp, settled, raw, self._cache.put(found.version, raw, stamp))
            draft = found.version
        except UnicodeDecodeError:
            pass
        except BadRequest as error:
            what, fix = error.what, error.fix
        except ValueError:  # whatever it is that nobody thought of: one file must not stop the look at all others
            what, fix = f"{where} holds something that no version can hold.", "Correct it, or bring it back with git."
        facts = old.facts if old and old.facts else self._cache.facts(self.name, number)
        known = facts is not None
        problem = (
            oddities.edited(self.name, number, draft, known)
            if draft
            else oddities.unreadable(self.name, number, what, fix, known)
        )
        return VersionFile(stamp, settled, raw, facts, problem)

    def _labelled(self, listing: Listing) -> Labels:
        found = self._marks.look(listing)
        old, self._labels = self._labels, found
        if found is not old and (found.history, found.problem) != (old.history, old.problem):
            self._changed = True
        return found
