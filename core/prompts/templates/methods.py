"""The tests that a template may use, and the methods of its values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from jinja2 import Undefined, pass_context
from jinja2.runtime import Context
from jinja2.tests import TESTS as JINJA_TESTS

from core.prompts.templates.budget import MOST_ITEMS, STEP_TEXT, Absent, Budget, Denied, kind

MOST_STRIPPED = 100  # different characters: each of the text is compared with all of them
STEP_COMPARED = 10_000  # characters compared that take about as long as a step

_LINE_ENDS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"

Function = Callable[..., Any]


def split(budget: Budget, text: str, sep: str | None = None, maxsplit: int = -1) -> list[str]:
    parts = text.split(sep, maxsplit if 0 <= maxsplit < MOST_ITEMS else MOST_ITEMS)
    budget.room(len(parts))
    return parts


def rsplit(budget: Budget, text: str, sep: str | None = None, maxsplit: int = -1) -> list[str]:
    if sep is None:
        parts = text.rsplit(None, maxsplit if 0 <= maxsplit < MOST_ITEMS else MOST_ITEMS)
        budget.room(len(parts))
        return parts
    return [part[::-1] for part in split(budget, *_backwards(budget, text, sep), maxsplit)[::-1]]


def _rfind(budget: Budget, text: str, sought: Any, start: int | None = None, end: int | None = None) -> int:
    first, last, _ = slice(start, end).indices(len(text))
    text, sought = _backwards(budget, text[first:last], sought)
    found = text.find(sought)
    return found if found < 0 else last - found - len(sought)


def _backwards(budget: Budget, text: str, sought: Any) -> tuple[str, str]:
    """Both from their ends: Python's search from the end takes as long as the two lengths multiplied, find does not."""
    if not isinstance(sought, str):
        raise TypeError(f"{kind(sought)} cannot be looked for in a text")
    budget.step(1 + (len(text) + len(sought)) // STEP_TEXT)
    return text[::-1], sought[::-1]


def splitlines(budget: Budget, text: str, keepends: bool = False) -> list[str]:
    budget.room(1 + sum(text.count(end) for end in _LINE_ENDS))
    return text.splitlines(bool(keepends))


def replace(budget: Budget, text: str, old: Any, new: Any, count: int | None = None) -> str:
    old, new = budget.text(old), budget.text(new)
    count = -1 if count is None else count
    times = text.count(old) if count < 0 else min(count, text.count(old))
    budget.spend(max(0, len(text) + times * (len(new) - len(old))))
    return text.replace(old, new, count)


def join_text(budget: Budget, text: str, items: Any) -> str:
    return budget.joined([budget.text(item) for item in budget.items(items)], text)


def text_method(name: str) -> Function:
    def call(budget: Budget, text: str, *args: Any) -> Any:
        budget.step(1 + len(text) // STEP_TEXT)
        return getattr(str, name)(text, *args)

    return call


def stripped(name: str) -> Function:
    def call(budget: Budget, text: str, chars: str | None = None) -> Any:
        if isinstance(chars, str):
            budget.step(1 + len(chars) // STEP_TEXT)
            chars = "".join(set(chars))
            if len(chars) > MOST_STRIPPED:
                raise Denied(f"The template strips more than {MOST_STRIPPED} different characters.", "Name fewer.")
        budget.step(1 + len(text) * (5 + len(chars or "")) // STEP_COMPARED)
        return getattr(str, name)(text, chars)

    return call


def _test(function: Function) -> Function:
    @pass_context
    def apply(context: Context, value: Any, *args: Any) -> bool:
        size = len(value) if isinstance(value, str) else 0
        context.environment.budget.step(1 + size // STEP_TEXT)  # type: ignore[attr-defined]
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
    capitalize casefold count endswith find index isalnum isalpha isdigit islower isnumeric isspace isupper lower
    removeprefix removesuffix startswith swapcase title upper
"""
_LIST: dict[str, Function] = {
    "count": lambda budget, value, item: value.count(item),
    "index": lambda budget, value, item: value.index(item),
}
# (budget, the value, ...)
METHODS: dict[type, dict[str, Function]] = {
    str: {
        **{name: text_method(name) for name in _TEXT_METHODS.split()},
        **{name: stripped(name) for name in ("lstrip", "rstrip", "strip")},
        "join": join_text,
        "replace": replace,
        "rfind": _rfind,
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
