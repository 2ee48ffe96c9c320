"""Templates that know nothing but {{variable}}: Langfuse's, OpenAI's."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from core.prompts.formats._jinja_out import write
from core.prompts.formats._nodes import Include, Node, Text, Value, joined, pieces
from core.prompts.formats._reading import Reading
from core.prompts.formats._writing import Writing

_VARIABLE = re.compile(r"\{\{(\s*)([^{}]*?)\s*\}\}")
_NAME = re.compile(r"\w[\w .-]{0,99}")

Refer = Callable[[str], str]  # our reference -> theirs


def read(text: str, place: str, reading: Reading, refer: Callable[[str], Sequence[Node]] | None = None) -> str:
    """Theirs as ours. `refer` finds references to other prompts in plain text."""

    def node_of(found: re.Match[str]) -> Node:
        if _NAME.fullmatch(found[2]):
            return Value((reading.variable(found[2]),), tight=not found[1])
        reading.lose(place, f"{found[0][:60]!r} is no variable; it stays as text")
        return Text(found[0])

    nodes = pieces(text, _VARIABLE, node_of)
    if refer:
        nodes = joined([one for node in nodes for one in (refer(node.text) if isinstance(node, Text) else [node])])
    return write(nodes)


def text_of(text: str, field: str, writing: Writing, refer: Refer | None = None) -> str:
    """Ours as theirs. What they cannot say is told; the text then stands there as Jinja."""

    def say(node: Node, before: str, _: Node | None) -> str | None:
        match node:
            case Text(plain):
                if "{{" in plain:
                    writing.lose(field, f"{writing.format} takes literal braces for a variable")
                return plain
            case Value((name,), tight, None):
                if before.endswith("{"):
                    writing.lose(field, "a space stands between a literal brace and a variable now")
                return " " * before.endswith("{") + (f"{{{{{name}}}}}" if tight else f"{{{{ {name} }}}}")
            case Include(ref) if refer:
                return refer(ref)
        return None

    return writing.simple(text, field, say)
