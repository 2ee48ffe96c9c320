"""What goes out of the registry and what comes into it, in words that no file format knows."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.prompts.content import Content
from core.prompts.registry.records import Move
from core.prompts.version import Version

if TYPE_CHECKING:
    from core.prompts.formats._given import Given


@dataclass(frozen=True, slots=True)
class Loss:
    """Something that the other side, or ours, cannot hold. `place` is a prompt's name, `field` a path inside of it."""

    place: str
    field: str
    why: str


@dataclass(frozen=True, slots=True)
class ExportFile:
    name: str  # a relative path; folders are those of the prompt's name
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Packed:
    """What an export made."""

    files: tuple[ExportFile, ...]
    losses: tuple[Loss, ...] = ()


@dataclass(frozen=True, slots=True)
class Exported:
    """One prompt to export. Formats that hold one version take the first."""

    versions: tuple[Version, ...]  # newest first
    labels: Mapping[str, int] = field(default_factory=dict)  # without `latest`
    history: tuple[Move, ...] = ()  # newest first

    @property
    def chosen(self) -> Version:
        return self.versions[0]

    def labels_of(self, version: Version) -> list[str]:
        return sorted(label for label, number in self.labels.items() if number == version.number)


@dataclass(frozen=True, slots=True)
class ImportedVersion:
    """A version as a file describes it. `number` and `time` are there only if the file says them."""

    name: str
    content: Content
    description: str = ""
    tags: tuple[str, ...] = ()
    change: str = ""
    author: str = ""
    time: datetime.datetime | None = None
    number: int | None = None
    labels: tuple[str, ...] = ()
    parent: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a file would bring in. Nothing is written yet."""

    drafts: tuple[ImportedVersion, ...]  # of one prompt, the oldest first
    losses: tuple[Loss, ...]
    format: str = ""  # set when all is read, as is the source
    moves: Mapping[str, tuple[Move, ...]] = field(default_factory=dict)  # by prompt, the oldest first
    source: str = ""  # the file's name


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did: versions that are new, versions that were there, labels that moved (name, label, to)."""

    versions: tuple[Version, ...]
    unchanged: tuple[Version, ...]
    labels_moved: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True, slots=True)
class Format:
    """One file format. `fits` says how surely a file is of this format: 0 is not at all, the highest wins."""

    id: str
    label: str
    extensions: tuple[str, ...]  # with the dot, the usual one first
    one_file_per_prompt: bool
    export: Callable[[Sequence[Exported]], Packed]
    read: Callable[[Given], Plan]
    fits: Callable[[Given], int]
    lossless: bool = False
