"""How the two kinds of database are opened: SQLite with its pragmas, PostgreSQL with its time limits."""

from __future__ import annotations

import secrets
import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool, QueuePool, StaticPool

from core.errors import SettingsError
from core.store.faults import NOT_OK

BUSY_SECONDS = 5.0
CONNECT_SECONDS = 5
CHECKPOINT_PAGES = 4000  # 16 MB: the same pages are written again and again, so that fewer checkpoints save work
POOL: dict[str, Any] = {"poolclass": QueuePool, "pool_size": 8, "max_overflow": 24}  # of readers
CHECK_SECONDS = 0.5  # at most, for looking through the file at the start


def memory_name() -> str:
    """A new database in memory, which the connections of this process share. It lives as long as one is open."""
    return f"file:/parley-{secrets.token_hex(8)}?vfs=memdb"


def sqlite_engine(name: str, *, writes: bool) -> Engine:
    """`name` is a path, or a URI that begins with file:. A reader's connection refuses to write."""

    def connect() -> sqlite3.Connection:
        raw = sqlite3.connect(
            name,
            timeout=BUSY_SECONDS,
            isolation_level=None,  # transactions begin where SQLAlchemy or the writer says, not where sqlite3 guesses
            check_same_thread=False,
            uri=name.startswith("file:"),
        )
        raw.execute("PRAGMA foreign_keys=ON")
        raw.execute("PRAGMA synchronous=NORMAL")
        if writes:
            raw.execute("PRAGMA journal_mode=WAL")
            raw.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
        else:
            raw.execute("PRAGMA query_only=ON")
        return raw

    if writes:  # one connection, kept open: a database in memory lives as long as a connection to it
        engine = create_engine("sqlite://", creator=connect, poolclass=StaticPool, hide_parameters=True)
    else:
        engine = create_engine("sqlite://", creator=connect, hide_parameters=True, **POOL)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def postgresql_engine(address: str, *, writes: bool) -> Engine:
    """Raises SettingsError for what is no PostgreSQL address. Does not connect yet."""
    fix = "It must look like postgresql://user:password@host/name."
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        raise SettingsError("PARLEY_DATABASE_URL is not an address.", fix) from None
    if url.drivername not in ("postgres", "postgresql", "postgresql+psycopg"):
        raise SettingsError("PARLEY_DATABASE_URL is not a PostgreSQL address.", fix)
    url = url.set(drivername="postgresql+psycopg")
    known = {"connect_timeout": CONNECT_SECONDS, "application_name": "parley"}
    if writes:
        return create_engine(url, connect_args=known, poolclass=NullPool, hide_parameters=True)
    return create_engine(
        url,
        connect_args=known,
        pool_pre_ping=True,
        isolation_level="REPEATABLE READ",  # as SQLite: a reader sees one state
        execution_options={"postgresql_readonly": True},
        hide_parameters=True,
        **POOL,
    )


def look_through(path: Path) -> None:
    """Let SQLite check the file, for half a second at most. Raises sqlite3.DatabaseError when it is damaged."""
    raw = sqlite3.connect(path, timeout=BUSY_SECONDS)
    try:
        raw.execute("SELECT count(*) FROM sqlite_master").fetchone()
        deadline = time.monotonic() + CHECK_SECONDS
        raw.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
        (verdict,) = raw.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(NOT_OK)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
    finally:
        raw.close()
