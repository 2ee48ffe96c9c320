"""What the database reports, in the words of StorageError. No paths, no addresses, no passwords, no SQL."""

from __future__ import annotations

import errno
import sqlite3

import psycopg
from sqlalchemy.exc import DBAPIError, IntegrityError, PendingRollbackError

from core.errors import StorageError

NOT_OK = "quick_check failed"
UNWRITABLE = (
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
)
ROOM = "Make room on the disk, then try again."
RESTORE = (
    "Nothing was overwritten. Put a backup in its place, or move the file (with its -wal and -shm files) away "
    "to begin with an empty one."
)


def closed() -> StorageError:
    return StorageError("The database is closed.", "Parley is shutting down; start it again.")


def damaged(name: str) -> StorageError:
    return StorageError(f"The database file {name} is damaged or is not a database.", RESTORE)


def explain(error: BaseException) -> BaseException:
    """A StorageError for what the database or its disk refuses; anything else comes back as it is.

    An IntegrityError also comes back as it is: it is about the data, and the caller may have an answer to it.
    """
    if isinstance(error, IntegrityError | sqlite3.IntegrityError | psycopg.IntegrityError):
        return error
    if isinstance(error, PendingRollbackError):
        return StorageError("The database refused to save.", "Try again.")
    origin = _origin(error)
    explained: StorageError | None = None
    if isinstance(origin, sqlite3.Error):
        explained = _sqlite(origin)
    elif isinstance(origin, psycopg.Error):
        explained = _postgresql(origin)
    if explained is None:
        return error
    explained.__cause__ = error
    return explained


def lost_connection(error: BaseException) -> bool:
    """Whether the server went away. SQLite has none."""
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return True
        error = _origin(error)
    if isinstance(error, psycopg.OperationalError):
        state = error.sqlstate
        return state is None or state.startswith(("08", "57P"))
    return isinstance(error, PendingRollbackError)


def is_damage(error: BaseException) -> bool:
    return _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or _origin(error).args == (NOT_OK,)


def is_unwritable(error: BaseException) -> bool:
    return _code(error) in UNWRITABLE


def is_full(error: BaseException) -> bool:
    """Whether the disk takes no more, or fails, which some say instead."""
    return _code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def reason(error: BaseException) -> str:
    """Why a disk took nothing, as the end of a sentence. For what `is_unwritable`, and for an OSError."""
    code = _code(error)
    number = error.errno if isinstance(error, OSError) else None
    if code == sqlite3.SQLITE_FULL or number in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full"
    if code == sqlite3.SQLITE_IOERR or number == errno.EIO:
        return "the disk failed or is full"
    return "the data folder cannot be written"


def _origin(error: BaseException) -> BaseException:
    return (error.orig or error) if isinstance(error, DBAPIError) else error


def _code(error: BaseException) -> int | None:
    """SQLite's primary result code."""
    code = getattr(_origin(error), "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


def _sqlite(error: sqlite3.Error) -> StorageError:
    match _code(error):
        case sqlite3.SQLITE_FULL:
            return StorageError("The disk is full; this was not saved.", ROOM)
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return StorageError("The database cannot be written; this was not saved.")
        case sqlite3.SQLITE_IOERR:
            return StorageError("The disk failed or is full; this was not saved.", ROOM)
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StorageError("The database file is damaged.", f"Stop Parley. {RESTORE}")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StorageError(
                "Another program holds the database; this was not saved.", "Close that program, then try again."
            )
    return StorageError("The database refused this.", "Try again; if it happens again, look at the server's log.")


def _postgresql(error: psycopg.Error) -> StorageError:
    state = error.sqlstate
    if state is None or state.startswith(("08", "57P")):
        return StorageError(
            "PostgreSQL cannot be reached.", "Check that the server runs and that PARLEY_DATABASE_URL names it."
        )
    if state == "53100":
        return StorageError("The disk of PostgreSQL is full; this was not saved.", ROOM)
    if state.startswith("28"):
        return StorageError(
            "PostgreSQL does not accept the user or the password.",
            "Check the name and password in PARLEY_DATABASE_URL.",
        )
    if state == "3D000":
        return StorageError("PostgreSQL has no database of this name.", "Create it, or correct PARLEY_DATABASE_URL.")
    if state in ("25006", "42501"):
        return StorageError(
            "PostgreSQL does not let this user write; this was not saved.", "Give the user the rights on the database."
        )
    return StorageError("The database refused this.", "Try again; if it happens again, look at the server's log.")
