"""Whether anything was tampered with: everything is read again, nothing that was read before is trusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from core.prompts import labels
from core.prompts.records import Finding
from core.prompts.shelf import Shelf
from core.prompts.witness import Head, holds

GIT = "Look at it with git, and bring back what was there."


def check(shelf: Shelf, heads: Mapping[str, Head]) -> Iterator[Finding]:
    """What is wrong in one folder; `shelf` must be a fresh one. `heads` are those that the witness remembers."""
    entry = shelf.entry()
    for problem in entry.problems:
        if problem.kind == "history":
            yield Finding(problem.name, problem.what, "tampered", problem.fix)
        elif problem.kind in ("link", "name"):
            yield Finding(problem.name, problem.what, "note", problem.fix)
        elif problem.draft is not None:
            what = f"v{problem.number} is not as it was saved: its hash or seal does not fit."
            yield Finding(problem.name, what, "edited", "Restore it, or save what it says now as a new version.")
        else:
            yield Finding(problem.name, problem.what, "edited", problem.fix)
    if not shelf.name:
        return
    history = shelf.labels().history
    yield from _targets(shelf)
    head = heads.get(shelf.name)
    if head and not holds(history, head):
        gone = head.moves - len(history.moves)
        what = (
            f"{shelf.name}/{labels.FILE} lacks its last {gone} moves of {head.moves}."
            if gone > 0
            else f"{shelf.name}/{labels.FILE} holds other moves than it did."
        )
        yield Finding(shelf.name, what, "tampered", GIT)


def _targets(shelf: Shelf) -> Iterator[Finding]:
    """Versions that labels were set to and that are not there any more, or are others."""
    told: set[tuple[int | None, str]] = set()
    now = shelf.labels().history.positions()
    for move in shelf.labels().history.moves:
        if move.to is None or (move.to, move.content) in told:
            continue
        told.add((move.to, move.content))
        set_to = "points to it" if now.get(move.label) == move.to else "was set to it once"
        card = shelf.card(move.to)
        if card is None:
            yield Finding(shelf.name, f"v{move.to} is missing, and {move.label} {set_to}.", "tampered", GIT)
        elif card.facts is not None and card.facts.hash != move.content:
            what = f"v{move.to} is another one than when {move.label} was set to it."
            yield Finding(shelf.name, what, "tampered", GIT)


def gone(names: set[str], heads: Mapping[str, Head]) -> Iterator[Finding]:
    """Prompts that the witness remembers and that are not among `names`."""
    for name in sorted(heads.keys() - names):
        what = f"{name} is gone, although its labels had moved {heads[name].moves} times."
        yield Finding(name, what, "note", "If it was not you who removed it, bring it back with git.")
