"""Exact search over vectors in memory.

Chroma's graph index (HNSW) loses what is unlike the rest as soon as thousands of records are nearly alike, as the
answers to one prompt with many inputs are: of 1,000 such texts among 26 others it found 75 % of what it should, of
3,000 it found 42 %. So up to a size where memory does not matter its records are compared one by one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from core.store.embeddings import Matrix

Tags = Mapping[str, str]


class Exact:
    """A copy of a collection's vectors. Thread safe."""

    def __init__(self, dimensions: int) -> None:
        self._vectors: Matrix = np.zeros((64, dimensions), np.float32)
        self._ids: list[str | None] = []  # by row; None = free
        self._tags: list[Tags] = []
        self._rows: dict[str, int] = {}
        self._free: list[int] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, ids: Sequence[str], vectors: Matrix, tags: Sequence[Tags]) -> None:
        with self._lock:
            for id, vector, tag in zip(ids, vectors, tags, strict=True):
                row = self._row(id)
                self._vectors[row], self._tags[row] = vector, tag

    def remove(self, ids: Sequence[str]) -> None:
        with self._lock:
            for id in ids:
                if (row := self._rows.pop(id, None)) is not None:
                    self._ids[row] = None
                    self._free.append(row)

    def near(self, vector: Matrix, where: Tags) -> Iterator[tuple[str, float]]:
        """The records whose tags equal `where` with their cosine similarity, nearest first."""
        with self._lock:
            ids, tags = list(self._ids), list(self._tags)
            similarities = self._vectors[: len(ids)] @ vector
        for row in np.argsort(-similarities):
            id = ids[row]
            if id is not None and where.items() <= tags[row].items():
                yield id, float(similarities[row])

    def _row(self, id: str) -> int:
        if id in self._rows:
            return self._rows[id]
        if self._free:
            row = self._free.pop()
            self._ids[row] = id
        else:
            row = len(self._ids)
            self._ids.append(id)
            self._tags.append({})
            if row == len(self._vectors):
                self._vectors = np.concatenate([self._vectors, np.zeros_like(self._vectors)])
        self._rows[id] = row
        return row
