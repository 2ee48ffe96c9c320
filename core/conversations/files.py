"""The bytes of files, one file each under <data>/files, named by an id of ours and nothing else."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path

from core.conversations.clean import is_id, missing
from core.errors import NotFound, StorageError
from core.store.database import Database

SPARE = 256 * 1024  # bytes that a file leaves free, so that it does not take the last room from the database
MOST_HELD = 256 * 1024 * 1024  # bytes that wait in memory for a disk that took them not


class Files:
    """A folder of bytes. What the disk refuses stays in memory until it takes it.

    When the data folder could not be written at the start, all live as long as the process, as the database then does.
    """

    def __init__(self, folder: Path, database: Database) -> None:
        self._folder = folder
        self._database = database
        self._held: dict[str, bytes] = {}

    def put(self, id: str, data: bytes) -> None:
        """Keep these bytes: on the disk, if it takes them, when this returns. StorageError: they are not kept."""
        if not self._database.writable:
            self._held[id] = data
            return
        try:
            self._write(id, data)
        except OSError as error:
            self.drop([id])
            self._hold(id, data, error)

    def get(self, id: str) -> bytes:
        """NotFound if the bytes are gone."""
        held = self._held.get(id)
        if held is not None:
            return held
        if not self._database.writable:
            raise missing("file")
        try:
            return (self._folder / id).read_bytes()
        except FileNotFoundError:
            raise NotFound("The contents of this file are missing.", "Attach it again.") from None
        except OSError as error:
            raise StorageError("The file could not be read.") from error

    def drop(self, ids: Iterable[str]) -> None:
        """Delete; what cannot be deleted now is an orphan that `sweep` finds at the next start."""
        for id in ids:
            self._held.pop(id, None)
            for path in (self._folder / id, self._folder / f"{id}.part"):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)

    def sweep(self, wanted: Collection[str]) -> int:
        """Delete files of ours that nothing refers to, and return how many. Other files are left alone."""
        if not self._database.writable or not self._folder.is_dir():
            return 0
        names = {path.name.removesuffix(".part") for path in self._folder.iterdir()}
        orphans = {name for name in names if is_id(name) and name not in wanted}
        self.drop(orphans)
        return len(orphans)

    def _write(self, id: str, data: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self._folder).free < len(data) + SPARE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = self._folder / f"{id}.part"
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._folder / id)

    def _hold(self, id: str, data: bytes, error: OSError) -> None:
        if sum(map(len, list(self._held.values()))) + len(data) > MOST_HELD:
            raise StorageError("The file could not be saved.") from error
        self._held[id] = data
        try:
            held = self._database.hold(self._release, error)
        except BaseException:
            del self._held[id]
            raise
        if not held:
            del self._held[id]
            raise StorageError("The file could not be saved.") from error

    def _release(self) -> int:
        """Write what is held. Returns how many are left."""
        for id, data in list(self._held.items()):
            try:
                self._write(id, data)
            except OSError:
                with contextlib.suppress(OSError):
                    (self._folder / f"{id}.part").unlink(missing_ok=True)
                break
            if self._held.pop(id, None) is None:  # deleted meanwhile
                self.drop([id])
        return len(self._held)
