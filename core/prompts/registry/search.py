"""Search in the prompts, by words and by meaning at once."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

from core.prompts.registry.cache import Cache
from core.prompts.registry.index import Index
from core.prompts.registry.records import PromptHit
from core.prompts.registry.words import LONGEST, fold, texts
from core.prompts.version import Version
from core.store.fusion import fused
from core.store.items import Item
from core.text import PIECES, pieces, snippet

if TYPE_CHECKING:
    from core.store.vectors import Vectors  # takes a moment to load, and the command line does not need it

COLLECTION = "prompts"
QUERY = 400  # characters of a query that count
# A description in other words shares little with a short text: rather show a few that are somewhat near than none.
LEAST = 3
RELAXED = 0.6  # of the similarity that is asked for otherwise


class Search:
    """Thread-safe. Without `attach` it searches by words alone."""

    def __init__(self, index: Index, cache: Cache) -> None:
        self._index = index
        self._cache = cache
        self._vectors: Vectors | None = None
        self._indexed: dict[str, str] = {}  # prompt name → the mark that the vectors heard of last
        self._lock = threading.Lock()

    def attach(self, vectors: Vectors) -> None:
        """Search by meaning too."""
        with self._lock:
            self._vectors, self._indexed = vectors, self._index.marks()
        vectors.attach(COLLECTION, PromptSource(self._index))
        self._index.callbacks.append(self._changed)

    def search(self, text: str, limit: int) -> list[PromptHit]:
        """Prompts that fit, best first, each once with its newest version that fits."""
        query = text[:QUERY].strip()
        words = query.split()
        if not words or limit < 1:
            return []
        by_words = self._by_words([fold(word) for word in words])
        by_meaning = self._by_meaning(query, limit)
        found: list[PromptHit] = []
        for name, (score, how) in islice(fused(by_words, by_meaning).items(), limit):
            number, in_texts = by_words.get(name) or (by_meaning[name], False)
            marked = words if name in by_words else []
            found.append(PromptHit(name, number, self._snippet(name, number, marked, in_texts), how, score))
        return found

    def _by_words(self, wanted: list[str]) -> dict[str, tuple[int, bool]]:
        """Of each prompt that fits the number of the version, and whether it is its texts that fit; best first."""
        found: list[tuple[int, int, str, int]] = []
        for look in self._index.prompts():
            name = look.entry.name
            for words in look.words:
                rank = words.rank(wanted)
                if rank is not None:
                    found.append((rank, len(name), name, words.number))
                    break
        return {name: (number, rank == 3) for rank, _, name, number in sorted(found)}

    def _by_meaning(self, query: str, limit: int) -> dict[str, int]:
        """The newest versions of prompts whose meaning is near, nearest first."""
        if self._vectors is None:
            return {}
        found: dict[str, int] = {}
        marks = self._index.marks()
        near = self._vectors.query(COLLECTION, query, {}, limit)
        if len(near) < LEAST:
            near = self._vectors.query(COLLECTION, query, {}, min(limit, LEAST), RELAXED)
        for match in near:
            name, number = parts(match.id)
            if marks.get(name) == match.id:  # and not one that is gone since
                found.setdefault(name, number)
        return found

    def _snippet(self, name: str, number: int, words: list[str], in_texts: bool) -> str:
        file = self._index.folder(name).file(number)
        version = self._cache.version(name, number, file.facts.raw) if file and file.facts else None
        if version is None:
            return ""
        return snippet(texts(version) if in_texts or not version.description else version.description, words)

    def _changed(self, names: set[str]) -> None:
        marks = self._index.marks()
        with self._lock:
            vectors = self._vectors
            old = [self._indexed.pop(name) for name in names if name in self._indexed]
            new = [marks[name] for name in names if name in marks]
            self._indexed.update({parts(mark)[0]: mark for mark in new})
        if vectors is not None:
            vectors.changed(COLLECTION, [*old, *new])


class PromptSource:
    """The `Source` of the collection of prompts. An item is the newest version of a prompt, so its id names both."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def count(self) -> int:
        return len(self._index.marks())

    def ids(self) -> list[str]:
        """Waits until everything has been looked at: what is not named here is deleted from the index."""
        if not self._index.scanned.is_set():
            self._index.scan()
        return list(self._index.marks().values())

    def items(self, ids: Sequence[str]) -> list[Item]:
        looks = {look.mark: look for look in self._index.prompts()}
        found = []
        for id in ids:
            name = parts(id)[0]
            latest = looks[id].entry.latest if id in looks else None
            if latest is not None:
                found.append(Item(id, _pieces(latest), {"name": name}))
        return found


def parts(mark: str) -> tuple[str, int]:
    """Name and number that a mark stands for."""
    name, _, rest = mark.partition("@")
    return name, int(rest.partition(":")[0])


def _pieces(version: Version) -> tuple[str, ...]:
    about = "\n".join([version.description, re.sub("[/_-]+", " ", version.name), ", ".join(version.tags)])
    return (*pieces(about), *pieces(texts(version, LONGEST)))[:PIECES]
