"""What the commands of `python app.py prompts …` share: what they work with, and what they give back."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import BadRequest
from core.prompts.content import LARGEST
from core.prompts.registry import Registry
from core.prompts.templates import Templates

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Output:
    """What a command says to people and to programs, and its exit code. `notes` go to standard error."""

    text: str
    data: Any
    code: int = 0
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Desk:
    """What the commands work with."""

    registry: Registry
    templates: Templates
    by: str


def read_input(name: str, most: int = LARGEST) -> bytes:
    """The bytes of a file that the user named, or of standard input for -. BadRequest if that cannot be."""
    try:
        if name == STDIN:
            data = sys.stdin.buffer.read(most + 1)
        else:
            with Path(name).expanduser().open("rb") as file:
                data = file.read(most + 1)
    except OSError as error:
        raise BadRequest(f"{name} cannot be read: {error.strerror}.", "Check its name.") from None
    if len(data) > most:
        raise BadRequest(f"{name} is larger than {most / 1e6:g} MB.", "Shorten it.")
    return data
