"""Files that are never half there, never overwritten and never somewhere else: what the registry stands on."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from core.errors import BadRequest, StorageError
from core.permissions import as_its_folder

LOCK = ".lock"  # in the registry's root
TEMPORARY = ".tmp-"  # begins the names of files that are being written
OLD = 3600.0  # seconds after which a temporary file is nobody's any more
PATIENCE = 15.0  # seconds to wait for the lock; it is held for milliseconds
# Two changes within so many nanoseconds may leave the same time on a file: FAT counts in steps of two seconds.
COARSE = 2_100_000_000

Stamp = tuple[int, int, int]  # a file's time of change in ns, its size and inode: a changed file has another one

_NO_LINKS = (errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)


def stamp_of(status: os.stat_result) -> Stamp:
    return status.st_mtime_ns, status.st_size, status.st_ino


def settled(stamp: Stamp, now: int) -> bool:
    """Whether any change after `now` (ns) must give another stamp."""
    return stamp[0] + COARSE < now


class State(NamedTuple):
    """A file as it was when it was read."""

    stamp: Stamp
    seen: int  # when that was, in ns
    raw: str  # SHA-256 of its bytes, in hex


def look(path: str | Path, most: int, old: State | None) -> tuple[State, bytes | None]:
    """A file as it is now, and its bytes unless they are those of `old`. It is read only when they could be others.

    Otherwise as `read`.
    """
    now = time.time_ns()
    if old and unchanged(path, old):
        return old, None
    data, stamp = read(path, most)
    state = State(stamp, now, sha256(data).hexdigest())
    return state, None if old and old.raw == state.raw else data


def unchanged(path: str | Path, old: State) -> bool:
    """Whether the file must still be the one that was read. OSError when it cannot be looked at."""
    return old.stamp == stamp_of(os.lstat(path)) and settled(old.stamp, old.seen)


def read(path: str | Path, most: int) -> tuple[bytes, Stamp]:
    """A regular file's bytes. OSError when it is none (a link is not followed) or has more than `most` bytes."""
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise OSError(errno.ELOOP, "not a regular file")
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as opened:
        status = os.fstat(opened.fileno())
        if not stat.S_ISREG(status.st_mode):  # a pipe that came between would be waited for
            raise OSError(errno.ELOOP, "not a regular file")
        if status.st_size > most:
            raise OSError(errno.EFBIG, "too large")
        return opened.read(), stamp_of(status)


def create(folder: Path, name: str, data: bytes, lock: Lock) -> bool:
    """Make a file that appears whole or not at all. False if there is one of that name already."""
    target = folder / name
    temporary = _written(folder, data)
    try:
        try:
            os.link(temporary, target)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            with lock.held():  # a file system without hard links
                if os.path.lexists(target):
                    return False
                temporary.rename(target)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    sync(folder)
    return True


def replace(path: Path, data: bytes, lasting: bool = True) -> None:
    """Put these bytes in the place of a file, whole or not at all. `lasting`: on the disk when this returns."""
    temporary = _written(path.parent, data, lasting)
    try:
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    if lasting:
        sync(path.parent)


def _written(folder: Path, data: bytes, lasting: bool = True) -> Path:
    temporary = folder / f"{TEMPORARY}{secrets.token_hex(8)}"
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(file, "wb") as opened:
            as_its_folder(temporary)
            opened.write(data)
            opened.flush()
            if lasting:
                os.fsync(opened.fileno())
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    return temporary


def sync(folder: Path) -> None:
    """Have the folder's list of names on the disk. Not every system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sweep(path: str) -> None:
    """Delete a temporary file if it is so old that its writer must have died."""
    with contextlib.suppress(OSError):
        if time.time() - os.lstat(path).st_mtime > OLD:
            Path(path).unlink()


def make_folders(root: Path, name: str) -> Path:
    """The prompt's folder, made if need be. BadRequest when a part of it is a link or no folder."""
    folder = root
    for part in name.split("/"):
        folder = folder / part
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            as_its_folder(folder)
            sync(folder.parent)
        inside = folder.relative_to(root).as_posix()
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            raise BadRequest(f"{inside} is no folder but a link or a file.", "Choose another name, or remove it.")
        if not spelled_so(folder):
            raise BadRequest(
                f"There is a folder that differs from {inside} only in capital letters.",
                "Rename that folder to lower-case letters, or choose another name.",
            )
    return folder


def case_counts(file: Path) -> bool:
    """Whether the file system tells capital letters from small ones, as far as this file can show it."""
    try:
        here, other = os.lstat(file), os.lstat(file.with_name(file.name.upper()))
    except OSError:
        return file.exists()
    return (here.st_ino, here.st_dev) != (other.st_ino, other.st_dev)


def spelled_so(folder: Path) -> bool:
    """Whether the folder has this very name: where case does not count, `Reply` is found as `reply` too."""
    try:
        here, other = os.lstat(folder), os.lstat(folder.with_name(folder.name.upper()))
    except OSError:
        return True
    same = (here.st_ino, here.st_dev) == (other.st_ino, other.st_dev)
    return not same or any(other.name == folder.name for other in folder.parent.iterdir())


def not_kept(error: OSError, what: str) -> StorageError:
    """What people are told when writing failed. `what` begins the sentence: "v3 of support/reply"."""
    if error.errno in _FULL:
        return StorageError(f"{what} was not saved: the disk is full.", "Make room on the disk, then save again.")
    if error.errno in _CLOSED:
        return StorageError(
            f"{what} was not saved: the folder of the prompts cannot be written.",
            "Make it writable, or choose another with PARLEY_PROMPTS_DIR.",
        )
    reason = os.strerror(error.errno) if error.errno else type(error).__name__
    return StorageError(f"{what} was not saved: {reason}.", "Look at the folder of the prompts, then save again.")


class Lock:
    """One writer at a time: among the threads here and among all processes that use this folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK
        self._lock = FileLock(self._path, poll_interval=0.002)

    @contextlib.contextmanager
    def held(self, patience: float = PATIENCE) -> Iterator[None]:
        """OSError when the folder cannot be written; StorageError when somebody does not let go in so many seconds."""
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(os.lstat(self._path).st_mode):
                raise OSError(errno.ELOOP, "not a regular file")
        new = not self._path.exists()
        try:
            self._lock.acquire(patience)
        except Timeout:
            what = "Another program is writing to the prompts and does not finish."
            raise StorageError(what, "Try again in a moment.") from None
        try:
            if new:
                as_its_folder(self._path)
            yield
        finally:
            self._lock.release()
