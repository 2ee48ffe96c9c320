"""The text of a template as code that counts what it does, with included prompts in their places."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any, NamedTuple, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.visitor import NodeTransformer

from core.prompts.templates.budget import MOST_TEXT, Denied, too_much
from core.prompts.templates.sandbox import DONE, EACH, JOINED, MADE, Sandbox
from core.prompts.templates.scopes import Found, find

MOST_TOKENS = 5_000  # of all messages with what they include; plain text is one, whatever its length
TOKEN_SIZE = 100  # bytes of compiled code for one, at most
MOST_DEPTH = 60  # of syntax in syntax; Python's own limits lie a little above
MOST_DIGITS = 1_000  # of a number
LONGEST = 300  # characters of an error's message
OFFSET = 10_000_000  # lines of the n-th included text are counted from n * OFFSET

NESTED = "Parts of the template lie too deep within each other, or a macro calls itself without end."
NESTED_FIX = "Use fewer blocks within blocks and shorter expressions."
_NODES = """
    Template Output TemplateData For If Macro CallBlock FilterBlock With Assign AssignBlock Scope Name NSRef Const
    Tuple List Dict Pair Keyword CondExpr Filter Test Call Getitem Getattr Slice Concat Compare Operand Mul Div
    FloorDiv Add Sub Mod Pow Not Neg Pos And Or
"""
_ALLOWED = frozenset(_NODES.split())
_INCLUDE = re.compile(r"\binclude\b")
_OPENING, _CLOSING = ("{{", "{%"), ("}}", "%}")
_SIGNS = re.compile(r"\{\{|\{%|\}\}|%\}|[\d_]+")
# Of Jinja2's parser and of Python's compiler.
_FAILURES = (jinja2.TemplateSyntaxError, Denied, SyntaxError, RecursionError, MemoryError, ValueError, OverflowError)
_TAGS = {"Import": "import", "FromImport": "from", "Extends": "extends", "Block": "block"}


class Tree(NamedTuple):
    """A text with the prompts that it includes: (reference as it is written, what it was resolved to)."""

    text: str
    name: str = ""  # name@3; "" for a message
    children: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """A message, ready to run."""

    code: CodeType
    found: tuple[Found, ...]
    names: tuple[str, ...]  # of the included texts, "" for the message itself
    tokens: int
    size: int  # bytes that it takes to keep it and its texts, about

    def place(self, line: int) -> tuple[str, int]:
        """(name of the included prompt or "", line in it) of a line that the code names."""
        return self.names[line // OFFSET], line % OFFSET


class Wrong(Denied):
    """What cannot be compiled, in the line `lineno` of the included prompt `name`, or of the message if that is ""."""

    def __init__(self, what: str, fix: str, name: str, lineno: int) -> None:
        super().__init__(what, fix, lineno)
        self.name = name


class Scanned(NamedTuple):
    """A text that was parsed: (reference, line) of all includes, each reference once."""

    includes: tuple[tuple[str, int], ...]
    tokens: int


def references(sandbox: Sandbox, text: str) -> Scanned:
    """Raises Wrong."""
    builder = _Builder(sandbox)
    try:
        found = builder.parse(text).find_all(nodes.Include)
        every = [(_reference(node), node.lineno) for node in found]
    except _FAILURES as error:
        raise builder.wrong(error) from None
    includes = tuple({reference: (reference, line) for reference, line in reversed(every)}.values())[::-1]
    return Scanned(includes, builder.tokens)


def compiled(sandbox: Sandbox, tree: Tree) -> Program:
    """Raises Wrong."""
    builder = _Builder(sandbox)
    try:
        body = builder.build(tree)
        found = find(body)
        code = sandbox.compile(body)
    except _FAILURES as error:
        raise builder.wrong(error) from None
    assert isinstance(code, CodeType)
    return Program(code, found, tuple(builder.names), builder.tokens, builder.size + builder.tokens * TOKEN_SIZE)


class _Builder:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.tokens = 0
        self.size = 0
        self.names: list[str] = []

    def parse(self, text: str) -> nodes.Template:
        self.size += len(text)
        if self.size > MOST_TEXT:
            raise too_much(f"with what it includes it has more than {MOST_TEXT:,} characters")
        opened = False
        for found in _SIGNS.finditer(text):
            if found[0] in _OPENING or found[0] in _CLOSING:
                opened = found[0] in _OPENING
            elif opened and len(found[0]) > MOST_DIGITS:
                line = text.count("\n", 0, found.start()) + 1
                raise Denied(f"A number has more than {MOST_DIGITS:,} digits.", "Put it in quotation marks.", line)
        for line, _, _ in self._sandbox.lexer.tokeniter(text, None):
            self.tokens += 1
            if self.tokens > MOST_TOKENS:
                error = too_much(f"it has more than {MOST_TOKENS:,} words and signs")
                error.lineno = line
                raise error
        return self._sandbox.parse(text)

    def build(self, tree: Tree) -> nodes.Template:
        offset = len(self.names) * OFFSET
        self.names.append(tree.name)
        try:
            parsed = self.parse(tree.text)
        except jinja2.TemplateSyntaxError as error:
            error.lineno += offset
            raise
        except Denied as error:
            error.lineno += offset
            raise
        parsed = _Counting(self, tree, offset).visit(parsed)
        parsed.set_environment(self._sandbox)
        assert isinstance(parsed, nodes.Template)
        return parsed

    def wrong(self, error: Exception) -> Wrong:
        line = getattr(error, "lineno", None) or 0
        names = self.names or [""]
        what, fix = NESTED, NESTED_FIX
        if isinstance(error, Denied):
            what, fix = error.what, error.fix
        elif isinstance(error, jinja2.TemplateSyntaxError):
            message = (error.message or "it cannot be read")[:LONGEST].rstrip(".")
            what, fix = f"The template is wrong: {message}.", "Correct it."
        else:
            line = 0  # of the code that was made
            if isinstance(error, SyntaxError) and "nested" not in str(error.msg) and "indent" not in str(error.msg):
                what, fix = f"The template is wrong: {error.msg}.", "Correct it."
        index = line // OFFSET
        return Wrong(what, fix, names[index] if index < len(names) else "", line % OFFSET)


class _Counting(NodeTransformer):
    """Refuses what is not allowed, puts included prompts in, and wraps what must be counted."""

    def __init__(self, builder: _Builder, tree: Tree, offset: int) -> None:
        self._builder = builder
        self._children = dict(tree.children)
        self._lines = tree.text.split("\n") if tree.children else []
        self._ends: dict[int, bool] = {}
        self._offset = self._line = offset
        self._depth = 0

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        if node.lineno:  # the parser leaves it out in the second half of a comparison
            self._line = node.lineno + self._offset
        node.lineno = self._line
        kind = type(node).__name__
        if kind not in _ALLOWED and kind != "Include":
            self._no(node, f"{{% {_TAGS.get(kind, kind.lower())} %}}")
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise Denied(NESTED, NESTED_FIX, node.lineno)
        result = super().visit(node, *args, **kwargs)
        self._depth -= 1
        return result

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        named = nodes.Const(_named(node.iter)[:80], lineno=node.lineno)
        node.iter = _filter(node.iter, EACH, [named])
        return node

    def visit_Const(self, node: nodes.Const) -> nodes.Node:
        if isinstance(node.value, float) and not math.isfinite(node.value):
            raise Denied("A number in the template is too large.", "Write a smaller one.", node.lineno)
        return node

    def visit_List(self, node: nodes.Expr) -> nodes.Node:
        return _filter(self.generic_visit(node), MADE)

    visit_Dict = visit_List

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        return self.visit_List(node) if node.ctx == "load" else self.generic_visit(node)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        return _filter(node, MADE) if isinstance(node.arg, nodes.Slice) else node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filter(nodes.List(node.nodes, lineno=node.lineno), JOINED)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        return _filter(self.generic_visit(node), DONE)

    def visit_Call(self, node: nodes.Call) -> nodes.Node:
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            self._no(node, "* and ** in a call")
        return self.generic_visit(node)

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:
        if node.name not in self._builder._sandbox.filters:
            self._no(node, f"the filter {node.name[:80]}", node.name, self._builder._sandbox.filters)
        return self.visit_Call(node)  # type: ignore[arg-type]

    def visit_Test(self, node: nodes.Test) -> nodes.Node:
        if node.name not in self._builder._sandbox.tests:
            self._no(node, f"the test {node.name[:80]}", node.name, self._builder._sandbox.tests)
        return self.visit_Call(node)  # type: ignore[arg-type]

    def visit_Getattr(self, node: nodes.Getattr) -> nodes.Node:
        if node.attr.startswith("__"):
            self._no(node, node.attr[:80])
        return self.generic_visit(node)

    def visit_Include(self, node: nodes.Include) -> nodes.Node:
        child = self._children[_reference(node)]
        body = self._builder.build(child).body
        line = node.lineno - self._offset
        # Jinja2 takes away the line end after a tag, which would join the included text's last line with the next one.
        if line < len(self._lines) and self._include_ends(line) and not child.text.endswith("\n"):
            body.append(nodes.Output([nodes.TemplateData("\n")], lineno=node.lineno))
        return nodes.Scope(body, lineno=node.lineno)

    def _include_ends(self, line: int) -> bool:
        """Whether an include is the last in this line."""
        if line not in self._ends:
            text = self._lines[line - 1]
            tag = text[text.rfind("%", 0, -2) + 1 : -2] if text.endswith("%}") else ""
            self._ends[line] = not tag.endswith(("+", "-")) and _INCLUDE.search(tag) is not None
        return self._ends[line]

    def _no(self, node: nodes.Node, what: str, name: str = "", names: Iterable[str] = ()) -> NoReturn:
        near = difflib.get_close_matches(name, [one for one in names if one.isalpha()], 1)
        fix = f"Did you mean {near[0]}?" if near else "Take it out of the template."
        raise Denied(f"The template may not use {what}.", fix, node.lineno)


def _filter(node: Any, name: str, args: Sequence[nodes.Expr] = ()) -> nodes.Filter:
    return nodes.Filter(node, name, [*args], [], None, None, lineno=node.lineno)


def _named(node: nodes.Node) -> str:
    """`a.b` as it is written, "" for what is not only names."""
    if isinstance(node, nodes.Getattr):
        owner = _named(node.node)
        return owner and f"{owner}.{node.attr}"
    return node.name if isinstance(node, nodes.Name) else ""


def _reference(node: nodes.Include) -> str:
    """The name that is included."""
    wrong = ""
    if not isinstance(node.template, nodes.Const) or not isinstance(node.template.value, str):
        wrong = "needs the name of one prompt in quotation marks"
    elif node.ignore_missing:
        wrong = "may not say ignore missing"
    elif not node.with_context:
        wrong = "may not say without context"
    if wrong:
        raise Denied(f"An include {wrong}.", 'Write it like {% include "shared/tone@production" %}.', node.lineno)
    assert isinstance(node.template, nodes.Const)
    return str(node.template.value)
