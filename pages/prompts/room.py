"""All that the room shows of one prompt."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from core.prompts import Move, PromptEntry
from core.prompts.usage import PromptUse
from core.prompts.version import Version


@dataclass(frozen=True)
class Room:
    """A prompt with its past, as it is drawn."""

    entry: PromptEntry
    version: Version  # the one in view
    versions: Sequence[Version]  # newest first
    moves: Sequence[Move]  # newest first
    protected: Collection[str]
    back: Mapping[str, int | None]  # where each label would be rolled back to
    now: datetime.datetime
    cannot: str = ""  # why nothing can be saved or moved; "" when it can
    problem: str = ""  # the same when something is wrong with the folder, and nobody has wished it so
    uses: Mapping[int | None, PromptUse] = field(default_factory=dict)  # by version; None: drafts that were tried

    @property
    def newest(self) -> bool:
        return bool(self.entry.numbers) and self.version.number == self.entry.numbers[-1]

    @property
    def pair(self) -> tuple[int, int]:
        """Which two versions are compared at first: the one in view, and the one that it was made from."""
        new = self.version.number
        before = [number for number in self.entry.numbers if number < new]
        if self.version.parent is not None and self.version.parent in before:
            return self.version.parent, new
        return (before[-1] if before else new), new

    def at(self, number: int) -> list[str]:
        """The labels that stand at a version, the protected ones first."""
        return self.ordered(word for word, where in self.entry.labels.items() if where == number)

    def ordered(self, labels: Iterable[str]) -> list[str]:
        return sorted(labels, key=lambda word: (word not in self.protected, word))

    def last(self, label: str) -> Move | None:
        """The last move of a label."""
        return next((move for move in self.moves if move.label == label), None)


def total(uses: Iterable[PromptUse]) -> PromptUse:
    """All versions together."""
    found = list(uses)
    return PromptUse(
        sum(use.calls for use in found),
        sum(use.cost for use in found),
        sum(use.unpriced for use in found),
        max((use.last for use in found if use.last), default=None),
        sum(use.up for use in found),
        sum(use.down for use in found),
    )
