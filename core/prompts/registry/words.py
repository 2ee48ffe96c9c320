"""What of a version is looked through when prompts are searched by words."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from core.prompts.version import Version

LONGEST = 10_000  # characters of a version's texts that are searched by words
_MARKS = re.compile(r"[\u0300-\u036f]")
_GAP = "\x1f"


class Words(NamedTuple):
    """A version's words in one line: its name, tags, description and texts, in this order, folded."""

    number: int
    line: str
    ends: tuple[int, int, int]  # where name, tags and description end

    def rank(self, wanted: list[str]) -> int | None:
        """0 when the folded words stand in the name, 1 with the tags, 2 with the description, 3 with the texts; None
        when one of them stands nowhere."""
        farthest = 0
        for word in wanted:
            place = self.line.find(word)
            if place < 0:
                return None
            farthest = max(farthest, place)
        return sum(farthest >= end for end in self.ends)


def fold(text: str) -> str:
    """The text as it is compared: no case, no accents."""
    if text.isascii():
        return text.lower()
    return _MARKS.sub("", unicodedata.normalize("NFKD", text).casefold())


def texts(version: Version, longest: int = LONGEST) -> str:
    """The beginning of all that the version says."""
    content = version.content
    parts = [message.content for message in content.messages]
    parts += [text for example in content.examples for text in (example.input, example.output)]
    parts += [f"{name} {variable.description}" for name, variable in content.variables.items()]
    found: list[str] = []
    for part in (*parts, content.model, version.change):
        if longest <= 0:
            break
        found.append(part[:longest])
        longest -= len(part)
    return "\n".join(part for part in found if part)


def words_of(version: Version) -> Words:
    ends: list[int] = []
    line = ""
    for part in (version.name, " ".join(version.tags), version.description):
        line += fold(part) + _GAP
        ends.append(len(line))
    return Words(version.number, line + fold(texts(version)), (ends[0], ends[1], ends[2]))
