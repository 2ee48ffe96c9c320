"""Templates that know nothing but {{variable}}: Langfuse's, OpenAI's."""

from __future__ import annotations

import re
from collections.abc import Callable

from core.errors import BadRequest
from core.prompts.formats import _jinja
from core.prompts.formats._jinja_out import write
from core.prompts.formats._nodes import Comment, Include, Node, Text, Value, joined
from core.prompts.formats._reading import Reading
from core.prompts.formats._writing import Writing, as_it_stands

_VARIABLE = re.compile(r"\{\{(\s*)([^{}]*?)\s*\}\}")
_NAME = re.compile(r"\w[\w .-]{0,99}")

Refer = Callable[[str], str | None]  # our reference -> theirs


def read(text: str, place: str, reading: Reading, refer: Callable[[str], list[Node]] | None = None) -> str:
    """Theirs as ours. `refer` finds references to other prompts in plain text."""
    nodes: list[Node] = []

    def plain(piece: str) -> None:
        nodes.extend(refer(piece) if refer else [Text(piece)])

    end = 0
    for found in _VARIABLE.finditer(text):
        name = found[2]
        if not _NAME.fullmatch(name):
            reading.lose(place, f"{found[0][:60]!r} is no variable; it stays as text")
            continue
        plain(text[end : found.start()])
        nodes.append(Value((reading.variable(name),), tight=not found[1]))
        end = found.end()
    plain(text[end:])
    return write(joined(nodes))


def text_of(text: str, field: str, writing: Writing, refer: Refer | None = None) -> str:
    """Ours as theirs. What they cannot say is told; the text then stands there as Jinja."""
    try:
        nodes = _jinja.parse(text)
    except BadRequest as error:
        writing.lose(field, error.what)
        return text
    problems: list[str] = []
    out: list[str] = []
    for node in nodes:
        match node:
            case Text(plain):
                if "{{" in plain:
                    writing.lose(field, f"{writing.format} takes literal braces for a variable")
                out.append(plain)
            case Value((name,), tight, None):
                if out and out[-1].endswith("{"):
                    writing.lose(field, "a space stands between a literal brace and a variable now")
                    out.append(" ")
                out.append(f"{{{{{name}}}}}" if tight else f"{{{{ {name} }}}}")
            case Include(ref) if refer and (reference := refer(ref)):
                out.append(reference)
            case Comment():
                writing.lose(field, f"{writing.format} has no comments; they are left out")
            case _:
                problems.append(_jinja.named(node))
    if problems:
        writing.lose(field, as_it_stands(writing.format, problems))
        return text
    return "".join(out)
