"""Files that visitors have sent and that nothing has used yet.

The files of one request lie in a folder of their own, `<data>/uploads/<visitor>/<request>/<sha256>/<name>`: whose a
file is can be seen from its path, the path cannot be guessed, and a request that fails is removed as a whole. What
lies there counts against a share of each visitor and a total; it is removed when it has been used, after an hour at
the latest, and when the server starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from core.errors import BadRequest, NotFound, RateLimited, StorageError
from core.hosts import is_loopback, network_of
from core.settings import Settings

LIFE = 3000  # seconds; with the pause between two looks, no file gets an hour old
SWEEP = 300  # seconds between two looks
OVERHEAD = 16_384  # octets that a request, and each further file, count besides the body: folders take room, too
_MB = 1024 * 1024
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

log = structlog.get_logger()


class FileTooLarge(BadRequest):
    """One file is larger than a file may be."""

    code = "too_large"
    status = 413


@dataclass(eq=False)
class Batch:
    """The files of one request, while they come in and as long as they lie there."""

    owner: str
    folder: Path
    began: float
    network: str = ""  # where it comes from; "" if that is not known
    octets: int = 0
    complete: bool = False


class Uploads:
    """The folder of uploads and its quotas. Safe from any thread."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder_of(settings)
        self.largest = settings["PARLEY_MAX_UPLOAD_MB"] * _MB
        self._share = settings["PARLEY_VISITOR_UPLOADS_MB"] * _MB
        self._total = settings["PARLEY_UPLOADS_MB"] * _MB
        self._shared = settings.shared
        self._clock = clock
        self._lock = threading.Lock()
        self._batches: set[Batch] = set()

    def start(self) -> None:
        """Make the folder, readable for this user only, and remove what an earlier process left there."""
        with self._lock:
            self._batches.clear()
        try:
            _remove(self.folder)
            self.folder.mkdir(mode=0o700, parents=True)
        except OSError as error:  # the chat goes on; whoever uploads is told
            log.warning("uploads.folder", error=type(error).__name__)

    @contextlib.contextmanager
    def receiving(self, visitor: str, announced: int = 0, address: str = "") -> Iterator[Batch]:
        """A fresh folder for the files of one request with a body of `announced` octets, removed if the block fails.

        `address` is the client's: a cookie can be thrown away, so half of the total is the most for a network.
        Raises RateLimited when they have no room, StorageError when the folder cannot be made.
        """
        owner = _owner(visitor)
        # From the loopback comes a proxy that is not trusted, so anybody.
        network = network_of(address) if self._shared and not is_loopback(address) else ""
        batch = Batch(owner, self.folder / owner / secrets.token_hex(16), self._clock(), network)
        with self._lock:
            self._check(batch, OVERHEAD + announced)
            batch.octets = OVERHEAD
            self._batches.add(batch)
        try:
            try:
                batch.folder.mkdir(mode=0o700, parents=True)
            except OSError as error:
                raise full(error) from error
            yield batch
            batch.complete = True
        except BaseException:
            self._forget(batch)
            raise

    def count(self, batch: Batch, octets: int) -> None:
        """So many octets more have come. Raises RateLimited when there is no room for them."""
        with self._lock:
            self._check(batch, octets)
            batch.octets += octets

    def read(self, visitor: str, path: str) -> tuple[str, bytes]:
        """Name and content of a file that this visitor has uploaded; NotFound for every other path, whatever it is."""
        fd = self._open(visitor, path)
        with os.fdopen(fd, "rb") as file:
            data = file.read(self.largest + 1)
        if len(data) > self.largest:
            raise too_large(self.largest)
        return Path(path).name, data

    def check(self, visitor: str, paths: Sequence[object]) -> None:
        """NotFound unless `read` would find every file."""
        for path in paths:
            os.close(self._open(visitor, path))

    def drop(self, visitor: str, paths: Sequence[str]) -> None:
        """Remove files that have been used; the quota gets its room back. It is no error if they are gone."""
        for path in paths:
            with contextlib.suppress(NotFound, OSError):
                fd = self._open(visitor, path)
                size = os.fstat(fd).st_size
                os.close(fd)
                Path(path).unlink()
                self._gave_back(Path(path).parents[1], size)

    def sweep(self) -> None:
        """Remove what nobody has used for LIFE seconds, and what nobody knows."""
        now = self._clock()
        with self._lock:
            old = [batch for batch in self._batches if batch.complete and now - batch.began > LIFE]
        for batch in old:
            self._forget(batch)
        with self._lock:
            known = {batch.folder for batch in self._batches}
        for path in [*_inside(self.folder), *(below for one in _inside(self.folder) for below in _inside(one))]:
            with contextlib.suppress(OSError):
                holds = any(path in (folder, folder.parent) for folder in known)
                if not holds and time.time() - path.lstat().st_mtime > LIFE:
                    _remove(path)

    async def keep_clean(self) -> None:
        """Sweep again and again until cancelled."""
        while True:
            await asyncio.sleep(SWEEP)
            await asyncio.to_thread(self.sweep)

    def _open(self, visitor: str, path: object) -> int:
        """A descriptor of the regular file at `path`. No link on the way to it is followed."""
        home = str(self.folder / _owner(visitor)) + os.sep
        if not isinstance(path, str) or not path.startswith(home) or "\0" in path:
            raise _unknown()
        if os.path.normpath(path) != path or len(Path(path.removeprefix(home)).parts) != 3:
            raise _unknown()
        try:
            fd = os.open(path, _FLAGS)
        except (OSError, ValueError):
            raise _unknown() from None
        try:
            opened, named = os.fstat(fd), os.lstat(path)
            # The last part is no link; the folders are none if the name leads to itself, and to what was opened.
            if (
                stat.S_ISREG(opened.st_mode)
                and opened.st_nlink == 1
                and os.path.realpath(path) == path
                and os.path.samestat(opened, named)
            ):
                return fd
        except (OSError, ValueError):
            pass
        os.close(fd)
        raise _unknown()

    def _check(self, batch: Batch, more: int) -> None:
        held = sum(one.octets for one in self._batches if one.owner == batch.owner)
        if held + more > self._share:
            raise RateLimited(
                f"Your uploads that wait to be used would take more than {self._share // _MB} MB.",
                "Send or remove what is attached, or wait an hour; PARLEY_VISITOR_UPLOADS_MB is the limit.",
                retry_after=LIFE,
            )
        near = sum(one.octets for one in self._batches if one.network == batch.network)
        if batch.network and near + more > self._total // 2:
            raise RateLimited(
                f"All uploads from your network together would take more than {self._total // 2 // _MB} MB.",
                "Try again later; the limit is half of PARLEY_UPLOADS_MB.",
                retry_after=LIFE,
            )
        if sum(one.octets for one in self._batches) + more > self._total:
            raise RateLimited(
                f"All uploads on this server together would take more than {self._total // _MB} MB.",
                "Try again later; PARLEY_UPLOADS_MB is the limit.",
                retry_after=LIFE,
            )

    def _gave_back(self, folder: Path, octets: int) -> None:
        """A file of a batch is gone; with its last one the batch is."""
        batch = next((one for one in list(self._batches) if one.folder == folder), None)
        if batch is None:
            return
        if any(_inside(below) for below in _inside(folder)):
            with self._lock:
                batch.octets = max(OVERHEAD, batch.octets - octets)
        else:
            self._forget(batch)

    def _forget(self, batch: Batch) -> None:
        with contextlib.suppress(OSError):
            _remove(batch.folder)
        with contextlib.suppress(OSError):
            batch.folder.parent.rmdir()  # the visitor's last one
        with self._lock:
            self._batches.discard(batch)


def folder_of(settings: Settings) -> Path:
    """Where uploads lie; a path without links."""
    return Path(os.path.realpath(settings.data_dir)) / "uploads"


def too_large(largest: int) -> FileTooLarge:
    return FileTooLarge(
        f"The file is larger than {largest // _MB} MB.", "Choose a smaller file, or raise PARLEY_MAX_UPLOAD_MB."
    )


def full(error: OSError) -> StorageError:
    """What a visitor is told when a file could not be written."""
    log.warning("uploads.write", error=type(error).__name__, number=error.errno)
    return StorageError("The file could not be kept on the server's disk.")


def _unknown() -> NotFound:
    return NotFound("That file is none of your uploads, or is no longer kept.", "Attach it again.")


def _owner(visitor: str) -> str:
    return hashlib.sha256(visitor.encode("utf-8", "replace")).hexdigest()[:32]


def _inside(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _remove(path: Path) -> None:
    """Remove a folder with all it holds, or a file; never what a link leads to."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()
