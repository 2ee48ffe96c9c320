"""Prompts that other prompts include, put in as text: for formats that know no includes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from core.errors import BadRequest
from core.names import Ref
from core.prompts.content import Content, Variable
from core.prompts.formats import _jinja
from core.prompts.formats._jinja_out import write
from core.prompts.formats._model import Exported
from core.prompts.formats._nodes import Each, If, Include, Node, joined, walk
from core.prompts.version import Version

DEEPEST = 10

Lookup = Callable[[Ref], Version]


def resolved(entry: Exported, lookup: Lookup) -> Exported:
    """The same with the text of included prompts in the place of the includes. BadRequest, NotFound as `lookup`."""
    versions = tuple(replace(one, content=_Resolver(lookup).content(one.content)) for one in entry.versions)
    return replace(entry, versions=versions)


class _Resolver:
    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._variables: dict[str, Variable] = {}

    def content(self, content: Content) -> Content:
        messages = []
        for message in content.messages:
            nodes = _jinja.parse(message.content)
            if any(isinstance(node, Include) for node in walk(nodes)):
                message = message.model_copy(update={"content": write(self._put(nodes, ()))})
            messages.append(message)
        variables = self._variables | content.variables
        return content.model_copy(update={"messages": tuple(messages), "variables": variables})

    def _put(self, nodes: Sequence[Node], above: tuple[str, ...]) -> tuple[Node, ...]:
        found: list[Node] = []
        for node in nodes:
            match node:
                case Include(ref):
                    found += self._included(ref, above)
                case If(branches):
                    found.append(If(tuple((test, self._put(body, above)) for test, body in branches)))
                case Each(item, path, body, otherwise):
                    found.append(Each(item, path, self._put(body, above), self._put(otherwise, above)))
                case _:
                    found.append(node)
        return joined(found)

    def _included(self, text: str, above: tuple[str, ...]) -> tuple[Node, ...]:
        ref = Ref.parse(text)
        if ref.name in above or len(above) >= DEEPEST:
            raise BadRequest(f"{ref.name} includes itself: {' -> '.join([*above, ref.name])}.", "Take an include out.")
        content = self._lookup(ref).content
        if len(content.messages) != 1:
            raise BadRequest(f"{ref} has several messages and cannot be put in.", "Export without its text.")
        for name, variable in content.variables.items():
            self._variables.setdefault(name, variable)
        return self._put(_jinja.parse(content.messages[0].content), (*above, ref.name))
