"""The registry's root: made when it is missing, and filled with the prompts that ship."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
from pathlib import Path

import core
from core.errors import StorageError
from core.prompts import files, labels
from core.prompts.listing import FILE
from core.prompts.version import SCHEMA_FILE, published_schema

_SHIPPED = re.compile(rf"{FILE.pattern}|{re.escape(labels.FILE)}|{re.escape(SCHEMA_FILE)}|README\.md")


def shipped() -> Path:
    """The prompts that come with the program."""
    return Path(core.__file__).resolve().parent.parent / "prompts"


def prepare(root: Path) -> StorageError | None:
    """Make the root if need be, and what belongs into it. Gives why it cannot be written, if so."""
    try:
        if not root.exists():
            _make(root)
        _write_schema(root)
    except OSError as error:
        return closed(error, root.is_dir())
    return probe(root)


def probe(root: Path) -> StorageError | None:
    """Why the root cannot be written, if so."""
    try:
        os.close(os.open(root / files.LOCK, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666))
    except OSError as error:
        return closed(error, root.is_dir())
    return None


def closed(error: OSError, there: bool) -> StorageError:
    """What people are told of it."""
    if not there:
        return StorageError("The folder of the prompts cannot be made.", "Choose another with PARLEY_PROMPTS_DIR.")
    reason = "the disk is full" if error.errno == errno.ENOSPC else "its folder cannot be written"
    return StorageError(
        f"Prompts can be read but not saved: {reason}.", "Make it writable, or choose another with PARLEY_PROMPTS_DIR."
    )


def _make(root: Path) -> None:
    """All of it appears at once, so that a start that is broken off does not leave half of it."""
    root.parent.mkdir(parents=True, exist_ok=True)
    source = shipped()
    temporary = root.with_name(f"{files.TEMPORARY}{secrets.token_hex(8)}")
    try:
        here = root.resolve()
        if source.is_dir() and source not in (here, *here.parents):
            shutil.copytree(source, temporary, ignore=_others)
        else:
            temporary.mkdir()
        temporary.rename(root)
    except OSError:
        if not root.is_dir():  # otherwise another process was faster
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _others(folder: str, names: list[str]) -> list[str]:
    return [
        name
        for name in names
        if Path(folder, name).is_symlink() or not (Path(folder, name).is_dir() or _SHIPPED.fullmatch(name))
    ]


def _write_schema(root: Path) -> None:
    path = root / SCHEMA_FILE
    wanted = (json.dumps(published_schema(), indent=2, ensure_ascii=False) + "\n").encode()
    with contextlib.suppress(OSError):
        if not path.is_symlink() and path.read_bytes() == wanted:
            return
    files.replace(path, wanted)
