"""Prompts as Jinja templates: which variables they need, and what they say with values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from core.errors import BadRequest
from core.files.child import Child, Unfinished
from core.messages import Message
from core.prompts.content import Content, Example, Variable
from core.prompts.templates.includes import Includes, Lookup
from core.prompts.templates.render import (
    MissingVariables,
    Needed,
    Part,
    Rendered,
    as_json,
    filled,
    question_of,
    refuse_unknown,
    with_examples,
)
from core.prompts.templates.syntax import MOST_TOKENS, TOO_MUCH_FIX, TemplateTree, Wrong, sources, variables
from core.prompts.version import Version
from core.text import clean

__all__ = ["MissingVariables", "Needed", "Part", "Rendered", "Templates"]

SECONDS = 2.0  # of one rendering; a usual one takes a thousandth of it
MEMORY = 256 * 1024 * 1024  # bytes

Nearest = Callable[[Content, str], tuple[Example, ...]]


class Templates:
    """Renders prompts; thread safe. Any template can be given to it: what goes wrong is a BadRequest.

    `lookup` finds the prompts that are included. `nearest` chooses few-shot examples for a question; without it, or
    with as many wanted as there are, all are sent. Only `render` needs `child`, and blocks until it has answered.
    """

    def __init__(self, lookup: Lookup, nearest: Nearest | None = None, child: Child | None = None) -> None:
        self._lookup = lookup
        self._nearest = nearest
        self._child = child

    def variables(self, prompt: Version | Content) -> tuple[Needed, ...]:
        """Of the prompt and what it includes, in the order of their first use; declared but unused ones at the end."""
        return _Opened(self._lookup, prompt).needed

    def check(self, content: Content, name: str = "") -> Content:
        """The content as it is to be saved: what is used and nowhere declared is declared now.

        Raises BadRequest for what cannot work. `name` is the prompt's, which must not include itself.
        """
        needed = _Opened(self._lookup, content, name).needed
        found = {one.name: one.variable for one in needed if not one.declared}
        return content.model_copy(update={"variables": {**content.variables, **found}}) if found else content

    def render(
        self,
        prompt: Version | Content,
        values: Mapping[str, Any],
        *,
        question: str | None = None,
        strict: bool = True,
    ) -> Rendered:
        """The messages with these values. Those that become blank are left out.

        A value of None counts as not given. `question` is what few-shot examples are chosen for, if the prompt asks
        for the nearest; without it that is the last user message. Not `strict`: values without a variable are ignored.
        """
        opened = _Opened(self._lookup, prompt)
        if strict:
            refuse_unknown(values, opened.known)
        given = filled(opened.needed, values)
        content = opened.content
        written = [
            Message(message.role, clean(text))
            for message, text in zip(content.messages, self._texts(opened, given), strict=True)
        ]
        messages = [message for message in written if message.text.strip()]
        if not messages:
            raise BadRequest("With these values the prompt is empty.", "Give other values, or add text to it.")
        examples = content.examples
        if content.nearest is not None and content.nearest < len(examples) and self._nearest is not None:
            examples = self._nearest(content, question_of(messages, given) if question is None else question)
        return Rendered(with_examples(messages, examples), opened.parts)

    def close(self) -> None:
        """End the processes that render."""
        if self._child is not None:
            self._child.close()

    def _texts(self, opened: _Opened, given: Mapping[str, Any]) -> list[str]:
        if self._child is None:
            raise TypeError("these templates were made to be checked, not to be rendered")
        parts: dict[str, tuple[str, str]] = {}
        messages: list[tuple[str, list[str]]] = []
        for tree, asked in zip(opened.trees, opened.asked, strict=True):
            parts |= sources(tree)
            # What need not be given is empty text, unless the message itself says what happens without it.
            messages.append((parts.pop("")[0], [name for name in given if given[name] is None and not asked.get(name)]))
        try:
            answer = self._child.run(
                "render", as_json(given), seconds=SECONDS, memory=MEMORY, messages=messages, parts=parts
            )
        except Unfinished as error:
            raise BadRequest(f"The template does too much: it {error.why}.", TOO_MUCH_FIX) from None
        if "texts" not in answer:
            place = opened.place(answer["index"], answer["name"], answer["line"])
            raise BadRequest(f"{place}: {answer['what']}", answer["fix"])
        return list(answer["texts"])


class _Opened:
    """A prompt with its includes resolved, and its variables found. Raises BadRequest."""

    def __init__(self, lookup: Lookup, prompt: Version | Content, name: str = "") -> None:
        self.content = prompt.content if isinstance(prompt, Version) else prompt
        includes = Includes(lookup, prompt.name if isinstance(prompt, Version) else name)
        self.trees: list[TemplateTree] = []
        self.asked: list[Mapping[str, bool]] = []  # the variables of each message
        for index, message in enumerate(self.content.messages):
            try:
                self.trees.append(includes.tree(message.content))
                self.asked.append(variables(self.trees[-1]))
            except Wrong as error:
                raise BadRequest(f"{self.place(index, error.name, error.line)}: {error.what}", error.fix) from None
        if includes.tokens > MOST_TOKENS:
            what = f"The messages have more than {MOST_TOKENS:,} words and signs in their templates."
            raise BadRequest(what, "Shorten them, or make several prompts of them.")
        versions = includes.parts.values()
        self.parts = tuple(Part(version.name, version.number, version.hash) for version in versions)
        declared = dict(self.content.variables)
        for version in versions:
            declared = {**version.content.variables, **declared}
        asked: dict[str, bool] = {}
        for one, asks in (found for each in self.asked for found in each.items()):
            asked[one] = asked.get(one, False) or asks
        self.known = {**asked, **declared}.keys()
        self.needed = tuple(
            Needed(one, declared.get(one) or _undeclared(asked[one]), one in declared)
            for one in {**asked, **self.content.variables}
        )

    def place(self, index: int, name: str, line: int) -> str:
        number = index + 1
        ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
        place = f"{number}{ending} message ({self.content.messages[index].role})"
        return place + (f", in {name}" if name else "") + (f", line {line}" if line else "")


def _undeclared(asked: bool) -> Variable:
    return Variable.model_validate({"required": not asked})
