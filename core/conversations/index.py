"""What of the conversations is searched by meaning: every finished turn, in pieces that one vector can stand for."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select

from core.store.database import Database
from core.store.items import Item
from core.store.tables import conversations, messages
from core.text import pieces

COLLECTION = "messages"
AT_ONCE = 500  # ids in one query

_FINISHED = (messages.c.status != "streaming") & (func.trim(messages.c.text) != "")


class MessageSource:
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
