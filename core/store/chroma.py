"""Chroma as one process may use it: one client for the local folder, or one for a server, and its collections.

What Chroma does that one would not expect, and what is done about it here:

- A collection without an embedding function downloads a model as soon as it is given texts, so it only gets vectors.
- Two clients of one folder with different settings are refused, and a folder that failed to open stays half open.
- Deleting the folder is not noticed: reading goes on from the deleted file and writing fails.
- Its client for a server waits for ever.
- Over `get_max_batch_size()` records at once are refused; a duplicate id within one call is, too.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np

from core.settings import Settings
from core.store.embeddings import Matrix
from core.store.exact import Exact

# What SQLite and the vector index say when a file is damaged; a full or read-only disk says something else.
# Twice Chroma's own effort: 20 % more time to build for a clearly better recall among texts that are alike.
HNSW = {"space": "cosine", "max_neighbors": 32, "ef_construction": 200, "ef_search": 200}
EXACT = 20_000  # records that are compared exactly, 1 kB of memory each with 256 dimensions
PAGE = 2000  # records read at once
TIMEOUT = httpx.Timeout(30, connect=5)  # seconds, for a server
DAMAGED = ("(code: 11)", "(code: 26)", "hnsw", "pickle", "finding id", "no such table", "no such column")


@dataclass(frozen=True, slots=True)
class Near:
    """One record near a vector."""

    id: str
    similarity: float  # cosine, -1 to 1


class Collection:
    """One collection, compared by cosine; up to EXACT records exactly. Raises whatever Chroma raises."""

    def __init__(self, handle: Any, batch: int, dimensions: int) -> None:
        self._handle = handle
        self._batch = batch
        self._dimensions = dimensions
        self._exact: Exact | None = None

    def load(self) -> bool:
        """To be called once. False if vectors were lost: the index's files are missing, or older than the records."""
        if self._handle.count() > EXACT:
            first = self._handle.get(limit=1, include=["embeddings"])
            near = self._query(first["embeddings"][0], 1)
            return bool(near) and near[0][0].similarity > 0.999
        exact = Exact(self._dimensions)
        read = 0
        while (part := self._handle.get(limit=PAGE, offset=read, include=["embeddings", "metadatas"]))["ids"]:
            read += len(part["ids"])
            if len(part["embeddings"]) != len(part["ids"]):
                return False
            exact.put(
                part["ids"], np.asarray(part["embeddings"], np.float32), [tags or {} for tags in part["metadatas"]]
            )
        self._exact = exact
        return True

    def ids(self) -> list[str]:
        return list(self._handle.get(include=[])["ids"])

    def put(self, ids: Sequence[str], vectors: Matrix, tags: Sequence[Mapping[str, str]]) -> None:
        for start in range(0, len(ids), self._batch):
            part = slice(start, start + self._batch)
            self._handle.upsert(
                ids=list(ids[part]), embeddings=vectors[part], metadatas=[dict(tag) for tag in tags[part]]
            )
        if self._exact is not None:
            self._exact.put(ids, vectors, tags)
            if len(self._exact) > EXACT:
                self._exact = None

    def remove(self, ids: Sequence[str]) -> None:
        if self._exact is not None:
            self._exact.remove(ids)
        for start in range(0, len(ids), self._batch):
            self._handle.delete(ids=list(ids[start : start + self._batch]))

    def near(self, vector: Matrix, where: Mapping[str, str], limit: int) -> list[Near]:
        """The nearest records whose tags equal `where`, nearest first."""
        exact = self._exact
        if exact is not None:
            return [Near(id, similarity) for id, similarity in islice(exact.near(vector, where), limit)]
        # Chroma's filter collects all records that pass it before it searches: 20 times slower when most of them do,
        # as on a machine with one user. So the filter is used only if too few of the nearest pass it.
        found = self._query(vector, limit)
        passed = [near for near, tags in found if where.items() <= tags.items()]
        if len(passed) < min(limit // 2, len(found)):
            clauses = [{name: value} for name, value in where.items()]
            passed = [near for near, _ in self._query(vector, limit, {"$and": clauses} if clauses[1:] else clauses[0])]
        return passed

    def _query(self, vector: Matrix, limit: int, where: Any = None) -> list[tuple[Near, Mapping[str, Any]]]:
        found = self._handle.query(
            query_embeddings=[vector], n_results=limit, where=where, include=["distances", "metadatas"]
        )
        rows = zip(found["ids"][0], found["distances"][0], found["metadatas"][0], strict=True)
        return [(Near(id, 1 - distance), tags or {}) for id, distance, tags in rows]


class Chroma:
    """A local folder, or a server when PARLEY_CHROMA_URL is set."""

    def __init__(self, settings: Settings) -> None:
        self.address = str(settings["PARLEY_CHROMA_URL"])
        self.folder = settings.data_dir / "chroma"
        self._client: Any = None
        self._inode = 0
        # Workbenches may share a server; each keeps to collections of its own.
        owner = str(settings["PARLEY_DATABASE_URL"] or settings.data_dir)
        self._suffix = "-" + hashlib.sha256(owner.encode()).hexdigest()[:8] if self.address else ""

    @property
    def local(self) -> bool:
        return not self.address

    def open(self) -> None:
        """Import Chroma (about a second) and connect. Raises whatever Chroma raises."""
        import chromadb

        logging.getLogger("chromadb").setLevel(logging.CRITICAL)
        if self.local:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._client = self._patient(lambda: chromadb.PersistentClient(str(self.folder)))
            self._inode = self._now()
            return
        parts = urlsplit(self.address)
        secure = parts.scheme == "https"
        host, port = str(parts.hostname), parts.port or (443 if secure else 8000)
        httpx.get(f"{parts.scheme}://{host}:{port}/api/v2/heartbeat", timeout=TIMEOUT).raise_for_status()
        self._client = chromadb.HttpClient(host=host, port=port, ssl=secure)
        session = getattr(getattr(self._client, "_server", None), "_session", None)
        if isinstance(session, httpx.Client):
            session.timeout = TIMEOUT

    @staticmethod
    def _patient(connect: Callable[[], Any]) -> Any:
        try:
            return connect()
        except Exception:
            # Chroma keeps the half-open folder; failing once more, or closing, is what makes it let go.
            with contextlib.suppress(Exception):
                connect().close()
            raise

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):
                client.close()

    def collection(self, name: str, embedder: str, dimensions: int) -> Collection:
        """The collection for texts of this kind and embedder. Those that another embedder filled are deleted."""
        plain = re.sub(r"[^a-zA-Z0-9._-]+", "-", embedder).strip("-._")[:200]
        mark = "" if plain == embedder else "-" + hashlib.sha256(embedder.encode()).hexdigest()[:6]
        wanted = f"{name}-{plain}{mark}-{dimensions}{self._suffix}"
        for other in self._names():
            if other.startswith(f"{name}-") and other.endswith(self._suffix) and other != wanted:
                self._client.delete_collection(other)
        handle = self._client.get_or_create_collection(wanted, configuration={"hnsw": HNSW}, embedding_function=None)
        return Collection(handle, self._client.get_max_batch_size(), dimensions)

    def drop(self, name: str) -> None:
        """Delete every collection for texts of this kind."""
        for other in self._names():
            if other.startswith(f"{name}-") and other.endswith(self._suffix):
                self._client.delete_collection(other)

    def _names(self) -> Iterable[str]:
        return [str(collection.name) for collection in self._client.list_collections(limit=10_000)]

    def gone(self) -> bool:
        """Whether the folder was deleted or replaced since it was opened."""
        return self.local and self._client is not None and self._now() != self._inode

    def _now(self) -> int:
        try:
            return (self.folder / "chroma.sqlite3").stat().st_ino
        except OSError:
            return 0

    def damaged(self, error: BaseException) -> bool:
        """Whether the error says that files of the folder are damaged, so that only a new folder helps."""
        return self.local and any(sign in str(error) for sign in DAMAGED)

    def set_aside(self) -> Path | None:
        """Close, and move the folder out of the way; an earlier one that was set aside is deleted."""
        self.close()
        if not self.local or not self.folder.exists():
            return None
        aside = self.folder.with_name("chroma.damaged")
        shutil.rmtree(aside, ignore_errors=True)
        self.folder.rename(aside)
        return aside
