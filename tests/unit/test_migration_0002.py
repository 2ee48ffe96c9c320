"""From the tables of 0001, with rows in them, to those of 0002; and the copy of the file that is kept before."""

from __future__ import annotations

import contextlib
import resource
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, select, text

from core.errors import StorageError
from core.settings import Settings
from core.store.database import FILE, Database
from core.store.engines import postgresql_engine, sqlite_engine
from core.store.schema import MIGRATIONS
from core.store.tables import calls, conversations, messages
from core.store.words import search_words

Make = Callable[..., Settings]

ROWS = (
    """INSERT INTO conversations (id, visitor, title, system, model, parameters, leaf, panes, created, updated)
       VALUES ('c1', 'local', 'Old', 'Be brief.', 'm/a', '{"temperature": 0.5}', 'm1', '[]', 1000000, 2000000)""",
    """INSERT INTO messages (id, conversation, parent, role, text, thinking, files, model, status, error, meter, rating,
       created) VALUES ('m1', 'c1', NULL, 'user', 'apples', '', '[]', '', 'complete', '', NULL, 1, 1000000)""",
    """INSERT INTO calls (id, instance, started, feature, provider, model, visitor, prompt_name, prompt_version,
       attempt, key_source, status, cache_hit, cost) VALUES
       (7, 'i', 1000000, 'chat', 'm', 'm/a', 'local', 'old/prompt', 2, 0, 'none', 'ok', false, 5)""",
)


def make_0001(connection: Connection) -> None:
    """What the Parley before made, with a row in each table that changes."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "0001")
    for row in ROWS:
        connection.execute(text(row))


@pytest.fixture
def old(settings: Make) -> Settings:
    """Settings on a data folder with such a SQLite file."""
    made = settings()
    made.data_dir.mkdir()
    engine = sqlite_engine(str(made.data_dir / FILE), writes=True)
    with engine.begin() as connection:
        make_0001(connection)
    engine.dispose()
    return made


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, settings: Make) -> Iterator[Database]:
    if request.param == "sqlite":
        made = request.getfixturevalue("old")
    else:
        made = settings(PARLEY_DATABASE_URL=request.getfixturevalue("postgres_database"))
        engine = postgresql_engine(made["PARLEY_DATABASE_URL"], writes=True)
        with engine.begin() as connection:
            make_0001(connection)
        engine.dispose()
    opened = Database.open(made)
    yield opened
    opened.close()


def test_rows_stay_and_have_the_new_columns(database: Database) -> None:
    with database.read() as connection:
        kept = connection.execute(select(conversations)).one()
        assert (kept.title, kept.system, kept.parameters, kept.prompt) == (
            "Old",
            "Be brief.",
            {"temperature": 0.5},
            None,
        )
        call = connection.execute(select(calls)).one()
        assert (call.id, call.prompt_name, call.cost, call.prompt_parts) == (7, "old/prompt", 5, None)
        assert connection.execute(select(messages.c.rating)).scalar() == 1
        assert len(search_words(connection, "local", "apples", 5)) == 1
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "0002"


def files(made: Settings) -> set[str]:
    return {path.name for path in made.data_dir.iterdir() if path.name.startswith(FILE)}


def test_a_copy_of_the_file_is_kept_once(old: Settings) -> None:
    kept = old.data_dir / f"{FILE}.before-0002"
    (old.data_dir / FILE).chmod(0o600)
    Database.open(old).close()
    assert files(old) == {FILE, kept.name}
    assert kept.stat().st_mode & 0o777 == 0o600
    with contextlib.closing(sqlite3.connect(kept)) as copy:
        assert copy.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)
        assert copy.execute("SELECT title FROM conversations").fetchall() == [("Old",)]
        assert "prompt" not in [row[1] for row in copy.execute("PRAGMA table_info(conversations)")]
    before = kept.stat().st_mtime_ns
    Database.open(old).close()
    assert kept.stat().st_mtime_ns == before, "there was nothing to migrate any more"


def test_what_the_log_still_holds_is_in_the_copy(old: Settings) -> None:
    """A killed process leaves its last rows in the write-ahead log."""
    with contextlib.closing(sqlite3.connect(old.data_dir / FILE, isolation_level=None)) as other:
        other.execute("PRAGMA wal_autocheckpoint=0")
        other.execute("UPDATE conversations SET title = 'Late'")
        held = {path: path.read_bytes() for path in old.data_dir.iterdir() if path.name.startswith(f"{FILE}-wal")}
        assert held
        main = (old.data_dir / FILE).read_bytes()
    (old.data_dir / FILE).write_bytes(main)
    for path, data in held.items():
        path.write_bytes(data)
    Database.open(old).close()
    with contextlib.closing(sqlite3.connect(old.data_dir / f"{FILE}.before-0002")) as copy:
        assert copy.execute("SELECT title FROM conversations").fetchall() == [("Late",)]


def test_a_copy_of_an_earlier_try_is_replaced(old: Settings) -> None:
    (old.data_dir / f"{FILE}.before-0002").write_text("half of something")
    (old.data_dir / f"{FILE}.before-0002.part").write_text("less")
    Database.open(old).close()
    with contextlib.closing(sqlite3.connect(old.data_dir / f"{FILE}.before-0002")) as copy:
        assert copy.execute("SELECT count(*) FROM conversations").fetchone() == (1,)
    assert files(old) == {FILE, f"{FILE}.before-0002"}


def test_without_a_database_there_is_nothing_to_copy(settings: Make) -> None:
    made = settings()
    Database.open(made).close()
    assert files(made) == {FILE}


def test_without_room_for_the_copy_nothing_is_changed(old: Settings) -> None:
    path = old.data_dir / FILE
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))  # no file may grow beyond this
    try:
        with pytest.raises(StorageError, match="keeps a copy") as caught:
            Database.open(old)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "Make room for 1 MB" in caught.value.fix
    assert str(old.data_dir) not in str(caught.value)
    assert path.read_bytes() == before
    assert files(old) == {FILE}
    Database.open(old).close()  # the folder's lock was freed, and now there is room
    assert f"{FILE}.before-0002" in files(old)


def test_a_migration_that_fails_changes_nothing(old: Settings) -> None:
    def names(path: Path) -> list[str]:
        with contextlib.closing(sqlite3.connect(path)) as raw:
            return [row[1] for row in raw.execute("PRAGMA table_info(conversations)")]

    path = old.data_dir / FILE
    with contextlib.closing(sqlite3.connect(path)) as raw:
        raw.execute("CREATE INDEX calls_by_prompt ON calls (cost)")  # in the way of 0002
        raw.commit()
    before = names(path)
    with pytest.raises(StorageError, match="refused"):
        Database.open(old)
    assert names(path) == before
    assert sorted(files(old)) == [FILE, f"{FILE}.before-0002"]
