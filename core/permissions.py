"""Who may read what is made at run time: nobody but the user that Parley runs as.

Files outside the data folder (prompts that go into git, exports) are as open as the folder that they are put in.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from pathlib import Path

# What may lie in a data folder and is no secret: reference tables, and weights that anybody can download.
PUBLIC = frozenset({"README.md", "models.yaml", "prices.yaml", "samples", "models", ".gitignore"})
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def private(folder: Path) -> None:
    """From here on this process makes files for its own user only. `folder` is closed to others, with all that an
    older Parley has left open in it. A folder that is not only Parley's, such as a home, stays as it is."""
    os.umask(OTHERS)
    if sys.platform == "win32":
        return
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):  # on a disk without permissions
        mode = folder.stat().st_mode
        home = Path.home()
        if mode & OTHERS and not mode & stat.S_ISVTX and folder.resolve() not in (home, *home.parents):
            folder.chmod(stat.S_IMODE(mode) & ~OTHERS)
            for path in folder.iterdir():
                if path.name not in PUBLIC:
                    _close(path)


def as_its_folder(path: Path) -> None:
    """Let read `path`, which was just made, who may read the folder that it lies in. Only the user may write it."""
    if sys.platform == "win32":
        return
    with contextlib.suppress(OSError):
        shared = stat.S_IMODE(path.parent.stat().st_mode) & 0o755
        path.chmod(shared if path.is_dir() else shared & 0o666)


def make_open(folder: Path) -> None:
    """Make a folder, and those above it, each as open as the one that it lies in. OSError when that cannot be."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(exist_ok=True)
        as_its_folder(one)


def open_inside(folder: Path) -> None:
    """As `as_its_folder`, for a whole tree that was just made."""
    for path in (folder, *sorted(folder.rglob("*"))):
        as_its_folder(path)


def _close(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_symlink():
            return
        if path.is_dir():
            for inside in path.iterdir():
                _close(inside)
        path.chmod(stat.S_IMODE(path.stat().st_mode) & ~OTHERS)
