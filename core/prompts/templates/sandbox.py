"""Where templates of strangers run: what they may reach, and that all they do is counted.

Jinja2's own sandbox keeps a template from reaching Python's insides. It does not keep it from running for ever or from
filling the memory. So here a template gets what is on the lists and nothing else, and whatever makes or repeats
something asks the `Budget` of its rendering (`core.prompts.templates.syntax` changes the syntax tree so that it does).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from types import CodeType
from typing import Any

from jinja2 import Template, Undefined, pass_context
from jinja2.filters import _GroupTuple
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Joiner, Namespace, missing

from core.prompts.templates.budget import Budget, Denied, kind
from core.prompts.templates.filters import FILTERS, mapping_of
from core.prompts.templates.methods import METHODS, TESTS
from core.prompts.templates.operators import calculate

GLOBALS = ("cycler", "dict", "joiner", "namespace", "range")
# For the calls that are put into the syntax tree. No template can write such names.
EACH, MADE, JOINED, DONE = " each", " made", " joined", " done"

_LOOP = "depth depth0 first index index0 last length nextitem previtem revindex revindex0"
# What the values have that only Jinja2 makes. True: a function to call.
_ATTRIBUTES: dict[type, dict[str, bool]] = {
    LoopContext: {**dict.fromkeys(_LOOP.split(), False), "changed": True, "cycle": True},
    Cycler: {"current": False, "next": True, "reset": True},
}


class Unset(Undefined):
    """What a value does not have. It may be asked about, as in `{% if user.title %}`, but not used."""

    __slots__ = ()
    __iter__ = __str__ = __len__ = Undefined._fail_with_undefined_error

    @property
    def _undefined_message(self) -> str:
        name: Any = self._undefined_name
        owner = self._undefined_obj
        if self._undefined_hint or name is None:
            return self._undefined_hint or "a value is not set"
        if owner is missing:
            return f"{name} is not set"
        has = "; it has grouper and list" if isinstance(owner, _GroupTuple) else ""
        return f"{kind(owner)} has no {f'item {name}' if isinstance(name, int) else f'field {str(name)[:80]!r}'}{has}"


class Method:
    """A function that a template may call."""

    __slots__ = ("call", "name")

    def __init__(self, name: str, call: Callable[..., Any]) -> None:
        self.name = name
        self.call = call


def _budget(context: Context) -> Budget:
    environment = context.environment
    assert isinstance(environment, Sandbox)
    return environment.budget


@pass_context
def _finalize(context: Context, value: Any) -> str:
    # Because it takes the context, Jinja2 works nothing out while it compiles, when there is no budget.
    budget = _budget(context)
    budget.step()
    if isinstance(value, Method | Macro):
        name = value.name or "caller"
        raise TypeError(f"{name} is a function: call it, or write [{name!r}] for a field of that name")
    return budget.text(value)


@pass_context
def _each(context: Context, value: Any, name: str = "") -> Iterator[Any]:
    budget = _budget(context)
    if isinstance(value, str) and value:  # almost always a list that was given as text
        raise Denied(
            f"{name or 'What the loop goes through'} is text, not a list.",
            f'Give it as a JSON list like ["a", "b"], or split it: {name or "text"}.split(","). '
            f"For its letters, write {name or 'text'}|list.",
        )
    for item in budget.items(value):
        budget.step()
        yield item


@pass_context
def _made(context: Context, value: Any) -> Any:
    return _budget(context).made(value)


@pass_context
def _joined(context: Context, values: list[Any]) -> str:
    budget = _budget(context)
    return budget.joined([budget.text(value) for value in values])


@pass_context
def _done(context: Context, value: Any) -> Any:
    _budget(context).step()
    return value


class Sandbox(ImmutableSandboxedEnvironment):
    """Compiles templates. For each rendering there is a copy of its own, with a budget."""

    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "%", "**"])
    budget: Budget

    def __init__(self) -> None:
        super().__init__(
            autoescape=False,
            keep_trailing_newline=True,
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,
            undefined=Unset,
            finalize=_finalize,
            cache_size=0,
        )
        self.filters = {**FILTERS, EACH: _each, MADE: _made, JOINED: _joined, DONE: _done}
        self.tests = dict(TESTS)
        self.globals = {}

    def fresh(self) -> Sandbox:
        """A copy for one rendering."""
        one = copy.copy(self)
        budget = one.budget = Budget()

        def numbers(*bounds: int) -> Any:
            found = range(*bounds)
            budget.room(len(found))
            return budget.made(list(found))

        one.globals = {
            "cycler": Method("cycler", Cycler),
            "dict": Method("dict", lambda *args, **kwargs: budget.made(mapping_of(budget, *args, **kwargs))),
            "joiner": Method("joiner", Joiner),
            "namespace": Method("namespace", Namespace),
            "range": Method("range", numbers),
        }
        return one

    def run(self, code: CodeType, values: dict[str, Any]) -> str:
        """The text that compiled code makes. Raises Denied and anything else; its `lineno` is the template's."""
        template = Template.from_code(self, code, self.globals)
        pieces: list[str] = []
        written: Any = template.root_render_func(template.new_context(values))
        try:
            for piece in written:
                self.budget.spend(len(piece))
                pieces.append(piece)
        except Exception as error:
            line = written.gi_frame.f_lineno if written.gi_frame else 0
            trace = error.__traceback__
            while trace is not None:
                if trace.tb_frame.f_code.co_filename == code.co_filename:
                    line = trace.tb_lineno
                trace = trace.tb_next
            error.lineno = template.get_corresponding_lineno(line)  # type: ignore[attr-defined]
            raise
        return "".join(pieces)

    def concat(self, pieces: Iterable[str]) -> str:
        return self.budget.joined(pieces)

    def getattr(self, obj: Any, attribute: str) -> Any:
        method = METHODS.get(str if isinstance(obj, str) else type(obj), {}).get(attribute)
        if method is not None:
            budget = self.budget
            return Method(attribute, lambda *args, **kwargs: budget.made(method(budget, obj, *args, **kwargs)))
        called = _ATTRIBUTES.get(type(obj), {}).get(attribute)
        if called is None:
            return self.getitem(obj, attribute)
        self.budget.step()
        value = getattr(obj, attribute)
        return Method(attribute, value) if called else value

    def getitem(self, obj: Any, argument: Any) -> Any:
        self.budget.step()
        if isinstance(obj, Undefined):
            return obj[argument]  # raises what it has to say
        try:
            if isinstance(obj, dict) or (isinstance(obj, list | tuple | str) and isinstance(argument, int)):
                return obj[argument]
            if isinstance(obj, _GroupTuple) and argument in _GroupTuple._fields:
                return getattr(obj, argument)
            if isinstance(obj, Namespace) and isinstance(argument, str) and not argument.startswith("_"):
                return getattr(obj, argument)
        except (LookupError, AttributeError):
            pass
        return self.undefined(obj=obj, name=argument)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        __self.budget.step()
        if isinstance(__obj, Macro | Joiner):
            return __context.call(__obj, *args, **kwargs)
        kwargs.pop("_loop_vars", None)
        kwargs.pop("_block_vars", None)
        if isinstance(__obj, Method):
            return __obj.call(*args, **kwargs)
        if isinstance(__obj, LoopContext) and len(args) == 1:
            return __obj(_each(__context, args[0]))
        if isinstance(__obj, Undefined):
            return __obj()  # raises what it has to say
        raise TypeError(f"{kind(__obj)} cannot be called")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        return calculate(self.budget, operator, left, right)
