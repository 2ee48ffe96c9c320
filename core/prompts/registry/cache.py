"""What was read of the versions, kept in the data folder: so that a start need not read all files again, and so that
what a file said before it was edited by hand can be written again: the same fields, in our own way of writing, not the
same bytes. It may be deleted at any time; git knows the files too."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import orjson
import structlog
from cachetools import LRUCache

from core.errors import BadRequest
from core.prompts.registry.files import State
from core.prompts.registry.words import Words, words_of
from core.prompts.version import Version, from_values

log = structlog.get_logger()
FORMAT = 2
PATIENCE = 300  # milliseconds to wait for another process; then it goes on without
OPENING = 2.0  # seconds to wait for others that open it: without it, nothing is kept until the next start
ROOM = 64_000_000  # bytes of files whose versions are kept in memory
OVERHEAD = 4_000  # bytes that a version takes beyond its text, about

# about: JSON of the file's stamp, when it was seen, and the facts; data: JSON of the version's fields
_TABLE = """
CREATE TABLE IF NOT EXISTS versions (
    name TEXT, number INTEGER, raw TEXT, about BLOB, data BLOB, PRIMARY KEY (name, number)
)
"""


class Facts(NamedTuple):
    """What is known of a version without its content."""

    raw: str  # SHA-256 of the file as it was saved
    hash: str
    description: str
    tags: tuple[str, ...]
    words: Words


class Known(NamedTuple):
    """A version's file when it was read intact."""

    state: State
    facts: Facts


class Cache:
    """Thread-safe; several processes may have it open. Nothing here raises: without it, files are read again."""

    def __init__(self, path: Path | None) -> None:
        """Without a path it forgets everything beyond what is in memory."""
        self._path = path
        self._lock = threading.RLock()
        self._database: sqlite3.Connection | None = None
        self._waiting: list[tuple[object, ...]] = []  # rows to be written
        self._batch = False
        self._failing = False
        self._memory = threading.Lock()
        self._recent: LRUCache[tuple[str, int, str], tuple[Version, int]] = LRUCache(ROOM, lambda kept: kept[1])

    def known(self) -> dict[str, dict[int, Known]]:
        """All that is known, by name and number."""
        found: dict[str, dict[int, Known]] = {}
        with self._open() as database:
            for name, number, raw, about in database.execute("SELECT name, number, raw, about FROM versions"):
                found.setdefault(name, {})[number] = _known(number, raw, about)
        return found

    def put(self, version: Version, state: State) -> Facts:
        """Keep a version that was read or saved intact."""
        facts = Facts(state.raw, version.hash, version.description, version.tags, words_of(version))
        self.remember(version, state.raw, state.stamp[1])
        if self._path is not None:
            about = orjson.dumps((state.stamp, state.seen, *facts[1:4], *facts.words[1:]))
            row = (version.name, version.number, state.raw, about, orjson.dumps(version.as_dict()))
            with self._lock:
                self._waiting.append(row)
                if not self._batch:
                    self._write()
        return facts

    def remember(self, version: Version, raw: str, size: int) -> None:
        """Keep it in memory, as long as there is room."""
        with self._memory:
            self._recent[version.name, version.number, raw] = version, size + OVERHEAD

    def recent(self, name: str, number: int, raw: str) -> Version | None:
        """The version if it is in memory; `raw` says which file it was read from."""
        with self._memory:
            found = self._recent.get((name, number, raw))
            return found[0] if found else None

    def version(self, name: str, number: int, raw: str) -> Version | None:
        """The version as it was saved, if it is known."""
        if found := self.recent(name, number, raw):
            return found
        query = "SELECT data, about FROM versions WHERE name = ? AND number = ? AND raw = ?"
        with self._open() as database:
            for data, about in database.execute(query, (name, number, raw)).fetchall():
                values = orjson.loads(data)
                version = from_values(values, name, number, f"{name}@{number}")
                made = version.as_dict()  # hash and seal anew, from what the cache says
                if made["hash"] == _known(number, raw, about).facts.hash and made["seal"] == values.get("seal"):
                    self.remember(version, raw, len(data))
                    return version
        return None

    def facts(self, name: str, number: int) -> Facts | None:
        """What is known of a version whose file cannot be used now."""
        query = "SELECT raw, about FROM versions WHERE name = ? AND number = ?"
        with self._open() as database:
            for raw, about in database.execute(query, (name, number)).fetchall():
                return _known(number, raw, about).facts
        return None

    def highest(self, name: str) -> int:
        """The highest number of which a version is known; 0 when there is none."""
        highest = 0
        with self._open() as database:
            found = database.execute("SELECT max(number) FROM versions WHERE name = ?", (name,)).fetchone()[0]
            highest = int(found or 0)
        return highest

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Write all that is put meanwhile at once."""
        self._batch = True
        try:
            yield
        finally:
            self._batch = False
            self._write()

    def close(self) -> None:
        with self._lock, contextlib.suppress(sqlite3.Error):
            if self._database is not None:
                self._database.close()
            self._database = None

    def _write(self) -> None:
        with self._lock:
            rows, self._waiting = self._waiting, []
            with self._open() as database:
                database.execute("BEGIN IMMEDIATE")
                try:
                    database.executemany("INSERT OR REPLACE INTO versions VALUES (?, ?, ?, ?, ?)", rows)
                finally:
                    database.execute("COMMIT")

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The database; what follows is left out when it cannot be used."""
        with self._lock:
            try:
                if self._database is None:
                    self._database = _opened(self._path) if self._path else _connected(":memory:")
                yield self._database
            except (sqlite3.Error, ValueError, TypeError, OverflowError, BadRequest) as error:
                if not self._failing:
                    log.warning("prompts.cache", what="The index of the prompts cannot be used.", error=str(error))
                self._failing = True
                if "malformed" in str(error) and self._path:
                    self.close()
                    with contextlib.suppress(OSError):
                        self._path.unlink()


def _known(number: int, raw: str, about: bytes) -> Known:
    """ValueError or TypeError when it is damaged."""
    stamp, seen, hash, description, tags, line, ends = orjson.loads(about)
    facts = Facts(raw, hash, description, tuple(tags), Words(number, line, tuple(ends)))
    return Known(State(tuple(stamp), seen, raw), facts)


def _opened(path: Path) -> sqlite3.Connection:
    """In memory when the data folder cannot be written; made anew when it is damaged."""
    for _ in range(2):
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return _connected(str(path))
        except (OSError, sqlite3.OperationalError) as error:
            log.info("prompts.cache", what="The index of the prompts is kept in memory.", error=str(error))
            break
        except sqlite3.DatabaseError as error:
            log.warning("prompts.cache", what="The index of the prompts is made anew.", error=str(error))
            with contextlib.suppress(OSError):
                path.unlink()
    return _connected(":memory:")


def _connected(path: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=OPENING, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA synchronous = OFF")  # it may be lost at any time
        database.execute("BEGIN IMMEDIATE")
        if database.execute("PRAGMA user_version").fetchone()[0] != FORMAT:
            database.execute("DROP TABLE IF EXISTS versions")
            database.execute(f"PRAGMA user_version = {FORMAT}")
        database.execute(_TABLE)
        database.execute("COMMIT")
        database.execute(f"PRAGMA busy_timeout = {PATIENCE}")
    except BaseException:
        database.close()
        raise
    return database
