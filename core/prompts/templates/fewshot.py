"""Few-shot examples that are chosen for a question: those whose input is nearest to it in meaning.

Their vectors lie in the index (Chroma). A set that is not there yet, as that of a draft, is embedded at once; which
examples are chosen is the same either way.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from cachetools import LRUCache

from core.errors import StorageError
from core.prompts.content import Content, Example
from core.store.embeddings import Embedder, Matrix
from core.store.items import Item
from core.store.vectors import Vectors

COLLECTION = "examples"
PATIENCE = 120.0  # seconds to wait for all contents
PAUSE = 0.05  # seconds between looks
KEPT = 16  # sets that were embedded here
SAME = 6  # decimal places in which similarities are compared, so that rounding errors decide nothing
NEVER = -2.0  # below every cosine
ALL = -1000.0  # times the least similarity that is asked for otherwise: however far


class Examples:
    """Chooses examples, and is the `Source` of their collection. Thread safe.

    `contents` gives all contents that ought to be indexed. Versions with the same inputs share one set of vectors.
    """

    def __init__(
        self,
        contents: Callable[[], Iterable[Content]],
        embedder: Embedder,
        vectors: Vectors | None = None,
        whole: Callable[[], bool] = lambda: True,
    ) -> None:
        """`whole` says whether `contents` gives all by now."""
        self._contents = contents
        self._embedder = embedder
        self._vectors = vectors
        self._whole = whole
        self._made: LRUCache[str, Matrix] = LRUCache(KEPT)
        self._lock = threading.Lock()

    def nearest(self, content: Content, question: str) -> tuple[Example, ...]:
        """As many as the content wants, the nearest last. Raises core.errors if the embedder cannot be used."""
        examples = content.examples
        wanted = min(content.nearest or len(examples), len(examples))
        if not question.strip() or wanted == len(examples):
            return examples[:wanted]
        similarities = self._similarities(content, question)
        order = sorted(range(len(examples)), key=lambda index: (-round(similarities[index], SAME), index))
        return tuple(examples[index] for index in reversed(order[:wanted]))

    def changed(self, contents: Iterable[Content]) -> None:
        """These are new, or were changed."""
        ids = [id for content in contents for id in self.ids_of(content)]
        if ids and self._vectors is not None:
            self._vectors.changed(COLLECTION, ids)

    def count(self) -> int:
        return sum(len(content.examples) for content in self._sets().values())

    def ids(self) -> list[str]:
        """StorageError while not all contents are known: what is not named here is deleted from the index."""
        until = time.monotonic() + PATIENCE
        while not self._whole():
            if time.monotonic() > until:
                raise StorageError("The prompts have not been read yet.", "Search by words works. Wait a moment.")
            time.sleep(PAUSE)
        return [id for content in self._sets().values() for id in self.ids_of(content)]

    def ids_of(self, content: Content) -> list[str]:
        """`<hash of the set>-<index>` of each example that has an input; none if the content sends all it has."""
        if content.nearest is None:
            return []
        name = _name(content)
        return [f"{name}-{index}" for index, example in enumerate(content.examples) if example.input.strip()]

    def items(self, ids: Sequence[str]) -> list[Item]:
        sets = self._sets()
        found: list[Item] = []
        for id in ids:
            name, _, index = id.rpartition("-")
            content = sets.get(name)
            if content is not None and index.isdecimal() and int(index) < len(content.examples):
                found.append(Item(id, (content.examples[int(index)].input,), {"set": name}))
        return found

    def _sets(self) -> dict[str, Content]:
        return {_name(content): content for content in self._contents() if content.nearest is not None}

    def _similarities(self, content: Content, question: str) -> list[float]:
        """Of each example to the question; NEVER without an input."""
        name = _name(content)
        with self._lock:
            made = self._made.get(name)
        if made is None and self._vectors is not None:
            wanted = self.ids_of(content)
            found = self._vectors.query(COLLECTION, question, {"set": name}, len(wanted), ALL)
            by_id = {match.id: match.similarity for match in found}
            if by_id.keys() == set(wanted):
                return [by_id.get(f"{name}-{index}", NEVER) for index in range(len(content.examples))]
        if made is None:
            made = self._embedder.embed([example.input for example in content.examples])
            with self._lock:
                self._made[name] = made
        similarities: Matrix = made @ self._embedder.embed([question])[0]
        return [float(one) if row.any() else NEVER for one, row in zip(similarities, made, strict=True)]


def _name(content: Content) -> str:
    """The same for the same inputs in the same order."""
    inputs = json.dumps([example.input for example in content.examples])
    return hashlib.sha256(inputs.encode()).hexdigest()[:16]
