"""What a model is given to read for an answer: the system prompt and the branch that leads to it."""

from __future__ import annotations

from core.attachments import ExtractedText, as_prompt_text, prepare
from core.catalog import Catalog
from core.conversations import Conversation, Conversations, Turn
from core.errors import BadRequest, NotFound
from core.messages import Attachment, Message
from core.settings import Settings

GO_ON = (
    "Continue your last answer exactly where it stopped. Do not repeat any of it and do not comment on this request."
)


class Context:
    """Turns stored conversations into messages."""

    def __init__(self, conversations: Conversations, catalog: Catalog, settings: Settings) -> None:
        self._conversations = conversations
        self._catalog = catalog
        self._limit: int = settings["PARLEY_MAX_UPLOAD_MB"] * 1024 * 1024

    def messages(self, visitor: str, conversation: Conversation, answer: Turn) -> tuple[Message, ...]:
        """All that the model of `answer` is to read, oldest first. Does file and database work: call it in a thread.

        If `answer` has text already it is to be continued. Reasoning is left out: makers bind it to one model and
        one unbroken history.
        """
        path = self._conversations.path(visitor, conversation.id, answer.id)
        messages = [Message("system", conversation.system)] if conversation.system.strip() else []
        for turn in path:
            if turn.role == "user":
                messages.append(self._user_message(visitor, turn, answer.model))
            elif turn.text:
                messages.append(Message("assistant", turn.text))
        if answer.text and not self._catalog.info(answer.model).abilities.prefill:
            messages.append(Message("user", GO_ON))
        return tuple(messages)

    def prepare(self, name: str, data: bytes, model: str) -> Attachment | ExtractedText:
        """A file as `model` can take it. BadRequest if it cannot."""
        return prepare(name, data, self._catalog.info(model), self._limit)

    def _user_message(self, visitor: str, turn: Turn, model: str) -> Message:
        texts = [turn.text] if turn.text else []
        attachments: list[Attachment] = []
        for file in turn.files:
            try:
                prepared = self.prepare(file.name, self._conversations.file_data(visitor, file.id), model)
            except (BadRequest, NotFound) as error:
                # A file of an earlier turn that this model cannot take must not end the conversation.
                texts.append(f"[The file {file.name} is left out: {error.what}]")
                continue
            if isinstance(prepared, Attachment):
                attachments.append(prepared)
            else:
                texts.append(as_prompt_text(prepared))
        return Message("user", "\n\n".join(texts), tuple(attachments))
