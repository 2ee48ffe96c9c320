"""Whole conversations, out of the database and back into one."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError

from core.conversations import records, rows
from core.conversations.files import Files
from core.conversations.records import Whole
from core.errors import NotFound
from core.store.database import Database
from core.store.tables import conversations, files, messages


def read(connection: Connection, stored: Files, visitor: str, id: str) -> Whole:
    """The conversation with all its branches and the contents of its files, without files that are missing."""
    conversation = records.conversation_of(rows.owned(connection, visitor, id))
    tree = rows.tree(connection, id)
    turns = rows.turns(connection, id, tree, list(tree.parents))
    contents: dict[str, bytes] = {}
    for file in {file.id for turn in turns for file in turn.files}:
        with contextlib.suppress(NotFound):
            contents[file] = stored.get(file)
    return Whole(conversation, tuple(turns), contents)


def restore(database: Database, stored: Files, visitor: str, wholes: Sequence[Whole]) -> Sequence[Whole]:
    """Write them all or none; returns them under the ids that they got."""
    ready = _with_free_ids(database, wholes)
    try:
        return _write(database, stored, visitor, ready)
    except IntegrityError:  # somebody took one of the ids just now
        return _write(database, stored, visitor, [renamed(whole) for whole in ready])


def _with_free_ids(database: Database, wholes: Sequence[Whole]) -> list[Whole]:
    ready: list[Whole] = []
    seen: set[str] = set()
    with database.read() as connection:
        for whole in wholes:
            ids = {whole.conversation.id, *(turn.id for turn in whole.turns), *whole.contents}
            ready.append(renamed(whole) if ids & seen or taken(connection, whole) else whole)
            seen |= ids
    return ready


def _write(database: Database, stored: Files, visitor: str, wholes: Sequence[Whole]) -> Sequence[Whole]:
    def work(connection: Connection) -> None:
        for whole in wholes:
            insert_whole(connection, visitor, whole)

    contents = {id: data for whole in wholes for id, data in whole.contents.items()}
    try:
        for id, data in contents.items():
            stored.put(id, data)
        database.write(work)
    except Exception:
        stored.drop(contents)
        raise
    return wholes


def insert_whole(connection: Connection, visitor: str, whole: Whole) -> None:
    """A conversation with its turns, parents before children, and its files."""
    rows.insert_conversation(connection, visitor, whole.conversation)
    if whole.turns:
        connection.execute(insert(messages), [rows.turn_values(turn) for turn in whole.turns])
    known = {file.id: file for turn in whole.turns for file in turn.files}
    for file in known.values():
        rows.insert_file(connection, whole.conversation.id, file, whole.contents[file.id])


def taken(connection: Connection, whole: Whole) -> bool:
    """Whether any id in it is in use already."""
    used = [
        (conversations.c.id, [whole.conversation.id]),
        (messages.c.id, [turn.id for turn in whole.turns]),
        (files.c.id, [file.id for turn in whole.turns for file in turn.files]),
    ]
    for column, ids in used:
        for start in range(0, len(ids), rows.AT_ONCE):
            if connection.execute(select(column).where(column.in_(ids[start : start + rows.AT_ONCE]))).first():
                return True
    return False


def renamed(whole: Whole) -> Whole:
    """The same conversation under new ids throughout."""
    own = whole.conversation
    turn_ids = {turn.id: rows.new_id() for turn in whole.turns}
    file_ids = {file.id: rows.new_id() for turn in whole.turns for file in turn.files}
    id = rows.new_id()
    turns = tuple(
        replace(
            turn,
            id=turn_ids[turn.id],
            conversation=id,
            parent=turn_ids[turn.parent] if turn.parent else None,
            files=tuple(replace(file, id=file_ids[file.id]) for file in turn.files),
            siblings=tuple(turn_ids[sibling] for sibling in turn.siblings),
        )
        for turn in whole.turns
    )
    conversation = replace(
        own,
        id=id,
        leaf=turn_ids[own.leaf] if own.leaf else None,
        panes=tuple(replace(pane, leaf=turn_ids[pane.leaf] if pane.leaf else None) for pane in own.panes),
    )
    return Whole(conversation, turns, {file_ids[file]: data for file, data in whole.contents.items()})
