"""The index of vectors on a real Chroma: whatever happens to it, it becomes what its source says."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from core.errors import ProviderUnavailable, StorageError
from core.settings import Settings
from core.store import chroma, vectors
from core.store.embeddings import Embedder, Lazy, embedder
from core.store.items import PIECES, Item
from core.store.vectors import Vectors

Make = Callable[..., Settings]
TEXTS = {
    "whales": "Blue whales are the largest animals that have ever lived in the sea.",
    "bread": "A sourdough starter needs flour, water and a week of patience.",
    "taxes": "You can deduct the costs of an office at home from your taxes.",
    "violin": "The violin concerto in D major is played with a full orchestra.",
}


class Shelf:
    """A source in memory."""

    def __init__(self, texts: dict[str, str], visitor: str = "me") -> None:
        self.texts = dict(texts)
        self.visitor = visitor

    def count(self) -> int:
        return len(self.texts)

    def ids(self) -> list[str]:
        return list(self.texts)

    def items(self, ids: Sequence[str]) -> list[Item]:
        tags = {"visitor": self.visitor}
        return [Item(id, tuple(self.texts[id].split("|")), tags) for id in ids if id in self.texts]


@pytest.fixture
def shelf() -> Shelf:
    return Shelf(TEXTS)


Start = Callable[..., Vectors]


@pytest.fixture
def start(settings: Make, shelf: Shelf) -> Iterator[Start]:
    opened: list[Vectors] = []

    def begin(own: Embedder | None = None, source: Shelf = shelf, wait: bool = True, **overrides: object) -> Vectors:
        for earlier in opened:
            earlier.close()
        chosen = settings(**overrides)
        fresh = Vectors(chosen, own or embedder(chosen), delay=0)
        opened.append(fresh)
        fresh.attach("texts", source)
        if wait:
            assert fresh.wait(), fresh.problem
        return fresh

    yield begin
    for each in opened:
        each.close()


@pytest.fixture
def folder(settings: Make) -> Path:
    return settings().data_dir / "chroma"


def found(index: Vectors, text: str = "animals of the ocean, whales", visitor: str = "me") -> list[str]:
    return [match.id for match in index.query("texts", text, {"visitor": visitor}, 10)]


def test_what_the_source_has_is_found_by_meaning(start: Start) -> None:
    index = start()
    [match] = index.query("texts", "huge sea animals", {"visitor": "me"}, 10)
    assert (match.id, match.piece) == ("whales", 0)
    assert 0.28 <= match.similarity <= 1
    assert found(index, "baking sourdough bread") == ["bread"]
    assert found(index, "quantum entanglement in superconductors") == []
    state = index.state()
    assert (state.ready, state.indexed, state.total, state.progress, state.problem) == (True, 4, 4, None, None)


@pytest.fixture(params=[20_000, 0], ids=["exact", "graph"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chroma, "EXACT", request.param)


@pytest.mark.usefixtures("either_way")
def test_nobody_finds_what_is_anothers(start: Start) -> None:
    index = start()
    assert found(index) == ["whales"]
    assert found(index, visitor="you") == []


@pytest.mark.usefixtures("either_way")
def test_one_visitors_texts_do_not_crowd_out_anothers(start: Start) -> None:
    class Two(Shelf):
        def items(self, ids: Sequence[str]) -> list[Item]:
            owner = {True: "you", False: "me"}
            return [Item(id, (self.texts[id],), {"visitor": owner[id.startswith("x")]}) for id in ids]

    many = Two(TEXTS | {f"x{n}": f"Whales, {n} of them, swim in the sea." for n in range(300)})
    index = start(source=many)
    assert found(index) == ["whales"]
    assert len(found(index, visitor="you")) == 10


@pytest.mark.usefixtures("either_way")
def test_it_follows_what_changes(start: Start, shelf: Shelf) -> None:
    index = start()
    shelf.texts["more"] = "Dolphins and whales sing under water."
    del shelf.texts["whales"]
    shelf.texts["bread"] = "Bicycles need their chains oiled."
    index.changed("texts", ["more", "whales", "bread", "never-there"])
    assert index.wait()
    assert found(index) == ["more"]
    assert found(index, "baking sourdough bread") == []
    assert found(index, "bicycle chain") == ["bread"]


@pytest.mark.usefixtures("either_way")
def test_a_text_is_found_by_the_piece_that_fits(start: Start, shelf: Shelf) -> None:
    shelf.texts["long"] = "|".join([*TEXTS.values(), "Volcanoes throw out lava and ash."])
    index = start()
    hits = index.query("texts", "lava of a volcano", {"visitor": "me"}, 10)
    assert [(hit.id, hit.piece) for hit in hits] == [("long", 4)]
    shelf.texts["long"] = TEXTS["taxes"]
    index.changed("texts", ["long"])
    assert index.wait()
    assert found(index, "lava of a volcano") == [], "pieces that are no more are gone"
    shelf.texts["long"] = "|".join(f"Chapter {n} on chess openings." for n in range(PIECES + 5))
    index.changed("texts", ["long"])
    assert index.wait()
    assert found(index, "chess openings") == ["long"], "each text once"


def test_one_text_is_found_among_thousands_that_are_alike(start: Start, shelf: Shelf) -> None:
    shelf.texts |= {f"t{n}": f"Number {n} of many texts on trains" for n in range(3000)}
    assert found(start()) == ["whales"]


def test_blank_texts_and_queries_harm_nothing(start: Start, shelf: Shelf) -> None:
    shelf.texts |= {"blank": "  ", "nothing": "", "mixed": " |whales in the sea"}
    index = start()
    assert set(found(index)) == {"whales", "mixed"}
    assert found(index, "") == found(index, " \n") == []


def test_what_changed_while_it_was_closed_is_caught_up(start: Start, shelf: Shelf) -> None:
    start()
    del shelf.texts["whales"]
    shelf.texts["orcas"] = "Orcas are whales that hunt in the sea."
    assert found(start()) == ["orcas"]


def test_too_much_at_once_is_caught_up_too(start: Start, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "WAITING", 2)
    index = start()
    fresh = {f"t{n}": f"Text {n} about penguins" for n in range(5)}
    shelf.texts |= fresh
    del shelf.texts["whales"]
    index.changed("texts", [*fresh, "whales"])
    assert index.wait()
    assert set(found(index, "penguins")) == set(fresh)
    assert found(index) == []


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
    for _ in range(100):
        if index.wait() and found(index) == ["whales"]:
            break
        time.sleep(0.1)
    assert found(index) == ["whales"]
    assert index.problem is None


def test_another_embedder_means_other_vectors(start: Start, shelf: Shelf) -> None:
    def letters(texts: list[str]) -> list[list[float]]:
        return [[float(text.count(c)) for c in "abcdefgh"] for text in texts]

    start()
    other = start(Lazy("ollama/other:7b", lambda: letters, floor=0.99))
    assert found(other, TEXTS["bread"]) == ["bread"]
    names = [c.name for c in other._chroma._client.list_collections()]
    assert len(names) == 1
    assert names[0].startswith("texts-ollama-other-7b-")
    assert names[0].endswith("-8")
    assert found(start()) == ["whales"]


def test_an_embedder_that_fails_harms_nothing_and_is_tried_again(
    start: Start, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "RETRY", 0.2)
    broken = True

    def encode(texts: list[str]) -> list[list[float]]:
        if broken:
            raise ProviderUnavailable("The embedder is away.", "Start it.")
        return [[float(text.count(c)) for c in "abcdefgh"] for text in texts]

    index = start(Lazy("flaky", lambda: encode, floor=0.9), wait=False)
    assert not index.wait()
    assert index.problem is not None
    assert index.problem.what == "The embedder is away."
    assert (index.state().ready, index.state().indexed, index.state().total) == (False, 0, 4)
    index.changed("texts", ["whales"])
    assert found(index) == []
    broken = False
    for _ in range(100):
        if index.wait():
            break
        time.sleep(0.1)
    assert found(index, TEXTS["whales"])[0] == "whales"
    broken = True
    assert found(index) == []
    assert not index.wait()
    assert index.problem is not None


def test_a_source_that_fails_does_not_end_the_thread(
    start: Start, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "RETRY", 0.2)
    index = start()
    items = shelf.items
    monkeypatch.setattr(shelf, "items", lambda ids: 1 / 0)
    shelf.texts["orcas"] = "Orcas are whales that hunt in the sea."
    index.changed("texts", ["orcas"])
    assert not index.wait()
    monkeypatch.setattr(shelf, "items", items)
    for _ in range(100):
        if index.wait():
            break
        time.sleep(0.1)
    assert set(found(index)) == {"whales", "orcas"}


def test_closing_in_the_middle_is_quick_and_goes_on_later(start: Start, shelf: Shelf) -> None:
    shelf.texts |= {f"t{n}": f"Number {n} of many texts on trains" for n in range(6000)}
    index = start(wait=False)
    while not index.state().progress:
        time.sleep(0.01)
    before = time.monotonic()
    index.close()
    assert time.monotonic() - before < 10
    assert found(start()) == ["whales"]


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A real Chroma server."""

    def __init__(self, folder: Path) -> None:
        self.port = _port()
        self.folder = folder

    def __enter__(self) -> Server:
        program = Path(sys.executable).with_name("chroma")
        command = [program, "run", "--path", self.folder, "--host", "127.0.0.1", "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                httpx.get(f"http://127.0.0.1:{self.port}/api/v2/heartbeat")
                return self
            except httpx.HTTPError:
                time.sleep(0.1)
        raise AssertionError("the Chroma server does not start")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(10)


def test_a_server_serves_and_may_go_away(
    start: Start, shelf: Shelf, settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "RETRY", 0.2)
    server = Server(tmp_path / "server")
    with server:
        url = f"http://127.0.0.1:{server.port}"
        index = start(PARLEY_CHROMA_URL=url)
        assert found(index) == ["whales"]
        assert not (settings().data_dir / "chroma").exists()
        neighbour = Vectors(
            settings(PARLEY_CHROMA_URL=url, PARLEY_DATA_DIR=tmp_path / "other"), embedder(settings()), delay=0
        )
        neighbour.attach("texts", Shelf({"mine": "Whales too."}))
        assert neighbour.wait()
        assert found(neighbour) == ["mine"]
        neighbour.close()
        assert found(index) == ["whales"], "workbenches on one server keep apart"
    shelf.texts["orcas"] = "Orcas are whales that hunt in the sea."
    index.changed("texts", ["orcas"])
    assert not index.wait()
    assert isinstance(index.problem, ProviderUnavailable)
    assert "Chroma server" in index.problem.what
    assert found(index) == []
    with server:
        for _ in range(100):
            if index.wait():
                break
            time.sleep(0.1)
        assert set(found(index)) == {"whales", "orcas"}


def test_a_server_that_never_answers_is_a_problem_and_not_a_wait(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chroma, "TIMEOUT", httpx.Timeout(0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        index = start(wait=False, PARLEY_CHROMA_URL=f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert not index.wait(15)
        assert isinstance(index.problem, ProviderUnavailable)
        index.close()
