"""What is indexed by meaning and what is found: the words that features and the index of vectors share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from core.errors import ParleyError


@dataclass(frozen=True, slots=True)
class Item:
    """A text to find, in up to PIECES pieces of a size that one vector can stand for."""

    id: str
    pieces: tuple[str, ...]
    tags: Mapping[str, str]  # what `query` filters by


@dataclass(frozen=True, slots=True)
class Match:
    """A text that was found, by the piece of it that is nearest."""

    id: str
    piece: int
    similarity: float  # cosine


@dataclass(frozen=True, slots=True)
class IndexState:
    """How far the index is, for people. `progress` is between 0 and 1 while texts are being embedded."""

    ready: bool
    indexed: int
    total: int
    progress: float | None = None
    problem: ParleyError | None = None


class Source(Protocol):
    """What ought to be in a collection, as SQL knows it. Called from the indexing thread, `count` from any."""

    def count(self) -> int: ...

    def ids(self) -> list[str]: ...

    def items(self, ids: Sequence[str]) -> list[Item]:
        """Those of `ids` that exist and are finished."""
        ...
