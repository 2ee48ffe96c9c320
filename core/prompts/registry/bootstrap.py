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
from core.permissions import make_open, open_inside
from core.prompts.registry import files, labels
from core.prompts.registry.listing import FILE
from core.prompts.version import SCHEMA_FILE, published_schema

_SHIPPED = re.compile(rf"{FILE.pattern}|{re.escape(labels.FILE)}|{re.escape(SCHEMA_FILE)}|README\.md")
_FILLING = f"{files.TEMPORARY}filling-"
_NOBODYS = re.compile(rf"{re.escape(files.LOCK)}|lost\+found")


def shipped() -> Path:
    """The prompts that come with the program."""
    return Path(core.__file__).resolve().parent.parent / "prompts"


def prepare(root: Path) -> StorageError | None:
    """Make the root if need be, and what belongs into it. Gives why it cannot be written, if so."""
    try:
        make_open(root)
        if _blank(root):
            _fill(root)
        _write_schema(root)
    except OSError as error:
        return closed(error, root.is_dir())
    except StorageError as error:
        return error
    return probe(root)


def probe(root: Path) -> StorageError | None:
    """Why the root cannot be written, if so."""
    try:
        with files.Lock(root).held(patience=0):
            return None
    except OSError as error:
        return closed(error, root.is_dir())
    except StorageError:  # somebody writes there now
        return None


def closed(error: OSError, there: bool) -> StorageError:
    """What people are told of it."""
    if not there:
        return StorageError("The folder of the prompts cannot be made.", "Choose another with PARLEY_PROMPTS_DIR.")
    reason = "the disk is full" if error.errno == errno.ENOSPC else "its folder cannot be written"
    return StorageError(
        f"Prompts can be read but not saved: {reason}.", "Make it writable, or choose another with PARLEY_PROMPTS_DIR."
    )


def _can_give(source: Path, root: Path) -> bool:
    here = root.resolve()
    return source.is_dir() and source not in (here, *here.parents)


def _blank(root: Path) -> bool:
    """Whether nobody has put anything there, as in a volume that was just mounted; or whether filling it was broken
    off, which left a temporary folder."""
    with os.scandir(root) as entries:
        found = {entry.name for entry in entries if not _NOBODYS.fullmatch(entry.name)}
        return not found or any(name.startswith(_FILLING) for name in found)


def _fill(root: Path) -> None:
    """Each prompt appears at once. The folder itself stays, because a mounted one cannot be replaced."""
    source = shipped()
    if not _can_give(source, root):
        return
    with files.Lock(root).held():
        if not _blank(root):  # another process was faster
            return
        temporary = root / f"{_FILLING}{secrets.token_hex(8)}"
        try:
            shutil.copytree(source, temporary, ignore=_others)
        except OSError:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        open_inside(temporary)
        for child in sorted(temporary.iterdir()):
            if not os.path.lexists(root / child.name):
                child.rename(root / child.name)
        for left in root.glob(f"{_FILLING}*"):
            shutil.rmtree(left, ignore_errors=True)


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
        if files.read(path, len(wanted))[0] == wanted:
            return
    files.replace(path, wanted)
