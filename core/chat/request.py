"""What a request is made of: the opening of a prompt, the conversation, files, and the parameters of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from core.chat.history import ChatHistory
from core.chat.prompt_context import PromptContext
from core.conversations import Conversation, Conversations, Turn
from core.files.child import Child
from core.messages import ChatRequest
from core.models.catalog import Catalog
from core.prompts.run import over
from core.settings import Settings

Upload = tuple[str, bytes]  # a file's name and contents


class RequestBuilder:
    """Does file and database work: call it in a thread."""

    def __init__(
        self,
        conversations: Conversations,
        catalog: Catalog,
        prompt_context: PromptContext,
        settings: Settings,
        child: Child,
    ) -> None:
        self._conversations = conversations
        self._prompt_context = prompt_context
        self._history = ChatHistory(conversations, catalog, settings, child)

    def check(
        self, conversation: Conversation, text: str, files: Sequence[Upload] = (), models: Sequence[str] = ()
    ) -> None:
        """Raises what would make each answer to this question fail for want of anything but the model.

        BadRequest for a file that one of the models cannot take; for the prompt see `core.chat.prompt_context`.
        """
        if conversation.prompt is not None:
            self._prompt_context.of(conversation.prompt, text)
        for name, data in files:
            for model in models:
                self._history.prepare(name, data, model)

    def request(self, visitor: str, answer: Turn, keys: Mapping[str, str], fallbacks: tuple[str, ...]) -> ChatRequest:
        """What to ask for `answer`, as the conversation and its prompt are now.

        The prompt's messages go first, and the conversation's own system prompt is added to the prompt's. Parameters
        that the conversation does not set are the prompt's. The request names the prompt if any of its text is sent:
        when it is a question and nothing else, only if the conversation begins with that question. Raises as `check`
        does, but a file that does not fit is left out and the model is told.
        """
        conversation = self._conversations.get(visitor, answer.conversation)
        request = ChatRequest(
            answer.model,
            (),
            conversation.parameters,
            fallbacks=fallbacks,
            feature="compare" if len(conversation.panes) > 1 else "chat",
            conversation=conversation.id,
            visitor=visitor,
            keys=keys,
        )
        if conversation.prompt is None:
            return replace(request, messages=self._history.messages(visitor, conversation, answer))
        opening = self._prompt_context.of(conversation.prompt, self._question(visitor, answer))
        version = opening.version
        request = replace(
            request,
            messages=self._history.messages(visitor, conversation, answer, opening.with_system(conversation.system)),
            parameters=over(conversation.parameters, version.content.as_parameters()),
        )
        if not opening.messages:
            whole = self._prompt_context.closing_with(opening, conversation.prompt, self._first(visitor, answer))
            if whole is None:
                return request
            opening = whole
        return replace(
            request,
            prompt_name=version.name,
            prompt_version=version.number,
            prompt_hash=version.hash,
            prompt_parts=opening.parts,
        )

    def _first(self, visitor: str, answer: Turn) -> str:
        """The text that the user began this branch with."""
        path = self._conversations.path(visitor, answer.conversation, answer.id)
        return next((turn.text for turn in path if turn.role == "user"), "")

    def _question(self, visitor: str, answer: Turn) -> str:
        """The text of the user's that `answer` answers."""
        return "" if answer.parent is None else self._conversations.turn(visitor, answer.parent).text
