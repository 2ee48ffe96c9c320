"""The index of vectors on a real Chroma: what is found, and how it follows its source."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from core.errors import ProviderUnavailable
from core.store import chroma, vectors
from core.store.embeddings import Lazy
from core.store.items import Item
from core.text import PIECES
from tests.unit._vectors import TEXTS, Shelf, Start, found, shelf, start
from tests.waiting import wait_until

__all__ = ["shelf", "start"]


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
    wait_until(index.wait)
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
    wait_until(index.wait)
    assert set(found(index)) == {"whales", "orcas"}


def test_closing_in_the_middle_is_quick_and_goes_on_later(start: Start, shelf: Shelf) -> None:
    shelf.texts |= {f"t{n}": f"Number {n} of many texts on trains" for n in range(6000)}
    index = start(wait=False)
    wait_until(lambda: index.state().progress)
    index.close()
    assert index._thread is not None and not index._thread.is_alive()
    assert found(start()) == ["whales"]
