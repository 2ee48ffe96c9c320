"""A disk that becomes full or read-only while Parley runs: the chat goes on in memory and loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select, text
from structlog.testing import capture_logs

import core.ledger.store
from core.api.health import Readiness
from core.conversations import files as files_module
from core.errors import StorageError
from core.ledger.store import Attempt, Filter, Ledger, Outcome
from core.messages import Usage
from core.models.prices import Prices
from core.services import Services
from core.settings import Settings
from core.store import failover
from core.store.database import FILE, Database
from core.store.tables import messages, metadata
from core.store.vectors import Vectors
from core.store.words import search_words
from tests.scripted import Scripted
from tests.unit.test_chat import ask
from tests.unit.test_conversations import ME, House, talk, texts
from tests.unit.test_database import ROOT, add, ids
from tests.waiting import wait_until

ATTEMPT = Attempt("openai/gpt-6-luna")
OUTCOME = Outcome("ok", Usage(input=10, output=20), duration=1.0)

Make = Callable[..., Settings]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failover, "EVERY", 0.1)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    command = [mount, "-t", "tmpfs", "-o", "size=4m", "none", mounted]
    if not mount or not umount or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no right to mount a file system here")
    yield mounted
    subprocess.run([umount, mounted], check=True)


def fill(disk: Path) -> None:
    """Take the last byte."""
    with pytest.raises(OSError, match="No space"), (disk / "filling").open("ab", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def make_room(disk: Path) -> None:
    (disk / "filling").unlink()


def no_room(database: Database) -> None:
    """The writer's connection gets no page more, which is what a full disk says; a new connection does."""

    def limit(connection: Connection) -> None:
        if on_disk(connection):
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    database.write(limit)


def on_disk(connection: Connection) -> bool:
    return bool(connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal")


def tried(database: Database) -> None:
    """Wait until it has tried once more to come back."""
    before = database._failover._next
    wait_until(lambda: database._failover._next != before)


def sound(database: Database) -> None:
    """SQLite, its index of words and its foreign keys have nothing to complain of."""
    check = text("INSERT INTO messages_words(messages_words, rank) VALUES ('integrity-check', 1)")
    database.write(lambda connection: connection.execute(check))
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []


def contents(database: Database) -> dict[str, list[tuple[object, ...]]]:
    with database.read() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]
            for table in metadata.sorted_tables
        }


class Home(House):
    """The house of the conversations, with a ledger and without vectors, which take room too."""

    def _open(self) -> None:
        super()._open()
        self.ledger = Ledger(self.database, Prices(self.settings))

    def live(self) -> None:
        """What happens in a minute: talking, changing, rating, deleting, attaching."""
        for number in range(5):
            made = self.store.create(ME)
            file = self.store.store_file(ME, made.id, "a.txt", "", b"attached %d" % number)
            turns = talk(self.store, made.id, f"question {number} about penguins", "answer " * 200)
            self.store.add(ME, made.id, parent=turns[-1].id, role="user", text="see", files=[file])
            streaming = self.store.add(ME, made.id, parent=turns[0].id, role="assistant", text="", status="streaming")
            self.store.save(streaming.id, text="half", status="streaming")
            self.store.save(streaming.id, text=f"whole and {'even ' * 100} better", status="complete")
            self.store.rate(ME, streaming.id, 1)
            self.store.update(ME, made.id, title=f"Talk {number}")
            call = self.ledger.begin_blocking(ATTEMPT)
            self.ledger.finish_blocking(call, OUTCOME)
        self.store.delete(ME, self.store.list(ME)[-1].id)


@pytest.fixture
def home(disk: Path, settings: Make, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setattr(files_module, "SPARE", 0)
    for method in ("attach", "changed"):
        monkeypatch.setattr(Vectors, method, lambda *args: None)
    opened = Home(settings(PARLEY_DATA_DIR=disk / "data"))
    yield opened
    opened.close()


def test_on_a_full_disk_it_goes_on_and_saves_when_there_is_room(home: Home, disk: Path) -> None:
    home.live()
    running = home.ledger.begin_blocking(ATTEMPT)
    before = [c.id for c in home.store.list(ME)]
    fill(disk)
    with capture_logs() as logs:
        while home.database.problem is None:  # the log of the database has some room of its own
            home.live()
        home.live()
    assert home.database.problem.what == "Nothing can be saved: the disk is full."
    assert "keeps everything in memory" in home.database.problem.fix
    assert [entry["event"] for entry in logs].count("database.in_memory") == 1
    home.ledger.finish_blocking(running, OUTCOME)
    home.store.delete(ME, before[0])
    tried(home.database)
    assert home.database.problem is not None
    expected = contents(home.database)
    assert all(expected.values())
    assert home.stored_files < {row[0] for row in expected["files"]}  # the latest are in memory

    make_room(disk)
    wait_until(lambda: home.database.problem is None)
    assert contents(home.database) == expected
    sound(home.database)
    file = home.store.store_file(ME, home.store.list(ME)[0].id, "b.txt", "", b"later")
    home.live()
    after = contents(home.database)
    home.reopen()
    assert home.database.problem is None
    assert contents(home.database) == after
    assert home.stored_files == {row[0] for row in after["files"]}
    assert home.store.file_data(ME, file.id) == b"later"
    with home.database.read() as connection:
        assert len(search_words(connection, ME, "penguins", 1000)) == len(home.store.list(ME))
    sound(home.database)


def test_what_can_be_saved_at_the_end_is(home: Home, disk: Path) -> None:
    """No second passes between the room and the end."""
    fill(disk)
    while home.database.problem is None:
        home.live()
    expected = contents(home.database)
    make_room(disk)
    home.reopen()
    assert contents(home.database) == expected
    assert home.stored_files == {row[0] for row in expected["files"]}


def test_what_is_lost_at_the_end_is_counted_and_the_rest_is_whole(home: Home, disk: Path) -> None:
    home.live()
    before = contents(home.database)
    fill(disk)
    while home.database.problem is None:
        talk(home.store, home.store.create(ME).id, "a secret", "another" * 500)
    lasting = home.store.create(ME, title="secret title")
    home.store.store_file(ME, lasting.id, "secret.txt", "", b"secret" * 5000)
    home.store.delete(ME, before["conversations"][0][0])
    with capture_logs() as logs:
        home.close()
    [lost] = [entry for entry in logs if entry["event"] == "database.lost"]
    assert lost["log_level"] == "warning"
    assert lost["attachments"] == 1
    assert "conversations: " in lost["rows"]
    assert "1 deleted" in lost["rows"]
    assert "secret" not in str(logs)
    make_room(disk)
    home.reopen()
    sound(home.database)
    after = contents(home.database)
    assert all(row in after["messages"] for row in before["messages"])
    assert lasting.id not in {row[0] for row in after["conversations"]}


async def test_the_chat_answers_on_a_full_disk_and_says_that_it_cannot_save(disk: Path, settings: Make) -> None:
    opened = Services.open(settings(PARLEY_DATA_DIR=disk / "data"), {"scripted": Scripted()})
    conversation = opened.conversations.create(ME)
    await ask(opened.chat, conversation.id, "before", "words")
    fill(disk)
    for _ in range(100):
        await ask(opened.chat, conversation.id, "full " * 200, "words")
        if opened.database.problem is not None:
            break
    turns = await ask(opened.chat, conversation.id, "in memory", "words")
    answer = opened.conversations.turn(ME, turns[0])
    assert (answer.status, answer.error) == ("complete", "")
    assert answer.meter is not None
    assert answer.meter.call is not None
    assert opened.ledger.call(answer.meter.call).status == "ok"
    found = await Readiness(opened)._look()
    assert found["database"]["problem"].startswith("Nothing can be saved: the disk is full.")
    make_room(disk)
    await asyncio.to_thread(wait_until, lambda: opened.database.problem is None)
    path = opened.conversations.path(ME, conversation.id)
    await ask(opened.chat, conversation.id, "afterwards", "words")
    await opened.close()
    again = Services.open(settings(PARLEY_DATA_DIR=disk / "data"), {"scripted": Scripted()})
    kept = again.conversations.path(ME, conversation.id)
    assert kept[: len(path)] == path
    assert texts(kept)[-2] == "afterwards"
    assert again.ledger.total(Filter(status="running")).calls == 0
    await again.close()


def test_an_attachment_that_the_disk_refuses_is_written_later(home: Home, disk: Path) -> None:
    """The texts are still saved: the file was too large, not the disk full."""
    (disk / "filling").write_bytes(b"x" * 2_000_000)
    id = home.store.create(ME).id
    data = os.urandom(2_500_000)
    file = home.store.store_file(ME, id, "large.bin", "", data)
    problem = home.database.problem
    assert problem is not None
    assert problem.what == "Attachments cannot be saved: the disk is full."
    deleted = home.store.store_file(ME, home.store.create(ME).id, "large.bin", "", data)
    home.store.delete(ME, home.store.list(ME)[0].id)
    assert home.store.file_data(ME, file.id) == data
    assert home.stored_files == set()
    with contextlib.closing(sqlite3.connect(home.settings.data_dir / FILE)) as other:
        assert other.execute("SELECT id FROM files").fetchall() == [(file.id,)]
    make_room(disk)
    wait_until(lambda: home.database.problem is None)
    assert home.stored_files == {file.id}
    home.reopen()
    assert home.store.file_data(ME, file.id) == data
    assert deleted.id not in home.stored_files


def test_more_attachments_than_memory_is_given_are_refused(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module, "MOST_HELD", 5_000_000)
    id = home.store.create(ME).id
    home.store.store_file(ME, id, "large.bin", "", b"x" * 4_500_000)
    with pytest.raises(StorageError, match="could not be saved"):
        home.store.store_file(ME, id, "larger.bin", "", b"x" * 4_500_000)


def read_only(database: Database) -> None:
    """The same, for a disk that takes nothing."""
    database.write(lambda connection: on_disk(connection) and connection.exec_driver_sql("PRAGMA query_only=ON"))


@pytest.mark.parametrize(
    ("fault", "reason"), [(no_room, "the disk is full"), (read_only, "the data folder cannot be written")]
)
def test_nobody_in_a_crowd_notices(
    settings: Make, fault: Callable[[Database], None], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight threads write and two read while the database goes into memory and comes back, several times."""
    monkeypatch.setattr(failover, "SLOWEST", 0.1)
    database = Database.open(settings())
    problems: set[str] = set()
    errors: list[BaseException] = []
    stop = threading.Event()
    written: list[str] = []

    def write(number: int) -> None:
        try:
            for n in range(150):
                id = f"{number}-{n}"
                database.write(add(id))
                with database.read() as connection:  # what was written is there to be read
                    assert connection.execute(text("SELECT 1 FROM conversations WHERE id = :id"), {"id": id}).scalar()
                written.append(id)
        except BaseException as error:
            errors.append(error)

    def read() -> None:
        try:
            seen = 0
            while not stop.is_set():
                with database.read() as connection:
                    now = connection.execute(text("SELECT count(*) FROM conversations")).scalar_one()
                    assert now >= seen
                    seen = now
                problems.add("" if database.problem is None else database.problem.what)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in [*threads, *readers]:
        thread.start()
    changes = 0
    while any(thread.is_alive() for thread in threads):
        if database.problem is None:
            fault(database)
            changes += 1
            while database.problem is None and any(thread.is_alive() for thread in threads):
                time.sleep(0.001)
        time.sleep(0.02)
    stop.set()
    for thread in [*threads, *readers]:
        thread.join()
    assert errors == []
    assert changes > 1
    assert f"Nothing can be saved: {reason}." in problems
    database.close()
    database = Database.open(settings())
    assert ids(database) == set(written)
    assert len(written) == 8 * 150
    sound(database)
    database.close()


def test_who_reads_during_the_change_may_finish(settings: Make) -> None:
    database = Database.open(settings())
    database.write(add("c1"))
    with database.read() as earlier:
        assert earlier.execute(text("SELECT count(*) FROM conversations")).scalar() == 1
        no_room(database)
        many = [f"m{n}" for n in range(500)]
        database.write(add(*many))
        assert database.problem is not None
        with database.read() as in_memory:
            assert in_memory.execute(text("SELECT count(*) FROM conversations")).scalar() == 501
            wait_until(lambda: database.problem is None)
            assert in_memory.execute(text("SELECT count(*) FROM conversations")).scalar() == 501
        assert earlier.execute(text("SELECT count(*) FROM conversations")).scalar() == 1
    assert len(ids(database)) == 501
    database.close()


def test_who_opens_a_connection_at_the_moment_of_the_change_gets_the_right_one(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database.open(settings())
    no_room(database)
    database.write(add(*(f"m{n}" for n in range(500))))
    reader = database._reader
    connect = reader.connect

    def late() -> Connection:
        wait_until(lambda: database.problem is None)
        return connect()

    monkeypatch.setattr(reader, "connect", late)
    assert len(ids(database)) == 500
    database.close()


def test_only_what_is_new_is_written(settings: Make) -> None:
    house = House(settings())
    made = house.store.create(ME)
    talk(house.store, made.id, *("hello" for _ in range(50)))
    read_only(house.database)
    house.store.update(ME, made.id, title="renamed")
    with capture_logs() as logs:
        wait_until(lambda: house.database.problem is None)
    [back] = [entry for entry in logs if entry["event"] == "database.on_disk"]
    assert back["rows"] == 2  # a row taken out and a row put in
    assert house.store.get(ME, made.id).title == "renamed"
    assert len(house.store.path(ME, made.id)) == 50
    house.close()


def test_an_exception_of_the_work_itself_is_no_failing_disk(settings: Make) -> None:
    database = Database.open(settings())
    with pytest.raises(ZeroDivisionError):
        database.write(lambda _: 1 / 0)
    no_room(database)

    def both(connection: Connection) -> None:
        add("undone")(connection)
        raise KeyError("own")

    with pytest.raises(KeyError):
        database.write(both)
    assert ids(database) == set()
    database.close()


def test_a_file_that_is_too_large_to_be_copied_is_an_error_as_before(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failover, "LARGEST", 1000)
    database = Database.open(settings())
    no_room(database)
    with capture_logs() as logs, pytest.raises(StorageError, match="disk is full"):
        database.write(add(*(f"m{n}" for n in range(500))))
    assert database.problem is None
    assert {entry["event"] for entry in logs} == {"database.stays"}
    assert ids(database) == set()
    database.close()


def test_a_number_is_never_used_twice_also_not_after_coming_back(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failover, "EVERY", 3600.0)
    house = House(settings())
    made = house.store.create(ME)
    no_room(house.database)
    deleted = house.store.create(ME)
    last = talk(house.store, deleted.id, *("x" * 5000 for _ in range(100)))[-1]
    numbers = select(func.max(messages.c.number))
    assert house.database.problem is not None
    with house.database.read() as connection:
        highest = connection.execute(numbers).scalar_one()
    house.store.delete(ME, deleted.id)
    house.database._failover._next = 0.0
    house.database.write(lambda connection: None)
    wait_until(lambda: house.database.problem is None)
    talk(house.store, made.id, "hello")
    with house.database.read() as connection:
        assert connection.execute(numbers).scalar_one() > highest
    assert last.id not in {row[1] for row in contents(house.database)["messages"]}
    house.close()


def test_a_file_that_was_deleted_is_not_made_anew_and_the_chat_goes_on(settings: Make) -> None:
    database = Database.open(settings())
    database.write(add("c1"))
    path = settings().data_dir / FILE
    no_room(database)
    database.write(add(*(f"m{n}" for n in range(500))))
    path.rename(path.with_name("elsewhere"))
    tried(database)
    assert database.problem is not None
    assert not path.exists()
    database.write(add("c2"))
    path.with_name("elsewhere").rename(path)
    wait_until(lambda: database.problem is None)
    assert len(ids(database)) == 502
    database.close()


# Fills the memory with 60 MB of news, tells so, and lets them be written to the disk.
COMING_BACK = """
import sys, time
from core.settings import Settings
from core.store import failover
from core.store.database import Database
from core.store.tables import conversations
from tests.unit.test_database import add, message
from tests.unit.test_failover import no_room
failover.EVERY = 60.0
database = Database.open(Settings.of({"PARLEY_DATA_DIR": sys.argv[1]}, None))
database.write(add("old"))
no_room(database)
database.write(add("c1"))
for n in range(300):
    database.write(lambda connection: connection.execute(message(f"m{n}", f"word{n} " * 25_000)))
assert database.problem is not None
database.write(add("new"))
print("ready", flush=True)
database._failover._next = 0.0
database.put_soon(database.change(conversations, "id", "title"), ["t", "c1"])
while database.problem is not None:
    time.sleep(0.001)
print("back", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("size", [100_000, 20_000_000, 10**12])
def test_a_process_that_is_killed_while_it_comes_back_leaves_a_sound_file(settings: Make, size: int) -> None:
    """The size is that of the write-ahead log at the moment of the kill; the last is never reached."""
    made = settings()
    log = made.data_dir / f"{FILE}-wal"
    with subprocess.Popen(
        [sys.executable, "-c", COMING_BACK, made.data_dir], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout is not None
            assert "ready\n" in child.stdout
            if size == 10**12:
                assert "back\n" in child.stdout
            else:
                wait_until(lambda: log.exists() and log.stat().st_size > size)
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()
    database = Database.open(made)
    sound(database)
    with database.read() as connection:
        count = connection.execute(select(func.count()).select_from(messages)).scalar()
    all_of_it, nothing = (300, {"old", "c1", "new"}), (0, {"old", "c1"})
    assert (count, ids(database)) in ([all_of_it] if size == 10**12 else [all_of_it, nothing])
    database.close()


async def test_an_outcome_is_kept_in_the_ledger(settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core.ledger.store, "RETRY_SECONDS", 0.05)
    made = settings()
    database = Database.open(made)
    ledger = Ledger(database, Prices(made))
    calls = [await ledger.begin(ATTEMPT) for _ in range(200)]
    no_room(database)
    with capture_logs() as logs:
        for call in calls:
            await ledger.finish(call, replace(OUTCOME, error="x" * 400, request_id="y" * 200))
        ledger.finish_soon(await ledger.begin(ATTEMPT), OUTCOME)
    assert "ledger.kept" not in {entry["event"] for entry in logs}
    await asyncio.to_thread(wait_until, lambda: database.problem is None)
    assert ledger.total(Filter(status="ok")).calls == 201
    database.close()
