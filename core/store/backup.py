"""The copy of the database file that is kept before its tables are changed to a newer version."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import structlog

from core.errors import StorageError
from core.store.engines import BUSY_SECONDS
from core.store.faults import is_full, reason
from core.store.schema import revisions

log = structlog.get_logger()


def keep_before_migration(path: Path) -> None:
    """Copy the file to `<name>.before-<version>` beside it, when its tables are of an older version than this Parley's.

    A copy of that name is replaced, at once and not before the new one is whole. StorageError when there is no room for
    the copy; nothing has been changed then. Nobody else may write the file meanwhile.
    """
    *older, newest = revisions()
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as source:
        if _version(source) not in older:
            return
        kept = path.with_name(f"{path.name}.before-{newest}")
        half = kept.with_name(f"{kept.name}.part")
        try:
            half.unlink(missing_ok=True)
            with closing(sqlite3.connect(half)) as target:
                source.backup(target)
            shutil.copymode(path, half)
            half.replace(kept)
        except (sqlite3.Error, OSError) as error:
            with contextlib.suppress(OSError):
                half.unlink(missing_ok=True)
            if isinstance(error, OSError) or is_full(error):
                raise _refused(path, error) from error
            raise
    log.info("database.backup", file=kept.name)


def _version(source: sqlite3.Connection) -> str | None:
    """The version of the tables; None when there are none of Parley's."""
    if source.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone() is None:
        return None
    row = source.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


def _refused(path: Path, error: Exception) -> StorageError:
    megabytes = max(1, round(path.stat().st_size / 1e6))
    return StorageError(
        f"A newer Parley changes the tables of {path.name} and keeps a copy of the file before, but {reason(error)}.",
        f"Nothing was changed. Make room for {megabytes} MB in the data folder, then start again.",
    )
