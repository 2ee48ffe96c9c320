"""What can lie in the folder beside good versions, and what the disk can refuse."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import BadRequest, StorageError
from core.prompts import Registry
from core.prompts.registry import files
from core.prompts.registry.bootstrap import shipped
from tests.prompt_files import Make, again, age, empty_root, registry, says

__all__ = ["again", "registry"]


def edit(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")


def test_an_edited_file_is_not_used_but_offered(registry: Registry, again: Callable[..., Registry]) -> None:
    registry.save("a", says("As it was saved"))
    registry.move("a", "staging", 1, by="Ada")
    edit(registry.root / "a/v1.yaml", "As it was saved", "As somebody wrote")
    for one in (registry, again()):
        assert one.version("a").content == one.version("a@staging").content == says("As it was saved")
        entry = one.entry("a")
        (problem,) = entry.problems
        assert (problem.name, problem.number, problem.kind) == ("a", 1, "edited")
        assert problem.draft is not None
        assert problem.draft.content == says("As somebody wrote")
        assert one.problems() == [problem]
        assert entry.latest == one.version("a")
    saved = registry.save("a", problem.draft.content)
    assert (saved.version.number, registry.version("a").content) == (2, says("As somebody wrote"))


def test_an_edited_file_can_be_put_back(registry: Registry, again: Callable[..., Registry]) -> None:
    registry.save("a", says("As it was saved"), tags=["x"])
    path = registry.root / "a/v1.yaml"
    before = path.read_bytes()
    edit(path, "As it was saved", "As somebody wrote")
    again().restore("a", 1)
    assert path.read_bytes() == before
    assert registry.problems() == registry.verify() == []
    path.write_text("not: [yaml")
    assert registry.entry("a").problems[0].kind == "unreadable"
    assert registry.version("a").content == says("As it was saved")
    registry.restore("a", 1)
    registry.restore("a", 1)
    assert path.read_bytes() == before


def test_an_edited_file_whose_original_nobody_knows_is_no_version(
    registry: Registry, again: Callable[..., Registry], tmp_path: Path
) -> None:
    registry.save("a", says("One"))
    registry.save("a", says("Two"))
    edit(registry.root / "a/v2.yaml", "Two", "Too")
    other = again(PARLEY_DATA_DIR=tmp_path / "elsewhere")
    with pytest.raises(BadRequest, match=re.escape("a@2 was written or changed by hand. It is not used.")) as caught:
        other.version("a@2")
    assert "Save it as a new version, or bring a/v2.yaml back with git." in caught.value.fix
    assert other.version("a").number == 1
    assert other.entry("a").numbers == (1,)
    with pytest.raises(BadRequest, match="not known"):
        other.restore("a", 2)
    with pytest.raises(BadRequest, match="no file of a@7"):
        other.restore("a", 7)
    assert other.save("a", says("Three")).version.number == 3


def test_a_file_written_by_hand_is_a_draft(registry: Registry) -> None:
    (registry.root / "own").mkdir()
    (registry.root / "own/v1.yaml").write_text("messages:\n- role: user\n  content: Hello\n")
    (entry,) = registry.list()
    assert (entry.name, entry.numbers, entry.latest) == ("own", (), None)
    (problem,) = entry.problems
    assert problem.draft is not None
    assert problem.draft.content.messages[0].content == "Hello"
    with pytest.raises(BadRequest, match="by hand"):
        registry.version("own")
    with pytest.raises(BadRequest, match="by hand"):
        registry.move("own", "staging", 1, by="Ada")
    assert registry.save("own", problem.draft.content).version.number == 2


@pytest.mark.parametrize(
    "text",
    [
        b"a: &a [x, x]\nb: &b [*a, *a]\nmessages: [*b, *b]",
        b"messages: !!python/object/apply:os.system ['true']",
        b"messages:\n- role: user\n  content: !exec x",
        b"[" * 100_000,
        b"messages: []",
        b"- a\n- b",
        b"\xff\xfe\x00",
        b"",
        b"messages:\n- {role: user, content: a}\nmessages: []",
        b"messages:\n- {role: robot, content: a}",
        b"x" * 9_000_000,
    ],
    ids=lambda text: text[:20].decode("ascii", "replace"),
)
def test_files_that_are_no_versions_are_told_and_break_nothing(registry: Registry, text: bytes) -> None:
    registry.save("a", says("Fine"))
    (registry.root / "a/v2.yaml").write_bytes(text)
    assert registry.version("a").number == 1
    (problem,) = registry.entry("a").problems
    assert (problem.number, problem.kind, problem.draft) == (2, "unreadable", None)
    assert "v2.yaml" in problem.what
    assert str(registry.root) not in problem.what + problem.fix
    with pytest.raises(BadRequest):
        registry.version("a@2")
    assert registry.save("a", says("New")).version.number == 3


def test_a_change_of_the_same_size_right_after_the_reading_is_noticed(registry: Registry) -> None:
    """Faster than the clock of some file systems."""
    registry.save("a", says("As it was saved"))
    path = registry.root / "a/v1.yaml"
    registry.version("a")
    status = path.stat()
    with path.open("r+b") as file:  # the same inode
        data = file.read().replace(b"was", b"WAS")
        file.seek(0)
        file.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert registry.entry("a").problems[0].kind == "edited"


def test_files_that_are_old_are_read_once(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.save("a", says("x"))
    registry.move("a", "staging", 1, by="Ada")
    age(*(registry.root / "a").iterdir(), registry.root / "a")
    registry.version("a@staging")
    read: list[Any] = []
    monkeypatch.setattr(files, "read", lambda *args: read.append(args))
    for ref in ("a@staging", "a", "a@1"):
        assert registry.version(ref).number == 1
    assert read == []


def test_links_are_told_and_never_followed(registry: Registry, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    registry.save("inside", says("Inside"))
    shutil.copytree(registry.root / "inside", outside)
    secret = (outside / "v1.yaml").read_bytes()
    (registry.root / "linked").symlink_to(outside, target_is_directory=True)
    (registry.root / "team").mkdir()
    (registry.root / "team/linked").symlink_to(outside, target_is_directory=True)
    (registry.root / "inside/v2.yaml").symlink_to(outside / "v1.yaml")
    (registry.root / "inside/labels.jsonl").symlink_to(outside / "labels.jsonl")
    (registry.root / "loop").symlink_to(registry.root, target_is_directory=True)
    assert [entry.name for entry in registry.list()] == ["inside"]
    assert {(problem.name, problem.kind) for problem in registry.problems()} == {
        ("linked", "link"),
        ("team/linked", "link"),
        ("loop", "link"),
        ("inside/v2.yaml", "link"),
        ("inside/labels.jsonl", "link"),
    }
    for name in ("linked", "team/linked", "loop/inside", "linked/deeper"):
        with pytest.raises(BadRequest, match="is no folder but a link"):
            registry.save(name, says("New"))
        with pytest.raises(Exception, match="no prompt called"):
            registry.version(name)
    assert registry.save("inside", says("New")).version.number == 3  # v2.yaml is taken
    with pytest.raises(StorageError):
        registry.move("inside", "staging", 1, by="Ada")
    assert sorted(path.name for path in outside.iterdir()) == ["v1.yaml"]
    assert (outside / "v1.yaml").read_bytes() == secret


def test_the_root_itself_may_be_a_link(again: Callable[..., Registry], tmp_path: Path) -> None:
    empty_root(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    one = again(PARLEY_PROMPTS_DIR=tmp_path / "link")
    one.save("a/b", says("x"))
    assert (tmp_path / "real/a/b/v1.yaml").is_file()
    assert [entry.name for entry in one.list()] == ["a/b"]


def test_names_that_break_the_rules_are_told(registry: Registry) -> None:
    registry.save("foo", says("small"))
    for folder in ("Foo", "a.b", "con", "ok/Übung", "x" * 61, ".git", "deep/1/2/3/4/5"):
        (registry.root / folder).mkdir(parents=True)
        shutil.copy(registry.root / "foo/v1.yaml", registry.root / folder)
    for file in ("foo/V2.yaml", "foo/v03.yaml", "foo/v4.yml", "foo/draft.yaml", "foo/README.md", "stray.yaml"):
        (registry.root / file).write_text("x")
    (registry.root / "foo/v9.yaml").mkdir()
    assert [entry.name for entry in registry.list()] == ["foo"]
    assert registry.version("foo").content == says("small")
    told = {problem.name: problem for problem in registry.problems()}
    assert {problem.kind for problem in told.values()} == {"name"}
    expected = {"Foo", "a.b", "con", "ok/Übung", "x" * 61, "deep/1/2/3/4/5", "stray.yaml", "foo/v9.yaml"}
    assert told.keys() == expected | {f"foo/{name}" for name in ("V2.yaml", "v03.yaml", "v4.yml", "draft.yaml")}
    assert "for example to ok/uebung" in told["ok/Übung"].fix
    assert registry.entry("foo").numbers == (1,)


def test_where_case_does_not_count_another_spelling_is_no_prompt(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS and Windows, where `reply` opens the folder `Reply`: lookups there give the same inode."""
    (registry.root / "Reply").mkdir()
    real = os.lstat

    def caseless(path: Any, **kwargs: Any) -> os.stat_result:
        folder, name = os.path.split(os.fspath(path))
        same = [other for other in os.listdir(folder) if other.lower() == name.lower()] if os.path.isdir(folder) else []
        return real(os.path.join(folder, same[0]) if same else path, **kwargs)

    monkeypatch.setattr(os, "lstat", caseless)
    assert not files.case_counts(registry.root / "prompt.schema.json")
    assert not files.spelled_so(registry.root / "reply")
    assert files.spelled_so(registry.root / "Reply")


def test_what_died_while_writing_is_swept_away_when_it_is_old(registry: Registry) -> None:
    registry.save("a", says("x"))
    old, new = registry.root / "a/.tmp-0123", registry.root / "a/.tmp-4567"
    for path in (old, new):
        path.write_text("half")
    age(old, seconds=7200)
    assert [entry.numbers for entry in registry.list()] == [(1,)]
    assert registry.problems() == []
    assert (old.exists(), new.exists()) == (False, True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """tmp_path/disk is a file system of 200 kB; `small_disk("ro")` makes it read-only."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    (tmp_path / "disk").mkdir()
    command = [str(mount), "-t", "tmpfs", "-o", "size=200k", "none", str(tmp_path / "disk")]
    if not mount or not umount or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no right to mount a file system here")
    try:
        yield lambda how: subprocess.run([mount, "-o", f"remount,{how}", tmp_path / "disk"], check=True) and None
    finally:
        subprocess.run([umount, "-l", tmp_path / "disk"], check=True)


def test_a_read_only_folder_can_be_read(
    small_disk: Callable[[str], None], again: Callable[..., Registry], tmp_path: Path
) -> None:
    root = tmp_path / "disk/prompts"
    empty_root(root)
    before = again(PARLEY_PROMPTS_DIR=root)
    before.save("a", says("x"))
    before.move("a", "staging", 1, by="Ada")
    small_disk("ro")
    one = again(PARLEY_PROMPTS_DIR=root)
    assert not one.writable
    assert one.problem is not None
    assert "cannot be written" in one.problem.what
    for write in (
        lambda: one.save("a", says("y")),
        lambda: one.save("b", says("y")),
        lambda: one.move("a", "staging", None, by="Ada"),
    ):
        with pytest.raises(StorageError, match="was not saved: the folder of the prompts cannot be written") as caught:
            write()
        assert str(tmp_path) not in str(caught.value)
    assert one.version("a@staging").number == 1
    assert [entry.name for entry in one.list()] == ["a"]
    small_disk("rw")
    assert one.writable
    assert one.save("a", says("y")).created


def test_a_full_disk_loses_nothing(
    small_disk: Callable[[str], None], again: Callable[..., Registry], tmp_path: Path
) -> None:
    root = tmp_path / "disk/prompts"
    empty_root(root)
    one = again(PARLEY_PROMPTS_DIR=root)
    one.save("a", says("x"))
    one.move("a", "staging", 1, by="Ada")
    history = (root / "a/labels.jsonl").read_bytes()
    with pytest.raises(StorageError, match="the disk is full"):
        one.save("a", says("long text " * 40_000))
    assert sorted(path.name for path in (root / "a").iterdir()) == ["labels.jsonl", "v1.yaml"]
    with (tmp_path / "disk/filling").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(b"x" * 4096)
    with pytest.raises(StorageError, match="the disk is full"):
        one.save("a", says("y"))
    for number in range(200):  # until the last page of the file is full
        try:
            one.move("a", "staging" if number % 2 else "other", None if number % 4 < 2 and number > 2 else 1, by="Ada")
        except (StorageError, BadRequest) as error:
            if isinstance(error, StorageError):
                break
    else:
        pytest.fail("the disk was never full")
    assert (root / "a/labels.jsonl").read_bytes().startswith(history)
    (tmp_path / "disk/filling").unlink()
    assert one.verify() == []
    assert one.save("a", says("y")).version.number == 2


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_without_hard_links_will_do(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def link(*args: object) -> None:
        raise OSError(code, "no links")

    monkeypatch.setattr(os, "link", link)
    assert registry.save("a", says("x")).version.number == 1
    assert registry.save("a", says("y")).version.number == 2
    assert not files.create(registry.root / "a", "v2.yaml", b"z", registry._lock)
    assert sorted(path.name for path in (registry.root / "a").iterdir()) == ["v1.yaml", "v2.yaml"]
    assert registry.verify() == []


def test_a_new_root_begins_with_the_prompts_that_ship(settings: Make, again: Callable[..., Registry]) -> None:
    root = settings().prompts_dir
    one = again()
    wanted = {path.relative_to(shipped()) for path in shipped().rglob("*") if path.suffix in (".yaml", ".jsonl")}
    assert {path.relative_to(root) for path in root.rglob("*") if path.suffix in (".yaml", ".jsonl")} == wanted
    assert one.problem is None
    assert one.problems() == one.verify() == []
    assert list(root.parent.glob(".tmp*")) == []
    for path in root.rglob("v1.yaml"):
        path.unlink()
    assert all(entry.latest is None or entry.latest.number > 1 for entry in again().list())  # not filled again


@pytest.mark.parametrize("left", ["", "lost+found", ".lock", ".tmp-filling-0123"])
def test_an_empty_folder_is_filled_like_a_missing_one(
    again: Callable[..., Registry], tmp_path: Path, left: str
) -> None:
    root = tmp_path / "prompts"
    root.mkdir()
    if left == ".lock":
        (root / left).write_text("")
    elif left:
        (root / left / "half").mkdir(parents=True)
    if left.startswith(".tmp"):  # the start before was broken off in the middle of it
        shutil.copytree(shipped() / "classify", root / "classify")
    inode = root.stat().st_ino
    one = again()
    names = {entry.name for entry in one.list()}
    assert {"classify", "support/reply"} <= names
    assert one.problem is None
    assert [finding for finding in one.verify() if finding.name != "lost+found"] == []
    assert root.stat().st_ino == inode  # the folder itself stays: it may be a mounted one
    assert list(root.glob(".tmp*")) == list(tmp_path.glob(".tmp*")) == []
    shutil.rmtree(root / "classify")
    assert {entry.name for entry in again().list()} == names - {"classify"}  # not filled again


def test_a_root_that_cannot_be_made_is_told(again: Callable[..., Registry], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    one = again(PARLEY_PROMPTS_DIR=tmp_path / "file/prompts")
    assert one.problem is not None
    assert "cannot be made" in one.problem.what
    assert str(tmp_path) not in str(one.problem)
    assert one.list() == one.problems() == one.verify() == []
    with pytest.raises(StorageError, match="was not saved"):
        one.save("a", says("x"))
