"""The data folder: whether it can be written, and that one process has it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import BinaryIO

from filelock import lock_descriptor

from core.errors import StorageError

NAME = "parley.lock"


class FolderLock:
    """Held until `close()` or the end of the process. The file stays: it also carries the folder's own name."""

    def __init__(self, file: BinaryIO, instance: str) -> None:
        self._file = file
        self.instance = instance  # tells this data folder from others on a shared database

    @classmethod
    def take(cls, folder: Path) -> FolderLock:
        """Make the folder if need be and lock it. StorageError when another process has it, OSError when it cannot
        be written."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # conversations are nobody else's business
        path = folder / NAME
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0)
        try:
            held = not lock_descriptor(file.fileno(), blocking=False)
            words = _text(file).split()
            if held:
                holder = f"process {words[0]}" if words else "another process"
                raise StorageError(
                    f"The data folder {folder.name} is used by another Parley ({holder}).",
                    "Stop that one, or choose another folder with PARLEY_DATA_DIR.",
                )
            instance = words[1] if len(words) > 1 else secrets.token_hex(6)
            file.seek(0)
            file.write(f"{os.getpid()} {instance}\n".encode())
            file.truncate()
        except BaseException:
            file.close()
            raise
        return cls(file, instance)

    def close(self) -> None:
        self._file.close()


def _text(file: BinaryIO) -> str:
    try:
        return file.read(200).decode("ascii", "replace")
    except OSError:  # Windows lets nobody else read what is locked
        return ""
