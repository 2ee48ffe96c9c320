"""Texts of any kind: cleaned for storage, folded for comparison, cut into pieces and snippets."""

from __future__ import annotations

import re
import unicodedata

# Around a word that was found, in `WordHit.snippet`. Private characters, because the text itself may hold any markup.
MARK_BEGIN = "\ue000"
MARK_END = "\ue001"
PIECES = 16  # pieces of a text that are looked at
# They would turn what stands beside the title in a list around as well.
_DIRECTION = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
LENGTH = 160  # characters
BEFORE = 50  # of them before the first find
LONGEST = 200_000  # characters of a text that are looked at
_MARKS = {ord(MARK_BEGIN): None, ord(MARK_END): None}
PIECE = 500  # characters; a longer text has more than one subject, and its mean vector has none


def clean(text: str) -> str:
    """Without NUL (PostgreSQL refuses it) and without lone surrogates (UTF-8 has none); each becomes U+FFFD."""
    text = text.replace("\x00", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        # Through UTF-16, so that two halves that belong together become the one character that they stand for.
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def one_line(text: str) -> str:
    """Clean, with every control or direction character and every run of white space made one space."""
    kept = (" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") or c in _DIRECTION else c for c in clean(text))
    return " ".join("".join(kept).split())


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


def pieces(text: str) -> tuple[str, ...]:
    """The text in at most PIECES parts of about PIECE characters, cut at the end of a paragraph, sentence or word.

    What comes after them is not searched by meaning (it is by words).
    """
    found: list[str] = []
    rest = text[: 2 * PIECE * PIECES].strip()
    while rest and len(found) < PIECES:
        if len(rest) <= PIECE * 5 // 4:
            found.append(rest)
            break
        end = _end(rest)
        found.append(rest[:end].strip())
        rest = rest[end:].lstrip()
    return tuple(found)


def _end(text: str) -> int:
    for gap in (r"\n\s*\n", r"[.!?。！？]\s+|[。！？]|\n", r"\s+"):
        ends = [match.end() for match in re.finditer(gap, text[:PIECE])]
        if ends and ends[-1] > PIECE // 3:
            return ends[-1]
    return PIECE
