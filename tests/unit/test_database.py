"""The SQL database on real files and a real PostgreSQL: what is written stays, and what goes wrong says so."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import IntegrityError

from core.errors import SettingsError, StorageError
from core.settings import Settings
from core.store import failover
from core.store.database import FILE, Database
from core.store.folder import NAME
from core.store.tables import conversations, files, messages, metadata
from core.store.words import search_words
from core.text import MARK_BEGIN, MARK_END

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime.datetime(2026, 11, 20, 12, 30, 15, 123456, tzinfo=datetime.UTC)

Make = Callable[..., Settings]


def conversation(id: str = "c1", visitor: str = "local") -> dict[str, Any]:
    return {
        "id": id,
        "visitor": visitor,
        "title": "",
        "system": "",
        "model": "",
        "parameters": {"stop": ["a", "ü"]},
        "leaf": None,
        "panes": [],
        "created": NOW,
        "updated": NOW,
    }


def message(
    id: str, text: str, *, conversation: str = "c1", parent: str | None = None, status: str = "complete"
) -> Any:
    values = {"id": id, "conversation": conversation, "parent": parent, "role": "user", "text": text, "thinking": ""}
    return messages.insert().values(
        **values, files=[], model="", status=status, error="", meter=None, rating=0, created=NOW
    )


def add(*ids: str) -> Callable[[Connection], None]:
    def work(connection: Connection) -> None:
        for id in ids:
            connection.execute(conversations.insert(), conversation(id))

    return work


def ids(database: Database) -> set[str]:
    with database.read() as connection:
        return set(connection.execute(select(conversations.c.id)).scalars())


@pytest.fixture
def opened() -> Iterator[Callable[[Settings], Database]]:
    """Opens databases and closes them at the end."""
    with contextlib.ExitStack() as stack:

        def make(settings: Settings) -> Database:
            database = Database.open(settings)
            stack.callback(database.close)
            return database

        yield make


@pytest.fixture(params=["sqlite", "postgresql", "memory"])
def database(request: pytest.FixtureRequest, settings: Make, opened: Any, tmp_path: Path) -> Database:
    if request.param == "postgresql":
        return opened(settings(PARLEY_DATABASE_URL=request.getfixturevalue("postgres_database")))
    if request.param == "memory":
        (tmp_path / "file").write_text("")
        return opened(settings(PARLEY_DATA_DIR=tmp_path / "file" / "below"))
    return opened(settings())


def test_the_migrations_make_what_the_tables_say(database: Database) -> None:
    def differences(connection: Connection) -> list[Any]:
        def ours(name: str | None, kind: str, parents: Any) -> bool:
            return not (kind == "table" and str(name).startswith(("messages_words", "alembic", "sqlite_")))

        context = MigrationContext.configure(connection, opts={"include_name": ours, "compare_type": True})
        return [
            change
            for change in compare_metadata(context, metadata)
            if not (change[0] == "remove_column" and change[3].name == "words")
            and not (change[0] == "remove_index" and change[1].name == "messages_by_word")
        ]

    assert database.write(differences) == []


def test_what_is_written_can_be_read_with_types_and_times(database: Database) -> None:
    database.write(add("c1"))
    with database.read() as connection:
        row = connection.execute(select(conversations)).one()
    assert (row.parameters, row.panes, row.created) == ({"stop": ["a", "ü"]}, [], NOW)


def test_a_work_returns_its_value_and_its_own_error_undoes_only_itself(database: Database) -> None:
    def half(connection: Connection) -> None:
        add("gone")(connection)
        raise KeyError("no such thing")

    assert database.write(lambda connection: connection.execute(select(func.count()).select_from(files)).scalar()) == 0
    with pytest.raises(KeyError):
        database.write(half)
    with pytest.raises(IntegrityError):
        database.write(add("c1", "c1"))
    assert ids(database) == set()


def test_in_a_crowd_each_failure_is_its_own(database: Database) -> None:
    """Works and rows of eight threads share transactions; every fourth fails."""
    row = database.insertion(conversations, *(name for name in conversation() if name != "leaf"))
    values = {**conversation(), "parameters": "{}", "panes": "[]", "created": 1, "updated": 1}
    values.pop("leaf")
    failures: list[BaseException] = []
    gate = threading.Barrier(8)

    def work(number: int) -> None:
        gate.wait()
        for n in range(40):
            id = f"{number}-{n}"
            try:
                if n % 4 == 0:
                    database.write(lambda connection, id=id: [add(id)(connection), 1 / 0])
                elif n % 4 == 1:
                    database.put(row, [*{**values, "id": id}.values()])
                elif n % 4 == 2:
                    database.put(row, [*{**values, "id": f"{number}-{n - 1}"}.values()])
                else:
                    database.write(add(id))
            except (ZeroDivisionError, IntegrityError, sqlite3.IntegrityError) as error:
                failures.append(error)
            except Exception as error:
                failures.append(error) if type(error).__name__ == "UniqueViolation" else pytest.fail(repr(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failures) == 8 * 20
    assert ids(database) == {f"{number}-{n}" for number in range(8) for n in range(40) if n % 2 == 1}


def test_the_transaction_of_a_crowd_is_one(settings: Make, opened: Any) -> None:
    """While the writer is held up, many put; then they are committed together and each loop is woken once."""
    database = opened(settings())
    row = database.insertion(conversations, *(name for name in conversation() if name != "leaf"))
    values = {**conversation(), "parameters": "{}", "panes": "[]", "created": 1, "updated": 1}
    values.pop("leaf")

    async def crowd() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        held, free = threading.Event(), threading.Event()
        wakes = 0
        original = loop.call_soon_threadsafe

        def counting(*args: Any, **kwargs: Any) -> Any:
            nonlocal wakes
            wakes += 1
            return original(*args, **kwargs)

        blocker = asyncio.ensure_future(database.awrite(lambda _: (held.set(), free.wait(10))))
        await asyncio.to_thread(held.wait)
        loop.call_soon_threadsafe = counting  # type: ignore[method-assign]
        futures = [database.aput(row, [*{**values, "id": f"c{n}"}.values()]) for n in range(500)]
        free.set()
        await asyncio.gather(blocker, *futures)
        return len(futures), wakes

    done, wakes = asyncio.run(crowd())
    assert len(ids(database)) == done
    assert wakes <= 3


async def test_a_cancelled_caller_does_not_undo_the_work(database: Database) -> None:
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(connection: Connection) -> None:
        loop.call_soon_threadsafe(begun.set)
        time.sleep(0.05)
        add("c1")(connection)

    task = asyncio.ensure_future(database.awrite(slow))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await database.awrite(lambda _: None)
    assert ids(database) == {"c1"}


def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(StorageError), database.read() as connection:
        add("c1")(connection)
    assert ids(database) == set()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_reader_sees_one_state_and_disturbs_no_writer(
    kind: str, settings: Make, request: pytest.FixtureRequest, opened: Any
) -> None:
    url = request.getfixturevalue("postgres_database") if kind == "postgresql" else ""
    database = opened(settings(PARLEY_DATABASE_URL=url))
    with database.read() as connection:
        before = connection.execute(select(func.count()).select_from(conversations)).scalar()
        database.write(add("c1"))
        assert connection.execute(select(func.count()).select_from(conversations)).scalar() == before
    assert ids(database) == {"c1"}


def test_a_closed_database_says_so(settings: Make) -> None:
    database = Database.open(settings())
    database.close()
    database.close()
    with pytest.raises(StorageError, match="closed"):
        database.write(add("c1"))
    with pytest.raises(StorageError, match="closed"), database.read():
        pass


def test_what_waits_when_it_closes_is_written(settings: Make, opened: Any) -> None:
    database = Database.open(settings())
    row = database.change(conversations, "id", "title")
    database.write(add("c1"))
    for n in range(200):
        database.put_soon(row, [f"title {n}", "c1"])
    database.close()
    with opened(settings()).read() as connection:
        assert connection.execute(select(conversations.c.title)).scalar() == "title 199"


def test_deleting_a_long_conversation_takes_all_with_it(database: Database) -> None:
    def grow(connection: Connection) -> None:
        add("c1", "c2")(connection)
        for n in range(1500):  # deeper than SQLite lets a delete cascade
            connection.execute(message(f"m{n}", f"word{n}", parent=f"m{n - 1}" if n else None))
        connection.execute(message("other", "word7 stays", conversation="c2"))

    database.write(grow)
    database.write(lambda connection: connection.execute(conversations.delete().where(conversations.c.id == "c1")))
    with database.read() as connection:
        assert connection.execute(select(messages.c.id)).scalars().all() == ["other"]
        assert [hit.message for hit in search_words(connection, "local", "word7")] == ["other"]
    with pytest.raises(IntegrityError):
        database.write(lambda connection: connection.execute(message("m", "orphan", conversation="gone")))


SEARCHES = {
    "sky": ["sky"],
    "SKY": ["sky"],
    "why ray": ["sky"],
    "sky missing": [],
    "o'reilly": ["sky"],
    "sc": ["sky"],
    "( sky )": ["sky"],
    'sky "': ["sky"],
    "sky' | \\": ["sky"],
    "sky:*": ["sky"],
    "NEAR(sky": [],
    "sky OR nothing": [],
    "हिन्दी": ["hindi"],
    "evil": ["evil"],
    "'; DROP TABLE messages; --": [],
    "streaming": [],
    "\0sky": ["sky"],
    "sky " * 5000: ["sky"],
    "*": [],
    " ": [],
}


def test_search_by_words(database: Database) -> None:
    def fill(connection: Connection) -> None:
        add("c1")(connection)
        connection.execute(conversations.insert(), conversation("c2", visitor="other"))
        connection.execute(message("sky", "Why is the sky blue? O'Reilly said: Rayleigh scattering."))
        connection.execute(message("hindi", "यह हिन्दी है"))
        connection.execute(message("evil", '\\ evil \' & | ! () :* "quoted"'))
        connection.execute(message("s", "a streaming answer", status="streaming"))
        connection.execute(message("theirs", "the sky of another visitor", conversation="c2"))

    database.write(fill)
    with database.read() as connection:
        for query, expected in SEARCHES.items():
            assert [hit.message for hit in search_words(connection, "local", query)] == expected, query[:40]
        (hit,) = search_words(connection, "local", "sky")
    assert hit.conversation == "c1"
    assert f"{MARK_BEGIN}sky{MARK_END} blue" in hit.snippet


def test_the_index_of_words_follows_a_message_to_its_end(database: Database) -> None:
    def found(word: str) -> list[str]:
        with database.read() as connection:
            return [hit.message for hit in search_words(connection, "local", word)]

    def change(**values: object) -> None:
        where = messages.c.id == "m"
        database.write(lambda connection: connection.execute(messages.update().where(where).values(**values)))

    database.write(lambda connection: [add("c1")(connection), connection.execute(message("m", "", status="streaming"))])
    for text_so_far in ("first", "first second"):
        change(text=text_so_far)
    assert found("first") == []
    change(text="first second third", status="complete")
    assert found("third") == ["m"]
    change(text="edited")
    assert (found("third"), found("edited")) == ([], ["m"])
    change(rating=1)
    change(status="streaming")
    assert found("edited") == []
    change(status="stopped", text="edited again")
    assert found("again") == ["m"]
    database.write(lambda connection: connection.execute(messages.delete()))
    assert found("again") == []
    if database.dialect == "sqlite":
        check = text("INSERT INTO messages_words(messages_words) VALUES ('integrity-check')")
        database.write(lambda connection: connection.execute(check))


def test_a_megabyte_of_words_is_indexed_and_found(database: Database) -> None:
    letters = [chr(0x20000 + n) for n in range(20000)]
    huge = "first " + " ".join(letters[n % 20000] + letters[n * 7 % 20000] for n in range(330_000))
    database.write(lambda connection: [add("c1")(connection), connection.execute(message("m", huge))])
    with database.read() as connection:
        assert [hit.message for hit in search_words(connection, "local", "first")] == ["m"]


def test_a_full_disk_is_told_and_writing_goes_on_when_there_is_room(
    settings: Make, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a file that is too large to go on in memory; see test_failover.py for the others."""
    monkeypatch.setattr(failover, "LARGEST", 0)
    database = opened(settings())
    database.write(add("before"))

    def limit(pages: str) -> None:
        database.write(lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count={pages}"))

    with database.read() as connection:
        limit(str(connection.exec_driver_sql("PRAGMA page_count").scalar()))
    big = {**conversation("big"), "title": "x" * 100_000}
    with pytest.raises(StorageError, match="disk is full"):
        database.write(lambda connection: connection.execute(conversations.insert(), big))

    failed: list[str] = []

    def small(number: int) -> None:
        try:
            database.write(lambda connection: connection.execute(conversations.insert(), {**big, "id": f"big{number}"}))
        except StorageError as error:
            failed.append(error.what)

    threads = [threading.Thread(target=small, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failed) == 8
    assert ids(database) == {"before"}
    limit("1073741823")
    database.write(lambda connection: connection.execute(conversations.insert(), big))
    assert ids(database) == {"before", "big"}


def damage_header(path: Path) -> None:
    path.write_bytes(b"not a database, but a letter to my grandmother" * 100)


def damage_end(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def damage_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for page in range(4096, len(data), 4096):
        data[page : page + 64] = b"\xff" * 64
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [damage_header, damage_end, damage_middle])
def test_a_damaged_file_stops_the_start_and_stays_as_it_is(settings: Make, damage: Callable[[Path], None]) -> None:
    made = settings()
    database = Database.open(made)
    database.write(add("c1"))
    database.close()
    path = made.data_dir / FILE
    damage(path)
    before = path.read_bytes()
    with pytest.raises(StorageError) as caught:
        Database.open(made)
    assert FILE in caught.value.what
    assert "backup" in caught.value.fix
    assert str(made.data_dir) not in str(caught.value)
    assert path.read_bytes() == before
    path.unlink()
    for rest in made.data_dir.glob(f"{FILE}-*"):
        rest.unlink()
    Database.open(made).close()


def test_an_empty_file_is_a_new_database(settings: Make, opened: Any) -> None:
    made = settings()
    made.data_dir.mkdir()
    (made.data_dir / FILE).touch()
    database = opened(made)
    assert database.problem is None
    database.write(add("c1"))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_newer_parley_is_recognised(kind: str, settings: Make, request: pytest.FixtureRequest, opened: Any) -> None:
    url = request.getfixturevalue("postgres_database") if kind == "postgresql" else ""
    made = settings(PARLEY_DATABASE_URL=url)
    database = Database.open(made)
    database.write(lambda connection: connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(StorageError, match="newer Parley"):
        Database.open(made)
    with pytest.raises(StorageError, match="newer Parley"):  # the folder's lock was freed
        Database.open(made)


def test_a_database_of_another_program_is_left_alone(settings: Make) -> None:
    made = settings()
    made.data_dir.mkdir()
    with contextlib.closing(sqlite3.connect(made.data_dir / FILE)) as other:
        other.execute("CREATE TABLE calls (phone TEXT)")
    with pytest.raises(StorageError, match="not Parley's"):
        Database.open(made)
    with contextlib.closing(sqlite3.connect(made.data_dir / FILE)) as other:
        assert [row[0] for row in other.execute("SELECT name FROM sqlite_master")] == ["calls"]


HOLD = """
import sys, time
from core.settings import Settings
from core.store.database import Database
database = Database.open(Settings.of({"PARLEY_DATA_DIR": sys.argv[1]}, None))
print(database.problem, flush=True)
time.sleep(60)
"""


def test_two_processes_and_what_a_killed_one_leaves(settings: Make, opened: Any) -> None:
    made = settings()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, made.data_dir], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "None\n"
            with pytest.raises(StorageError, match=rf"used by another Parley \(process {other.pid}\)"):
                Database.open(made)
        finally:
            other.send_signal(signal.SIGKILL)
            other.wait()
    database = opened(made)
    assert database.problem is None
    assert (made.data_dir / NAME).read_text().split() == [str(os.getpid()), database.instance]
    with pytest.raises(StorageError, match="used by another Parley"):
        Database.open(made)


def test_the_folder_keeps_its_name(settings: Make) -> None:
    instances = set()
    for _ in range(3):
        database = Database.open(settings())
        instances.add(database.instance)
        database.close()
    assert len(instances) == 1


def test_a_folder_that_cannot_be_made_gives_a_database_in_memory(settings: Make, opened: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    database = opened(settings(PARLEY_DATA_DIR=tmp_path / "file" / "below"))
    assert database.problem is not None
    assert "cannot be written" in database.problem.what
    assert str(tmp_path) not in str(database.problem)
    database.write(add("c1"))
    assert ids(database) == {"c1"}
    assert (tmp_path / "file").read_text() == "kept"


# Opens a database once as root, so that everything is imported, and then again as nobody.
AS_NOBODY = """
import os, sys
from core.settings import Settings
from core.store.database import Database
Database.open(Settings.of({"PARLEY_DATA_DIR": sys.argv[1]}, None)).close()
os.setgroups([]); os.setgid(65534); os.setuid(65534)
database = Database.open(Settings.of({"PARLEY_DATA_DIR": sys.argv[2]}, None))
print(database.problem)
database.write(lambda connection: None)
database.close()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("before", ["nothing", "a database"])
def test_a_folder_of_somebody_else_gives_a_database_in_memory(settings: Make, tmp_path: Path, before: str) -> None:
    """Permissions do not stop root, so a process of the user nobody looks at a folder that is root's."""
    made = settings(PARLEY_DATA_DIR=tmp_path / "readable")
    if before == "a database":
        Database.open(made).close()
        for path in made.data_dir.iterdir():
            path.chmod(0o644)
    else:
        made.data_dir.mkdir()
    made.data_dir.chmod(0o555)
    with reachable(tmp_path), reachable(ROOT / "core"):
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, tmp_path / "own", made.data_dir], cwd=ROOT, capture_output=True, text=True
        )
    assert done.stdout.startswith("The data folder readable cannot be written (Permission denied)"), done.stderr
    assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def reachable(path: Path) -> Iterator[None]:
    """Let others pass through the folders above `path` for a while."""
    changed = [(parent, parent.stat().st_mode) for parent in path.parents if not parent.stat().st_mode & 0o001]
    if not path.stat().st_mode & 0o001:
        changed.append((path, path.stat().st_mode))
    for parent, mode in changed:
        parent.chmod(mode | 0o001)
    try:
        yield
    finally:
        for parent, mode in changed:
            parent.chmod(mode)


def test_postgresql_is_used_also_when_the_folder_cannot_be_written(
    settings: Make, opened: Any, tmp_path: Path, postgres_database: str
) -> None:
    (tmp_path / "file").write_text("")
    made = settings(PARLEY_DATA_DIR=tmp_path / "file" / "below", PARLEY_DATABASE_URL=postgres_database)
    database = opened(made)
    assert database.dialect == "postgresql"
    assert "files cannot be kept" in database.problem.what


def test_a_read_only_disk_gives_a_database_in_memory(settings: Make, opened: Any, tmp_path: Path) -> None:
    mounted = tmp_path / "disk"
    mounted.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if (
        not mount
        or not umount
        or subprocess.run([mount, "-t", "tmpfs", "none", mounted], capture_output=True).returncode
    ):
        pytest.skip("no right to mount a file system here")
    try:
        made = settings(PARLEY_DATA_DIR=mounted / "data")
        Database.open(made).close()
        subprocess.run([mount, "-o", "remount,ro", mounted], check=True)
        database = opened(made)
        assert database.problem is not None
        assert "Read-only" in database.problem.what
        database.write(add("c1"))
        database.close()
    finally:
        subprocess.run([umount, mounted], check=True)


def test_postgresql_that_does_not_answer_is_told_without_the_password(settings: Make) -> None:
    made = settings(PARLEY_DATABASE_URL="postgresql://user:pa55word@127.0.0.1:1/db")
    with pytest.raises(StorageError) as caught:
        Database.open(made)
    assert "cannot be reached" in caught.value.what
    assert "pa55word" not in f"{caught.value} {caught.value!r}"


@pytest.mark.parametrize("url", ["mysql://user:pa55word@host/db", "pa55word", "postgresql://u:pa55word@host:port/db"])
def test_an_address_that_is_none_is_a_settings_error(settings: Make, url: str) -> None:
    with pytest.raises(SettingsError, match="PARLEY_DATABASE_URL") as caught:
        Database.open(settings(PARLEY_DATABASE_URL=url))
    assert "pa55word" not in str(caught.value)


def test_postgresql_that_drops_connections_costs_nothing(settings: Make, postgres_database: str, opened: Any) -> None:
    """As after a restart of the server: every connection is dead, the next work gets a new one."""
    database = opened(settings(PARLEY_DATABASE_URL=postgres_database))
    database.write(add("c1"))
    ids(database)
    with psycopg.connect(postgres_database, autocommit=True) as server:
        mine = "datname = current_database() AND pid <> pg_backend_pid()"
        server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}".encode())
    database.write(add("c2"))
    database.put(database.change(conversations, "id", "title"), ["t", "c2"])
    assert ids(database) == {"c1", "c2"}


def test_two_parleys_on_one_postgresql(settings: Make, postgres_database: str, opened: Any, tmp_path: Path) -> None:
    first = opened(settings(PARLEY_DATABASE_URL=postgres_database, PARLEY_DATA_DIR=tmp_path / "a"))
    second = opened(settings(PARLEY_DATABASE_URL=postgres_database, PARLEY_DATA_DIR=tmp_path / "b"))
    first.write(add("c1"))
    assert ids(second) == {"c1"}
    assert first.instance != second.instance
