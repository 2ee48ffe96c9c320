"""What a model is given to read for an answer: the system prompt and the branch that leads to it."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Sequence

from cachetools import LRUCache

from core.conversations import Conversation, Conversations, StoredFile, Turn
from core.errors import BadRequest, NotFound
from core.files.attachments import ExtractedText, as_prompt_text, prepare
from core.files.child import Child
from core.messages import Attachment, Message
from core.models.catalog import Catalog
from core.settings import Settings

GO_ON = (
    "Continue your last answer exactly where it stopped. Do not repeat any of it and do not comment on this request."
)
MOST_FILES = 64
MOST_BYTES = 100 * 1024 * 1024

Prepared = Attachment | ExtractedText | BadRequest  # a BadRequest says why the model cannot take the file


class PreparedFiles:
    """The files that were prepared last, so that not every turn reads them anew. Safe from any thread."""

    def __init__(self, most: int = MOST_FILES, most_bytes: int = MOST_BYTES) -> None:
        self._lock = threading.Lock()
        # A small file counts as much as the average one may, so that there are never more than `most`.
        self._files: LRUCache[tuple[object, ...], Prepared] = LRUCache(
            most_bytes, lambda prepared: max(_size(prepared), most_bytes // most)
        )

    def __len__(self) -> int:
        return len(self._files)

    def get(self, key: tuple[object, ...]) -> Prepared | None:
        with self._lock:
            return self._files.get(key)

    def put(self, key: tuple[object, ...], prepared: Prepared) -> None:
        with self._lock, contextlib.suppress(ValueError):  # larger than all may be together
            self._files[key] = prepared


class ChatHistory:
    """Turns stored conversations into messages."""

    def __init__(self, conversations: Conversations, catalog: Catalog, settings: Settings, child: Child) -> None:
        self._conversations = conversations
        self._catalog = catalog
        self._limit: int = settings["PARLEY_MAX_UPLOAD_MB"] * 1024 * 1024
        self._child = child
        self._kept = PreparedFiles()

    def messages(
        self, visitor: str, conversation: Conversation, answer: Turn, opening: Sequence[Message] | None = None
    ) -> tuple[Message, ...]:
        """All that the model of `answer` is to read, oldest first. Does file and database work: call it in a thread.

        First comes the `opening`; None stands for the conversation's system prompt. If `answer` has text already it is
        to be continued. Reasoning is left out: makers bind it to one model and one unbroken history.
        """
        path = self._conversations.path(visitor, conversation.id, answer.id)
        if opening is None:
            opening = [Message("system", conversation.system)] if conversation.system.strip() else []
        messages = list(opening)
        for turn in path:
            if turn.role == "user":
                _ask(messages, self._user_message(visitor, turn, answer.model))
            elif turn.text.strip():
                messages.append(Message("assistant", turn.text))
        if answer.text and not self._catalog.info(answer.model).abilities.prefill:
            messages.append(Message("user", GO_ON))
        return tuple(messages)

    def prepare(self, name: str, data: bytes, model: str) -> Attachment | ExtractedText:
        """A file as `model` can take it. BadRequest if it cannot."""
        return prepare(name, data, self._catalog.info(model), self._limit, self._child)

    def _user_message(self, visitor: str, turn: Turn, model: str) -> Message:
        texts = [turn.text] if turn.text else []
        attachments: list[Attachment] = []
        for file in turn.files:
            try:
                prepared = self._prepared(visitor, file, model)
            except NotFound as error:
                prepared = BadRequest(error.what)
            match prepared:
                case Attachment():
                    attachments.append(prepared)
                case ExtractedText():
                    texts.append(as_prompt_text(prepared))
                case BadRequest():  # of an earlier turn, which must not end the conversation
                    texts.append(f"[The file {file.name} is left out: {prepared.what}]")
        return Message("user", "\n\n".join(texts), tuple(attachments))

    def _prepared(self, visitor: str, file: StoredFile, model: str) -> Prepared:
        """The file as a model of such abilities takes it; a refusal names the model, so it is kept for that alone."""
        can = self._catalog.info(model).abilities
        key = file.id, can.vision, can.pdf
        found = self._kept.get(key) or self._kept.get((*key, model))
        if found is not None:
            return found
        data = self._conversations.file_data(visitor, file.id)
        try:
            prepared = self.prepare(file.name, data, model)
        except BadRequest as error:
            refusal = BadRequest(error.what, error.fix)  # without the frames that the one raised holds on to
            self._kept.put((*key, model), refusal)
            return refusal
        self._kept.put(key, prepared)
        return prepared


def _size(prepared: Prepared) -> int:
    """Bytes, roughly."""
    match prepared:
        case Attachment():
            return len(prepared.data)
        case ExtractedText():
            return sys.getsizeof(prepared.text)
        case _:
            return len(prepared.what)


def _ask(messages: list[Message], question: Message) -> None:
    """Add a question; to the one before, if that was never answered: some models take only roles that alternate."""
    if messages and messages[-1].role == "user":
        before = messages.pop()
        text = "\n\n".join(part for part in (before.text, question.text) if part)
        question = Message("user", text, before.attachments + question.attachments)
    messages.append(question)
