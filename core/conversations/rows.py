"""Conversations as rows: the statements that several methods need. All take a connection and check ownership first."""

from __future__ import annotations

import datetime
import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, func, insert, select

from core import text
from core.conversations import choice, clean, records
from core.conversations.records import Conversation, StoredFile, Turn
from core.conversations.tree import Tree
from core.errors import BadRequest
from core.store.tables import conversations, files, messages

# The fields of a conversation that change, and what makes each fit for its column.
CHANGEABLE: Mapping[str, Callable[[Any], Any]] = {
    "title": clean.title,
    "system": text.clean,
    "model": text.one_line,
    "parameters": records.parameters_to_json,
    "leaf": lambda leaf: leaf,
    "panes": records.panes_to_json,
    "prompt": lambda prompt: None if prompt is None else choice.choice_to_json(choice.checked(prompt)),
}
AT_ONCE = 500  # ids in one statement


def new_id() -> str:
    return uuid.uuid4().hex


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def owned(connection: Connection, visitor: str, id: str) -> Row[Any]:
    """The row of the visitor's conversation, or NotFound."""
    clean.known(id, "conversation")
    mine = (conversations.c.id == id) & (conversations.c.visitor == visitor)
    row = connection.execute(select(conversations).where(mine)).one_or_none()
    if row is None:
        raise clean.missing("conversation")
    return row


def conversation_of_turn(connection: Connection, visitor: str, turn_id: str) -> str:
    """The id of the visitor's conversation that holds this turn, or NotFound."""
    clean.known(turn_id, "message")
    wanted = select(messages.c.conversation).join(conversations)
    mine = (messages.c.id == turn_id) & (conversations.c.visitor == visitor)
    found = connection.execute(wanted.where(mine)).scalar()
    if found is None:
        raise clean.missing("message")
    return str(found)


def belongs(connection: Connection, id: str, turn_id: str) -> None:
    """NotFound unless this turn is one of the conversation's."""
    clean.known(turn_id, "message")
    here = (messages.c.id == turn_id) & (messages.c.conversation == id)
    if connection.execute(select(messages.c.id).where(here)).scalar() is None:
        raise clean.missing("message")


def tree(connection: Connection, id: str) -> Tree:
    wanted = select(messages.c.id, messages.c.parent).where(messages.c.conversation == id)
    return Tree((row.id, row.parent) for row in connection.execute(wanted.order_by(messages.c.number)))


def with_parent(id: str, parent: str | None) -> Select[tuple[str]]:
    """The turns that follow `parent`, oldest first."""
    here = (messages.c.conversation == id) & (messages.c.parent.is_not_distinct_from(parent))
    return select(messages.c.id).where(here).order_by(messages.c.number)


def files_of(connection: Connection, id: str) -> dict[str, StoredFile]:
    found = connection.execute(select(files).where(files.c.conversation == id))
    return {row.id: StoredFile(row.id, row.name, row.media_type, row.size) for row in found}


def turns(connection: Connection, id: str, shape: Tree, ids: Sequence[str]) -> list[Turn]:
    """These turns of the conversation, in this order."""
    wanted = select(messages).where(messages.c.conversation == id)
    found: dict[str, Row[Any]] = {}
    for start in range(0, len(ids), AT_ONCE):
        part = wanted.where(messages.c.id.in_(ids[start : start + AT_ONCE]))
        found.update((row.id, row) for row in connection.execute(part))
    known = files_of(connection, id) if any(row.files for row in found.values()) else {}
    return [records.turn_of(found[turn], known, shape.siblings(turn)) for turn in ids if turn in found]


def insert_conversation(connection: Connection, visitor: str, conversation: Conversation) -> None:
    connection.execute(
        insert(conversations).values(
            id=conversation.id,
            visitor=visitor,
            title=conversation.title,
            system=conversation.system,
            model=conversation.model,
            parameters=records.parameters_to_json(conversation.parameters),
            leaf=conversation.leaf,
            panes=records.panes_to_json(conversation.panes),
            created=conversation.created,
            updated=conversation.updated,
            prompt=choice.choice_to_json(conversation.prompt),
        )
    )


def conversation_values(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Some fields of a Conversation as their columns take them, cleaned. BadRequest if there is no such field."""
    if unknown := changes.keys() - CHANGEABLE.keys():
        raise BadRequest(f"A conversation has no {sorted(unknown)[0]}.")
    return {name: CHANGEABLE[name](value) for name, value in changes.items()}


def insert_file(connection: Connection, id: str, file: StoredFile, data: bytes) -> None:
    connection.execute(
        insert(files).values(
            id=file.id,
            conversation=id,
            name=file.name,
            media_type=file.media_type,
            size=file.size,
            sha256=hashlib.sha256(data).hexdigest(),
            created=now(),
        )
    )


def turn_values(turn: Turn) -> dict[str, Any]:
    return {
        "id": turn.id,
        "conversation": turn.conversation,
        "parent": turn.parent,
        "role": turn.role,
        "text": turn.text,
        "thinking": turn.thinking,
        "files": [file.id for file in turn.files],
        "model": turn.model,
        "status": turn.status,
        "error": turn.error,
        "meter": records.meter_to_json(turn.meter),
        "rating": turn.rating,
        "created": turn.created,
    }


def delete_all(connection: Connection, visitor: str, ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """Delete these conversations; the ids of the turns and of the files that went with them. NotFound: none deleted."""
    turn_ids: list[str] = []
    file_ids: list[str] = []
    for id in ids:
        clean.known(id, "conversation")
    for start in range(0, len(ids), AT_ONCE):
        part = ids[start : start + AT_ONCE]
        mine = conversations.c.id.in_(part) & (conversations.c.visitor == visitor)
        if connection.execute(select(func.count()).select_from(conversations).where(mine)).scalar_one() != len(part):
            raise clean.missing("conversation")
        turn_ids += connection.execute(select(messages.c.id).where(messages.c.conversation.in_(part))).scalars()
        file_ids += connection.execute(select(files.c.id).where(files.c.conversation.in_(part))).scalars()
        connection.execute(delete(conversations).where(mine))
    return turn_ids, file_ids
