"""What templates of all languages have in common, as a small tree. What only Jinja has stands in it as written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

Path = tuple[str, ...]  # names joined with dots: ("user", "name")


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Value:
    """A variable's value. `json`: written as JSON, indented by so many spaces (0 = on one line)."""

    path: Path
    tight: bool = False  # written {{name}}, not {{ name }}
    json: int | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """`value`, `not value`, `value == other` or `value != other`; `other` is a path or a literal."""

    kind: str  # "is" | "not" | "equals" | "differs"
    path: Path
    other: Path | str | int | float | None = None


@dataclass(frozen=True, slots=True)
class If:
    """The first branch whose test holds; a last one without a test is the else."""

    branches: tuple[tuple[Condition | None, tuple[Node, ...]], ...]


@dataclass(frozen=True, slots=True)
class Each:
    """The body once for each item of a list; `otherwise` if there is none."""

    item: str
    path: Path
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Include:
    """Another prompt's text, by its reference: shared/tone@production."""

    ref: str


@dataclass(frozen=True, slots=True)
class Comment:
    text: str


@dataclass(frozen=True, slots=True)
class Foreign:
    """Jinja that has no counterpart. `what` names it for people."""

    source: str
    what: str
    line: int


Node = Text | Value | If | Each | Include | Comment | Foreign


def walk(nodes: Sequence[Node]) -> Iterator[Node]:
    """All of them, outer ones first, in the order of the text."""
    for node in nodes:
        yield node
        if isinstance(node, If):
            for _, body in node.branches:
                yield from walk(body)
        elif isinstance(node, Each):
            yield from walk(node.body)
            yield from walk(node.otherwise)


def joined(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The same with neighbouring texts as one, and without empty ones."""
    found: list[Node] = []
    for node in nodes:
        if isinstance(node, Text):
            if not node.text:
                continue
            if found and isinstance(found[-1], Text):
                found[-1] = Text(found[-1].text + node.text)
                continue
        found.append(node)
    return tuple(found)


def pieces(text: str, pattern: re.Pattern[str], node_of: Callable[[re.Match[str]], Node]) -> tuple[Node, ...]:
    """A text as nodes: what the pattern finds as `node_of` has it, the rest as it is."""
    found: list[Node] = []
    end = 0
    for match in pattern.finditer(text):
        found += [Text(text[end : match.start()]), node_of(match)]
        end = match.end()
    return joined([*found, Text(text[end:])])


def spaced(nodes: Sequence[Node], items: tuple[str, ...] = ()) -> tuple[Node, ...]:
    """The same in one way of writing: values as {{ name }}, items of loops as item1, item2. Equal ones say the same."""

    def path_of(path: Path) -> Path:
        level = next((n for n in range(len(items), 0, -1) if items[n - 1] == path[0]), 0)
        return (f"item{level}", *path[1:]) if level else path

    def test_of(test: Condition | None) -> Condition | None:
        if test is None:
            return None
        other = path_of(test.other) if isinstance(test.other, tuple) else test.other
        return Condition(test.kind, path_of(test.path), other)

    found: list[Node] = []
    for node in nodes:
        match node:
            case Value(path, _, json):
                found.append(Value(path_of(path), False, json))
            case If(branches):
                found.append(_flat(If(tuple((test_of(test), spaced(body, items)) for test, body in branches))))
            case Each(item, path, body, otherwise):
                inner = spaced(body, (*items, item))
                found.append(Each(f"item{len(items) + 1}", path_of(path), inner, spaced(otherwise, items)))
            case Foreign(source, what, _):
                found.append(Foreign(source, what, 0))
            case _:
                found.append(node)
    return joined(found)


def _flat(node: If) -> If:
    """An else that is nothing but a condition is another branch."""
    test, body = node.branches[-1]
    if test is None and len(body) == 1 and isinstance(body[0], If):
        return If((*node.branches[:-1], *body[0].branches))
    return node
