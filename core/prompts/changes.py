"""What changes the registry: saving a version, moving a label, putting an edited file back."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from pathlib import Path

from core.errors import BadRequest
from core.prompts import files, labels
from core.prompts.content import LARGEST, MOST_TAGS, Content
from core.prompts.files import Lock
from core.prompts.labels import History
from core.prompts.records import ANY, Anything, Move, Saved
from core.prompts.shelf import Shelf
from core.prompts.version import TAG, Version, to_text

LONGEST = 2000  # characters of a description, a message or a reason
LONGEST_WHO = 200
LAST = 999_999_999  # the highest number that a reference can name
JUST_NOW = datetime.timedelta(minutes=2)


def save(
    root: Path,
    lock: Lock,
    shelf: Shelf,
    content: Content,
    description: str,
    tags: Sequence[str],
    change: str,
    author: str,
    parent: int | None,
) -> Saved:
    """The next version. The one that is there when it says the same."""
    name = shelf.name
    description = line(description, "description")
    change = line(change, "message of the change")
    author = line(author, "author's name", LONGEST_WHO)
    marked = _tags(tags)
    if parent is not None and shelf.card(parent) is None:
        raise BadRequest(f"{name} has no version {parent} that this one could come from.", "Reload the page.")
    hash = content.digest()
    number = 0
    try:
        folder = files.make_folders(root, name)
        while True:
            numbers = shelf.listing().numbers  # one look for both: who comes after it takes the next number
            if same := _same(shelf, numbers, hash, description, marked):
                return Saved(same, created=False)
            used = [move.to or 0 for move in shelf.labels().history.moves]
            number = max([number, *numbers, *used]) + 1
            if number > LAST:
                raise BadRequest(f"{name} has no number left.", "Choose another name.")
            now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
            version = Version(name, number, content, description, marked, change, author, now, parent)
            text = to_text(version)
            if len(text) > LARGEST:
                raise BadRequest(f"The prompt is larger than {LARGEST // 1_000_000} MB.", "Shorten it.")
            data = text.encode()
            if files.create(folder, f"v{number}.yaml", data, lock):
                shelf.saved(version, data)
                return Saved(version, created=True)
            shelf.changed()  # somebody else was faster; perhaps with the same
    except OSError as error:
        raise files.not_kept(error, f"The new version of {name}") from None


def move(
    lock: Lock, shelf: Shelf, label: str, target: Version | None, by: str, why: str, expect: int | Anything | None
) -> Move:
    """Where the label is set now. When it is there already, the move that brought it there."""
    to = target.number if target else None
    try:
        with lock.held():
            shelf.changed()
            marked = shelf.labels()
            if marked.problem:
                raise BadRequest(marked.problem.what, marked.problem.fix)
            history = marked.history
            now, last = history.positions().get(label), history.last(label)
            if now == to:
                if last is None:
                    raise BadRequest(f"{shelf.name} has no label {label}.", "There is nothing to take away.")
                return last
            if expect is not ANY and expect != now:
                raise _moved(shelf.name, label, last)
            content = target.hash if target else ""
            made = labels.following(history, label, to, content, by, why)
            labels.append(shelf.folder / labels.FILE, history, made)
            shelf.changed()
            shelf.labels()  # has the witness told while nobody else can move
            return made
    except OSError as error:
        raise files.not_kept(error, f"The label {label} of {shelf.name}") from None


def restore(lock: Lock, shelf: Shelf, number: int) -> None:
    """Write a version's file as it was saved."""
    name = f"{shelf.name}@{number}"
    card = shelf.card(number)
    if card is None:
        raise BadRequest(f"There is no file of {name}.", f"Bring {shelf.name}/v{number}.yaml back with git.")
    if card.problem is None:
        return
    if card.facts is None or (version := shelf.version(number)) is None:
        what = f"What was saved as {name} is not known."
        raise BadRequest(what, f"Bring {shelf.name}/v{number}.yaml back with git.")
    try:
        with lock.held():
            data = to_text(version).encode()
            files.replace(shelf.folder / f"v{number}.yaml", data)
            shelf.saved(version, data)
    except OSError as error:
        raise files.not_kept(error, name) from None


def line(text: str, what: str, longest: int = LONGEST) -> str:
    """The text as a file can hold it. BadRequest when it cannot."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    if "\x00" in text or re.search("[\ud800-\udfff]", text):
        raise BadRequest(f"The {what} holds a character that no file can hold.", "Remove it.")
    if len(text) > longest:
        raise BadRequest(f"The {what} has {len(text):,} characters.", f"At most {longest:,} are possible.")
    return text


def _tags(tags: Sequence[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(stripped for tag in tags if (stripped := line(tag, "tag"))))
    if len(found) > MOST_TAGS:
        raise BadRequest(f"There are {len(found)} tags.", f"At most {MOST_TAGS} are possible.")
    for tag in found:
        if not re.fullmatch(TAG, tag):
            raise BadRequest(f"{tag[:80]!r} cannot be a tag.", "A tag has up to 40 characters, and no comma.")
    return found


def _same(shelf: Shelf, numbers: tuple[int, ...], hash: str, description: str, tags: tuple[str, ...]) -> Version | None:
    for number in reversed(numbers):
        card = shelf.card(number)
        facts = card.facts if card else None
        if facts and (facts.hash, facts.description, facts.tags) == (hash, description, tags):
            return shelf.version(number)
    return None


def _moved(name: str, label: str, last: Move | None) -> BadRequest:
    if last is None:
        return BadRequest(f"{label} of {name} is not set.", "Look at it, then move it again.")
    where = f"moved to v{last.to}" if last.to else "taken away"
    recent = datetime.datetime.now(datetime.UTC) - last.time < JUST_NOW
    when = "a moment ago" if recent else f"at {last.time:%Y-%m-%d %H:%M} UTC"
    return BadRequest(f"{label} of {name} was {where} by {last.by} {when}.", "Look at it, then move it again.")


def earlier(name: str, label: str, history: History) -> int:
    """Where a rollback goes. BadRequest when there is no such place."""
    back = history.earlier(label)
    if back is None:
        known = history.last(label) is not None
        what = f"{label} of {name} was nowhere else before." if known else f"{name} has no label {label}."
        raise BadRequest(what, "Move it to a version.")
    return back
