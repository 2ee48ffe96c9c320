"""What was read of the versions, kept in the data folder: so that a start need not read all files again, and so that
what a file said before it was edited by hand can be written again: the same fields, in our own way of writing, not the
same bytes. It may be deleted at any time; git knows the files too."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import orjson
import structlog

from core.errors import BadRequest
from core.prompts.registry.files import Stamp
from core.prompts.registry.words import Words, words_of
from core.prompts.version import Version, from_values

log = structlog.get_logger()
FORMAT = 1
PATIENCE = 0.3  # seconds to wait for another process; then it goes on without
OPENING = 2.0  # seconds to wait for others that open it: without it, nothing is kept until the next start
ROOM = 64_000_000  # bytes of files whose versions are kept in memory
OVERHEAD = 4_000  # bytes that a version takes beyond its text, about

_TABLE = """
CREATE TABLE IF NOT EXISTS versions (
    name TEXT, number INTEGER, stamp TEXT, seen INTEGER, raw BLOB, about BLOB, line TEXT, data BLOB,
    PRIMARY KEY (name, number))
"""
_PUT = "INSERT OR REPLACE INTO versions VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


class Facts(NamedTuple):
    """What is known of a version without its content."""

    raw: bytes  # SHA-256 of the file as it was saved
    hash: str
    description: str
    tags: tuple[str, ...]
    words: Words


class CacheRow(NamedTuple):
    """A version's file when it was read intact."""

    stamp: Stamp
    seen: int  # when, in ns
    facts: Facts


class Cache:
    """Thread-safe; several processes may have it open. Nothing here raises: without it, files are read again."""

    def __init__(self, path: Path | None) -> None:
        """Without a path it forgets everything beyond what is in memory."""
        self._path = path
        self._lock = threading.RLock()
        self._memory = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._recent: OrderedDict[tuple[str, int, bytes], tuple[Version, int]] = OrderedDict()
        self._room = ROOM
        self._failing = False

    def rows(self) -> dict[str, dict[int, CacheRow]]:
        """All that is known, by name and number."""
        found: dict[str, dict[int, CacheRow]] = {}
        with self._trying("read"):
            for name, number, stamp, seen, raw, about, line in self._open().execute(
                "SELECT name, number, stamp, seen, raw, about, line FROM versions"
            ):
                hash, description, tags, ends = orjson.loads(about)
                facts = Facts(raw, hash, description, tuple(tags), Words(number, line, tuple(ends)))
                mtime, size, inode = stamp.split(" ")
                found.setdefault(name, {})[number] = CacheRow((int(mtime), int(size), int(inode)), seen, facts)
        return found

    def put(self, version: Version, raw: bytes, stamp: Stamp) -> Facts:
        """Keep a version that was read or saved intact."""
        words = words_of(version)
        facts = Facts(raw, version.hash, version.description, version.tags, words)
        self.remember(version, raw, stamp[1])
        if self._path is None:
            return facts
        with self._trying("written"):
            about = orjson.dumps((facts.hash, facts.description, facts.tags, words.ends))
            data = orjson.dumps(version.as_dict())
            shown = " ".join(map(str, stamp))
            row = (version.name, version.number, shown, time.time_ns(), raw, about, words.line, data)
            self._open().execute(_PUT, row)
        return facts

    def remember(self, version: Version, raw: bytes, size: int) -> None:
        """Keep it in memory, as long as there is room."""
        with self._memory:
            key = (version.name, version.number, raw)
            if key not in self._recent:
                self._recent[key] = version, size + OVERHEAD
                self._room -= size + OVERHEAD
            while self._room < 0:
                self._room += self._recent.popitem(last=False)[1][1]

    def recent(self, name: str, number: int, raw: bytes) -> Version | None:
        """The version if it is in memory; `raw` says which file it was read from."""
        with self._memory:
            found = self._recent.get((name, number, raw))
            if found:
                self._recent.move_to_end((name, number, raw))
            return found[0] if found else None

    def version(self, name: str, number: int, raw: bytes) -> Version | None:
        """The version as it was saved, if it is known."""
        if found := self.recent(name, number, raw):
            return found
        with self._trying("read"):
            query = "SELECT data, about FROM versions WHERE name = ? AND number = ? AND raw = ?"
            for data, about in self._open().execute(query, (name, number, raw)):
                values = orjson.loads(data)
                size = len(data)
                version = from_values(values, name, number, f"{name}@{number}")
                made = version.as_dict()  # hash and seal anew, from what the cache says
                if made["hash"] == orjson.loads(about)[0] and made["seal"] == values.get("seal"):
                    self.remember(version, raw, size)
                    return version
        return None

    def facts(self, name: str, number: int) -> Facts | None:
        """What is known of a version whose file cannot be used now."""
        with self._trying("read"):
            query = "SELECT raw, about, line FROM versions WHERE name = ? AND number = ?"
            for raw, about, line in self._open().execute(query, (name, number)):
                hash, description, tags, ends = orjson.loads(about)
                return Facts(raw, hash, description, tuple(tags), Words(number, line, tuple(ends)))
        return None

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Write all that is put meanwhile at once."""
        with self._trying("written"):
            self._open().execute("BEGIN")
        try:
            yield
        finally:
            with self._trying("written"):
                if self._open().in_transaction:
                    self._open().execute("COMMIT")

    def close(self) -> None:
        with self._lock, contextlib.suppress(sqlite3.Error):
            if self._database is not None:
                self._database.close()
            self._database = None

    @contextlib.contextmanager
    def _trying(self, what: str) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except (sqlite3.Error, OSError, ValueError, TypeError, OverflowError, BadRequest) as error:
                if not self._failing:
                    log.warning(
                        "prompts.cache", what=f"The index of the prompts could not be {what}.", error=str(error)
                    )
                self._failing = True
                if isinstance(error, sqlite3.DatabaseError) and "malformed" in str(error):
                    self.close()
                    if self._path:
                        _remove(self._path)

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            self._database = (self._found(self._path) if self._path else None) or _connected(":memory:")
        return self._database

    @staticmethod
    def _found(path: Path) -> sqlite3.Connection | None:
        """None when the data folder cannot be written."""
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return _opened(str(path))
        except (OSError, sqlite3.OperationalError) as error:
            log.info("prompts.cache", what="The index of the prompts is kept in memory.", error=str(error))
            return None
        except sqlite3.DatabaseError as error:
            log.warning("prompts.cache", what="The index of the prompts is made anew.", error=str(error))
        _remove(path)
        with contextlib.suppress(sqlite3.Error):
            return _connected(str(path))
        return None


def _remove(path: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        with contextlib.suppress(OSError):
            path.with_name(path.name + ending).unlink(missing_ok=True)


def _opened(path: str) -> sqlite3.Connection:
    """As `_connected`. SQLite does not wait by itself when several processes make the same database at once."""
    until = time.monotonic() + OPENING
    while True:
        try:
            return _connected(path)
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.02)


def _connected(path: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        if database.execute("PRAGMA user_version").fetchone()[0] != FORMAT:
            database.execute("DROP TABLE IF EXISTS versions")
            database.execute(f"PRAGMA user_version = {FORMAT}")
        database.execute(_TABLE)
    except BaseException:
        database.close()
        raise
    return database
