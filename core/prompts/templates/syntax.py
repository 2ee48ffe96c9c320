"""What a template says before it is rendered: its variables, what it includes, and what it may not use.

Jinja2 reads, because its tree shows all that; minijinja renders (`core.files.templates`), and has the last word.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from typing import Any, NamedTuple

import jinja2
import minijinja
from jinja2 import meta, nodes

from core.prompts.content import IDENTIFIER, RESERVED

MOST_TEXT = 6_000_000  # characters of a message with what it includes
MOST_TOKENS = 5_000  # of all messages with what they include; plain text is one, whatever its length
MOST_DEPTH = 60  # of syntax in syntax
LONGEST_NAME = 60  # characters of a variable's name
LONGEST = 300  # characters of an error's message
KEPT, KEPT_SIZE = 500, 50_000  # texts of which it is kept what they say, and the characters of one of these

TOO_MUCH_FIX = "Make its loops shorter and its texts smaller."
_GLOBALS = ("dict", "joiner", "namespace", "range")
_NODES = """
    Template Output TemplateData For If Macro CallBlock FilterBlock With Assign AssignBlock Include Name NSRef Const
    Tuple List Dict Pair Keyword CondExpr Filter Test Call Getitem Getattr Slice Concat Compare Operand Mul Div
    FloorDiv Add Sub Mod Pow Not Neg And Or
"""
_ALLOWED = frozenset(_NODES.split())
_TAGS = {"Import": "{% import %}", "FromImport": "{% from %}", "Extends": "{% extends %}", "Block": "{% block %}"}
_FILTERS = """
    abs attr batch bool capitalize center chain count d default dictsort e escape filesizeformat first float format
    groupby indent int items join last length lines list lower map max min pprint reject rejectattr replace reverse
    round safe select selectattr slice sort split string striptags sum title tojson trim truncate unique upper urlencode
    wordcount wordwrap zip
"""
FILTERS = frozenset(_FILTERS.split())
_TESTS = """
    boolean defined divisibleby endingwith eq equalto even false float ge greaterthan gt in integer iterable le lessthan
    lower lt mapping ne none number odd sameas sequence startingwith string true undefined upper
"""
TESTS = frozenset(_TESTS.split())
_NOT_HERE = ("cycler", "kwargs", "lipsum", "self", "super", "varargs")
_ASKING = ("default", "d", "defined", "undefined")
_SIGNS = re.compile(r"\{\{|\{%|\}\}|%\}|[\d_]{1000,}")
# What is left as it is (a raw block, a comment, an output), an include that ends its line, a loop over a name.
_TAG = re.compile(
    r"""
    \{%[-+]?\s*raw\b.*?\bendraw\s*[-+]?%\} | \{\#.*?\#\} | \{\{.*?\}\}
    | \{%(?P<before>[-+]?)\s*(?P<include>include\s+(?P<quote>["'])(?P<reference>[^"']*)(?P=quote))
      (?:\s+with\s+context)?\s*(?P<after>[-+]?)%\}(?P<end>\n?)
    | (?P<head>\{%[-+]?\s*for\s[^%{}]*?\bin\s+)(?P<name>[A-Za-z_][\w.]*)(?=\s*(?:if\s|recursive\b|[-+]?%\}))
    """,
    re.VERBOSE | re.DOTALL,
)


@jinja2.pass_context
def as_it_is(context: object, value: Any) -> Any:
    """The `finalize` that `undeclared` needs: as it takes the context, Jinja2 works out nothing beforehand."""
    return value


def undeclared(tree: nodes.Template) -> set[str]:
    """The names that a template reads and does not set itself.

    What `jinja2.meta.find_undeclared_variables` gives, but that one works out `'a' * 10 ** 9` on its way.
    """
    assert tree.environment is not None and tree.environment.finalize is as_it_is
    finder = meta.TrackingCodeGenerator(tree.environment)
    finder.optimizer = None
    finder.visit(tree)
    return finder.undeclared_identifiers


@cache
def _reading() -> jinja2.Environment:
    """Nothing is ever rendered with it."""
    environment = jinja2.Environment(  # noqa: S701
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, finalize=as_it_is
    )
    environment.filters = dict.fromkeys(FILTERS, as_it_is)
    environment.tests = dict.fromkeys(TESTS, as_it_is)
    return environment


class Wrong(Exception):
    """What cannot be used, in the line `line` of the included prompt `name`, or of the message if that is ""."""

    def __init__(self, what: str, fix: str = "Take it out of the template.", line: int = 0, name: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix
        self.line = line
        self.name = name


class Scanned(NamedTuple):
    """A text that was read: (reference, line) of all includes, each reference once."""

    includes: tuple[tuple[str, int], ...]
    tokens: int


class TemplateTree(NamedTuple):
    """A text with the prompts that it includes, by the references as they are written."""

    text: str
    name: str = ""  # name@3; "" for a message
    children: tuple[tuple[str, TemplateTree], ...] = ()

    @property
    def size(self) -> int:
        return sum((child.size for _, child in self.children), len(self.text))


def too_much(what: str, line: int = 0, name: str = "") -> Wrong:
    return Wrong(f"The template does too much: {what}.", TOO_MUCH_FIX, line, name)


def scan(text: str) -> Scanned:
    """Raises Wrong for what is no template, or uses what there is not."""
    return _scan_kept(text) if len(text) <= KEPT_SIZE else _scan(text)


def variables(tree: TemplateTree) -> Mapping[str, bool]:
    """The names that it needs a value for, in the order of their first use. Raises Wrong.

    True: the template itself says what happens without a value, by `default` or `is defined`.
    """
    return _variables_kept(tree) if tree.size <= KEPT_SIZE else _variables(tree)


def sources(tree: TemplateTree) -> dict[str, tuple[str, str]]:
    """The texts as minijinja gets them and their names, by reference; the message's own under ""."""
    found: dict[str, tuple[str, str]] = {}
    for reference, child in tree.children:
        found |= {key or reference: value for key, value in sources(child).items()}
    children = dict(tree.children)

    def prepared(tag: re.Match[str]) -> str:
        if (child := children.get(tag["reference"])) is not None:
            # The line end after a tag goes, which would join the included text's last line with the next one.
            joins = tag["end"] and not tag["after"] and not child.text.endswith("\n")
            after = "+" if joins else tag["after"]
            # What an included text sets is its own affair, which in minijinja needs the `with`.
            return f"{{%{tag['before']} with %}}{{% {tag['include']} %}}{{% endwith {after}%}}{tag['end']}"
        if name := tag["name"]:
            line = tree.text.count("\n", 0, tag.start()) + 1
            refused = f'text_loop("{name}", {line}, "{tree.name}")'
            return f"{tag['head']}({refused} if {name} is string and {name} else {name})"
        return tag[0]

    return {**found, "": (_TAG.sub(prepared, tree.text), tree.name)}


def _scan(text: str) -> Scanned:
    tokens = 0
    _refuse_long_numbers(text)
    try:
        for line, _, _ in _reading().lexer.tokeniter(text, None):
            tokens += 1
            if tokens > MOST_TOKENS:
                raise too_much(f"it has more than {MOST_TOKENS:,} words and signs", line)
        parsed = _reading().parse(text)
        _check(parsed, 0)
        minijinja.Environment(trim_blocks=True, lstrip_blocks=True, debug=False).undeclared_variables_in_str(text)
    except jinja2.TemplateSyntaxError as error:
        raise _unreadable(error.message or "it cannot be read", error.lineno) from None
    except minijinja.TemplateError as error:
        raise _unreadable(error.detail or error.message, error.line or 0) from None
    except (RecursionError, MemoryError):
        raise _nested(0) from None
    except (ValueError, OverflowError):  # a number that Python does not read
        raise _unreadable("a number in it is too large", 0) from None
    every = [(_reference(node), node.lineno) for node in parsed.find_all(nodes.Include)]
    return Scanned(tuple({reference: (reference, line) for reference, line in reversed(every)}.values())[::-1], tokens)


def _variables(tree: TemplateTree) -> Mapping[str, bool]:
    merged = _merged(tree)
    needed = undeclared(merged) - set(_GLOBALS)
    found: dict[str, bool] = {}
    for node in merged.find_all(nodes.Name):
        if node.name in needed and node.name not in found:
            _check_name(node.name, 0 if tree.children else node.lineno)
            found[node.name] = False
    for asking in merged.find_all((nodes.Filter, nodes.Test)):
        if asking.name in _ASKING and isinstance(asking.node, nodes.Name) and asking.node.name in found:
            found[asking.node.name] = True
    return found


def _refuse_long_numbers(text: str) -> None:
    """Jinja2 takes 300 MB to read one of a million digits."""
    opened = False
    for found in _SIGNS.finditer(text):
        if found[0] in ("{{", "{%", "}}", "%}"):
            opened = found[0].startswith("{")
        elif opened:
            line = text.count("\n", 0, found.start()) + 1
            raise Wrong("A number in the template is too large.", "Put it in quotation marks.", line)


_scan_kept = lru_cache(KEPT)(_scan)
_variables_kept = lru_cache(KEPT)(_variables)


def _merged(tree: TemplateTree) -> nodes.Template:
    """Its tree with those of the included texts in their places."""
    parsed = _reading().parse(tree.text)
    children = dict(tree.children)

    def put(node: nodes.Node) -> None:
        for field, value in node.iter_fields():
            if isinstance(value, list):
                setattr(node, field, [new for one in value for new in put_in(one)])
            elif isinstance(value, nodes.Node):
                put(value)

    def put_in(one: Any) -> list[Any]:
        if isinstance(one, nodes.Include):
            return [nodes.Scope(_merged(children[_reference(one)]).body, lineno=one.lineno)]
        if isinstance(one, nodes.Node):
            put(one)
        if isinstance(one, nodes.If):  # what is set in one of its branches is set
            return [nodes.Output([one.test], lineno=one.lineno), *one.body, *one.elif_, *one.else_]
        return [one]

    put(parsed)
    parsed.set_environment(_reading())
    return parsed


def _check(node: nodes.Node, depth: int) -> None:
    kind = type(node).__name__
    if kind not in _ALLOWED:
        raise Wrong(f"The template may not use {_TAGS.get(kind, kind.lower())}.", line=node.lineno)
    if depth > MOST_DEPTH:
        raise _nested(node.lineno)
    if isinstance(node, nodes.Name) and node.name in _NOT_HERE:
        raise Wrong(f"The template may not use {node.name}.", line=node.lineno)
    if isinstance(node, nodes.Filter) and node.name not in FILTERS:
        raise _unknown("filter", node.name, FILTERS, node.lineno)
    if isinstance(node, nodes.Test) and node.name not in TESTS:
        raise _unknown("test", node.name, TESTS, node.lineno)
    for child in node.iter_child_nodes():
        _check(child, depth + 1)


def _check_name(name: str, line: int) -> None:
    if name in RESERVED:
        where = {"loop": " outside of a loop", "caller": " outside of a macro"}.get(name, "")
        raise Wrong(f"The template may not use {name}{where}.", line=line)
    if not IDENTIFIER.fullmatch(name) or len(name) > LONGEST_NAME:
        what = f"{name[:80]!r} cannot be the name of a variable."
        raise Wrong(what, f"Use up to {LONGEST_NAME} letters, digits and _.", line)


def _reference(node: nodes.Include) -> str:
    """The name that is included."""
    if not isinstance(node.template, nodes.Const) or not isinstance(node.template.value, str):
        wrong = "needs the name of one prompt in quotation marks"
    elif node.ignore_missing:
        wrong = "may not say ignore missing"
    elif not node.with_context:
        wrong = "may not say without context"
    else:
        return node.template.value
    raise Wrong(f"An include {wrong}.", 'Write it like {% include "shared/tone@production" %}.', node.lineno)


def _unknown(kind: str, name: str, names: Iterable[str], line: int) -> Wrong:
    near = difflib.get_close_matches(name, names, 1)
    fix = f"Did you mean {near[0]}?" if near else "Take it out of the template."
    return Wrong(f"The {kind} {name[:80]} is not supported.", fix, line)


def _unreadable(message: str, line: int) -> Wrong:
    return Wrong(f"The template is wrong: {message[:LONGEST].rstrip('.')}.", "Correct it.", line)


def _nested(line: int) -> Wrong:
    fix = "Use fewer blocks within blocks and shorter expressions."
    return Wrong("Parts of the template lie too deep within each other.", fix, line)
