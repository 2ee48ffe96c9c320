"""All conversations of all visitors. A visitor sees their own; everything else does not exist for them."""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, insert, select, update

from core import text as texts
from core.conversations import archive, clean, records, rows
from core.conversations.choice import PromptChoice, checked
from core.conversations.files import Files
from core.conversations.index import COLLECTION, MessageSource
from core.conversations.records import Conversation, Hit, Meter, StoredFile, Turn, Whole
from core.conversations.search import search
from core.errors import BadRequest
from core.messages import Parameters
from core.settings import Settings
from core.store.database import Database
from core.store.tables import conversations, files, messages
from core.store.vectors import Vectors

Listed = list[Conversation]  # inside the class, `list` is a method
Turns = list[Turn]
Hits = list[Hit]
DIED = "Broken off because the server stopped. Continue the answer to go on."


class Conversations:
    """Every method may be called from any thread and blocks for as long as the database takes.

    NotFound: it is not there, or not this visitor's. BadRequest: it makes no sense. StorageError: it was not kept.
    """

    def __init__(self, database: Database, vectors: Vectors, settings: Settings) -> None:
        self._database = database
        self._vectors = vectors
        self._files = Files(settings.data_dir / "files", database)
        self._largest = int(settings["PARLEY_MAX_UPLOAD_MB"]) * 1024 * 1024
        self._save = database.change(messages, "id", "text", "thinking", "status", "error", "meter")
        self._save_model = database.change(messages, "id", "text", "thinking", "model", "status", "error", "meter")
        vectors.attach(COLLECTION, MessageSource(database))

    def create(
        self,
        visitor: str,
        *,
        title: str = "",
        system: str = "",
        model: str = "",
        parameters: Parameters | None = None,
        prompt: PromptChoice | None = None,
    ) -> Conversation:
        """A new, empty conversation."""
        now, chosen = rows.now(), parameters or Parameters()
        title, system, model = clean.title(title), texts.clean(system), texts.one_line(model)
        prompt_choice = None if prompt is None else checked(prompt)
        fresh = Conversation(rows.new_id(), title, system, model, chosen, None, (), now, now, prompt_choice)
        self._database.write(lambda connection: rows.insert_conversation(connection, visitor, fresh))
        return fresh

    def get(self, visitor: str, id: str) -> Conversation:
        with self._database.read() as connection:
            return records.conversation_of(rows.owned(connection, visitor, id))

    def list(self, visitor: str, limit: int = 200) -> Listed:
        """The visitor's conversations, the one that was written in last first."""
        wanted = select(conversations).where(conversations.c.visitor == visitor)
        wanted = wanted.order_by(conversations.c.updated.desc(), conversations.c.id).limit(limit)
        with self._database.read() as connection:
            return [records.conversation_of(row) for row in connection.execute(wanted)]

    def update(self, visitor: str, id: str, **changes: Any) -> Conversation:
        """Change some of title, system, model, parameters, prompt, leaf and panes. It does not rise in the list.

        `prompt=None` takes the prompt away.
        """
        values = rows.conversation_values(changes)
        leaves = [changes.get("leaf"), *(pane.leaf for pane in changes.get("panes", ()))]

        def work(connection: Connection) -> Conversation:
            rows.owned(connection, visitor, id)
            for leaf in leaves:
                if leaf is not None:
                    rows.belongs(connection, id, leaf)
            if values:
                connection.execute(update(conversations).where(conversations.c.id == id).values(values))
            return records.conversation_of(rows.owned(connection, visitor, id))

        return self._database.write(work)

    def delete(self, visitor: str, *ids: str) -> None:
        """Delete conversations with all that belongs to them. None is deleted if one is not the visitor's."""
        wanted = list(dict.fromkeys(ids))
        turns, stored = self._database.write(lambda connection: rows.delete_all(connection, visitor, wanted))
        self._vectors.changed(COLLECTION, turns)
        self._files.drop(stored)

    def path(self, visitor: str, id: str, leaf: str | None = None) -> Turns:
        """The turns from the first to `leaf` (None: the conversation's own), each with its siblings."""
        with self._database.read() as connection:
            conversation = rows.owned(connection, visitor, id)
            tree = rows.tree(connection, id)
            end = conversation.leaf if leaf is None else leaf
            if end is not None and end not in tree:
                raise clean.missing("message")
            return rows.turns(connection, id, tree, tree.path(end))

    def turn(self, visitor: str, turn_id: str) -> Turn:
        with self._database.read() as connection:
            conversation = rows.conversation_of_turn(connection, visitor, turn_id)
            return rows.turns(connection, conversation, rows.tree(connection, conversation), [turn_id])[0]

    def add(
        self,
        visitor: str,
        id: str,
        *,
        parent: str | None,
        role: str,
        text: str,
        files: Sequence[StoredFile] = (),
        model: str = "",
        status: str = "complete",
    ) -> Turn:
        """A new turn after `parent` (None: a first one). The first question names a conversation without a title.

        When `parent` is the end of the current branch, the new turn becomes it.
        """
        if role not in records.ROLES or status not in records.STATUSES:
            raise BadRequest(f"A message cannot be of {role!r} and {status!r}.")
        text = texts.clean(text)
        turn_id, now = rows.new_id(), rows.now()

        def work(connection: Connection) -> Turn:
            conversation = rows.owned(connection, visitor, id)
            if parent is not None:
                rows.belongs(connection, id, parent)
            known = rows.files_of(connection, id)
            if any(file.id not in known for file in files):
                raise clean.missing("file")
            siblings = (*connection.execute(rows.with_parent(id, parent)).scalars(), turn_id)
            turn = Turn(
                id=turn_id,
                conversation=id,
                parent=parent,
                role=role,
                text=text,
                thinking="",
                files=tuple(known[file.id] for file in files),
                model=texts.one_line(model),
                status=status,
                error="",
                meter=None,
                rating=0,
                created=now,
                siblings=siblings,
            )
            connection.execute(insert(messages).values(rows.turn_values(turn)))
            values: dict[str, Any] = {"updated": now}
            if conversation.leaf == parent:
                values["leaf"] = turn_id
            if role == "user" and not conversation.title:
                values["title"] = clean.title_from(text) or clean.title(files[0].name if files else "")
            connection.execute(update(conversations).where(conversations.c.id == id).values(values))
            return turn

        turn = self._database.write(work)
        if status != "streaming":
            self._vectors.changed(COLLECTION, [turn_id])
        return turn

    def save(
        self,
        turn_id: str,
        *,
        text: str,
        thinking: str = "",
        status: str,
        error: str = "",
        meter: Meter | None = None,
        model: str = "",
    ) -> None:
        """Keep an answer as it is now, and the `model` if another one answered. Does nothing if it has been deleted."""
        if status not in records.STATUSES:
            raise BadRequest(f"An answer cannot be {status!r}.")
        stored = records.as_text(records.meter_to_json(meter))
        named = (texts.one_line(model),) if model else ()
        row = (texts.clean(text), texts.clean(thinking), *named, status, texts.clean(error), stored, turn_id)
        self._database.put(self._save_model if model else self._save, row)
        if status != "streaming":
            self._vectors.changed(COLLECTION, [turn_id])

    def select(self, visitor: str, id: str, turn_id: str, *, pane: int | None = None) -> str:
        """Show the branch through this turn, to its newest end, which is returned. With `pane`: in that pane only."""

        def work(connection: Connection) -> str:
            conversation = records.conversation_of(rows.owned(connection, visitor, id))
            tree = rows.tree(connection, id)
            if turn_id not in tree:
                raise clean.missing("message")
            leaf = tree.newest_leaf(turn_id)
            values: dict[str, Any] = {"leaf": leaf}
            if pane is not None:
                if not 0 <= pane < len(conversation.panes):
                    raise clean.missing("pane")
                panes = [*conversation.panes]
                panes[pane] = records.Pane(panes[pane].model, leaf)
                values = {"panes": records.panes_to_json(panes)}
                if pane == 0:
                    values["leaf"] = leaf
            connection.execute(update(conversations).where(conversations.c.id == id).values(values))
            return leaf

        return self._database.write(work)

    def rate(self, visitor: str, turn_id: str, value: int) -> None:
        """Thumbs up (1), down (-1) or neither (0)."""
        if value not in records.RATINGS:
            raise BadRequest("A rating is -1, 0 or 1.")

        def work(connection: Connection) -> None:
            rows.conversation_of_turn(connection, visitor, turn_id)
            connection.execute(update(messages).where(messages.c.id == turn_id).values(rating=value))

        self._database.write(work)

    def store_file(self, visitor: str, id: str, name: str, media_type: str, data: bytes) -> StoredFile:
        """Keep a file for a turn that will be added. Its name is shown and never opened."""
        if len(data) > self._largest:
            raise BadRequest(
                f"The file is larger than {self._largest // 1024 // 1024} MB.",
                "Send a smaller one, or raise PARLEY_MAX_UPLOAD_MB.",
            )
        name = clean.file_name(name)
        guess = mimetypes.guess_type(name)[0] or "application/octet-stream"
        file = StoredFile(rows.new_id(), name, texts.one_line(media_type)[:200] or guess, len(data))
        with self._database.read() as connection:
            rows.owned(connection, visitor, id)
        self._files.put(file.id, data)  # first, so that no row is without its bytes

        def work(connection: Connection) -> None:
            rows.owned(connection, visitor, id)
            rows.insert_file(connection, id, file, data)

        try:
            self._database.write(work)
        except Exception:
            self._files.drop([file.id])
            raise
        return file

    def file_data(self, visitor: str, file_id: str) -> bytes:
        clean.known(file_id, "file")
        wanted = select(files.c.id).join_from(files, conversations)
        with self._database.read() as connection:
            if not connection.execute(wanted.where(files.c.id == file_id, conversations.c.visitor == visitor)).scalar():
                raise clean.missing("file")
        return self._files.get(file_id)

    def search(self, visitor: str, query: str, limit: int = 30) -> Hits:
        """The visitor's conversations that fit the words or the meaning of the query, best first."""
        return search(self._database, self._vectors, visitor, query, limit)

    def whole(self, visitor: str, id: str) -> Whole:
        """A conversation with all branches and the contents of its files. A file that is missing is left out."""
        with self._database.read() as connection:
            return archive.read(connection, self._files, visitor, id)

    def restore(self, visitor: str, wholes: Sequence[Whole]) -> Listed:
        """Add conversations that came from elsewhere: all of them, or none if anything goes wrong.

        Their ids are kept if none of them is taken; otherwise the conversation gets new ones throughout.
        """
        restored = archive.restore(self._database, self._files, visitor, wholes)
        self._vectors.changed(COLLECTION, [turn.id for whole in restored for turn in whole.turns])
        return [whole.conversation for whole in restored]

    def close_open_turns(self) -> int:
        """To be called once, at the start: tidy up after a process that died. Returns how many answers it was writing.

        They become interrupted. Files that no conversation refers to are deleted.
        """

        def work(connection: Connection) -> Sequence[str]:
            open_turns = messages.c.status == "streaming"
            left = connection.execute(select(messages.c.id).where(open_turns)).scalars().all()
            if left:
                connection.execute(update(messages).where(open_turns).values(status="interrupted", error=DIED))
            return left

        left = self._database.write(work)
        self._vectors.changed(COLLECTION, left)
        with self._database.read() as connection:
            wanted = set(connection.execute(select(files.c.id)).scalars())
        self._files.sweep(wanted)
        return len(left)
