"""Where SQLite goes when its disk takes nothing any more: into a copy in memory, and back when there is room again.

Going: the file is copied into memory, and readers and the writer change over to the copy. Coming back: what differs is
written into the file in one transaction, so that a process that is killed meanwhile leaves the file as it was before or
as it is after, and only as much room is needed as there is news. Nobody else writes the file: the folder is locked.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import structlog
from sqlalchemy import Engine, Table

from core.errors import StorageError
from core.store.engines import BUSY_SECONDS, memory_name, sqlite_engine
from core.store.faults import reason
from core.store.tables import metadata

LARGEST = 500_000_000  # bytes of a file that is copied; SQLite lets a database in memory grow to 1 GiB
EVERY = 2.0  # seconds between two tries to go back
SLOWEST = 60.0  # seconds between them when the disk says yes and then no again
AGAIN = 10.0  # seconds without another try when the file could not be copied
SPARE = 512 * 1024  # bytes that must be free on the disk beyond what is to be written
FIX = (
    "Make room on the disk, or make the data folder writable. Parley keeps everything in memory and saves it by "
    "itself as soon as it can; do not stop it before."
)

# The file is `main`; its rows that the copy has not, or not so, go, and then come those that it lacks.
DELETE = "DELETE FROM main.{table} AS this WHERE NOT EXISTS (SELECT 1 FROM copy.{table} AS other WHERE {same})"
INSERT = (
    "INSERT INTO main.{table} ({columns}) SELECT {columns} FROM copy.{table} AS this "
    "WHERE NOT EXISTS (SELECT 1 FROM main.{table} AS other WHERE {same_key})"
)
CHANGED = (
    "SELECT count(*) FROM copy.{table} AS this WHERE NOT EXISTS (SELECT 1 FROM main.{table} AS other WHERE {same})"
)
DELETED = (
    "SELECT count(*) FROM main.{table} AS this WHERE NOT EXISTS (SELECT 1 FROM copy.{table} AS other WHERE {same_key})"
)

Engines = tuple[Engine, Engine]  # the writer's and the readers'
Held = Callable[[], int]  # tries to write something and returns how many pieces are left; raises nothing

log = structlog.get_logger()


class Failover:
    """The two ways, of one database file. The writer's thread calls all of this; `problem` is for everybody."""

    def __init__(self, path: Path, use: Callable[[Engines], None]) -> None:
        """`use` is given the new engines at each change."""
        self.problem: StorageError | None = None
        self._path = path
        self._use = use
        self._memory: str | None = None  # the name of the copy while it is in use
        self._size = 0  # bytes of the copy at its beginning
        self._held: list[Held] = []
        self._refused = ""  # the reason why `_held` had to wait
        self._why = ""  # the reason why the copy was made
        self._wait = EVERY
        self._next = 0.0  # monotonic seconds of the next try
        self._returned = -SLOWEST
        self._stay = 0.0  # monotonic seconds until which `leave` does not try again

    def pause(self) -> float | None:
        """Seconds until `back` is to be called, None if there is nothing to bring back."""
        if self._memory is None and not self._held:
            return None
        return max(0.0, self._next - time.monotonic())

    def hold(self, save: Held, error: OSError) -> None:
        """Something other than the database waits for room too."""
        if self.pause() is None:
            self._next = time.monotonic() + EVERY
        if save not in self._held:
            self._held.append(save)
        self._refused = reason(error)
        self._tell()

    def leave(self, error: BaseException) -> Engine | None:
        """Copy the file into memory. The writer's new engine; None if that is not possible or was done before."""
        now = time.monotonic()
        if self._memory is not None or now < self._stay:
            return None
        name = memory_name()
        writer = sqlite_engine(name, writes=True)
        try:
            writer.connect().close()  # the engine keeps it open, and so the copy alive
            self._size = _copy(self._path, name)
        except Exception as fault:  # the writer's thread must live
            log.warning("database.stays", reason=reason(error), error=type(fault).__name__)
            writer.dispose()
            self._stay = now + AGAIN
            return None
        self._wait = min(2 * self._wait, SLOWEST) if now - self._returned < SLOWEST else EVERY
        self._next = now + self._wait
        self._memory = name
        self._why = reason(error)
        self._tell()
        self._use((writer, sqlite_engine(name, writes=False)))
        log.warning("database.in_memory", reason=self._why)
        return writer

    def back(self, last: bool) -> Engine | None:
        """Write what waits to the disk, if that is possible now. The writer's new engine, None if it stays.

        With `last` it is the end: try in any case, and say in the log what is lost.
        """
        left = {save: save() for save in self._held}
        self._held = [save for save in self._held if left[save]]
        engine = None if self._memory is None else self._to_disk(self._memory, last)
        if last and (self._memory is not None or self._held):
            rows = "" if self._memory is None else _unsaved(self._path, self._memory)
            log.warning("database.lost", rows=rows, attachments=sum(left.values()))
        self._next = time.monotonic() + self._wait
        self._tell()
        return engine

    def _to_disk(self, memory: str, last: bool) -> Engine | None:
        try:
            if not last and not self._room(memory):
                return None
            changes = _merge(self._path, memory)
            writer = sqlite_engine(str(self._path), writes=True)
            writer.connect().close()
        except Exception as fault:  # the writer's thread must live
            self._wait = min(2 * self._wait, SLOWEST)
            log.warning("database.still_in_memory", error=type(fault).__name__)
            return None
        self._memory = None
        self._returned = time.monotonic()
        self._use((writer, sqlite_engine(str(self._path), writes=False)))
        log.info("database.on_disk", rows=changes)
        return writer

    def _room(self, memory: str) -> bool:
        """Look before the work of comparing. What has grown is written twice: into the log, then into the file."""
        with closing(sqlite3.connect(memory, uri=True)) as copy:
            grown = max(0, _bytes(copy) - self._size)
        if shutil.disk_usage(self._path.parent).free < SPARE + 2 * grown:
            return False
        try:
            with tempfile.TemporaryFile(dir=self._path.parent) as trial:
                trial.write(os.urandom(SPARE))
                trial.flush()
                os.fsync(trial.fileno())
        except OSError:
            return False
        return True

    def _tell(self) -> None:
        if self._memory is not None:
            self.problem = StorageError(f"Nothing can be saved: {self._why}.", FIX)
        elif self._held:
            self.problem = StorageError(f"Attachments cannot be saved: {self._refused}.", FIX)
        else:
            self.problem = None


def _copy(path: Path, memory: str) -> int:
    """Copy the file into an empty database in memory; returns the size in bytes. OSError if it is too large.

    Not by SQLite's backup: that takes the mark of the write-ahead log along, which memory has not.
    """
    log_file = path.with_name(f"{path.name}-wal")
    if path.stat().st_size + (log_file.stat().st_size if log_file.exists() else 0) > LARGEST:
        raise OSError("too large to be copied into memory")
    with closing(_open(path, "ro")) as disk:
        disk.execute("VACUUM INTO ?", (memory,))
    with closing(sqlite3.connect(memory, uri=True)) as copy:
        return _bytes(copy)


def _merge(path: Path, memory: str) -> int:
    """Make the file hold what the copy holds, in one transaction. Returns how many rows were written or deleted.

    Foreign keys are off: the copy's rows agree with each other, and a cascade would take rows that must stay. The
    triggers of the file keep its index of words.
    """
    with closing(_open(path, "rw")) as disk:
        disk.execute("PRAGMA foreign_keys=OFF")
        disk.execute("ATTACH ? AS copy", (memory,))
        disk.execute("BEGIN")  # not IMMEDIATE, which would lock the copy against its readers too
        changes = 0
        for table in metadata.sorted_tables:
            words = _words(table)
            changes += disk.execute(DELETE.format_map(words)).rowcount
            changes += disk.execute(INSERT.format_map(words)).rowcount
        disk.execute("DELETE FROM main.sqlite_sequence")
        disk.execute("INSERT INTO main.sqlite_sequence SELECT * FROM copy.sqlite_sequence")
        disk.execute("COMMIT")
        return changes


def _unsaved(path: Path, memory: str) -> str:
    """What the file lacks, as numbers of rows. Empty if it cannot be read."""
    try:
        with closing(_open(path, "ro")) as disk:
            disk.execute("ATTACH ? AS copy", (memory,))
            found = []
            for table in metadata.sorted_tables:
                words = _words(table)
                changed, deleted = (disk.execute(sql.format_map(words)).fetchone()[0] for sql in (CHANGED, DELETED))
                found.append(f"{table.name}: {changed} new or changed, {deleted} deleted")
            return "; ".join(found)
    except sqlite3.Error:
        return ""


def _words(table: Table) -> dict[str, str]:
    """What completes the SQL above."""
    names = [f'"{column.name}"' for column in table.columns]
    keys = [f'"{column.name}"' for column in table.primary_key.columns]
    return {
        "table": f'"{table.name}"',
        "columns": ", ".join(names),
        "same": " AND ".join(f"other.{name} {'=' if name in keys else 'IS'} this.{name}" for name in names),
        "same_key": " AND ".join(f"other.{name} = this.{name}" for name in keys),
    }


def _open(path: Path, mode: str) -> sqlite3.Connection:
    """A connection that does not make the file if it is gone, and makes no temporary files."""
    raw = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", BUSY_SECONDS, isolation_level=None, uri=True)
    raw.execute("PRAGMA temp_store=MEMORY")
    return raw


def _bytes(raw: sqlite3.Connection) -> int:
    (pages,) = raw.execute("PRAGMA page_count").fetchone()
    (size,) = raw.execute("PRAGMA page_size").fetchone()
    return int(pages) * int(size)
