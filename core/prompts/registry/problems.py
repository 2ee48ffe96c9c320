"""What lies in the registry and is not used as it stands: the sentences that people read about it."""

from __future__ import annotations

import os
import re

from core.errors import BadRequest
from core.names import check_name, suggest
from core.prompts.registry import labels
from core.prompts.registry.labels import History
from core.prompts.registry.records import Problem
from core.prompts.version import SCHEMA_FILE, Version

# Names that look as if they were to be versions.
_MEANT = re.compile(r".*\.ya?ml|v[0-9]+(\..*)?", re.IGNORECASE | re.DOTALL)


def edited(name: str, number: int, draft: Version, known: bool) -> Problem:
    """A file that can be read and is not what was saved. `known`: what was saved is."""
    if known:
        after, fix = "What was saved goes on being used.", "Save it as a new version, or restore what was saved."
    else:
        after = "It is not used."
        fix = f"Save it as a new version, or bring {name}/v{number}.yaml back with git."
    return Problem(name, number, "edited", f"{name}@{number} was written or changed by hand. {after}", fix, draft)


def unreadable(name: str, number: int, what: str, fix: str, known: bool) -> Problem:
    """A file that is no version at all."""
    if known:
        return Problem(
            name, number, "unreadable", f"{what} What was saved goes on being used.", f"{fix} Or restore it."
        )
    return Problem(name, number, "unreadable", what, fix)


def forgotten(name: str, number: int, problem: Problem | None) -> Problem:
    """Instead of a problem that said that what was saved is known, when it turned out that it is not."""
    if problem and problem.draft:
        return edited(name, number, problem.draft, known=False)
    fix = f"Bring {name}/v{number}.yaml back with git."
    return Problem(name, number, "unreadable", f"{name}@{number} cannot be used as it is, nor is it kept.", fix)


def closed(name: str, number: int | None, inside: str, error: OSError) -> Problem:
    """A file or folder that the system does not let us read."""
    reason = (os.strerror(error.errno) if error.errno else type(error).__name__).lower()
    fix = "Let the server read it." if isinstance(error, PermissionError) else "Put a regular file in its place."
    return Problem(name, number, "unreadable", f"{inside} cannot be read: {reason}.", fix)


def damaged(name: str, history: History) -> Problem | None:
    """A chain of moves that does not hold."""
    if not history.damaged:
        return None
    what = f"The label history of {name} is broken at line {history.damaged}: {history.why}."
    fix = f"Bring {name}/{labels.FILE} back with git. Until then no label of it can be moved."
    return Problem(name, None, "history", f"{what} Only the moves before it count.", fix)


def link(inside: str) -> Problem:
    return Problem(inside, None, "link", f"{inside} is a link. Links are not followed.", "Put a copy in its place.")


def folder(inside: str) -> Problem | None:
    """None when the folder may be called so."""
    try:
        check_name(inside)
    except BadRequest as error:
        near = suggest(inside)
        fix = f"Rename it, for example to {near}." if near else error.fix
        return Problem(inside, None, "name", f"The folder {inside!r} is left out: {error.what}", fix)
    return None


def file(name: str, inside: str) -> Problem | None:
    """None for a file that has nothing to do with prompts, like a README."""
    own = inside.rpartition("/")[2]
    if not _MEANT.fullmatch(own) or (not name and own == SCHEMA_FILE):
        return None
    if not name:
        what, fix = f"{inside!r} lies in no prompt's folder.", "Make a folder for it, and call it v1.yaml there."
    else:
        what = f"{inside!r} is left out: versions are files like v1.yaml."
        fix = "Call it v1.yaml, v2.yaml and so on, or put it elsewhere."
    return Problem(inside, None, "name", what, fix)
