"""The schema's version: what is in the database, what this Parley wants, and the way from one to the other."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, inspect, text

from core.errors import StorageError

MIGRATIONS = Path(__file__).parent / "migrations"


def revisions() -> list[str]:
    """All versions in order. A file in migrations/versions begins with the four digits of its own."""
    return sorted(file.name[:4] for file in (MIGRATIONS / "versions").glob("[0-9][0-9][0-9][0-9]_*.py"))


def migrate(connection: Connection, what: str) -> None:
    """Bring the database to the newest version, in one transaction of the caller's. `what` names it in errors."""
    known = revisions()
    tables = inspect(connection).get_table_names()
    current: str | None = None
    if "alembic_version" in tables:
        current = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    elif "conversations" in tables or "calls" in tables:
        raise StorageError(
            f"{what} holds tables that are not Parley's.",
            "Nothing was changed. Choose another folder with PARLEY_DATA_DIR or another PARLEY_DATABASE_URL.",
        )
    if current is not None and current not in known:
        raise StorageError(
            f"{what} was made by a newer Parley (version {current} of its tables, this one knows {known[-1]}).",
            "Nothing was changed. Install the newer Parley, or choose another folder with PARLEY_DATA_DIR.",
        )
    if current != known[-1]:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
