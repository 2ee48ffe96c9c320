"""Which names of a template are variables: those that it reads and does not set itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from jinja2 import nodes

from core.prompts.content import IDENTIFIER, RESERVED
from core.prompts.templates.budget import Denied
from core.prompts.templates.sandbox import GLOBALS

LONGEST = 60  # characters of a name
_ASKING = ("default", "d", "defined", "undefined")


@dataclass(frozen=True, slots=True)
class Found:
    """A variable. `asked`: the template itself says what happens without a value, by `default` or `is defined`."""

    name: str
    asked: bool


def find(tree: nodes.Template) -> tuple[Found, ...]:
    """In the order of their first use. Raises Denied for a name that no variable can have."""
    finder = _Finder()
    finder.every(tree.body, set(GLOBALS))
    return tuple(Found(name, asked) for name, asked in finder.found.items())


class _Finder:
    """Follows Jinja2's rules: loops, macros, `with`, `filter`, `call` and includes have names of their own."""

    def __init__(self) -> None:
        self.found: dict[str, bool] = {}

    def every(self, many: Iterable[nodes.Node], known: set[str]) -> None:
        for node in many:
            self.one(node, known)

    def one(self, node: nodes.Node, known: set[str], asked: bool = False) -> None:
        match node:
            case nodes.Name(ctx="load"):
                self._read(node, known, asked)
            case nodes.Name():
                known.add(node.name)
            case nodes.NSRef():
                if node.name not in known:
                    self._refuse(node, f"{node.name} is not a namespace", "Begin with {% set ns = namespace() %}.")
            case nodes.Filter(node=nodes.Name() as name) | nodes.Test(node=nodes.Name() as name):
                self.one(name, known, node.name in _ASKING)
                self.every((*node.args, *node.kwargs), known)
            case nodes.Assign():
                self.one(node.node, known)
                self.one(node.target, known)
            case nodes.AssignBlock():
                self._inside(node.body, known)
                if node.filter is not None:
                    self.one(node.filter, known)
                self.one(node.target, known)
            case nodes.For():
                self.one(node.iter, known)
                inner = known | {"loop"}
                self.one(node.target, inner)
                if node.test is not None:
                    self.one(node.test, inner)
                self.every(node.body, inner)
                self._inside(node.else_, known)
            case nodes.With():
                self.every(node.values, known)
                inner = set(known)
                self.every((*node.targets, *node.body), inner)
            case nodes.Macro():
                known.add(node.name)
                self._inside((*node.args, *node.defaults, *node.body), known | {"caller"})
            case nodes.CallBlock():
                self.one(node.call, known)
                self._inside((*node.args, *node.defaults, *node.body), known)
            case nodes.FilterBlock():
                self._inside(node.body, known)
                self.one(node.filter, known)
            case nodes.Scope():
                self._inside(node.body, known)
            case _:
                self.every(node.iter_child_nodes(), known)

    def _inside(self, many: Iterable[nodes.Node], known: set[str]) -> None:
        self.every(many, set(known))

    def _read(self, node: nodes.Name, known: set[str], asked: bool) -> None:
        name = node.name
        if name in known:
            return
        if name in RESERVED:
            where = {"loop": " outside of a loop", "caller": " outside of a macro"}.get(name, "")
            self._refuse(node, f"The template may not use {name}{where}", "Take it out of the template.")
        if not IDENTIFIER.fullmatch(name) or len(name) > LONGEST:
            self._refuse(
                node,
                f"{name[:80]!r} cannot be the name of a variable",
                f"Use up to {LONGEST} letters, digits and _.",
            )
        self.found[name] = self.found.get(name, False) or asked

    def _refuse(self, node: nodes.Node, what: str, fix: str) -> None:
        raise Denied(f"{what}.", fix, node.lineno)
