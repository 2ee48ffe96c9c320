"""Prompts that other prompts include, put in as text: for formats that know no includes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from core.errors import BadRequest
from core.prompts.content import Content, Variable
from core.prompts.exchange._model import Exported
from core.prompts.names import Ref
from core.prompts.version import Version

DEEPEST = 10
# Raw blocks and comments are found too, so that an include in them is passed over.
_FOUND = re.compile(
    r"\{%-?\s*raw\s*-?%\}.*?\{%-?\s*endraw\s*-?%\}|\{#.*?#\}|"
    r"""(?P<before>\s*\{%-|\{%\+?)\s*include\s+(?P<quote>["'])(?P<ref>[^"'\\]+)(?P=quote)\s*(?P<after>-%\}\s*|\+?%\})""",
    re.DOTALL,
)

Lookup = Callable[[Ref], Version]


def resolved(entry: Exported, lookup: Lookup) -> Exported:
    """The same with the text of included prompts in the place of the includes. BadRequest, NotFound as `lookup`."""
    return replace(entry, versions=tuple(replace(v, content=_content(v.content, lookup)) for v in entry.versions))


def _content(content: Content, lookup: Lookup) -> Content:
    variables: dict[str, Variable] = {}
    messages = tuple(
        message.model_copy(update={"content": _text(message.content, lookup, variables, ())})
        for message in content.messages
    )
    return content.model_copy(update={"messages": messages, "variables": variables | content.variables})


def _text(text: str, lookup: Lookup, variables: dict[str, Variable], above: tuple[str, ...]) -> str:
    def put(found: re.Match[str]) -> str:
        if found["ref"] is None:
            return found[0]
        ref = found["ref"]
        if ref in above or len(above) >= DEEPEST:
            raise BadRequest(f"{ref} includes itself: {' → '.join([*above, ref])}.", "Take one of the includes out.")
        included = lookup(Ref.parse(ref)).content
        if len(included.messages) != 1:
            raise BadRequest(f"{ref} has several messages and cannot be put in.", "Export without its text.")
        for name, variable in included.variables.items():
            variables.setdefault(name, variable)
        return _text(included.messages[0].content, lookup, variables, (*above, ref))

    return _FOUND.sub(put, text)
