"""What was found by words and what was found by meaning, as one list."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

How = Literal["words", "meaning", "both"]

# Reciprocal rank fusion: a place is worth 1 / (K + place). K = 60 as in Cormack, Clarke and Büttcher (SIGIR 2009).
K = 60


def fused(by_words: Iterable[str], by_meaning: Iterable[str]) -> dict[str, tuple[float, How]]:
    """Each id with its score and how it was found, best first. Both lists are best first, each id once."""
    found: dict[str, tuple[float, How]] = {id: (1 / (K + place), "words") for place, id in enumerate(by_words, 1)}
    for place, id in enumerate(by_meaning, 1):
        score = 1 / (K + place)
        found[id] = (found[id][0] + score, "both") if id in found else (score, "meaning")
    return dict(sorted(found.items(), key=lambda item: -item[1][0]))
