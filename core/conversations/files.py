"""The bytes of files, one file each under <data>/files, named by an id of ours and nothing else."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable
from pathlib import Path

from core.conversations.clean import is_id, missing
from core.errors import NotFound, StorageError


class Files:
    """A folder of bytes. With `in_memory` they live as long as the process, as the database then does."""

    def __init__(self, folder: Path, in_memory: bool) -> None:
        self._folder = folder
        self._memory: dict[str, bytes] | None = {} if in_memory else None

    def put(self, id: str, data: bytes) -> None:
        """Keep these bytes; they are on the disk when this returns. StorageError if that fails."""
        if self._memory is not None:
            self._memory[id] = data
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            part = self._folder / f"{id}.part"
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._folder / id)
        except OSError as error:
            self.drop([id])
            raise StorageError("The file could not be saved.") from error

    def get(self, id: str) -> bytes:
        """NotFound if the bytes are gone."""
        if self._memory is not None:
            if id not in self._memory:
                raise missing("file")
            return self._memory[id]
        try:
            return (self._folder / id).read_bytes()
        except FileNotFoundError:
            raise NotFound("The contents of this file are missing.", "Attach it again.") from None
        except OSError as error:
            raise StorageError("The file could not be read.") from error

    def drop(self, ids: Iterable[str]) -> None:
        """Delete; what cannot be deleted now is an orphan that `sweep` finds at the next start."""
        for id in ids:
            if self._memory is not None:
                self._memory.pop(id, None)
            for path in (self._folder / id, self._folder / f"{id}.part"):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)

    def sweep(self, wanted: Collection[str]) -> int:
        """Delete files of ours that nothing refers to, and return how many. Other files are left alone."""
        if self._memory is not None or not self._folder.is_dir():
            return 0
        names = {path.name.removesuffix(".part") for path in self._folder.iterdir()}
        orphans = {name for name in names if is_id(name) and name not in wanted}
        self.drop(orphans)
        return len(orphans)
