"""The registry in a running server: what changes on the disk shows up by itself."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import watchfiles

from core.errors import BadRequest
from core.prompts import Registry, version
from core.prompts.registry import files, prompt_folder, watch
from core.prompts.registry.prompt_folder import PromptFolder
from tests.prompt_files import Make, again, age, registry, says
from tests.waiting import wait_until

__all__ = ["again", "registry"]

GIT = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]


@pytest.fixture
def running(registry: Registry) -> Iterator[Registry]:
    """A started registry that has looked at everything and is listening."""
    registry.save("a", says("One"))
    registry.start()
    wait_until(lambda: registry.scanned)
    yield registry


def names(registry: Registry) -> list[str]:
    return [entry.name for entry in registry.list()]


def test_what_this_process_saves_is_listed_at_once(running: Registry) -> None:
    changed: list[set[str]] = []
    running.watch(changed.append)
    running.save("b/c", says("Two"))
    assert names(running) == ["a", "b/c"]
    assert changed == [{"b/c"}]
    running.move("b/c", "staging", 1, by="Ada")
    assert running.list(label="staging")[0].labels == {"staging": 1}
    assert changed == [{"b/c"}, {"b/c"}]
    running.save("b/c", says("Two"))  # the same again
    assert changed == [{"b/c"}, {"b/c"}]


def test_what_comes_from_elsewhere_shows_up(running: Registry, again: Callable[..., Registry]) -> None:
    changed: set[str] = set()
    running.watch(changed.update)
    other = again()
    other.save("new/folder/prompt", says("From another process"))
    wait_until(lambda: names(running) == ["a", "new/folder/prompt"])
    other.save("new/folder/second", says("More"))
    wait_until(lambda: "new/folder/second" in names(running))
    other.save("a", says("Two"))
    wait_until(lambda: running.list()[0].numbers == (1, 2))
    other.move("a", "staging", 2, by="Ada")
    wait_until(lambda: running.list(label="staging"))
    assert changed == {"a", "new/folder/prompt", "new/folder/second"}
    assert running.search("another process")[0].name == "new/folder/prompt"
    shutil.rmtree(running.root / "new")
    wait_until(lambda: names(running) == ["a"])
    assert running.search("another process") == []


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_a_git_pull_shows_up(running: Registry, tmp_path: Path, again: Callable[..., Registry]) -> None:
    def git(*arguments: str) -> None:
        subprocess.run([*GIT, *arguments], cwd=running.root, check=True, capture_output=True)

    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "One")
    git("checkout", "-qb", "work")
    running.save("a", says("Two"))
    running.save("b", says("New"))
    running.move("a", "staging", 2, by="Ada")
    git("add", "-A")
    git("commit", "-qm", "Two")
    git("checkout", "-q", "-")
    wait_until(
        lambda: [(entry.name, entry.numbers, dict(entry.labels)) for entry in running.list()] == [("a", (1,), {})]
    )
    assert running.version("a").number == 1
    git("merge", "-q", "work")
    merged = [("a", (1, 2), {"staging": 2}), ("b", (1,), {})]
    wait_until(lambda: [(entry.name, entry.numbers, dict(entry.labels)) for entry in running.list()] == merged)
    assert running.version("a@staging").content == says("Two")
    wait_until(lambda: running.problems() == [])


def test_an_editors_save_shows_up(running: Registry) -> None:
    path = running.root / "a/v1.yaml"
    temporary = path.with_name("v1.yaml~")
    temporary.write_text(path.read_text("utf-8").replace("One", "Edited"), "utf-8")
    temporary.replace(path)
    (problem,) = wait_until(running.problems)  # type: ignore[misc]
    assert problem.draft.content == says("Edited")
    assert running.list()[0].latest is not None
    assert running.list()[0].latest.content == says("One")
    running.restore("a", 1)
    assert running.problems() == []


def test_a_restart_reads_no_file_again(
    registry: Registry, again: Callable[..., Registry], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        registry.save(f"team/a{number}", says(f"Text {number}"), description="D", tags=["x"])
        registry.save(f"team/a{number}", says(f"Text {number} newer"))
    registry.move("team/a1", "staging", 1, by="Ada")
    registry.close()
    age(*registry.root.rglob("v*.yaml"))
    again().list()  # files that were too new to be sure of are looked at once more
    expected = again().list()
    read: list[str] = []
    real = files.read
    monkeypatch.setattr(files, "read", lambda path, most: read.append(str(path)) or real(path, most))
    one = again()
    assert one.list() != []
    assert [entry.latest for entry in one.list()] == [entry.latest for entry in expected]
    assert [(entry.name, entry.numbers, dict(entry.labels)) for entry in one.list()] == [
        ("team/a0", (1, 2), {}),
        ("team/a1", (1, 2), {"staging": 1}),
        ("team/a2", (1, 2), {}),
    ]
    assert one.search("text 1 newer")[0].name == "team/a1"
    assert one.list(tag="x") == []  # of the newest version
    assert [Path(path).name for path in read if path.endswith(".yaml")] == []
    assert one.version("team/a1@1").content == says("Text 1")


def test_what_changed_between_two_runs_is_read(registry: Registry, again: Callable[..., Registry]) -> None:
    registry.save("a", says("One"))
    registry.save("b", says("Other"))
    registry.list()
    registry.close()
    path = registry.root / "a/v1.yaml"
    path.write_text(path.read_text("utf-8").replace("One", "Two"), "utf-8")
    age(path, seconds=3600)
    shutil.rmtree(registry.root / "b")
    one = again()
    assert names(one) == ["a"]
    assert one.problems()[0].kind == "edited"
    assert one.version("a").content == says("One")  # known from the run before


@pytest.mark.parametrize("damage", ["garbage", "cut", "empty", "folder", "another format"])
def test_a_damaged_index_is_made_anew(registry: Registry, again: Callable[..., Registry], damage: str) -> None:
    for number in range(50):
        registry.save(f"a{number}", says("Text " * 100))
    registry.close()
    (path,) = registry.root.parent.glob("data/prompt-index-*.db")
    data = path.read_bytes()
    if damage == "another format":
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA user_version = 99")
        database.close()
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes({"garbage": b"\0garbage" * 5000, "cut": data[: len(data) // 2], "empty": b""}[damage])
    for _ in range(2):
        one = again()
        assert len(one.list()) == 50
        assert one.version("a7@1").content == says("Text " * 100)
        assert one.search("text")[0].snippet
        one.save("a7", says("Newer"))
        one.close()


def test_before_everything_was_looked_at_one_prompt_can_be_read(
    registry: Registry, again: Callable[..., Registry], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.save("a", says("One"))
    hold = threading.Event()
    monkeypatch.setattr(watch.Watch, "_scan", lambda self: hold.wait(60))
    one = again()
    one.start()
    assert one.version("a").number == one.entry("a").numbers[0] == 1
    one.save("b", says("Two"))
    assert names(one) == ["a", "b"]  # what is known by then
    assert not hold.is_set()
    assert not one.scanned
    hold.set()


def test_without_news_from_the_system_it_looks_by_itself(
    registry: Registry, again: Callable[..., Registry], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("inotify limit reached")

    monkeypatch.setattr(watchfiles, "watch", refuse)
    monkeypatch.setattr(watch, "POLL", 0.1)
    before = set(threading.enumerate())  # a server of other tests may be running
    registry.start()
    wait_until(lambda: registry.scanned)
    again().save("a", says("One"))
    wait_until(lambda: names(registry) == ["a"])
    registry.close()
    assert [thread for thread in set(threading.enumerate()) - before if thread.name == "parley-prompts"] == []


def test_a_listener_that_fails_stops_nothing(running: Registry) -> None:
    def fail(changed: set[str]) -> None:
        raise RuntimeError

    heard: list[set[str]] = []
    running.watch(fail)
    running.watch(heard.append)
    running.save("b", says("x"))
    assert heard == [{"b"}]


def test_a_link_out_of_the_registry_is_not_listened_to(running: Registry, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (running.root / "linked").symlink_to(outside, target_is_directory=True)
    wait_until(lambda: [problem.kind for problem in running.problems()] == ["link"])
    seen: set[str] = set()
    running._index.refresh = lambda names: seen.update(names)  # type: ignore[method-assign]
    (outside / "v1.yaml").write_text("x")
    (running.root / "a" / "v2.yaml").write_text("x")  # reported after it
    wait_until(lambda: "a" in seen)
    assert not any("linked" in name or "outside" in name for name in seen)


def test_it_can_be_closed_at_any_moment(settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(threading.enumerate())  # a server of other tests may be running
    looking = threading.Event()
    real = PromptFolder.look
    monkeypatch.setattr(PromptFolder, "look", lambda *args: looking.set() or real(*args))  # type: ignore[func-returns-value]
    moments: list[Callable[[Registry], object]] = [
        lambda one: None,
        lambda one: looking.wait(60),
        lambda one: wait_until(lambda: one.scanned),
    ]
    for reached in moments:
        looking.clear()
        one = Registry.open(settings())
        one.start()
        reached(one)
        one.close()
    assert [thread for thread in set(threading.enumerate()) - before if thread.name == "parley-prompts"] == []


def test_a_version_is_read_without_parsing_when_nothing_changed(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right after saving the file's time cannot be trusted, so its bytes are compared."""
    registry.save("a", says("One"))
    parsed: list[object] = []
    real = version.from_text
    monkeypatch.setattr(prompt_folder, "from_text", lambda *args: parsed.append(args) or real(*args))
    for _ in range(5):
        assert registry.version("a").content == says("One")
    assert parsed == []
    assert os.path.exists(registry.root / "a/v1.yaml")


def test_a_newest_version_that_cannot_be_read_does_not_end_the_watch(
    registry: Registry, again: Callable[..., Registry], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    registry.save("a", says("One"))
    age(registry.root / "a/v1.yaml")
    again(PARLEY_DATA_DIR=tmp_path / "other").list()  # the next run need not read it
    one = again(PARLEY_DATA_DIR=tmp_path / "other")

    def refuse(folder: PromptFolder, number: int, facts: object) -> None:
        raise BadRequest("a@1 was changed by hand between two looks.", "Restore it.")

    monkeypatch.setattr(PromptFolder, "_newest", refuse)
    one.start()
    wait_until(lambda: one.scanned)
    registry.save("b", says("Two"))
    wait_until(lambda: names(one) == ["a", "b"])
    assert one._watch.running


def test_a_list_looks_itself_when_the_watch_has_died(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch.Watch, "_run", lambda self: None)
    registry.start()
    wait_until(lambda: not registry._watch.running)
    folder = registry.root / "a"
    folder.mkdir()
    (folder / "v1.yaml").write_text(version.to_text(version.Version("a", 1, says("One"))), "utf-8")
    assert names(registry) == ["a"]
    registry.close()
    assert registry._watch.running, "memory is all there is after the end"
