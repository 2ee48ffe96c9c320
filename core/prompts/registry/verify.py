"""Whether anything was tampered with: everything is read again, nothing that was read before is trusted."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from core.prompts.registry import labels
from core.prompts.registry.labels import History
from core.prompts.registry.prompt_folder import PromptFolder
from core.prompts.registry.records import Finding, Problem
from core.prompts.registry.witness import AuditHead, Memory, holds

GIT = "Look at it with git, and bring back what was there."
PAUSE = 0.05  # seconds after which a line that was being written is whole


def check(shelf: PromptFolder, heads: Memory) -> Iterator[Finding]:
    """What is wrong in one folder; `shelf` must be a fresh one. `heads` is what the witness remembers; it is told what
    is seen for the first time."""
    entry = shelf.entry()
    yield from map(_problem, entry.problems)
    if not shelf.name:
        return
    history = shelf.labels().history
    if history.torn:
        time.sleep(PAUSE)
        shelf.changed()
        history = shelf.labels().history
    if history.torn:
        what = f"{shelf.name}/{labels.FILE} ends with {history.torn} bytes that are no move of a label."
        yield Finding(shelf.name, what, "edited", f"Unless it crashed while it wrote them: {GIT}")
    head = heads.get(shelf.name, AuditHead())
    meant = f"{GIT} If it was meant, delete {heads.place(shelf.name)}: then it is not remembered any more."
    told: set[int] = set()
    yield from _targets(shelf, history, told)
    if not shelf.is_prompt:
        return
    yield from _missing(shelf, head, told, meant)
    intact = shelf.intact()
    yield from _rewritten(shelf, intact, head, told, meant)
    if not holds(history, head):
        gone = head.moves - len(history.moves)
        what = (
            f"{shelf.name}/{labels.FILE} lacks its last {gone} moves of {head.moves}."
            if gone > 0
            else f"{shelf.name}/{labels.FILE} holds other moves than it did."
        )
        yield Finding(shelf.name, what, "tampered", meant)
    if shelf.name not in heads.damaged:
        heads.keep(shelf.name, history)
        heads.keep(shelf.name, {number: raw for number, raw in intact.items() if number not in head.files})


def gone(names: set[str], heads: Memory) -> Iterator[Finding]:
    """Prompts that the witness remembers and that are not among `names`; and what it cannot read."""
    for name in sorted(heads.keys() - names):
        moves, _, files = heads[name]
        what = f"its labels had moved {moves} times" if moves else f"{len(files)} of its versions had been seen"
        meant = f"If it was meant to go, delete {heads.place(name)}: then it is not remembered any more."
        yield Finding(name, f"{name} is gone, although {what}.", "tampered", f"Bring it back with git. {meant}")
    for name in heads.damaged:
        what = f"{heads.place(name)} cannot be read, so nobody remembers what was seen of {name}."
        yield Finding(name, what, "edited", "Look at the prompt with git; then delete that file, it is made anew.")


def _problem(problem: Problem) -> Finding:
    if problem.kind == "history" or (problem.kind in ("link", "name") and problem.name.endswith(f"/{labels.FILE}")):
        return Finding(problem.name, problem.what, "tampered", problem.fix)
    if problem.kind in ("link", "name"):
        return Finding(problem.name, problem.what, "note", problem.fix)
    if problem.draft is not None:
        what = f"v{problem.number} is not as it was saved: its hash or seal does not fit."
        return Finding(problem.name, what, "edited", "Restore it, or save what it says now as a new version.")
    return Finding(problem.name, problem.what, "edited", problem.fix)


def _targets(shelf: PromptFolder, history: History, told: set[int]) -> Iterator[Finding]:
    """Versions that labels were set to and that are not there any more, or are others."""
    seen: set[tuple[int, str]] = set()
    now = history.positions()
    for move in history.moves:
        if move.to is None or (move.to, move.content) in seen:
            continue
        seen.add((move.to, move.content))
        set_to = "points to it" if now.get(move.label) == move.to else "was set to it once"
        card = shelf.card(move.to)
        if card is None:
            told.add(move.to)
            yield Finding(shelf.name, f"v{move.to} is missing, and {move.label} {set_to}.", "tampered", GIT)
        elif card.facts is not None and card.facts.hash != move.content:
            told.add(move.to)
            what = f"v{move.to} is another one than when {move.label} was set to it."
            yield Finding(shelf.name, what, "tampered", GIT)


def _missing(shelf: PromptFolder, head: AuditHead, told: set[int], meant: str) -> Iterator[Finding]:
    """Versions that were there once, and gaps in the numbers: the program leaves none."""
    numbers = shelf.listing().numbers
    lost = head.files.keys() - set(numbers)
    for number in sorted(lost - told):
        yield Finding(shelf.name, f"v{number} is missing, and it had been seen.", "tampered", meant)
    for first, last in _gaps({*numbers, *lost, *told}):
        what = f"v{first} is missing." if first == last else f"v{first} to v{last} are missing."
        yield Finding(shelf.name, what, "edited", f"The numbers of versions have no gaps. {GIT}")


def _gaps(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    for before, after in pairwise([0, *sorted(numbers)]):
        if after > before + 1:
            yield before + 1, after - 1


def _rewritten(
    shelf: PromptFolder, intact: Mapping[int, str], head: AuditHead, told: set[int], meant: str
) -> Iterator[Finding]:
    """Versions that are whole in themselves, but whose files are not those that were seen."""
    for number, raw in sorted(intact.items()):
        if number not in told and head.files.get(number, raw) != raw:
            what = f"v{number} was written anew: its file fits its seal, but is another one than was seen before."
            yield Finding(shelf.name, what, "tampered", meant)
