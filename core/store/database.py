"""The SQL database: SQLite in the data folder, or PostgreSQL by PARLEY_DATABASE_URL.

Reading is done from any thread on a connection of its own; writing is handed to one thread (core.store.writer). What
was written survives a killed process; after a power cut SQLite's last moments may be missing, but the file is whole.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine, Table, bindparam, text
from sqlalchemy.exc import DBAPIError

from core.errors import StorageError
from core.settings import Settings
from core.store.engines import look_through, postgresql_engine, sqlite_engine
from core.store.faults import closed, damaged, explain, is_damage, is_unwritable
from core.store.folder import FolderLock
from core.store.schema import migrate
from core.store.writer import Callback, Job, RowStatement, Ticket, Writer

FILE = "parley.db"
MIGRATION_LOCK = 7_033_419  # any number; two processes that start at once on one PostgreSQL migrate in turn

T = TypeVar("T")


class Database:
    """Open it with `Database.open(settings)`. `problem` is None, or says why nothing can be kept."""

    def __init__(self, engine: Engine, reader: Engine, lock: FolderLock | None, problem: StorageError | None) -> None:
        self.problem = problem
        self.dialect: str = engine.dialect.name  # "sqlite" or "postgresql"
        self.instance = secrets.token_hex(6) if lock is None else lock.instance  # names the data folder
        self._engine = engine
        self._reader = reader
        self._lock = lock
        self.closed = False
        self._writer = Writer(engine)

    @classmethod
    def open(cls, settings: Settings) -> Database:
        """Lock the data folder, check the database and bring its tables up to date.

        Raises StorageError when another process has the folder, the file is damaged (nothing is overwritten), a newer
        Parley made it, or PostgreSQL cannot be reached. A folder that cannot be written is not an error: `problem` says
        so, and without PostgreSQL the database lives in memory.
        """
        lock: FolderLock | None = None
        problem: StorageError | None = None
        try:
            lock = FolderLock.take(settings.data_dir)
        except OSError as error:
            problem = _unwritable(settings, error.strerror)
        try:
            try:
                engines = _engines(settings, problem)
            except _Unwritable as error:
                problem = _unwritable(settings, str(error))
                engines = _in_memory()
            return cls(*engines, lock, problem)
        except BaseException:
            if lock is not None:
                lock.close()
            raise

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection to read with, from any thread. It sees one state of the database, until the `with` ends."""
        if self.closed:
            raise closed()
        try:
            with self._reader.connect() as connection:
                yield connection
        except Exception as error:
            told = explain(error)
            if told is error:
                raise
            raise told from error

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

    def _prepared(self, statement: Any, names: Sequence[str]) -> RowStatement:
        style = {"sqlite": "qmark", "postgresql": "format"}[self.dialect]
        dialect: Any = type(self._engine.dialect)
        compiled = statement.compile(dialect=dialect(paramstyle=style))
        assert tuple(compiled.positiontup) == tuple(names), "columns must be named in the order of the table"
        return RowStatement(compiled.string)


class _Unwritable(Exception):
    """The database file cannot be written; the text is the reason."""


def _engines(settings: Settings, problem: StorageError | None) -> tuple[Engine, Engine]:
    """The writer's and the readers' engine, on a database whose tables are up to date."""
    if address := settings["PARLEY_DATABASE_URL"]:
        try:
            return _ready(postgresql_engine, address, "The PostgreSQL database")
        except DBAPIError as error:
            raise explain(error) from error
    if problem is not None:
        return _in_memory()
    path = settings.data_dir / FILE
    try:
        look_through(path)
        return _ready(sqlite_engine, str(path), f"The database file {FILE}")
    except (sqlite3.Error, DBAPIError) as error:
        if is_damage(error):
            raise damaged(FILE) from error
        told = explain(error)
        if is_unwritable(error):
            raise _Unwritable(str(told)) from error
        raise told from error


def _in_memory() -> tuple[Engine, Engine]:
    return _ready(sqlite_engine, f"file:/parley-{secrets.token_hex(8)}?vfs=memdb", "The database")


class _EngineMaker(Protocol):
    def __call__(self, address: str, /, *, writes: bool) -> Engine: ...


def _ready(make: _EngineMaker, address: str, what: str) -> tuple[Engine, Engine]:
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
