"""What changes the registry: saving a version, moving a label, putting an edited file back."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.errors import BadRequest
from core.prompts.content import LARGEST, MOST_TAGS, Content
from core.prompts.registry import files, labels
from core.prompts.registry.files import Lock
from core.prompts.registry.labels import History
from core.prompts.registry.prompt_folder import PromptFolder, VersionFile
from core.prompts.registry.records import ANY, Anything, Move, Saved
from core.prompts.version import TAG, Version, from_text, to_text

LONGEST = 2000  # characters of a description, a message or a reason
LONGEST_WHO = 200
LAST = 999_999_999  # the highest number that a reference can name
UNREAD = "its file"
JUST_NOW = datetime.timedelta(minutes=2)


def save(
    root: Path,
    lock: Lock,
    prompt: PromptFolder,
    content: Content,
    description: str,
    tags: Sequence[str],
    change: str,
    author: str,
    parent: int | None,
) -> Saved:
    """The next version, whose number no other one ever had. When one that is there says the same, in content,
    description and tags, nothing is written and it is given back, also when it is an old one: `latest` then stays."""
    name = prompt.name
    description = line(description, "description")
    change = line(change, "message of the change")
    author = line(author, "author's name", LONGEST_WHO)
    marked = _tags(tags)
    if parent is not None and prompt.file(parent) is None:
        raise BadRequest(f"{name} has no version {parent} that this one could come from.", "Reload the page.")
    hash = _hash(name, content)
    tried = 0
    try:
        folder: Path | None = None
        while True:
            there = prompt.files()  # one look for both: who comes after it takes the next number
            same = _same(there, hash, description, marked)
            if same and (version := prompt.version(same)):
                return Saved(version, created=False)
            highest = max([tried, *there])
            number = prompt.next_number(highest)
            # Files are gone, or somebody saved since the look, perhaps the same.
            if number > highest + 1 and prompt.files().keys() != there.keys():
                continue
            if number > LAST:
                raise BadRequest(f"{name} has no number left.", "Choose another name.")
            now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
            version = Version(name, number, content, description, marked, change, author, now, parent)
            data = _data(version)
            folder = folder or files.make_folders(root, name)
            if files.create(folder, f"v{number}.yaml", data, lock):
                prompt.saved(version, data)
                return Saved(version, created=True)
            tried = number  # somebody else was faster; perhaps with the same
    except OSError as error:
        raise files.not_kept(error, f"The new version of {name}") from None


def move(
    lock: Lock,
    prompt: PromptFolder,
    label: str,
    target: Version | None,
    by: str,
    why: str,
    expect: int | Anything | None,
    allowed: bool,
) -> Move:
    """Where the label is set now. When it is there already, the move that brought it there. Not `allowed`: its reason
    and its gates were not asked for, because it was there; if it is not any more, nothing moves."""
    to = target.number if target else None
    try:
        with lock.held():
            marked = prompt.labels()
            if marked.problem:
                raise BadRequest(marked.problem.what, marked.problem.fix)
            history = marked.history
            now, last = history.positions().get(label), history.last(label)
            if last is None and to is None:
                raise BadRequest(f"{prompt.name} has no label {label}.", "There is nothing to take away.")
            if last is not None and stays(history, label, target):
                return last
            if not allowed or (expect is not ANY and expect != now):
                raise _moved(prompt.name, label, last)
            content = target.hash if target else ""
            made = labels.following(history, label, to, content, by, why)
            labels.append(prompt.path / labels.FILE, history, made)
            prompt.labels()  # has the audit told while nobody else can move
            return made
    except OSError as error:
        raise files.not_kept(error, f"The label {label} of {prompt.name}") from None


def stays(history: History, label: str, target: Version | None) -> bool:
    """Whether the label is at this version already, as it is now; a file may have been replaced since."""
    last = history.last(label)
    if last is None or target is None:
        return history.positions().get(label) is None and target is None
    return (last.to, last.content) == (target.number, target.hash)


def restore(lock: Lock, prompt: PromptFolder, number: int) -> None:
    """Write a version's file as it was saved."""
    name = f"{prompt.name}@{number}"
    file = prompt.file(number)
    if file is None:
        raise BadRequest(f"There is no file of {name}.", f"Bring {prompt.name}/v{number}.yaml back with git.")
    if file.problem is None:
        return
    if file.facts is None or (version := prompt.version(number)) is None:
        what = f"What was saved as {name} is not known."
        raise BadRequest(what, f"Bring {prompt.name}/v{number}.yaml back with git.")
    try:
        with lock.held():
            data = to_text(version).encode()
            files.replace(prompt.path / f"v{number}.yaml", data)
            prompt.saved(version, data)
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


def _hash(name: str, content: Content) -> str:
    try:
        return content.digest()
    except (ValueError, RecursionError):  # the content was not made by parse_content
        raise _unkept(name, "it holds something that is no JSON") from None


def _data(version: Version) -> bytes:
    """Its file, which was read back before anything depends on it."""
    try:
        text = to_text(version)
        data = text.encode()
        if len(data) > LARGEST:
            raise BadRequest(f"The prompt is larger than {LARGEST // 1_000_000} MB.", "Shorten it.")
        found = from_text(text, version.name, version.number, UNREAD)
    except BadRequest as error:
        if not error.what.startswith(UNREAD):
            raise
        why = error.what.removeprefix(UNREAD).strip(",. ")
        raise _unkept(version.name, f"its file could not be read again, for {why}") from None
    except (ValueError, RecursionError):
        raise _unkept(version.name, "it holds something that no file can hold") from None
    if not found.intact or found.version != version:
        raise _unkept(version.name, "it would not be read as it was written")
    return data


def _unkept(name: str, why: str) -> BadRequest:
    return BadRequest(f"{name} cannot be saved: {why}.", "Look at its texts and its schema.")


def _tags(tags: Sequence[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(stripped for tag in tags if (stripped := line(tag, "tag"))))
    if len(found) > MOST_TAGS:
        raise BadRequest(f"There are {len(found)} tags.", f"At most {MOST_TAGS} are possible.")
    for tag in found:
        if not re.fullmatch(TAG, tag):
            raise BadRequest(f"{tag[:80]!r} cannot be a tag.", "A tag has up to 40 characters, and no comma.")
    return found


def _same(files: Mapping[int, VersionFile], hash: str, description: str, tags: tuple[str, ...]) -> int | None:
    """The newest version that says this."""
    for number in sorted(files, reverse=True):
        facts = files[number].facts
        if facts and (facts.hash, facts.description, facts.tags) == (hash, description, tags):
            return number
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
