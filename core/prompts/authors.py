"""Who is written down as the author of a version and as the mover of a label."""

from __future__ import annotations

import getpass
import hashlib

from core.settings import Settings

NOBODY = "local"  # where the operating system does not know the user either, for example in a container


def author_of(visitor: str, settings: Settings) -> str:
    """`visitor-1a2b3c` on a shared server, where the visitor's own id stays secret; else the system's user."""
    if settings.shared:
        return f"visitor-{hashlib.sha256(f'author {visitor}'.encode()).hexdigest()[:6]}"
    return system_user()


def system_user() -> str:
    """The user's name at the operating system."""
    try:
        return getpass.getuser()[:200] or NOBODY
    except (KeyError, OSError, ImportError):
        return NOBODY
