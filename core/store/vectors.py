"""What is searched by meaning. Chroma holds vectors and nothing that SQL does not know: it may be deleted at any time.

A feature attaches a `Source`, which says what ought to be searchable, and calls `changed` with the ids of what was
added, changed or deleted. One thread does the rest: it asks the source for these ids, embeds what exists and removes
what does not. Whenever it cannot be sure (at the start, after a fault, when too much is waiting) it compares all
ids with the source's. So neither a crash nor a deleted folder nor a late delete can bring anything back or lose it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog

from core.errors import ParleyError, ProviderUnavailable, StorageError
from core.settings import Settings
from core.store.chroma import Chroma, Collection
from core.store.embeddings import Embedder
from core.store.items import IndexState, Item, Match, Source
from core.text import PIECES

__all__ = ["IndexState", "Item", "Match", "Source", "Vectors"]

log = structlog.get_logger()

WAITING = 10_000  # ids that may wait; with more, all are compared instead
BATCH = 1000  # texts that are embedded and stored at once
RETRY = 30.0  # seconds until another try after a fault
GATHER = 0.2  # seconds to let more come, because Chroma takes as long for one text as for many
DELAY = 1.0  # seconds from the start until Chroma is loaded, so that the first page comes first

Progress = Callable[[int, int], None]  # texts done, texts in all


class Vectors:
    """Search by meaning over attached sources. Nothing here raises for Chroma's sake: see `problem`."""

    def __init__(self, settings: Settings, embedder: Embedder, delay: float = DELAY) -> None:
        self._chroma = Chroma(settings)
        self._embedder = embedder
        self._delay = delay
        self._sources: dict[str, Source] = {}
        self._open: dict[str, Collection] = {}
        self._pending: dict[str, dict[str, None]] = {}  # ids in the order they came, by collection
        self._unsure: set[str] = set()  # collections of which all ids are to be compared
        self._comparing = ""
        self._todo = self._left = 0  # texts to embed, and those still to embed, of the comparison that is running
        self._renew = False
        self._progress: Progress | None = None
        self._suspect: Exception | None = None  # what a query ran into
        self._faults = 0  # in a row
        self._problem: ParleyError | None = None
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._idle = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def problem(self) -> ParleyError | None:
        """Why search by meaning does not work now; it is tried again every RETRY seconds."""
        return self._problem

    def attach(self, name: str, source: Source) -> None:
        """Keep a collection equal to what `source` says, beginning now and in the background."""
        with self._lock:
            self._sources[name] = source
            self._pending[name] = {}
            self._unsure.add(name)
        self._rouse()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="parley-vectors", daemon=True)
            self._thread.start()

    def changed(self, name: str, ids: Iterable[str]) -> None:
        """These texts were added, changed or deleted. Returns at once; the thread looks at them."""
        with self._lock:
            pending = self._pending[name]
            pending.update(dict.fromkeys(ids))
            if len(pending) > WAITING:
                pending.clear()
                self._unsure.add(name)
        self._rouse()

    def query(
        self, name: str, text: str, where: Mapping[str, str], limit: int, near_enough: float = 1.0
    ) -> list[Match]:
        """Texts whose meaning is near, nearest first; none below `near_enough` times the embedder's floor.

        Empty while there is a problem. May hold what was deleted a moment ago: look each id up before it is shown.
        """
        collection = self._open.get(name)
        if collection is None or self._chroma.gone():
            self._rouse()
            return []
        try:
            vector = self._embedder.embed([text])[0]
            near = collection.near(vector, where, limit * 4) if vector.any() else []
            floor = self._embedder.floor * near_enough
        except Exception as error:  # Chroma and its HTTP client raise whatever they like
            self._suspect = error
            self._rouse()
            return []
        best: dict[str, Match] = {}
        for record in near:
            item, _, piece = record.id.rpartition(".")
            if record.similarity >= floor and item not in best:
                best[item] = Match(item, int(piece), record.similarity)
        return list(best.values())[:limit]

    def rebuild(self, progress: Progress | None = None) -> None:
        """Delete all vectors and make them anew, in the background. `progress` is called from another thread."""
        with self._lock:
            self._renew, self._progress = True, progress
        self._rouse()

    def state(self) -> IndexState:
        """Where the index stands. Counts in SQL: for the Settings tab, not for a hot path."""
        total = sum(source.count() for source in self._sources.values())
        if self._chroma.gone():
            self._rouse()
        with self._lock:
            ready = bool(self._sources) and self._open.keys() == self._sources.keys()
            waiting = self._left + sum(len(pending) for pending in self._pending.values())
            known = ready and not (self._unsure or self._renew or (self._comparing and not self._todo))
            progress = 1 - self._left / self._todo if self._todo else None
            return IndexState(ready, max(0, total - waiting) if known else 0, total, progress, self._problem)

    def wait(self, timeout: float = 30.0) -> bool:
        """Wait until nothing is left to do. False if that takes longer or there is a problem."""
        return self._idle.wait(timeout) and self._problem is None

    def close(self) -> None:
        """End the thread and let go of the folder. What is not indexed yet will be at the next start."""
        self._stop.set()
        self._rouse()
        if self._thread is not None:
            self._thread.join(timeout=15)
        self._open = {}
        self._chroma.close()

    def _rouse(self) -> None:
        with self._lock:
            self._idle.clear()
            self._wake.set()

    def _run(self) -> None:
        self._wake.wait()
        self._stop.wait(self._delay)
        while True:
            self._stop.wait(GATHER)
            self._wake.clear()
            if self._stop.is_set():
                return
            try:
                self._round()
            except Exception as error:  # the thread must live on, whatever Chroma or a source raise
                if not self._stop.is_set():
                    self._recover(error)
            else:
                self._faults, self._problem = 0, None
            if self._faults and self._problem is None:
                continue
            with self._lock:
                if not self._wake.is_set():
                    self._idle.set()
            self._wake.wait(RETRY if self._problem else None)

    def _round(self) -> None:
        suspect, self._suspect = self._suspect, None
        if suspect is not None:
            raise suspect
        if self._problem is not None:
            self._embedder.embed(["Does it work again?"])
        self._connect()
        for name, source in list(self._sources.items()):
            with self._lock:
                unsure = name in self._unsure
                self._unsure.discard(name)
            if unsure:
                self._compare(name, source)
            while ids := self._take(name):
                self._index(name, source, ids)
        self._progress = None

    def _connect(self) -> None:
        if self._chroma.gone():
            log.warning("vectors.gone", what="The Chroma folder was deleted; it is made anew.")
            self._forget()
        if self._renew:
            self._forget()
            self._chroma.open()
            for name in self._sources:
                self._chroma.drop(name)
            self._renew = False
        elif not self._open:
            self._chroma.open()
        fresh = dict(self._open)
        for name in self._sources.keys() - fresh.keys():
            fresh[name] = self._collection(name)
            with self._lock:
                self._unsure.add(name)
        self._open = fresh

    def _collection(self, name: str) -> Collection:
        dimensions = self._embedder.dimensions
        collection = self._chroma.collection(name, self._embedder.name, dimensions)
        if not collection.load():
            log.warning("vectors.lost", collection=name, what="Vectors were lost; they are made anew.")
            self._chroma.drop(name)
            collection = self._chroma.collection(name, self._embedder.name, dimensions)
            collection.load()
        return collection

    def _forget(self) -> None:
        self._chroma.close()
        with self._lock:
            self._open = {}
            self._unsure.update(self._sources)

    def _take(self, name: str) -> list[str]:
        if self._stop.is_set():
            return []
        with self._lock:
            pending = self._pending[name]
            return [pending.popitem()[0] for _ in range(min(BATCH, len(pending)))]

    def _compare(self, name: str, source: Source) -> None:
        """Remove what SQL does not know and add what it does."""
        self._comparing = name
        try:
            stored = {record.rpartition(".")[0] for record in self._open[name].ids()}
            wanted = source.ids()
            missing = [id for id in wanted if id not in stored]
            gone = stored.difference(wanted)
            self._open[name].remove([f"{id}.{piece}" for id in gone for piece in range(PIECES)])
            with self._lock:
                self._todo = self._left = len(missing)
            self._report(0, len(missing))
            for start in range(0, len(missing), BATCH):
                if self._stop.is_set():
                    return
                batch = missing[start : start + BATCH]
                self._index(name, source, batch, fresh=True)
                with self._lock:
                    self._left -= len(batch)
                self._report(len(missing) - self._left, len(missing))
        finally:
            self._comparing = ""
            self._todo = self._left = 0

    def _report(self, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(done, total)

    def _index(self, name: str, source: Source, ids: Sequence[str], fresh: bool = False) -> None:
        """Make the collection hold what the source says of `ids` now. `fresh`: none of them is in it yet."""
        items = source.items(ids)
        cut = [(item, piece) for item in items for piece in range(len(item.pieces[:PIECES]))]
        vectors = self._embedder.embed([item.pieces[piece] for item, piece in cut])
        full = [row for row in range(len(cut)) if vectors[row].any()]
        records = [f"{cut[row][0].id}.{cut[row][1]}" for row in full]
        if records:
            self._open[name].put(records, vectors[full], [cut[row][0].tags for row in full])
        if not fresh:
            kept = set(records)
            old = [record for id in ids for piece in range(PIECES) if (record := f"{id}.{piece}") not in kept]
            self._open[name].remove(old)

    def _recover(self, error: Exception) -> None:
        """Let go of everything and decide whether to try at once (no problem yet) or later."""
        self._faults += 1
        damaged = self._chroma.damaged(error) and not self._chroma.gone()
        self._forget()
        ours = isinstance(error, ParleyError)
        if self._renew and self._chroma.local and not ours:
            damaged, self._renew, self._faults = True, False, 1
        if self._faults > 2 or (self._faults == 2 and not damaged) or ours:
            trouble = error if isinstance(error, ParleyError) else self._told()
            if self._problem is None or self._problem.what != trouble.what:
                log.warning("vectors.problem", what=trouble.what, error=type(error).__name__)
            self._problem = trouble
        elif damaged:
            self._problem = None
            with contextlib.suppress(OSError):
                self._chroma.set_aside()
            log.warning("vectors.damaged", what="The Chroma folder is damaged; it is kept as chroma.damaged.")

    def _told(self) -> ParleyError:
        if self._chroma.local:
            return StorageError(
                "The folder for search by meaning cannot be used.",
                "Search by words works. Make room, or delete the folder chroma in the data folder: it is made anew.",
            )
        return ProviderUnavailable(
            "The Chroma server cannot be reached.",
            "Search by words works. Start the server, or correct PARLEY_CHROMA_URL.",
        )
