"""Two sequences side by side, in bounded time: what stays, what goes, what comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from difflib import Match, SequenceMatcher
from itertools import accumulate
from typing import TypeVar

EFFORT = 2_000_000  # comparisons; about a quarter of a second
CLOSE = 40  # items of a replaced block that are compared each with each; in larger ones the first with the first, …

Item = TypeVar("Item", bound=Hashable)
Score = Callable[[int, int], float]  # of an old and a new index; 0 never pairs


class Effort:
    """Comparisons that are left, over as many calls as share it."""

    def __init__(self, steps: int = EFFORT) -> None:
        self.left = steps

    def take(self, steps: int) -> bool:
        """Use so many up; False, and none is used, if they are not left."""
        if steps > self.left:
            return False
        self.left -= steps
        return True


class _Matcher(SequenceMatcher[Item]):
    """Where difflib's time would grow with the square of the length, a search that is not paid for finds nothing."""

    def __init__(self, old: Sequence[Item], new: Sequence[Item], effort: Effort) -> None:
        super().__init__(None, old, new, autojunk=False)
        self._effort = effort
        counts = Counter(new)
        self._costs = [0, *accumulate(2 + counts[item] for item in old)]  # of the old items until there

    def find_longest_match(self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None) -> Match:
        if not self._effort.take(self._costs[-1 if ahi is None else ahi] - self._costs[alo]):
            return Match(alo, blo, 0)
        return super().find_longest_match(alo, ahi, blo, bhi)


def aligned(old: Sequence[Item], new: Sequence[Item], effort: Effort) -> Iterator[tuple[bool, range, range]]:
    """Both sides in blocks, in order: (whether they are the same, old indices, new indices).

    What the effort does not reach counts as replaced: a poorer answer, never a late one.
    """
    first, last = ends(old, new)
    if first:
        yield True, range(first), range(first)
    matcher = _Matcher(old[first : len(old) - last], new[first : len(new) - last], effort)
    for tag, a, b, c, d in matcher.get_opcodes():
        yield tag == "equal", range(first + a, first + b), range(first + c, first + d)
    if last:
        yield True, range(len(old) - last, len(old)), range(len(new) - last, len(new))


def ends(old: Sequence[Item], new: Sequence[Item]) -> tuple[int, int]:
    """How many elements are equal at the start, and at the end besides those."""
    most = min(len(old), len(new))
    first = next((index for index in range(most) if old[index] != new[index]), most)
    most -= first
    return first, next((index for index in range(most) if old[-1 - index] != new[-1 - index]), most)


def paired(removed: range, added: range, score: Score) -> Iterator[tuple[int | None, int | None]]:
    """The items of a replaced block, each with the one that is most like it, in order; None where there is none."""
    start = removed.start, added.start
    for old, new in [*_pairs(removed, added, score), (removed.stop, added.stop)]:
        yield from ((index, None) for index in range(start[0], old))
        yield from ((None, index) for index in range(start[1], new))
        if old < removed.stop:
            yield old, new
        start = old + 1, new + 1


def _pairs(removed: range, added: range, score: Score) -> list[tuple[int, int]]:
    """Pairs in order with the greatest sum of scores."""
    if max(len(removed), len(added)) > CLOSE:
        return [pair for pair in zip(removed, added, strict=False) if score(*pair)]
    scores = [[score(old, new) for new in added] for old in removed]
    table = [[0.0] * (len(added) + 1) for _ in range(len(removed) + 1)]  # the best sum from there on
    for i in reversed(range(len(removed))):
        for j in reversed(range(len(added))):
            table[i][j] = max(scores[i][j] + table[i + 1][j + 1], table[i + 1][j], table[i][j + 1])
    found: list[tuple[int, int]] = []
    i = j = 0
    while i < len(removed) and j < len(added):
        if table[i][j] == table[i + 1][j]:
            i += 1
        elif table[i][j] == table[i][j + 1]:
            j += 1
        else:
            found.append((removed[i], added[j]))
            i, j = i + 1, j + 1
    return found
