"""The tests that a template may use, and the methods of its values."""

from __future__ import annotations

from typing import Any, cast

from jinja2 import Undefined, pass_context
from jinja2.runtime import Context
from jinja2.tests import TESTS as JINJA_TESTS

from core.prompts.budget import Absent
from core.prompts.filters import Function, join_text, replace, rsplit, split, splitlines, text_method


def _test(function: Function) -> Function:
    @pass_context
    def apply(context: Context, value: Any, *args: Any) -> bool:
        context.environment.budget.step()  # type: ignore[attr-defined]
        return bool(function(value, *args))

    return apply


_TESTS = """
    odd even divisibleby none string number integer float boolean true false mapping sequence iterable sameas in lower
    upper eq equalto == ne != lt lessthan < le <= gt greaterthan > ge >=
"""
TESTS: dict[str, Function] = {
    **{name: _test(cast(Function, JINJA_TESTS[name])) for name in _TESTS.split()},
    "defined": _test(lambda value: not isinstance(value, Undefined | Absent)),
    "undefined": _test(lambda value: isinstance(value, Undefined | Absent)),
}

_TEXT_METHODS = """
    capitalize casefold count endswith find index isalnum isalpha isdigit islower isnumeric isspace isupper lower lstrip
    removeprefix removesuffix rfind rstrip startswith strip swapcase title upper
"""
_LIST: dict[str, Function] = {
    "count": lambda budget, value, item: value.count(item),
    "index": lambda budget, value, item: value.index(item),
}
# (budget, the value, ...)
METHODS: dict[type, dict[str, Function]] = {
    str: {
        **{name: text_method(name) for name in _TEXT_METHODS.split()},
        "join": join_text,
        "replace": replace,
        "rsplit": rsplit,
        "split": split,
        "splitlines": splitlines,
    },
    dict: {
        "get": lambda budget, value, key, instead=None: value.get(key, instead),
        "items": lambda budget, value: list(value.items()),
        "keys": lambda budget, value: list(value),
        "values": lambda budget, value: list(value.values()),
    },
    list: _LIST,
    tuple: _LIST,
}
