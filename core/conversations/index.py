"""What of the conversations is searched by meaning: every finished turn, in pieces that one vector can stand for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlalchemy import func, select

from core.store.database import Database
from core.store.items import PIECES, Item
from core.store.tables import conversations, messages

COLLECTION = "messages"
PIECE = 500  # characters; a longer text has more than one subject, and its mean vector has none
AT_ONCE = 500  # ids in one query

_FINISHED = (messages.c.status != "streaming") & (func.trim(messages.c.text) != "")


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


class Finished:
    """The `Source` of the collection of messages."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count(self) -> int:
        with self._database.read() as connection:
            return int(connection.execute(select(func.count()).where(_FINISHED)).scalar_one())

    def ids(self) -> list[str]:
        with self._database.read() as connection:
            return list(connection.execute(select(messages.c.id).where(_FINISHED)).scalars())

    def items(self, ids: Sequence[str]) -> list[Item]:
        """Those that exist now and are not being written any more."""
        wanted = select(messages.c.id, messages.c.text, conversations.c.visitor).join(conversations)
        found: list[Item] = []
        with self._database.read() as connection:
            for start in range(0, len(ids), AT_ONCE):
                part = messages.c.id.in_(ids[start : start + AT_ONCE])
                rows = connection.execute(wanted.where(part, _FINISHED))
                found += [Item(row.id, pieces(row.text), {"visitor": row.visitor}) for row in rows]
        return found
