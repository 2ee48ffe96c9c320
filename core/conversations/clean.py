"""What comes from outside, made fit for a database, a list and a file name."""

from __future__ import annotations

import re

from core.errors import NotFound
from core.text import one_line

TITLE = 200  # characters
FIRST_LINE = 60  # characters of a title that is taken from the first message
NAME = 200  # characters of a file's name

_ID = re.compile(r"[0-9a-f]{32}")


def title(text: str) -> str:
    """A title as a person wrote it, at most TITLE characters."""
    return one_line(text[: 10 * TITLE])[:TITLE].rstrip()


def title_from(message: str) -> str:
    """A title out of the first line that says something: at most FIRST_LINE characters, cut between words."""
    first = next((line for line in message[:10_000].splitlines() if one_line(line)), "")
    line = one_line(first[:2000])
    if len(line) <= FIRST_LINE:
        return line
    cut = line[: FIRST_LINE - 1]
    head, space, _ = cut.rpartition(" ")
    whole = cut if line[FIRST_LINE - 1] == " " else head if space and len(head) > FIRST_LINE // 3 else cut
    return whole.rstrip(" ,;:-–—") + "…"


def file_name(name: str) -> str:
    """The last part of a path, whoever's path it was, as one short line. Only ever shown, never opened."""
    last = one_line(re.split(r"[/\\]", name.rstrip("/\\"))[-1])
    if len(last) > NAME:
        stem, dot, extension = last.rpartition(".")
        short = dot and len(extension) <= 10
        last = f"{stem[: NAME - 12]}.{extension}" if short else last[:NAME]
    return last if last.strip(". ") else "file"


def known(id: object, what: str) -> str:
    """The id itself, if it can be one. Anything else cannot exist: NotFound."""
    if not is_id(id):
        raise missing(what)
    return str(id)


def is_id(id: object) -> bool:
    return isinstance(id, str) and _ID.fullmatch(id) is not None


def missing(what: str) -> NotFound:
    return NotFound(f"There is no such {what}.")
