"""What the tests of the index of vectors share: a source in memory, and an index on a real Chroma."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from core.settings import Settings
from core.store.embeddings import Embedder, embedder
from core.store.items import Item
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
