"""A line of a text around the words that were looked for."""

from __future__ import annotations

import re
import unicodedata

from core.store.words import MARK_BEGIN, MARK_END

LENGTH = 160  # characters
BEFORE = 50  # of them before the first find
LONGEST = 200_000  # characters of a text that are looked at

_MARKS = {ord(MARK_BEGIN): None, ord(MARK_END): None}


def fold(text: str) -> str:
    """The text as it is compared: no case, no accents. As long as the text, so that places can be told."""
    if text.isascii():
        return text.lower()
    return "".join(_fold(c) for c in text)


def _fold(char: str) -> str:
    if char < "\x80":
        return char.lower()
    plain = unicodedata.normalize("NFKD", char)[:1].casefold()
    return plain if len(plain) == 1 else char


def snippet(text: str, words: list[str]) -> str:
    """About LENGTH characters on one line, from the first place where one of `words` stands, each find marked.

    Without any find it is the beginning of the text.
    """
    text = text[:LONGEST].translate(_MARKS)
    wanted = [re.escape(folded) for word in sorted(words, key=len, reverse=True) if (folded := fold(word).strip())]
    found = re.compile("|".join(wanted)) if wanted else None
    first = found.search(fold(text)) if found else None
    start = max(0, first.start() - BEFORE) if first else 0
    if start:
        space = text.find(" ", start, start + BEFORE)
        start = space + 1 if space >= 0 else start
    end = start + LENGTH
    line = " ".join(text[start:end].split())
    if found:
        line = _marked(line, found)
    return ("…" if start else "") + line + ("…" if end < len(text) else "")


def _marked(line: str, found: re.Pattern[str]) -> str:
    parts: list[str] = []
    done = 0
    for match in found.finditer(fold(line)):
        parts += [line[done : match.start()], MARK_BEGIN, line[match.start() : match.end()], MARK_END]
        done = match.end()
    return "".join(parts) + line[done:]
