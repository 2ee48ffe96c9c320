"""Labels: where they point, who moved them, and the chain that shows whether the history is whole."""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import BadRequest, NotFound
from core.prompts import Registry
from core.prompts.content import digest
from core.prompts.registry import labels
from core.prompts.registry.files import Lock
from core.prompts.version import Version, to_text
from tests.prompt_files import again, registry, says

__all__ = ["again", "registry"]

LINE = "labels.jsonl"


@pytest.fixture
def three(registry: Registry) -> Registry:
    """A prompt called `a` with three versions."""
    for number in (1, 2, 3):
        registry.save("a", says(f"Text {number}"))
    return registry


def test_a_move_is_a_line_that_holds_the_hash_of_the_one_before(three: Registry) -> None:
    first = three.move("a", "staging", 1, by="Ada")
    second = three.move("a", "production", 2, by="Bob", why="Grüße\nand more")
    assert (second.number, second.before, second.to, second.by, second.previous) == (2, None, 2, "Bob", first.hash)
    assert second.content == three.version("a@2").hash
    assert three.history("a") == [second, first]
    lines = (three.root / "a" / LINE).read_text("utf-8").splitlines()
    values = [json.loads(line) for line in lines]
    for line in values:
        assert digest({name: value for name, value in line.items() if name != "hash"}) == line["hash"]
    assert (values[1]["why"], values[0]["previous"], values[1]["previous"]) == (
        "Grüße\nand more",
        "",
        values[0]["hash"],
    )


def test_a_label_says_which_version_is_read(three: Registry, again: Callable[..., Registry]) -> None:
    three.move("a", "staging", 1, by="Ada")
    other = again()
    assert three.version("a@staging").number == other.version("a@staging").number == 1
    moved = other.move("a", "staging", 3, by="Bob")
    assert (moved.before, moved.to) == (1, 3)
    assert three.version("a@staging").number == 3
    assert dict(three.entry("a").labels) == three.labels("a") == {"staging": 3}
    other.move("a", "staging", None, by="Bob")
    assert three.labels("a") == {}
    with pytest.raises(NotFound, match="no label staging"):
        three.version("a@staging")


def test_a_move_to_where_the_label_is_writes_nothing(three: Registry) -> None:
    first = three.move("a", "staging", 2, by="Ada")
    assert three.move("a", "staging", 2, by="Bob") == first
    three.move("a", "staging", None, by="Ada")
    assert three.move("a", "staging", None, by="Bob").by == "Ada"
    assert len(three.history("a")) == 2
    with pytest.raises(BadRequest, match="no label other"):
        three.move("a", "other", None, by="Ada")


def test_who_looked_at_an_older_state_is_told_who_was_faster(three: Registry) -> None:
    three.move("a", "staging", 1, by="Ada")
    three.move("a", "staging", 3, by="Bob", expect=1)
    with pytest.raises(BadRequest, match="staging of a was moved to v3 by Bob a moment ago"):
        three.move("a", "staging", 2, by="Ada", expect=1)
    assert three.move("a", "staging", 3, by="Ada", expect=1).by == "Bob"  # both wanted the same
    three.move("a", "staging", None, by="Bob")
    with pytest.raises(BadRequest, match="was taken away by Bob"):
        three.move("a", "staging", 2, by="Ada", expect=3)
    with pytest.raises(BadRequest, match="other of a is not set"):
        three.move("a", "other", 2, by="Ada", expect=3)
    assert three.move("a", "staging", 2, by="Ada", expect=None).to == 2


def test_a_move_long_ago_is_told_with_its_time(three: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    class Early(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime.datetime:
            return datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC)

    with monkeypatch.context() as patched:
        patched.setattr(labels.datetime, "datetime", Early)
        three.move("a", "staging", 1, by="Ada")
    with pytest.raises(BadRequest, match="by Ada at 2026-01-02 03:04 UTC"):
        three.move("a", "staging", 2, by="Bob", expect=None)


def test_protected_labels_need_a_reason_and_pass_the_gates(three: Registry) -> None:
    asked: list[tuple[int, str]] = []

    def gate(version: Version, label: str) -> None:
        asked.append((version.number, label))
        if version.number == 2:
            raise BadRequest("Its test has not passed.", "Run it.")

    three.gates.append(gate)
    with pytest.raises(BadRequest, match="only with a reason"):
        three.move("a", "production", 1, by="Ada", why="  ")
    three.move("a", "production", 1, by="Ada", why="First")
    with pytest.raises(BadRequest, match="has not passed"):
        three.move("a", "production", 2, by="Ada", why="Second")
    three.move("a", "production", 1, by="Bob")  # it is there
    with pytest.raises(BadRequest, match="only with a reason"):
        three.move("a", "production", None, by="Bob")
    three.move("a", "production", None, by="Bob", why="Off")
    three.move("a", "staging", 2, by="Ada")
    assert asked == [(1, "production"), (2, "production")]
    assert three.labels("a") == {"staging": 2}


def test_which_labels_are_protected_is_a_setting(three: Registry, again: Callable[..., Registry]) -> None:
    other = again(PARLEY_PROTECTED_LABELS="live, eu")
    other.move("a", "production", 1, by="Ada")
    with pytest.raises(BadRequest, match="eu is protected"):
        other.move("a", "eu", 1, by="Ada")


def test_a_rollback_goes_back_along_the_way(three: Registry) -> None:
    with pytest.raises(BadRequest, match="has no label staging"):
        three.rollback("a", "staging", by="Ada")
    three.move("a", "staging", 1, by="Ada")
    with pytest.raises(BadRequest, match="nowhere else before"):
        three.rollback("a", "staging", by="Ada")
    three.move("a", "staging", 2, by="Ada")
    three.move("a", "staging", 3, by="Ada")
    assert three.earlier("a", "staging") == 2
    back = three.rollback("a", "staging", by="Bob", why="Worse")
    assert (back.before, back.to, back.by, back.why) == (3, 2, "Bob", "Worse")
    assert three.rollback("a", "staging", by="Bob").to == 1
    assert three.earlier("a", "staging") is None
    three.move("a", "staging", None, by="Ada")
    assert three.rollback("a", "staging", by="Bob").to == 1


@pytest.mark.parametrize("label", ["latest", "v1", "3", "Production", "a b", "", "../x", "x" * 41, "é"])
def test_bad_labels_are_refused(three: Registry, label: str) -> None:
    with pytest.raises(BadRequest):
        three.move("a", label, 1, by="Ada", why="x")
    with pytest.raises(BadRequest):
        three.rollback("a", label, by="Ada")
    assert three.history("a") == []


def test_a_label_points_only_to_what_is_there(three: Registry) -> None:
    with pytest.raises(NotFound, match="no version 9"):
        three.move("a", "staging", 9, by="Ada")
    with pytest.raises(BadRequest, match="The reason has"):
        three.move("a", "staging", 1, by="Ada", why="x" * 3000)
    assert not (three.root / "a" / LINE).exists()


def test_a_clock_that_was_set_back_does_not_turn_the_history_around(
    three: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime.datetime:
            return datetime.datetime(2031, 1, 1, tzinfo=datetime.UTC)

    with monkeypatch.context() as patched:
        patched.setattr(labels.datetime, "datetime", Late)
        three.move("a", "staging", 1, by="Ada")
    assert three.move("a", "staging", 2, by="Ada").time == datetime.datetime(2031, 1, 1, tzinfo=datetime.UTC)


@pytest.mark.parametrize("rest", [b'{"number":3,"ti', b"\xff\xfe", b"x" * 3000])
def test_a_line_that_a_crash_cut_off_is_left_out_and_cut_at_the_next_move(three: Registry, rest: bytes) -> None:
    three.move("a", "staging", 1, by="Ada")
    three.move("a", "staging", 2, by="Ada")
    path = three.root / "a" / LINE
    with path.open("ab") as file:
        file.write(rest)
    assert three.labels("a") == {"staging": 2}
    assert three.entry("a").problems == ()
    assert three.move("a", "staging", 3, by="Bob").number == 3
    assert len(path.read_bytes().splitlines()) == 3
    assert three.verify() == []


def test_a_whole_last_line_counts_without_its_line_break_too(three: Registry) -> None:
    three.move("a", "staging", 1, by="Ada")
    path = three.root / "a" / LINE
    path.write_bytes(path.read_bytes().rstrip(b"\n"))  # as some editors do
    assert three.labels("a") == {"staging": 1}
    assert three.move("a", "staging", 2, by="Ada").number == 2
    assert len(path.read_bytes().splitlines()) == 2
    assert three.verify() == []


def changed(lines: list[dict[str, Any]]) -> None:
    lines[1]["to"] = 3


def removed(lines: list[dict[str, Any]]) -> None:
    del lines[1]


def swapped(lines: list[dict[str, Any]]) -> None:
    lines[1], lines[2] = lines[2], lines[1]


def repeated(lines: list[dict[str, Any]]) -> None:
    lines.insert(1, lines[1])


def rehashed(lines: list[dict[str, Any]]) -> None:
    lines[1]["by"] = "Mallory"
    lines[1]["hash"] = digest({name: value for name, value in lines[1].items() if name != "hash"})


@pytest.mark.parametrize(
    ("change", "line"),
    [(changed, 2), (removed, 2), (swapped, 2), (repeated, 3), (rehashed, 3)],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_broken_chain_is_noticed_and_nothing_behind_it_counts(
    three: Registry, again: Callable[..., Registry], change: Callable[[list[dict[str, Any]]], None], line: int
) -> None:
    for to in (1, 2, 3):
        three.move("a", "staging", to, by="Ada")
    path = three.root / "a" / LINE
    values = [json.loads(text) for text in path.read_text("utf-8").splitlines()]
    change(values)
    path.write_text("".join(json.dumps(value) + "\n" for value in values), "utf-8")
    for one in (three, again()):
        (problem,) = one.entry("a").problems
        assert problem.kind == "history"
        assert f"broken at line {line}" in problem.what
        assert one.labels("a") == {"staging": values[line - 2]["to"]}
        with pytest.raises(BadRequest, match="broken at line"):
            one.move("a", "staging", 1, by="Bob", why="x")
        assert one.version("a").number == 3
        tampered = [finding for finding in one.verify() if finding.severity == "tampered"]
        assert any(f"broken at line {line}" in finding.what for finding in tampered)


@pytest.mark.parametrize(
    "line", ["[]", "null", "1", "not JSON", "{}", '{"number": "1"}', "", '{"time": 3}', "<<<<<<< HEAD", "[" * 9999]
)
def test_lines_that_are_no_moves_break_nothing(three: Registry, line: str) -> None:
    (three.root / "a" / LINE).write_text(line + "\n")
    (problem,) = three.entry("a").problems
    assert "broken at line 1" in problem.what
    assert three.version("a").number == 3
    assert three.labels("a") == {}


def test_a_folder_with_labels_but_no_version_is_still_told(three: Registry) -> None:
    three.move("a", "staging", 1, by="Ada")
    for path in (three.root / "a").glob("*.yaml"):
        path.unlink()
    entry = three.entry("a")
    assert (entry.numbers, entry.latest, dict(entry.labels)) == ((), None, {"staging": 1})
    with pytest.raises(NotFound, match="no version"):
        three.version("a")
    assert any("v1 is missing" in finding.what for finding in three.verify())


def test_what_a_label_points_to_cannot_be_replaced_unnoticed(three: Registry, tmp_path: Path) -> None:
    three.move("a", "production", 1, by="Ada", why="First")
    folder = three.root / "a"
    other = replace(three.version("a@3"), number=1)
    (folder / "v1.yaml").write_text(to_text(other), "utf-8")  # with a hash and a seal that fit
    with pytest.raises(BadRequest, match="its file was replaced"):
        three.version("a@production")
    assert any("v1 is another one than" in finding.what for finding in three.verify())
    with pytest.raises(BadRequest, match="only with a reason"):
        three.move("a", "production", 1, by="Bob")  # the same number, but not the same any more
    assert three.move("a", "production", 1, by="Bob", why="Read it").content == other.hash
    assert three.version("a@production").content == other.content


def test_a_protected_label_that_was_moved_while_one_looked_needs_a_reason_too(
    three: Registry, again: Callable[..., Registry], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = again()
    three.move("a", "production", 1, by="Ada", why="First")
    held = Lock.held

    def late(lock: Lock) -> contextlib.AbstractContextManager[None]:
        monkeypatch.setattr(Lock, "held", held)
        other.move("a", "production", 2, by="Eve", why="Second")
        return held(lock)

    monkeypatch.setattr(Lock, "held", late)
    with pytest.raises(BadRequest, match="was moved to v2 by Eve a moment ago"):
        three.move("a", "production", 1, by="Bob")  # where it was when Bob looked
    assert [(move.to, move.why) for move in three.history("a")] == [(2, "Second"), (1, "First")]
    three.move("a", "production", 1, by="Bob", why="Back")
    monkeypatch.setattr(Lock, "held", late)
    assert three.move("a", "production", 2, by="Bob", why="Forth").by == "Eve"  # it came there meanwhile
    assert len(three.history("a")) == 4
