"""Two sequences side by side, in bounded time: what stays, what goes, what comes.

Common ends are cut off, then elements that stand once on each side and in the same order are matched (Bram Cohen's
patience diff), and only between those the shortest edit is looked for (Myers, "An O(ND) Difference Algorithm and Its
Variations", 1986) until the effort is used up. Then the rest counts as replaced: a poorer answer, never a late one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeVar

EFFORT = 400_000  # steps of Myers' inner loop; about a quarter of a second

Item = TypeVar("Item", bound=Hashable)
Pair = tuple[int, int]


class Effort:
    """Steps that are left, over as many calls as share it."""

    def __init__(self, steps: int = EFFORT) -> None:
        self.steps = steps

    def take(self, steps: int) -> bool:
        """Use so many up; False if they are not left."""
        self.steps -= steps
        return self.steps >= 0


def common(old: Sequence[Item], new: Sequence[Item], effort: Effort) -> list[Pair]:
    """(index in old, index in new) of what stays, in order."""
    first = prefix(old, new)
    last = suffix(old, new, first)
    found = [(index, index) for index in range(first)]
    start = (first, first)
    for pair in [*_anchors(old, new, first, last), (len(old) - last, len(new) - last)]:
        found += _shortest(old, new, start, pair, effort)
        if pair[0] < len(old) - last:
            found.append(pair)
        start = (pair[0] + 1, pair[1] + 1)
    found += [(len(old) - last + index, len(new) - last + index) for index in range(last)]
    return found


def blocks(pairs: Sequence[Pair], olds: int, news: int) -> Iterator[tuple[range, range, bool]]:
    """The two sides in blocks: (old indices, new indices, whether they are the same)."""
    end = (0, 0)
    for here in [*pairs, (olds, news)]:
        if here != end:
            yield range(end[0], here[0]), range(end[1], here[1]), False
        if here != (olds, news):
            yield range(here[0], here[0] + 1), range(here[1], here[1] + 1), True
        end = (here[0] + 1, here[1] + 1)


def best(olds: int, news: int, score: Callable[[int, int], float]) -> list[Pair]:
    """Pairs in order with the greatest sum of scores; a score of 0 never pairs. Quadratic: for short lists."""
    table = [[0.0] * (news + 1) for _ in range(olds + 1)]
    scores = [[score(old, new) for new in range(news)] for old in range(olds)]
    for old in reversed(range(olds)):
        for new in reversed(range(news)):
            pair = table[old + 1][new + 1] + scores[old][new] if scores[old][new] > 0 else 0.0
            table[old][new] = max(pair, table[old + 1][new], table[old][new + 1])
    found: list[Pair] = []
    old = new = 0
    while old < olds and new < news:
        if scores[old][new] > 0 and table[old][new] == table[old + 1][new + 1] + scores[old][new]:
            found.append((old, new))
            old, new = old + 1, new + 1
        elif table[old][new] == table[old + 1][new]:
            old += 1
        else:
            new += 1
    return found


def prefix(old: Sequence[Item], new: Sequence[Item]) -> int:
    """How many elements are equal at the start. Compares slices: quick for long texts too."""
    low, high = 0, min(len(old), len(new))
    while low < high:
        middle = (low + high + 1) // 2
        if old[low:middle] == new[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def suffix(old: Sequence[Item], new: Sequence[Item], first: int) -> int:
    """How many are equal at the end, besides the `first` ones."""
    low, high = 0, min(len(old), len(new)) - first
    while low < high:
        middle = (low + high + 1) // 2
        if old[len(old) - middle : len(old) - low] == new[len(new) - middle : len(new) - low]:
            low = middle
        else:
            high = middle - 1
    return low


def _anchors(old: Sequence[Item], new: Sequence[Item], first: int, last: int) -> list[Pair]:
    olds, news = old[first : len(old) - last], new[first : len(new) - last]
    counts, others = Counter(olds), Counter(news)
    where = {item: index for index, item in enumerate(news, first)}
    once = [
        (index, where[item]) for index, item in enumerate(olds, first) if counts[item] == 1 and others.get(item) == 1
    ]
    # The longest run of them that keeps its order on both sides: patience sorting.
    tops: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for number, (_, position) in enumerate(once):
        pile = bisect_left(tops, position)
        before.append(ends[pile - 1] if pile else -1)
        if pile == len(tops):
            tops.append(position)
            ends.append(number)
        else:
            tops[pile], ends[pile] = position, number
    found: list[Pair] = []
    number = ends[-1] if ends else -1
    while number >= 0:
        found.append(once[number])
        number = before[number]
    return found[::-1]


def _shortest(old: Sequence[Item], new: Sequence[Item], start: Pair, end: Pair, effort: Effort) -> list[Pair]:
    a, b = old[start[0] : end[0]], new[start[1] : end[1]]
    if set(a).isdisjoint(b):
        return []
    furthest = {1: 0}  # diagonal -> how far into a
    history: list[dict[int, int]] = []
    for edits in range(len(a) + len(b) + 1):
        if not effort.take(2 * edits + 2):
            return []
        history.append(dict(furthest))
        for diagonal in range(-edits, edits + 1, 2):
            down = diagonal == -edits or (diagonal != edits and furthest[diagonal - 1] < furthest[diagonal + 1])
            x = start_x = furthest[diagonal + 1] if down else furthest[diagonal - 1] + 1
            y = x - diagonal
            while x < len(a) and y < len(b) and a[x] == b[y]:
                x, y = x + 1, y + 1
            furthest[diagonal] = x
            effort.take((x - start_x) // 4)
            if x >= len(a) and y >= len(b):
                return [(start[0] + i, start[1] + j) for i, j in _walked(history, len(a), len(b))]
    return []


def _walked(history: list[dict[int, int]], x: int, y: int) -> list[Pair]:
    """The diagonal steps of the path that was found, from its end."""
    found: list[Pair] = []
    for edits, furthest in reversed(list(enumerate(history))):
        diagonal = x - y
        down = diagonal == -edits or (diagonal != edits and furthest[diagonal - 1] < furthest[diagonal + 1])
        previous = diagonal + 1 if down else diagonal - 1
        from_x = furthest[previous]
        from_y = from_x - previous
        while x > max(from_x, 0) and y > max(from_y, 0):
            x, y = x - 1, y - 1
            found.append((x, y))
        x, y = from_x, from_y
    return found[::-1]
