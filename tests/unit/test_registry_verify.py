"""What `verify` finds, and what is remembered for it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from core.prompts import Finding, Registry
from tests.prompt_files import again, empty_root, registry, says

__all__ = ["again", "registry"]


@pytest.fixture
def filled(registry: Registry) -> Registry:
    for number in (1, 2, 3):
        registry.save("team/a", says(f"Text {number}"))
        registry.move("team/a", "production", number, by="Ada", why="Better")
    registry.save("b", says("Other"))
    return registry


def test_a_whole_registry_has_no_findings(filled: Registry, again: Callable[..., Registry]) -> None:
    assert filled.verify() == again().verify() == []


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_a_tail_that_was_cut_off_is_noticed(filled: Registry, again: Callable[..., Registry], kept: int) -> None:
    path = filled.root / "team/a/labels.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:kept]))
    for one in (filled, again()):
        one.list()
        (finding,) = one.verify()
        what = f"team/a/labels.jsonl lacks its last {3 - kept} moves of 3."
        assert finding == Finding("team/a", what, "tampered", finding.fix)
        assert finding.fix.startswith("Look at it with git, and bring back what was there. If it was meant, delete ")
    # Going on from there does not hide it.
    for number in (1, 2, 3, 1):
        filled.move("team/a", "staging", number, by="Mallory")
    assert "holds other moves than it did" in filled.verify()[0].what


def test_a_history_that_is_gone_is_noticed(filled: Registry) -> None:
    (filled.root / "team/a/labels.jsonl").unlink()
    assert [finding.severity for finding in filled.verify()] == ["tampered"]


def test_a_prompt_that_is_gone_is_noticed_until_it_is_back_or_forgotten(filled: Registry, tmp_path: Path) -> None:
    (filled.root / "team/a").rename(tmp_path / "elsewhere")
    shutil.rmtree(filled.root / "b")
    plain, moved = filled.verify()
    assert (plain.name, plain.severity, moved.name, moved.severity) == ("b", "tampered", "team/a", "tampered")
    assert plain.what == "b is gone, although 1 of its versions had been seen."
    assert "had moved 3 times" in moved.what
    (tmp_path / "elsewhere").rename(filled.root / "team/a")
    (plain,) = filled.verify()
    place = re.search(r"delete (prompt-audit/\S+) in the data folder", plain.fix)
    assert place
    (tmp_path / "data" / place[1]).unlink()
    assert filled.verify() == []


def test_the_audit_follows_moves_that_came_from_elsewhere(
    filled: Registry, again: Callable[..., Registry], tmp_path: Path
) -> None:
    """Pulled with git into a machine that has another data folder."""
    other = again(PARLEY_DATA_DIR=tmp_path / "other")
    other.list()
    path = filled.root / "team/a/labels.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    assert "lacks its last 2 moves" in other.verify()[0].what


def test_a_data_folder_that_cannot_be_written_stops_nothing(again: Callable[..., Registry], tmp_path: Path) -> None:
    empty_root(tmp_path / "prompts")
    (tmp_path / "file").write_text("")
    one = again(PARLEY_DATA_DIR=tmp_path / "file" / "below")
    one.save("a", says("x"))
    assert one.move("a", "staging", 1, by="Ada").to == 1
    assert one.verify() == []
    assert [entry.name for entry in one.list()] == ["a"]


def test_files_that_are_not_as_they_were_saved(filled: Registry) -> None:
    folder = filled.root / "team/a"
    text = (folder / "v2.yaml").read_text("utf-8")
    (folder / "v2.yaml").write_text(text.replace("Text 2", "Text II"), "utf-8")
    (folder / "v3.yaml").write_text("messages: [", "utf-8")
    (folder / "v1.yaml").unlink()
    (filled.root / "b/v2.yaml").symlink_to(folder / "v2.yaml")
    (filled.root / "Team").mkdir()
    found = {(finding.name, finding.severity): finding.what for finding in filled.verify()}
    assert "v1 is missing, and production was set to it once" in found["team/a", "tampered"]
    edited = [finding.what for finding in filled.verify() if finding.severity == "edited"]
    assert "v2 is not as it was saved: its hash or seal does not fit." in edited
    assert any(what.startswith("team/a/v3.yaml") and "not valid YAML" in what for what in edited)
    assert {name for name, severity in found if severity == "note"} == {"b/v2.yaml", "Team"}
