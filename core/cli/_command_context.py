"""What the commands of `python app.py prompts …` share: what they work with, and what they give back."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from core.errors import BadRequest
from core.prompts.content import LARGEST
from core.prompts.registry.registry import Registry
from core.prompts.templates.templates import Templates

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Output:
    """What a command says to people and to programs, and its exit code. `notes` go to standard error."""

    text: str
    data: Any
    code: int = 0
    notes: str = ""


@dataclass(frozen=True, slots=True)
class CommandContext:
    """What the commands work with."""

    registry: Registry
    templates: Templates
    author: str  # of what the command saves or moves


def read_input(name: str, most: int = LARGEST, larger: Callable[[bytes], int] | None = None) -> bytes:
    """The bytes of a file that the user named, or of standard input for -. BadRequest if that cannot be.

    `larger` is given the beginning of what has more than `most` bytes, and says how many it may have.
    """
    try:
        with _opened(name) as file:
            data = file.read(most + 1)
            if len(data) > most and larger is not None and (allowed := larger(data[:1000])) > most:
                data += file.read(allowed + 1 - len(data))
                most = allowed
    except OSError as error:
        raise BadRequest(f"{name} cannot be read: {error.strerror}.", "Check its name.") from None
    if len(data) > most:
        raise BadRequest(f"{name} is larger than {most / 1e6:g} MB.", "Shorten it.")
    return data


def _opened(name: str) -> contextlib.AbstractContextManager[BinaryIO]:
    return contextlib.nullcontext(sys.stdin.buffer) if name == STDIN else Path(name).expanduser().open("rb")
