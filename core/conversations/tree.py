"""The shape of a conversation: who follows whom. Built from (id, parent) pairs in the order of creation."""

from __future__ import annotations

from collections.abc import Iterable


class Tree:
    """The turns of one conversation without their contents."""

    def __init__(self, pairs: Iterable[tuple[str, str | None]]) -> None:
        self.parents: dict[str, str | None] = dict(pairs)
        self._children: dict[str | None, list[str]] = {}
        for id, parent in self.parents.items():
            self._children.setdefault(parent, []).append(id)

    def __contains__(self, id: object) -> bool:
        return id in self.parents

    def path(self, leaf: str | None) -> list[str]:
        """From the first turn to `leaf`."""
        path: list[str] = []
        while leaf is not None:
            path.append(leaf)
            leaf = self.parents[leaf]
        return path[::-1]

    def siblings(self, id: str) -> list[str]:
        """All turns with the same parent, `id` included, oldest first."""
        return self._children[self.parents[id]]

    def newest_leaf(self, id: str) -> str:
        """The end of the branch through `id` that was begun last; `id` itself if nothing follows it."""
        below = {id}
        newest = id
        for other, parent in self.parents.items():
            if parent in below:
                below.add(other)
                newest = other
        # The newest of all that stand below has nothing below itself, since children come after their parents.
        return newest
