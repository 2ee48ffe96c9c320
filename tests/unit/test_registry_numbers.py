"""A number means one version for ever, whatever happens to the files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from core.prompts import Registry
from core.prompts.registry.audit import Audit
from tests.prompt_files import again, registry, says

__all__ = ["again", "registry"]


def test_the_number_of_a_deleted_version_is_not_given_again(registry: Registry, again: Callable[..., Registry]) -> None:
    for text in ("One", "Two", "Three"):
        registry.save("a", says(text))
    (registry.root / "a/v3.yaml").unlink()
    assert registry.save("a", says("Other")).version.number == 4
    (registry.root / "a/v4.yaml").unlink()
    shutil.rmtree(registry.root / "a")
    assert again().save("a", says("Another")).version.number == 5
    assert registry.save("b", says("One")).version.number == 1


def test_it_is_known_without_the_index_too(registry: Registry, again: Callable[..., Registry], tmp_path: Path) -> None:
    registry.save("a/b", says("One"))
    registry.save("a/b", says("Two"))
    (registry.root / "a/b/v2.yaml").unlink()
    for path in (tmp_path / "data").glob("prompt-index-*"):
        path.unlink()
    assert again().save("a/b", says("Three")).version.number == 3


def test_what_came_from_elsewhere_and_was_read_counts(
    registry: Registry, again: Callable[..., Registry], tmp_path: Path
) -> None:
    elsewhere = again(PARLEY_DATA_DIR=tmp_path / "elsewhere")
    for text in ("One", "Two", "Three"):
        elsewhere.save("a", says(text))
    assert registry.version("a").number == 3
    registry.list()
    for number in (2, 3):
        (registry.root / f"a/v{number}.yaml").unlink()
    assert registry.save("a", says("Other")).version.number == 4


def test_who_saves_the_same_between_two_looks_saves_it_once(
    registry: Registry, again: Callable[..., Registry], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = again()
    registry.save("a", says("One"))
    highest = Audit.highest

    def late(audit: Audit, name: str) -> int:
        monkeypatch.setattr(Audit, "highest", highest)
        other.save("a", says("Two"))
        return highest(audit, name)

    monkeypatch.setattr(Audit, "highest", late)
    saved = registry.save("a", says("Two"))
    assert (saved.version.number, saved.created) == (2, False)
    assert [version.number for version in registry.versions("a")] == [2, 1]


def test_a_data_folder_that_cannot_be_written_stops_no_save(again: Callable[..., Registry], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/prompt-audit").write_text("")
    one = again()
    assert one.save("own", says("x")).version.number == 1


def test_it_is_known_without_the_audit_too(registry: Registry, again: Callable[..., Registry], tmp_path: Path) -> None:
    registry.save("a/b", says("One"))
    registry.save("a/b", says("Two"))
    (registry.root / "a/b/v2.yaml").unlink()
    (path,) = (tmp_path / "data/prompt-audit").glob("*/*.json")
    path.write_text("{")
    assert again().save("a/b", says("Three")).version.number == 3
    path.unlink()
    (registry.root / "a/b/v3.yaml").unlink()
    assert again().save("a/b", says("Four")).version.number == 4


def test_the_highest_number_is_remembered_whatever_comes_after_it(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "audit")
    for number in (3, 12, 5):
        audit.saw("a/b", {number: "0" * 64})
    assert (audit.highest("a/b"), audit.highest("a")) == (12, 0)
