"""The SQL database: SQLite in the data folder, or PostgreSQL by PARLEY_DATABASE_URL.

Reading is done from any thread on a connection of its own; writing is handed to one thread (core.store.writer). What
was written survives a killed process; after a power cut SQLite's last moments may be missing, but the file is whole.
When the disk takes nothing any more, SQLite goes on in memory until it does (core.store.failover).
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine, Table, bindparam, text
from sqlalchemy.exc import DBAPIError

from core.errors import StorageError
from core.settings import Settings
from core.store.backup import keep_before_migration
from core.store.engines import look_through, memory_name, postgresql_engine, sqlite_engine
from core.store.failover import Engines, Failover, Held
from core.store.faults import closed, damaged, explain, is_damage, is_unwritable
from core.store.folder import FolderLock
from core.store.schema import migrate
from core.store.writer import Callback, Job, RowStatement, Ticket, Writer

FILE = "parley.db"
MIGRATION_LOCK = 7_033_419  # any number; two processes that start at once on one PostgreSQL migrate in turn

T = TypeVar("T")


class Database:
    """Open it with `Database.open(settings)`."""

    def __init__(
        self, engines: Engines, path: Path | None, lock: FolderLock | None, problem: StorageError | None
    ) -> None:
        engine, reader = engines
        self.writable = problem is None  # whether the data folder could be written when it was opened
        self.dialect: str = engine.dialect.name  # "sqlite" or "postgresql"
        self.instance = secrets.token_hex(6) if lock is None else lock.instance  # names the data folder
        self._problem = problem
        self._engine = engine
        self._reader = reader
        self._lock = lock
        self.closed = False
        self._failover = None if path is None else Failover(path, self._use)
        self._writer = Writer(engine, self._failover)

    @classmethod
    def open(cls, settings: Settings) -> Database:
        """Lock the data folder, check the database and bring its tables up to date.

        A SQLite file is copied before (core.store.backup). Raises StorageError when another process has the folder, the
        file is damaged (nothing is overwritten), a newer Parley made it, there is no room for the copy, or PostgreSQL
        cannot be reached. A folder that cannot be written is not an error: `problem` says so, and without PostgreSQL
        the database lives in memory.
        """
        lock: FolderLock | None = None
        problem: StorageError | None = None
        try:
            lock = FolderLock.take(settings.data_dir)
        except OSError as error:
            problem = _unwritable(settings, error.strerror)
        try:
            try:
                engines, path = _engines(settings, problem)
            except _Unwritable as error:
                problem = _unwritable(settings, str(error))
                engines, path = _in_memory(), None
            return cls(engines, path, lock, problem)
        except BaseException:
            if lock is not None:
                lock.close()
            raise

    @property
    def problem(self) -> StorageError | None:
        """Why nothing, or not everything, can be kept now; None when all is well. It comes and goes with the disk."""
        return self._problem or (None if self._failover is None else self._failover.problem)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection to read with, from any thread. It sees one state of the database, until the `with` ends."""
        if self.closed:
            raise closed()
        try:
            with self._connect() as connection:
                yield connection
        except Exception as error:
            explained = explain(error)
            if explained is error:
                raise
            raise explained from error

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in the writer's transaction; it is on the disk when this returns.

        An exception of `work` undoes what it did, and only that, and is raised here. StorageError: it could not be
        saved. `work` may run a second time after a fault, so it does nothing but use its connection, and it neither
        commits nor rolls back. Blocks: from asyncio use `awrite`.
        """
        assert not self._writer.is_me(), "work that runs in the writer uses the connection it was given"
        ticket = Ticket()
        self._writer.put(Job(ticket, work))
        result: T = ticket.wait()
        return result

    async def awrite(self, work: Callable[[Connection], T]) -> T:
        """`write` without blocking the event loop. When the caller is cancelled, the work is still done."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._writer.put(Job(future, work))
        return await future

    def insertion(self, table: Table, *columns: str) -> RowStatement:
        """A prepared INSERT; its rows are the values of `columns` as the driver takes them (JSON as text)."""
        return self._prepared(table.insert().values({name: bindparam(name) for name in columns}), columns)

    def change(self, table: Table, key: str, *columns: str) -> RowStatement:
        """A prepared UPDATE of the row with that key; its rows are the values of `columns`, then the key."""
        values: dict[str, Any] = {name: bindparam(name) for name in columns}
        return self._prepared(
            table.update().where(table.c[key] == bindparam("_key")).values(values), (*columns, "_key")
        )

    def put(self, statement: RowStatement, row: Sequence[Any]) -> None:
        """`write` for one row of a prepared statement."""
        ticket = Ticket()
        self._writer.put(Job(ticket, None, statement, row))
        ticket.wait()

    def aput(self, statement: RowStatement, row: Sequence[Any]) -> asyncio.Future[None]:
        """`put` for asyncio: await what it returns."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._writer.put(Job(future, None, statement, row))
        return future

    def put_soon(self, statement: RowStatement, row: Sequence[Any], done: Callback | None = None) -> None:
        """`put` without waiting. `done` is called in the writer's thread, with the error or None."""
        self._writer.put(Job(done, None, statement, row))

    def hold(self, save: Held, error: OSError) -> bool:
        """Have `save` called in the writer's thread until it has written what the disk refused with `error`.

        `problem` says so until then. False when nothing is ever tried again: with PostgreSQL, and when all is lost at
        the end anyway. StorageError when closed.
        """
        failover = self._failover
        if failover is None:
            return False
        self.write(lambda _: failover.hold(save, error))
        return True

    def close(self) -> None:
        """Finish what waits to be written, then free the file and the folder. Safe to call twice."""
        if self.closed:
            return
        self.closed = True
        self._writer.close()
        self._reader.dispose()
        self._engine.dispose()
        if self._lock is not None:
            self._lock.close()

    def _connect(self) -> Connection:
        while True:
            reader = self._reader
            connection = reader.connect()
            if reader is self._reader:  # otherwise it may be a new, empty database in memory
                return connection
            connection.close()

    def _use(self, engines: Engines) -> None:
        """Change to another database, in the writer's thread. Who is reading in the old one may finish."""
        old = self._engine, self._reader
        self._engine, self._reader = engines
        for engine in old:
            engine.dispose()

    def _prepared(self, statement: Any, names: Sequence[str]) -> RowStatement:
        style = {"sqlite": "qmark", "postgresql": "format"}[self.dialect]
        dialect: Any = type(self._engine.dialect)
        compiled = statement.compile(dialect=dialect(paramstyle=style))
        assert tuple(compiled.positiontup) == tuple(names), "columns must be named in the order of the table"
        return RowStatement(compiled.string)


class _Unwritable(Exception):
    """The database file cannot be written; the text is the reason."""


def _engines(settings: Settings, problem: StorageError | None) -> tuple[Engines, Path | None]:
    """The engines of a database whose tables are up to date, and its path if it is a file."""
    if address := settings["PARLEY_DATABASE_URL"]:
        try:
            return _ready(postgresql_engine, address, "The PostgreSQL database"), None
        except DBAPIError as error:
            raise explain(error) from error
    if problem is not None:
        return _in_memory(), None
    path = settings.data_dir / FILE
    try:
        look_through(path)
        keep_before_migration(path)
        return _ready(sqlite_engine, str(path), f"The database file {FILE}"), path
    except (sqlite3.Error, DBAPIError) as error:
        if is_damage(error):
            raise damaged(FILE) from error
        explained = explain(error)
        if is_unwritable(error):
            raise _Unwritable(str(explained)) from error
        raise explained from error


def _in_memory() -> Engines:
    return _ready(sqlite_engine, memory_name(), "The database")


class _EngineMaker(Protocol):
    def __call__(self, address: str, /, *, writes: bool) -> Engine: ...


def _ready(make: _EngineMaker, address: str, what: str) -> Engines:
    engine = make(address, writes=True)
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": MIGRATION_LOCK})
            migrate(connection, what)
    except BaseException:
        engine.dispose()
        raise
    return engine, make(address, writes=False)


def _unwritable(settings: Settings, reason: str | None) -> StorageError:
    because = f" ({reason})" if reason else ""
    lost = "files cannot be kept" if settings["PARLEY_DATABASE_URL"] else "nothing of this session is kept"
    return StorageError(
        f"The data folder {settings.data_dir.name} cannot be written{because}: {lost}.",
        "Make room on the disk or make the folder writable (or choose another with PARLEY_DATA_DIR), then start again.",
    )
