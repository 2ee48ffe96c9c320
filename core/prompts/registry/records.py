"""What the registry hands out. All of it is frozen: a later change gives new objects."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from core.prompts.version import Version


class Anything(enum.Enum):
    """Type of ANY, which is not None because None means that a label is not set."""

    ANY = "any"


ANY = Anything.ANY
Gate = Callable[[Version, str], None]  # (target, protected label); raises BadRequest to keep the label where it is


@dataclass(frozen=True, slots=True)
class Move:
    """One line of the history of a prompt's labels. `hash` covers the other fields, and so all moves before."""

    number: int  # 1 is the first of the prompt
    time: datetime.datetime
    by: str
    label: str
    before: int | None  # None: it was not set
    to: int | None  # None: it was taken away
    why: str
    content: str  # hash of the version `to`, "" without one
    previous: str  # hash of the move before, "" for the first
    hash: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the folder that is not used as it stands. `name` is the path inside of the registry."""

    name: str
    number: int | None
    kind: Literal["edited", "unreadable", "link", "name", "history"]
    what: str
    fix: str
    draft: Version | None = None  # what an edited file says: it can be saved as a new version


@dataclass(frozen=True)
class PromptEntry:
    """A prompt in the list."""

    name: str
    numbers: tuple[int, ...]  # of the versions that can be used, ascending
    latest: Version | None  # None when nothing in the folder is a version as it was saved
    labels: Mapping[str, int]  # without `latest`
    problems: tuple[Problem, ...] = ()


class Unread(PromptEntry):
    """An entry whose newest version is read when it is asked for: at the start there may be thousands."""

    def __init__(self, entry: PromptEntry, read: Callable[[], Version | None]) -> None:
        self.__dict__.update({name: value for name, value in vars(entry).items() if name != "latest"}, _read=read)

    @cached_property
    def latest(self) -> Version | None:
        read: Callable[[], Version | None] = self.__dict__["_read"]
        return read()


@dataclass(frozen=True, slots=True)
class Saved:
    """`created` is False when the same content, description and tags were there already: then it is that version."""

    version: Version
    created: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """What `verify` found wrong. `name` is the prompt, or a path inside of the registry."""

    name: str
    what: str
    severity: Literal["tampered", "edited", "note"]
    fix: str = ""


@dataclass(frozen=True, slots=True)
class PromptHit:
    """A prompt that fits a search, by the version that fits best. `score` compares within one search only."""

    name: str
    number: int
    snippet: str  # finds are between MARK_BEGIN and MARK_END of core.conversations
    how: Literal["words", "meaning", "both"]
    score: float
