"""`{% include "shared/tone@production" %}`: what is included, as its references are resolved now."""

from __future__ import annotations

from collections.abc import Callable

from core.errors import BadRequest, NotFound
from core.names import Ref
from core.prompts.templates.syntax import MOST_TEXT, MOST_TOKENS, Scanned, TemplateTree, Wrong, scan, too_much
from core.prompts.version import Version

DEEPEST = 10  # prompts within prompts
MOST = 200  # includes of one prompt

Lookup = Callable[[Ref], Version]


class Includes:
    """Of one prompt. A reference means the same version wherever it stands, even if its label is moved meanwhile."""

    def __init__(self, lookup: Lookup, root: str = "") -> None:
        self._lookup = lookup
        self._path = (root,) if root else ()
        self._longest = DEEPEST + len(self._path)
        self._resolved: dict[str, Version] = {}
        self._count = self._size = self.tokens = 0
        self.parts: dict[str, Version] = {}  # by name@number, in the order of their first use

    def tree(self, text: str) -> TemplateTree:
        """A message with all that it includes. Raises Wrong."""
        return self._tree(text, "", self._path)

    def _tree(self, text: str, name: str, path: tuple[str, ...]) -> TemplateTree:
        scanned = self._scanned(text, name)
        children = []
        for reference, line in scanned.includes:
            try:
                version = self._version(reference, path)
                self.parts.setdefault(version.ref, version)
                child = self._tree(version.content.messages[0].content, version.ref, (*path, version.name))
            except (BadRequest, NotFound) as error:
                raise Wrong(error.what, error.fix, line, name) from None
            except Wrong as error:
                error.name = error.name or version.ref
                raise
            children.append((reference, child))
        return TemplateTree(text, name, tuple(children))

    def _scanned(self, text: str, name: str) -> Scanned:
        """The text parsed, if there are not too many: the sum is known before the next one is looked up."""
        self._size += len(text)
        if self._size > MOST_TEXT:
            raise _large(f"{MOST_TEXT:,} characters", name)
        scanned = scan(text)
        self.tokens += scanned.tokens
        if self.tokens > MOST_TOKENS:
            raise _large(f"{MOST_TOKENS:,} words and signs", name)
        return scanned

    def _version(self, reference: str, path: tuple[str, ...]) -> Version:
        self._count += 1
        if self._count > MOST:
            raise BadRequest(f"There are more than {MOST} includes.", "Include fewer.")
        ref = Ref.parse(reference)
        if ref.name in path:
            circle = " -> ".join((*path[path.index(ref.name) :], ref.name))
            raise BadRequest(f"A prompt cannot include itself: {circle}.", "Take one of these includes out.")
        if len(path) >= self._longest:
            raise BadRequest(
                f"Prompts include each other more than {DEEPEST} deep: {' -> '.join((*path, ref.name))}.",
                "Include fewer within each other.",
            )
        if reference not in self._resolved:
            self._resolved[reference] = self._lookup(ref)
        version = self._resolved[reference]
        if len(version.content.messages) != 1:
            raise BadRequest(
                f"{version.ref} has {len(version.content.messages)} messages and cannot be included.",
                "Include a prompt that has exactly one message.",
            )
        return version


def _large(most: str, name: str) -> Wrong:
    return too_much(f"the messages have, with what they include, more than {most}", name=name)
