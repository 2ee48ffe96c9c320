"""The common tree as a Handlebars template, with the helpers of dotprompt.

Escapes follow the lexer of handlebars.js 4: `\\{{` is a literal {{, `\\\\{{` a backslash before a tag. Tags that stand
alone on a line take the line with them, so that one that must not is put behind an empty comment.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.prompts.formats._jinja import named
from core.prompts.formats._jinja_out import current_line
from core.prompts.formats._nodes import Comment, Condition, Each, If, Node, Path, Text, Value

HELPERS = frozenset(("if", "unless", "each", "with", "lookup", "log", "json", "role", "history", "media", "section"))
MORE_HELPERS = frozenset(("ifEquals", "unlessEquals", "helperMissing", "blockHelperMissing"))
WORDS = frozenset(("this", "true", "false", "null", "undefined", "as"))  # never a variable there
_LOOP = {"index0": "@index", "first": "@first", "last": "@last"}
_OPEN = {"is": "if", "not": "unless", "equals": "ifEquals", "differs": "unlessEquals"}
EMPTY = "{{!}}"


class Unsaid(Exception):
    """Handlebars cannot say it; the text is for people."""


class Writer:
    """Writes one text after the other into `out`. Unsaid for what has no counterpart."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self._after_tag = False
        self._items: list[str] = []  # names of the loops' items, the outermost first

    def write(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            match node:
                case Text(text):
                    self._text(text)
                case Value(path, tight, json):
                    inside = self._path(path)
                    if json is not None:
                        inside = f"json {inside}{f' indent={json}' if json else ''}"
                    self.tag(inside if tight or json is not None else f" {inside} ")
                case Comment(text):
                    self._line(f"!-- {text.replace('--', '- -')} --")
                case If(branches):
                    self._if(branches)
                case Each(item, path, body, otherwise):
                    self._line(f"#each {self._path(path)}")
                    self._items.append(item)
                    self.write(body)
                    self._items.pop()
                    if otherwise:
                        self._line("else")
                        self.write(otherwise)
                    self._line("/each")
                case _:
                    raise Unsaid(named(node))

    def tag(self, inside: str) -> None:
        """A tag, kept apart from what stands before it."""
        last = self.out[-1] if self.out else ""
        self._after_tag = True
        if last.endswith("{"):
            self.out.append(f" {{{{~{inside}}}}}")
        else:
            self.out.append(f"\\{{{{{inside}}}}}" if last.endswith("\\") else f"{{{{{inside}}}}}")

    def _line(self, inside: str) -> None:
        line = current_line(self.out)
        if line and not line.strip():
            self.out.append(EMPTY)
        self.tag(inside)
        if not line:
            self.out.append("\n")
            self._after_tag = False

    def _text(self, text: str) -> None:
        if text.startswith("}") and self._after_tag:
            self.out[-1] = f"{self.out[-1][:-2]}~}}}} "
        self._after_tag = False
        first, *rest = text.split("{{")
        self.out.append(first)
        for piece in rest:
            if "".join(self.out[-2:]).endswith("\\"):
                self.tag("!")
            self.out.append("\\{{" + piece)
            self._after_tag = False

    def _if(self, branches: Sequence[tuple[Condition | None, tuple[Node, ...]]]) -> None:
        start = len(self.out)
        before = "".join(self.out[-1:])
        first = branches[0][0]
        alone: set[bool] = set()  # whether the tags after the first stand on lines of their own
        for number, (test, body) in enumerate(branches):
            alone |= {not current_line(self.out)} if number > 1 else set()
            if test is None:
                self._line("else")
            else:
                self._line(f"{'else ' if number else '#'}{_OPEN[test.kind]} {self._arguments(test)}")
            self.write(body)
        alone |= {not current_line(self.out)} if len(branches) > 2 else set()
        self._line(f"/{_OPEN[first.kind] if first else 'if'}")
        if len(alone) > 1:  # Handlebars looks at the first else alone, so the others become conditions within it
            del self.out[start:]
            self.out[-1:] = [before] if start else []
            self._after_tag = before.endswith("}}")
            self._if([branches[0], (None, (If(tuple(branches[1:])),))])

    def _arguments(self, test: Condition) -> str:
        path = self._path(test.path)
        if test.other is None:
            return path
        if isinstance(test.other, tuple):
            return f"{path} {self._path(test.other)}"
        if not isinstance(test.other, str):
            return f"{path} {test.other}"
        quote = "'" if '"' in test.other else '"'
        if quote in test.other or test.other.endswith("\\") or "}}" in test.other:
            raise Unsaid(f"the text {test.other[:40]!r} in a condition")
        return f"{path} {quote}{test.other}{quote}"

    def _path(self, path: Path) -> str:
        name, *rest = path
        if name == "loop" and self._items:
            if len(rest) == 1 and rest[0] in _LOOP:
                return _LOOP[rest[0]]
            raise Unsaid(f"loop.{'.'.join(rest)}")
        if any(part in WORDS for part in path):
            raise Unsaid(f"the name {'.'.join(path)}")
        for up, item in enumerate(reversed(self._items)):
            if item == name:
                return "../" * up + ".".join(["this", *rest])
        if not self._items and name in HELPERS | MORE_HELPERS:
            return f"this.{'.'.join(path)}"
        # Handlebars counts no level for an item that equals the one around it, so two steps up are not safe.
        up_to_root = "@root." if len(self._items) > 1 else "../" * len(self._items)
        return up_to_root + ".".join(path)
