"""Writes recordings, which the provider `replay` answers from: a conversation or an experiment to be shown again."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from core.errors import StorageError
from core.providers._recording import Recorded, header, to_line

__all__ = ["Recorded", "lines", "write"]


def lines(entries: Iterable[Recorded], speed: float = 1.0) -> Iterator[bytes]:
    """The lines of a recording, each with its end. The format is described in core/providers/_recording.py."""
    yield header(speed) + b"\n"
    for entry in entries:
        yield to_line(entry) + b"\n"


def write(path: Path, entries: Iterable[Recorded], speed: float = 1.0) -> None:
    """Write a recording; `replay/<its name>` then answers from it. It appears whole or not at all.

    `speed` 1 = replayed as recorded, 0 = at once. Raises StorageError.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".recording-", delete=False) as file:
            temporary = Path(file.name)
            file.writelines(lines(entries, speed))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise StorageError("The recording could not be saved.") from None
