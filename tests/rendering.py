"""Templates as the tests render them: with one child process for all."""

from __future__ import annotations

import atexit

from core.files.child import Child
from core.prompts.templates.includes import Lookup
from core.prompts.templates.templates import Nearest, Templates

CHILD = Child(1)
atexit.register(CHILD.close)


def templates_of(lookup: Lookup, nearest: Nearest | None = None) -> Templates:
    return Templates(lookup, nearest, CHILD)
