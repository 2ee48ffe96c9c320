"""What the Chat tab shows: reads the conversations and returns the components' new values. Does database work."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
from cachetools import LRUCache

from core.conversations import Conversation, StoredFile, Turn
from core.errors import ParleyError, RateLimited
from core.ledger.store import Filter
from core.models.info import ModelInfo
from core.services import Services
from pages.chat import history, view
from pages.chat.parts import EMPTY_BOX, Parts
from pages.chat.view import Look
from pages.kit.format import text
from pages.kit.handlers import Updates
from pages.kit.model_picker import label

LONGEST_QUERY = 1000  # characters
MOST_PICTURES = 200  # small pictures that are kept in memory
WIDEST = 480  # pixels of a small picture
PATIENCE = 1.0  # seconds that a small picture waits for its turn: a thread of the database waits with it
SECONDS = 5.0  # that making one may take
LARGEST = 40_000_000  # pixels of an upload that is made into a small picture
Notices = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Talk:
    """One conversation as it is drawn: a branch for each pane."""

    conversation: Conversation
    panes: tuple[tuple[str, list[Turn]], ...]  # (model, the branch from its root to its end)


class Screen:
    """Draws. Every method is blocking and returns a dict of components and their values."""

    def __init__(self, services: Services, parts: Parts) -> None:
        self._services = services
        self._parts = parts
        self._lock = threading.Lock()
        self._pictures: LRUCache[tuple[str, str], str] = LRUCache(MOST_PICTURES)

    def info(self, model: str) -> ModelInfo:
        return self._services.catalog.info(model)

    def name(self, model: str) -> str:
        """What people call a model."""
        return label(self.info(model)) if model else ""

    def look(self, visitor: str, panes: int, notices: Notices | None = None) -> Look:
        return Look(self.name, partial(self._picture, visitor), panes > 1, notices)

    def talk(self, visitor: str, conversation_id: str) -> Talk:
        """Raises NotFound."""
        store = self._services.conversations
        conversation = store.get(visitor, conversation_id)
        ends = [(pane.model, pane.leaf) for pane in conversation.panes] or [(conversation.model, conversation.leaf)]
        return Talk(
            conversation,
            tuple((model, store.path(visitor, conversation_id, leaf) if leaf else []) for model, leaf in ends),
        )

    def conversation(self, visitor: str, talk: Talk) -> Updates:
        """The whole conversation, at rest."""
        look = self.look(visitor, len(talk.panes))
        drawn = [view.messages(branch, look) for _, branch in talk.panes]
        chats: Updates = {self._parts.chats[number]: value for number, value in enumerate(drawn)}
        return self.columns(talk) | self.foot(talk) | chats

    def panes(self, visitor: str, conversation_id: str, notices: Notices | None = None) -> list[list[Any]]:
        """The messages of each pane, at rest. Raises NotFound."""
        talk = self.talk(visitor, conversation_id)
        look = self.look(visitor, len(talk.panes), notices)
        return [list(view.messages(branch, look)) for _, branch in talk.panes]

    def columns(self, talk: Talk) -> Updates:
        """Which conversation it is, and a column for each of its panes."""
        parts, conversation = self._parts, talk.conversation
        updates: Updates = {parts.here: conversation.id, parts.leaf: conversation.leaf or ""}
        heads = (
            [self._head(number, model) for number, (model, _) in enumerate(talk.panes)] if len(talk.panes) > 1 else []
        )
        return updates | self._heads(heads)

    def foot(self, talk: Talk) -> Updates:
        """What it cost so far, and how full the context window of the first pane is."""
        model, branch = talk.panes[0]
        total = self._services.ledger.total(Filter(conversation=talk.conversation.id))
        meters = [turn.meter for turn in branch if turn.role == "assistant" and turn.meter]
        used = meters[-1].usage.input + meters[-1].usage.output if meters else 0
        info = self.info(model)
        value = view.footing(total.cost, total.unpriced > 0, used, info.context, info.note)
        return {self._parts.foot: value}

    def blank(self, model: str) -> Updates:
        """A new chat."""
        parts = self._parts
        chats: Updates = {chat: [] for chat in parts.chats}
        info = self.info(model)
        return {
            **self._heads([]),
            **chats,
            parts.here: "",
            parts.leaf: "",
            parts.foot: view.footing(0, False, 0, info.context, info.note),
            **self.not_editing(),
        }

    def history(self, visitor: str, here: str, query: str = "") -> Updates:
        """The list at the side, or what a search finds."""
        store, now = self._services.conversations, datetime.datetime.now().astimezone()
        if query := query.strip()[:LONGEST_QUERY]:
            value = history.found(store.search(visitor, query), query, here)
        else:
            value = history.conversations(store.list(visitor), here, now)
        return {self._parts.history: value}

    def banner(self) -> Updates:
        """Says that nothing can be saved, when that is so."""
        problem: ParleyError | None = self._services.database.problem
        value = f'<div class="calm">{text(problem)}</div>' if problem else ""
        return {self._parts.banner: value}

    def editing(self, turn: Turn) -> Updates:
        """A message of the past in the box, to be sent in other words."""
        bar = (
            '<div class="across"><span>You are editing an earlier message. Sending makes a new branch; the old one is '
            'kept.</span><button class="word" data-do="cancel_edit">Cancel</button></div>'
        )
        return {
            self._parts.editing: turn.id,
            self._parts.editbar: bar,
            self._parts.box: {"text": turn.text, "files": []},
        }

    def not_editing(self) -> Updates:
        return {self._parts.editing: "", self._parts.editbar: ""}

    def choosing(self, several: bool) -> Updates:
        """One picker for one model, or one for several."""
        parts = self._parts
        return {
            parts.comparing: several,
            parts.model: gr.update(visible=not several),
            parts.models: gr.update(visible=several),
            parts.compare: gr.update(value="Single model" if several else "Compare"),
        }

    def box(self, busy: bool, clear: bool = False) -> Updates:
        """The message box, with a button that sends or one that stops: the style sheet goes by `busy`.

        Changing the box itself instead would cost the server some ten times more.
        """
        parts = self._parts
        return {parts.busy: "<i></i>" if busy else "", **({parts.box: EMPTY_BOX} if clear else {})}

    def _heads(self, heads: list[str]) -> Updates:
        """The line above each pane. The style sheet hides a pane without one, but for the first."""
        parts = self._parts
        return {head: heads[number] if number < len(heads) else "" for number, head in enumerate(parts.heads)}

    def _head(self, number: int, model: str) -> str:
        return (
            f'<div class="across"><b title="{text(model)}">{text(self.name(model))}</b>'
            f'<button class="word" data-do="pick_pane" data-pane="{number}">Continue with this</button></div>'
        )

    def _picture(self, visitor: str, file: StoredFile) -> str:
        """A small version of an image as a data: address; "" for what is no image."""
        if not file.media_type.startswith("image/"):
            return ""
        key = (visitor, file.id)
        with self._lock:
            found = self._pictures.get(key)
        if found is None:
            data = self._services.conversations.file_data(visitor, file.id)
            try:
                found = self._services.child.run(
                    "thumbnail", data, seconds=SECONDS, longest_wait=PATIENCE, widest=WIDEST, most_pixels=LARGEST
                )
            except RateLimited:  # next time, perhaps
                return ""
            except ParleyError:
                found = ""
            with self._lock:
                self._pictures[key] = found
        return found
