"""The index of vectors on a real Chroma: whatever happens to it, it becomes what its source says."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from core.errors import StorageError
from core.store import chroma, vectors
from tests.unit._vectors import Shelf, Start, folder, found, shelf, start
from tests.waiting import wait_until

__all__ = ["folder", "shelf", "start"]


def test_a_deleted_folder_is_made_anew_at_the_start(start: Start, folder: Path) -> None:
    start().close()
    shutil.rmtree(folder)
    assert found(start()) == ["whales"]


def test_a_folder_that_is_deleted_while_running_is_made_anew(start: Start, shelf: Shelf, folder: Path) -> None:
    index = start()
    shutil.rmtree(folder)
    assert found(index) == [], "by words only, for a moment"
    assert index.wait()
    assert found(index) == ["whales"]
    shutil.rmtree(folder)
    shelf.texts["orcas"] = "Orcas are whales that hunt in the sea."
    index.changed("texts", ["orcas"])
    assert index.wait()
    assert set(found(index)) == {"whales", "orcas"}
    assert (folder / "chroma.sqlite3").exists()


@pytest.mark.parametrize("what", ["all", "middle", "empty", "index"])
def test_a_damaged_folder_is_set_aside_and_made_anew(start: Start, folder: Path, what: str) -> None:
    start().close()
    file = folder / "chroma.sqlite3"
    if what == "all":
        file.write_bytes(os.urandom(50_000))
    elif what == "middle":
        content = bytearray(file.read_bytes())
        content[4096:-4096] = os.urandom(len(content) - 8192)
        file.write_bytes(content)
    elif what == "empty":
        file.write_bytes(b"")
    else:
        [index_folder] = [path for path in folder.iterdir() if path.is_dir()]
        for path in index_folder.iterdir():
            path.write_bytes(os.urandom(100))
        (index_folder / "index_metadata.pickle").write_bytes(b"not a pickle")
    index = start()
    assert found(index) == ["whales"]
    assert index.problem is None


def test_damage_while_running_is_repaired(start: Start, shelf: Shelf, folder: Path) -> None:
    index = start()
    with (folder / "chroma.sqlite3").open("r+b") as file:
        file.write(os.urandom(20_000))
    shelf.texts["orcas"] = "Orcas are whales that hunt in the sea."
    index.changed("texts", ["orcas"])
    assert index.wait()
    assert set(found(index)) == {"whales", "orcas"}


@pytest.mark.parametrize("exact", [20_000, 100])
def test_a_lost_vector_index_is_noticed(
    start: Start, shelf: Shelf, folder: Path, monkeypatch: pytest.MonkeyPatch, exact: int
) -> None:
    monkeypatch.setattr(chroma, "EXACT", exact)
    shelf.texts |= {f"t{n}": f"Number {n} of many texts on trains" for n in range(1500)}
    start().close()
    folders = [path for path in folder.iterdir() if path.is_dir()]
    assert folders, "large enough to have one"
    shutil.rmtree(folders[0])
    again = start()
    assert again.query("texts", shelf.texts["t700"], {"visitor": "me"}, 10)[0].similarity == pytest.approx(1, abs=1e-4)
    assert len(again._open["texts"].ids()) == len(shelf.texts)


def test_rebuilding_on_demand_tells_its_progress(start: Start) -> None:
    index = start()
    told: list[tuple[int, int]] = []
    index.rebuild(lambda done, total: told.append((done, total)))
    assert index.wait()
    assert told == [(0, 4), (4, 4)]
    assert found(index) == ["whales"]
    assert index.state().indexed == 4


def test_rebuilding_replaces_a_folder_that_cannot_be_opened(
    start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "RETRY", 0.2)
    start().close()
    shutil.rmtree(folder)
    folder.write_text("a file where the folder should be")
    index = start(wait=False)
    assert not index.wait()
    assert isinstance(index.problem, StorageError)
    assert "Search by words works" in index.problem.fix
    index.rebuild()
    wait_until(lambda: index.wait() and found(index) == ["whales"])
    assert index.problem is None
