"""What a prompt puts before a conversation: its messages but a closing one of the user, who takes its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from core.conversations.choice import PromptChoice
from core.errors import BadRequest, NotFound
from core.messages import Message
from core.prompts.content import Content, PromptMessage
from core.prompts.templates.templates import Needed, Templates
from core.prompts.version import Version

ITS_PLACE = "…"  # instead of a closing question: not empty, because empty messages are left out


@dataclass(frozen=True, slots=True)
class PromptOpening:
    """`messages` with the values put in. `parts` are the included prompts with the versions that were used."""

    version: Version
    messages: tuple[Message, ...]
    parts: tuple[tuple[str, int], ...]

    def with_system(self, system: str) -> tuple[Message, ...]:
        """The messages with a conversation's own system prompt: it follows the prompt's, after an empty line."""
        first, rest = self.messages[:1], self.messages[1:]
        if not system.strip():
            return self.messages
        if first and first[0].role == "system":
            return (Message("system", f"{first[0].text.rstrip()}\n\n{system}"), *rest)
        return (Message("system", system), *self.messages)


class PromptContext:
    """Resolved anew at each call, so that a label that moves is followed. `lookup` finds the version of a reference."""

    def __init__(self, lookup: Callable[[str], Version], templates: Templates) -> None:
        self._lookup = lookup
        self._templates = templates

    def of(self, choice: PromptChoice, question: str) -> PromptOpening:
        """The opening for an answer to `question`, to which few-shot examples may be chosen.

        Raises NotFound when the prompt is gone, BadRequest when it was changed by hand, does not render or has no such
        variable, MissingVariables when a value is missing. A variable that only the closing question has needs none.
        """
        version = self._lookup(choice.ref)
        content = self._without_question(version.content)
        used = {needed.name for needed in self._templates.variables(content)}
        spare = {needed.name for needed in self._templates.variables(version)} - used
        values = {name: value for name, value in choice.values.items() if name not in spare}
        rendered = self._templates.render(content, values, question=question)
        messages = rendered.messages if content is version.content else rendered.messages[:-1]
        return PromptOpening(version, messages, tuple((part.name, part.number) for part in rendered.parts))

    def closing_with(self, opening: PromptOpening, choice: PromptChoice, text: str) -> PromptOpening | None:
        """The opening with all parts of its prompt if `text` is the prompt's closing question with the values put in;
        None if it is another one, or a value is missing.
        """
        if opening.version.content.messages[-1].role != "user":
            return None
        try:
            rendered = self._templates.render(opening.version, choice.values, question=text)
        except (BadRequest, NotFound):
            return None
        if rendered.messages[-1].text.strip() != text.strip():
            return None
        return replace(opening, parts=tuple((part.name, part.number) for part in rendered.parts))

    def variables(self, ref: str) -> tuple[Needed, ...]:
        """The variables that a conversation with this prompt uses, in the order of their first use."""
        return self._templates.variables(self._without_question(self._lookup(ref).content))

    def _without_question(self, content: Content) -> Content:
        """The content with a mere word for a closing question and only the variables that are left, or as it is."""
        *before, last = content.messages
        if last.role != "user":
            return content
        bare = content.model_copy(
            update={"messages": (*before, PromptMessage(role="user", content=ITS_PLACE)), "variables": {}}
        )
        used = {needed.name for needed in self._templates.variables(bare)}
        return bare.model_copy(update={"variables": {k: v for k, v in content.variables.items() if k in used}})
