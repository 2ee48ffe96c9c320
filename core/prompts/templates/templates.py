"""Prompts as Jinja2 templates: which variables they need, and what they say with values."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import jinja2

from core.errors import BadRequest
from core.messages import Message
from core.prompts.content import Content, Example, Variable
from core.prompts.templates.budget import Denied
from core.prompts.templates.includes import Includes, Lookup
from core.prompts.templates.render import (
    MissingVariables,
    Needed,
    Part,
    Rendered,
    filled,
    question_of,
    refuse_unknown,
    with_examples,
)
from core.prompts.templates.sandbox import Sandbox
from core.prompts.templates.syntax import (
    MOST_TOKENS,
    NESTED,
    NESTED_FIX,
    Program,
    Scanned,
    Tree,
    Wrong,
    compiled,
    references,
)
from core.prompts.version import Version
from core.text import clean

__all__ = ["MissingVariables", "Needed", "Part", "Rendered", "Templates"]

KEPT = 500  # compiled messages
KEPT_SIZE = 20_000_000  # bytes of them, about

Nearest = Callable[[Content, str], tuple[Example, ...]]
Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Templates:
    """Renders prompts; thread safe. Any template can be given to it: what goes wrong is a BadRequest.

    `lookup` finds the prompts that are included. `nearest` chooses few-shot examples for a question; without it, or
    with as many wanted as there are, all are sent.
    """

    def __init__(self, lookup: Lookup, nearest: Nearest | None = None) -> None:
        self._lookup = lookup
        self._nearest = nearest
        self._sandbox = Sandbox()
        self._references: _Kept[str, Scanned] = _Kept(
            lambda text: references(self._sandbox, text), lambda text, scanned: len(text)
        )
        self._programs: _Kept[Tree, Program] = _Kept(
            lambda tree: compiled(self._sandbox, tree), lambda tree, program: program.size
        )

    def variables(self, prompt: Version | Content) -> tuple[Needed, ...]:
        """Of the prompt and what it includes, in the order of their first use; declared but unused ones at the end."""
        return _Opened(self, prompt).needed

    def check(self, content: Content, name: str = "") -> Content:
        """The content as it is to be saved: what is used and nowhere declared is declared now.

        Raises BadRequest for what cannot work. `name` is the prompt's, which must not include itself.
        """
        found = {needed.name: needed.variable for needed in _Opened(self, content, name).needed if not needed.declared}
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
        opened = _Opened(self, prompt)
        if strict:
            refuse_unknown(values, opened.known)
        sandbox = self._sandbox.fresh()
        given = filled(opened.needed, values, sandbox.budget)
        written = [
            Message(message.role, opened.text(index, sandbox, given))
            for index, message in enumerate(opened.content.messages)
        ]
        messages = [message for message in written if message.text.strip()]
        if not messages:
            raise BadRequest("With these values the prompt is empty.", "Give other values, or add text to it.")
        content = opened.content
        examples = content.examples
        if content.nearest is not None and content.nearest < len(examples) and self._nearest is not None:
            examples = self._nearest(content, question_of(messages, given) if question is None else question)
        return Rendered(with_examples(messages, examples), opened.parts)

    def program(self, text: str, includes: Includes) -> Program:
        """A message, compiled. Raises Wrong."""
        return self._programs.get(includes.tree(text))

    def includes(self, root: str) -> Includes:
        return Includes(self._lookup, self._references.get, root)


class _Opened:
    """A prompt with its includes resolved and everything compiled. Raises BadRequest."""

    def __init__(self, templates: Templates, prompt: Version | Content, name: str = "") -> None:
        self.content = prompt.content if isinstance(prompt, Version) else prompt
        includes = templates.includes(prompt.name if isinstance(prompt, Version) else name)
        self._programs: list[Program] = []
        for index, message in enumerate(self.content.messages):
            try:
                self._programs.append(templates.program(message.content, includes))
            except Wrong as error:
                raise BadRequest(f"{self._place(index, error.name, error.lineno)}: {error.what}", error.fix) from None
            if sum(program.tokens for program in self._programs) > MOST_TOKENS:
                what = f"The messages have more than {MOST_TOKENS:,} words and signs in their templates."
                raise BadRequest(what, "Shorten them, or make several prompts of them.")
        versions = includes.parts.values()
        self.parts = tuple(Part(version.name, version.number, version.hash) for version in versions)
        declared = dict(self.content.variables)
        for version in versions:
            declared = {**version.content.variables, **declared}
        asked: dict[str, bool] = {}
        for found in (found for program in self._programs for found in program.found):
            asked[found.name] = asked.get(found.name, False) or found.asked
        self.known = {**asked, **declared}.keys()
        self.needed = tuple(
            Needed(one, declared.get(one) or _undeclared(asked[one]), one in declared)
            for one in {**asked, **self.content.variables}
        )

    def text(self, index: int, sandbox: Sandbox, values: dict[str, Any]) -> str:
        """One message with values."""
        program = self._programs[index]
        try:
            return clean(sandbox.run(program.code, values))
        except Exception as error:  # a template can cause any
            place = self._place(index, *program.place(getattr(error, "lineno", 0)))
            what, fix = _told(error)
            raise BadRequest(f"{place}: {what}", fix) from None

    def _place(self, index: int, name: str, line: int) -> str:
        number = index + 1
        ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
        place = f"{number}{ending} message ({self.content.messages[index].role})"
        return place + (f", in {name}" if name else "") + (f", line {line}" if line else "")


def _undeclared(asked: bool) -> Variable:
    return Variable.model_validate({"required": not asked})


def _told(error: Exception) -> tuple[str, str]:
    """What happened and what to do, without anything of the server's insides."""
    if isinstance(error, Denied):
        return error.what, error.fix
    if isinstance(error, RecursionError | MemoryError):
        return NESTED, NESTED_FIX
    told = str(error).splitlines()[0][:200] if str(error) else "it cannot be worked out"
    if isinstance(error, jinja2.UndefinedError):
        told = f"A {told[2:]}" if told.startswith("a ") else told
        return f"{told}.", "Correct the name, give it in the value, or write |default('…')."
    if "not supported between" in told:
        told = "values of different kinds cannot be compared or sorted"
    elif isinstance(error, OverflowError):
        told = "a number is too large"
    elif isinstance(error, AssertionError | AttributeError) or re.search(r"\(\)|<.*>|0x", told):
        told = "a filter or function does not fit what it was given"
    return f"It cannot be worked out: {told.rstrip('.')}.", "Correct the template or the values."


@dataclass(slots=True)
class _Entry(Generic[Value]):
    value: Value
    size: int


class _Kept(Generic[Key, Value]):
    """What was made lately, by what it was made of."""

    def __init__(self, make: Callable[[Key], Value], size: Callable[[Key, Value], int]) -> None:
        self._make = make
        self._size_of = size
        self._entries: OrderedDict[Key, _Entry[Value]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value:
        """The value of the key, made now if need be. Raises what making it raises."""
        with self._lock:
            if (entry := self._entries.get(key)) is not None:
                self._entries.move_to_end(key)
                return entry.value
        value = self._make(key)
        entry = _Entry(value, self._size_of(key, value))
        with self._lock:
            if key not in self._entries:
                self._entries[key] = entry
                self._size += entry.size
            while len(self._entries) > KEPT or self._size > KEPT_SIZE:
                self._size -= self._entries.popitem(last=False)[1].size
        return entry.value
