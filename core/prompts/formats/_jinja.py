"""Jinja to the common tree. `trim` are the options that prompts are rendered with here; others render without them."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any

import jinja2
from jinja2 import nodes as j

from core.errors import BadRequest
from core.prompts.formats._nodes import Comment, Condition, Each, Foreign, If, Include, Node, Path, Text, Value, joined
from core.prompts.templates.syntax import as_it_is, undeclared

_NAME = re.compile(r"\s*[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\s*", re.ASCII)
_ENDS = ("endif", "else", "elif", "endfor")


@functools.cache
def environment(trim: bool = True) -> jinja2.Environment:
    """For reading only: nothing is ever rendered with it."""
    return jinja2.Environment(  # noqa: S701
        trim_blocks=trim, lstrip_blocks=trim, keep_trailing_newline=True, finalize=as_it_is
    )


@dataclass(frozen=True, slots=True)
class _Piece:
    """A text, a `{{ }}`, a `{% %}` or a `{# #}` of the source."""

    kind: str  # "data" | "variable" | "block" | "comment"
    text: str  # of a tag: what stands between its braces
    line: int


def parse(text: str, trim: bool = True) -> tuple[Node, ...]:
    """The template as a tree. BadRequest for what is no Jinja at all."""
    env = environment(trim)
    try:
        env.parse(text)
        pieces = _pieces(env, text)
        return _Parser(env, pieces).all()
    except jinja2.TemplateSyntaxError as error:
        raise BadRequest(f"The template is wrong in line {error.lineno}: {error.message}.") from None
    except RecursionError:
        raise BadRequest("The template is nested too deeply.") from None


def _pieces(env: jinja2.Environment, text: str) -> list[_Piece]:
    found: list[_Piece] = []
    raw = False
    inside: list[str] = []
    start = 1
    for line, type_, value in env.lex(text):
        kind, _, edge = type_.partition("_")
        if type_ == "data":
            found.append(_Piece("data", value, line))
        elif kind == "raw":
            raw = edge == "begin"
        elif edge == "begin" and kind in ("variable", "block", "comment"):
            inside, start = [], line
        elif edge == "end" and kind in ("variable", "block", "comment"):
            found.append(_Piece(kind, "".join(inside), start))
        elif not raw:
            inside.append(value)
    return found


class _Parser:
    def __init__(self, env: jinja2.Environment, pieces: list[_Piece]) -> None:
        self._env = env
        self._pieces = pieces
        self._at = 0

    def all(self) -> tuple[Node, ...]:
        return joined(self._until())

    def _until(self) -> list[Node]:
        """Nodes up to the tag that ends this block, or the end."""
        found: list[Node] = []
        while self._at < len(self._pieces):
            piece = self._pieces[self._at]
            if piece.kind == "block" and _word(piece) in _ENDS:
                return found
            self._at += 1
            if piece.kind == "data":
                found.append(Text(piece.text))
            elif piece.kind == "comment":
                found.append(Comment(piece.text.strip()))
            elif piece.kind == "variable":
                found.append(self._value(piece))
            else:
                found += self._block(piece)
        return found

    def _value(self, piece: _Piece) -> Node:
        tight = piece.text == piece.text.strip()
        if _NAME.fullmatch(piece.text) and piece.text.strip().lower() not in ("true", "false", "none"):
            return Value(tuple(piece.text.strip().split(".")), tight)
        tree = self._env.parse("{{" + piece.text + "}}")
        node: Any = next(tree.find_all(j.Output)).nodes[0]
        if isinstance(node, j.Const | j.TemplateData):
            said = node.value if isinstance(node, j.Const) else node.data
            if isinstance(said, str | int) and not isinstance(said, bool):
                return Text(str(said))
        if path := _path(node):
            return Value(path, tight)
        if isinstance(node, j.Filter) and node.name == "tojson" and (path := _path(node.node)):
            indent = _indent(node)
            if indent is not None:
                return Value(path, tight, indent)
        filters = [one.name for one in tree.find_all(j.Filter)]
        what = f"the filter {filters[-1]}" if filters else f"the expression {piece.text.strip()[:60]}"
        return _foreign(piece, what)

    def _block(self, piece: _Piece) -> list[Node]:
        word = _word(piece)
        if word == "if":
            return self._if(piece)
        if word == "for":
            return self._for(piece)
        if word == "include" and (named := re.fullmatch(r"""\s*include\s+(["'])([^"'\\]+)\1\s*""", piece.text)):
            return [Include(named[2])]
        return [_foreign(piece)]

    def _if(self, piece: _Piece) -> list[Node]:
        parts, end = self._parts(piece)
        branches: list[tuple[Condition | None, tuple[Node, ...]]] = []
        for part, body in parts:
            word = _word(part)
            test = None if word == "else" else self._test(part.text.strip().removeprefix("el"))
            if test is None and word != "else":
                return _as_it_is(parts, end, f"the test {part.text.strip()[:60]}")
            branches.append((test, body))
        return [If(tuple(branches))]

    def _for(self, piece: _Piece) -> list[Node]:
        parts, end = self._parts(piece)
        tree = self._env.parse("{%" + piece.text + "%}{% endfor %}")
        loop: Any = next(tree.find_all(j.For))
        path = _path(loop.iter)
        if path and isinstance(loop.target, j.Name) and loop.test is None and not loop.recursive:
            return [Each(loop.target.name, path, parts[0][1], parts[1][1] if len(parts) > 1 else ())]
        return _as_it_is(parts, end, f"the loop {piece.text.strip()[:60]}")

    def _parts(self, piece: _Piece) -> tuple[list[tuple[_Piece, tuple[Node, ...]]], _Piece]:
        """The tags of a block, each with what follows it, and the tag that ends it."""
        parts = []
        while True:
            parts.append((piece, joined(self._until())))
            piece = self._pieces[self._at]
            self._at += 1
            if _word(piece).startswith("end"):
                return parts, piece

    def _test(self, text: str) -> Condition | None:
        tree = self._env.parse("{%" + text + "%}{% endif %}")
        node: Any = next(tree.find_all(j.If)).test
        kind = "is"
        if isinstance(node, j.Not):
            kind, node = "not", node.node
        if path := _path(node):
            return Condition(kind, path)
        if kind == "is" and isinstance(node, j.Compare) and len(node.ops) == 1 and (path := _path(node.expr)):
            kind = {"eq": "equals", "ne": "differs"}.get(node.ops[0].op, "")
            right = node.ops[0].expr
            other = right.value if isinstance(right, j.Const) else _path(right)
            if kind and isinstance(other, str | int | float | tuple) and other != () and not isinstance(other, bool):
                return Condition(kind, path, other)
        return None


def _word(piece: _Piece) -> str:
    return piece.text.split(None, 1)[0] if piece.text.strip() else ""


def _as_it_is(parts: list[tuple[_Piece, tuple[Node, ...]]], end: _Piece, what: str) -> list[Node]:
    found: list[Node] = []
    for piece, body in parts:
        found += [_foreign(piece, what), *body]
    return [*found, _foreign(end, what)]


def _foreign(piece: _Piece, what: str = "") -> Foreign:
    source = f"{{%{piece.text}%}}" if piece.kind == "block" else f"{{{{{piece.text}}}}}"
    return Foreign(source, what or f"the tag {_word(piece)}", piece.line)


def _path(node: Any) -> Path:
    """`a`, `a.b` or `a["b"]` as a path; () for anything else."""
    if isinstance(node, j.Name):
        return (node.name,)
    if isinstance(node, j.Getattr) and (inner := _path(node.node)):
        return (*inner, node.attr)
    if isinstance(node, j.Getitem) and isinstance(node.arg, j.Const) and str(node.arg.value).isidentifier():
        return (*inner, str(node.arg.value)) if (inner := _path(node.node)) else ()
    return ()


def _indent(node: Any) -> int | None:
    given = [*node.args, *(keyword.value for keyword in node.kwargs if keyword.key == "indent")]
    if not given and not node.kwargs:
        return 0
    if len(given) == 1 and isinstance(given[0], j.Const) and isinstance(given[0].value, int):
        return int(given[0].value)
    return None


def beyond(text: str, filters: frozenset[str], calls: bool = True) -> list[str]:
    """What a Jinja that knows only these filters, and perhaps no calls, does not understand of the template."""
    tree = environment().parse(text)
    found = [f"the filter {one.name}" for one in tree.find_all(j.Filter) if one.name not in filters]
    outside = (j.Include, j.Import, j.FromImport, j.Extends)
    found += [f"the {type(one).__name__.lower()} of another prompt" for one in tree.find_all(outside)]
    if not calls:
        found += [f"the call {one.node.attr}()" for one in tree.find_all(j.Call) if isinstance(one.node, j.Getattr)]
    return list(dict.fromkeys(found))


def names_in(text: str) -> list[str]:
    """The variables that the template needs, in the order of their first use; none when it is no template."""
    try:
        tree = environment().parse(text)
    except (jinja2.TemplateSyntaxError, RecursionError):
        return []
    needed = undeclared(tree) - set(jinja2.defaults.DEFAULT_NAMESPACE)
    return list(dict.fromkeys(name.name for name in tree.find_all(j.Name) if name.name in needed))


def named(node: Node) -> str:
    """What a piece of a template is, for people."""
    match node:
        case If():
            return "conditions"
        case Each():
            return "loops"
        case Include(ref):
            return f"the include of {ref}"
        case Value(path, _, json):
            return "the filter tojson" if json is not None else f"the field {'.'.join(path)}"
        case Foreign(_, what, line):
            return f"{what} (line {line})"
        case Comment():
            return "comments"
        case Text():
            return "text"
