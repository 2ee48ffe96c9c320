"""What the Chat tab shows: reads the conversations and returns the components' new values. Does database work."""

from __future__ import annotations

import base64
import datetime
import io
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
from PIL import Image

from core.conversations import Conversation, File, Turn
from core.errors import ParleyError
from core.ledger import Filter
from core.models import ModelInfo
from core.services import Services
from pages import _chat_list, _chat_view
from pages._chat_models import label
from pages._chat_options import Updates
from pages._chat_parts import EMPTY_BOX, Parts
from pages._chat_view import Look
from pages._shared import text

BUSY: dict[str, Any] = {"submit_btn": False, "stop_btn": True}
IDLE: dict[str, Any] = {"submit_btn": True, "stop_btn": False}
MOST_PICTURES = 200  # small pictures that are kept in memory
WIDEST = 480  # pixels of a small picture
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
        self._pictures: OrderedDict[tuple[str, str], str] = OrderedDict()

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

    def conversation(self, visitor: str, talk: Talk, notices: Notices | None = None) -> Updates:
        """The whole conversation, at rest."""
        look = self.look(visitor, len(talk.panes), notices)
        drawn = [_chat_view.messages(branch, look) for _, branch in talk.panes]
        return self.frame(talk) | {self._parts.chats[number]: value for number, value in enumerate(drawn)}

    def frame(self, talk: Talk) -> Updates:
        """Everything around the messages."""
        parts, conversation = self._parts, talk.conversation
        updates: Updates = {parts.here: conversation.id, parts.leaf: conversation.leaf or ""}
        several = len(talk.panes) > 1
        for number, (column, head) in enumerate(zip(parts.columns, parts.heads, strict=True)):
            there = number < len(talk.panes)
            updates[column] = gr.update(visible=there)
            if there:
                updates[head] = gr.update(value=self._head(number, talk.panes[number][0]), visible=several)
        return updates | self.foot(talk)

    def foot(self, talk: Talk) -> Updates:
        """What it cost so far, and how full the context window of the first pane is."""
        model, branch = talk.panes[0]
        total = self._services.ledger.total(Filter(conversation=talk.conversation.id))
        meters = [turn.meter for turn in branch if turn.role == "assistant" and turn.meter]
        used = meters[-1].usage.input + meters[-1].usage.output if meters else 0
        info = self.info(model)
        value = _chat_view.footing(total.cost, total.unpriced > 0, used, info.context, info.note)
        return {self._parts.foot: value}

    def blank(self, model: str) -> Updates:
        """A new chat."""
        parts = self._parts
        columns = {column: gr.update(visible=number == 0) for number, column in enumerate(parts.columns)}
        chats: Updates = {chat: [] for chat in parts.chats}
        info = self.info(model)
        return {
            **columns,
            **chats,
            parts.heads[0]: gr.update(visible=False),
            parts.here: "",
            parts.leaf: "",
            parts.foot: _chat_view.footing(0, False, 0, info.context, info.note),
            **self.not_editing(),
        }

    def history(self, visitor: str, here: str, query: str = "") -> Updates:
        """The list at the side, or what a search finds."""
        store, now = self._services.conversations, datetime.datetime.now().astimezone()
        if query.strip():
            value = _chat_list.found(store.search(visitor, query.strip()), query.strip(), here)
        else:
            value = _chat_list.conversations(store.list(visitor), here, now)
        return {self._parts.history: value}

    def banner(self) -> Updates:
        """Says that nothing can be saved, when that is so."""
        problem: ParleyError | None = self._services.database.problem
        value = f'<div class="calm">{text(problem)}</div>' if problem else ""
        return {self._parts.banner: gr.update(value=value, visible=problem is not None)}

    def editing(self, turn: Turn) -> Updates:
        """A message of the past in the box, to be sent in other words."""
        bar = (
            '<div class="across"><span>You are editing an earlier message. Sending makes a new branch; the old one is '
            'kept.</span><button class="word" data-do="cancel_edit">Cancel</button></div>'
        )
        return {
            self._parts.editing: turn.id,
            self._parts.editbar: gr.update(value=bar, visible=True),
            self._parts.box: gr.update(value={"text": turn.text, "files": []}),
        }

    def not_editing(self) -> Updates:
        return {self._parts.editing: "", self._parts.editbar: gr.update(value="", visible=False)}

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
        """The message box, with a button that sends or one that stops."""
        value: dict[str, Any] = {"value": EMPTY_BOX} if clear else {}
        return {self._parts.box: gr.update(**(BUSY if busy else IDLE), **value)}

    def _head(self, number: int, model: str) -> str:
        return (
            f'<div class="across"><b title="{text(model)}">{text(self.name(model))}</b>'
            f'<button class="word" data-do="pick_pane" data-pane="{number}">Continue with this</button></div>'
        )

    def _picture(self, visitor: str, file: File) -> str:
        """A small version of an image as a data: address; "" for what is no image."""
        if not file.media_type.startswith("image/"):
            return ""
        key = (visitor, file.id)
        if key not in self._pictures:
            self._pictures[key] = _small(self._services.conversations.file_data(visitor, file.id))
            while len(self._pictures) > MOST_PICTURES:
                self._pictures.popitem(last=False)
        return self._pictures[key]


def _small(data: bytes) -> str:
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > LARGEST:
                return ""
            image.thumbnail((WIDEST, WIDEST))
            out = io.BytesIO()
            image.convert("RGBA").save(out, "WEBP", quality=80)
    except (OSError, ValueError, Image.DecompressionBombError):
        return ""
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode("ascii")
