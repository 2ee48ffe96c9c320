"""What is no accident: files that are gone, replaced or cut in a way that each of them still fits itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from core.errors import BadRequest
from core.prompts import Finding, Registry
from core.prompts.version import from_text, to_text
from tests.prompt_files import again, age, registry, says

__all__ = ["again", "registry"]

Again = Callable[..., Registry]


@pytest.fixture
def filled(registry: Registry) -> Registry:
    for number in (1, 2, 3, 4):
        registry.save("team/a", says(f"Text {number}"))
    registry.move("team/a", "staging", 1, by="Ada")
    registry.move("team/a", "staging", 3, by="Ada")
    return registry


@pytest.fixture
def elsewhere(again: Again, tmp_path: Path) -> Registry:
    """The same prompts with another data folder, where nothing of them is remembered."""
    return again(PARLEY_DATA_DIR=tmp_path / "other")


def found(registry: Registry) -> list[tuple[str, str]]:
    return [(finding.severity, finding.what) for finding in registry.verify()]


@pytest.mark.parametrize("line_break", [b"", b"\n"])
def test_a_last_move_that_was_edited(filled: Registry, elsewhere: Registry, line_break: bytes) -> None:
    path = filled.root / "team/a/labels.jsonl"
    path.write_bytes(path.read_bytes().rstrip(b"\n").replace(b'"to":3', b'"to":1') + line_break)
    assert elsewhere.labels("team/a") == {"staging": 1}
    ((severity, what),) = found(elsewhere)
    assert severity == "tampered" and "broken at line 2: it was changed after it was written" in what
    with pytest.raises(BadRequest, match="broken at line 2"):
        elsewhere.move("team/a", "staging", 4, by="Ada")
    assert path.read_bytes().count(b'"hash"') == 2, "what somebody did is not cut off"
    assert len(found(filled)) == 2


@pytest.mark.parametrize("rest", [b'{"number":3,"ti', b"\xff", b"\0" * 10])
def test_a_torn_tail_is_said(filled: Registry, elsewhere: Registry, rest: bytes) -> None:
    with (filled.root / "team/a/labels.jsonl").open("ab") as file:
        file.write(rest)
    what = f"team/a/labels.jsonl ends with {len(rest)} bytes that are no move of a label."
    assert found(elsewhere) == found(filled) == [("edited", what)]
    filled.move("team/a", "staging", 4, by="Ada")
    assert found(elsewhere) == []


def test_labels_in_a_link(filled: Registry, elsewhere: Registry, tmp_path: Path) -> None:
    path = filled.root / "team/a/labels.jsonl"
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")
    assert found(elsewhere) == [("tampered", "team/a/labels.jsonl is a link. Links are not followed.")]
    path.unlink()
    path.mkdir()
    ((severity, what),) = found(elsewhere)
    assert severity == "tampered" and "labels.jsonl" in what


def test_versions_that_are_gone(filled: Registry, elsewhere: Registry) -> None:
    folder = filled.root / "team/a"
    (folder / "v2.yaml").unlink()
    assert found(elsewhere) == [("edited", "v2 is missing.")]
    (folder / "v4.yaml").unlink()  # leaves no gap
    assert found(elsewhere) == [("edited", "v2 is missing."), ("tampered", "v4 is missing, and it had been seen.")]
    missing = "is missing, and it had been seen."
    assert found(filled) == [("tampered", f"v2 {missing}"), ("tampered", f"v4 {missing}")]


def test_a_gap_of_any_size_is_one_finding(filled: Registry) -> None:
    filled.root.joinpath("team/a/v999999999.yaml").write_text("messages: []", "utf-8")
    assert ("edited", "v5 to v999999998 are missing.") in found(filled)


def test_a_file_that_was_sealed_anew(filled: Registry, elsewhere: Registry, again: Again) -> None:
    assert found(elsewhere) == []  # remembers them now
    path = filled.root / "team/a/v2.yaml"
    version = from_text(path.read_text("utf-8"), "team/a", 2).version
    before = path.read_bytes()
    path.write_text(to_text(replace(version, author="Mallory")), "utf-8")
    what = "v2 was written anew: its file fits its seal, but is another one than was seen before."
    for one in (filled, elsewhere, again()):
        one.list()
        assert found(one) == [("tampered", what)]
    path.write_bytes(before)
    assert found(filled) == found(elsewhere) == []


def test_what_the_program_writes_itself_is_remembered(filled: Registry) -> None:
    path = filled.root / "team/a/v2.yaml"
    path.write_bytes(b"\n" + path.read_bytes())  # fits, in other bytes
    assert len(found(filled)) == 1
    filled.entry("team/a")
    path.write_text("messages: [", "utf-8")
    assert filled.entry("team/a").problems
    filled.restore("team/a", 2)
    assert found(filled) == []


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"[]",
        b"{",
        b'{"moves":"5","hash":"x"}',
        b'{"moves":0,"hash":"x"}',
        b'{"moves":0,"hash":""}',
        b'{"moves":-1,"hash":"x"}',
        b'{"moves":2,"hash":"x","files":{"a":"b"}}',
        b'{"moves":2,"hash":"x","files":{"1":2}}',
    ],
)
def test_what_is_remembered_was_damaged(filled: Registry, again: Again, tmp_path: Path, damage: bytes) -> None:
    (path,) = (tmp_path / "data/prompt-audit").glob("*/*.json")
    path.write_bytes(damage)
    fresh = again()
    fresh.list()
    fresh.save("team/a", says("Text 5"))
    fresh.move("team/a", "staging", 4, by="Ada")
    (finding,) = fresh.verify()
    place = f"prompt-audit/{path.parent.name}/team%2Fa.json in the data folder"
    what = f"{place} cannot be read, so nobody remembers what was seen of team/a."
    assert finding == Finding("team/a", what, "edited", finding.fix)
    path.unlink()
    assert fresh.verify() == []
    assert orjson.loads(path.read_bytes())["moves"] == 3, "made anew"


def test_a_damaged_cache_is_not_what_was_saved(filled: Registry, again: Again, tmp_path: Path) -> None:
    path = filled.root / "team/a/v4.yaml"
    filled.close()
    (cache,) = (tmp_path / "data").glob("prompt-index-*.db")
    with sqlite3.connect(cache) as database:
        changed = "UPDATE versions SET data = CAST(replace(CAST(data AS TEXT), 'Text 4', 'Text X') AS BLOB)"
        assert database.execute(changed).rowcount == 4
    database.close()
    path.write_text(path.read_text("utf-8").replace("Text 4", "Edited"), "utf-8")
    fresh = again()
    with pytest.raises(BadRequest, match=r"changed by hand\. It is not used"):
        fresh.version("team/a@4")
    assert fresh.version("team/a").number == 3
    entry = fresh.entry("team/a")
    assert entry.numbers == (1, 2, 3) and entry.latest and entry.latest.number == 3
    with pytest.raises(BadRequest, match="is not known"):
        fresh.restore("team/a", 4)


def test_the_newest_is_read_from_its_file_when_the_cache_lost_it(
    filled: Registry, again: Again, tmp_path: Path
) -> None:
    filled.close()
    age(*(filled.root / "team/a").iterdir())
    (cache,) = (tmp_path / "data").glob("prompt-index-*.db")
    cache.unlink()
    first = again()
    first.list()
    first.close()
    with sqlite3.connect(cache) as database:
        database.execute("UPDATE versions SET data = '{' WHERE number = 4")
    database.close()
    latest = again().list()[0].latest
    assert latest is not None and latest.number == 4
