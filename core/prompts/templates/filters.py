"""The filters that a template may use, each with its cost known before it is done.

Left out on purpose: what is not the same twice (`random`), what makes HTML (`urlize`, `xmlattr`), and what is quadratic
(`striptags`, `wordwrap`, `pprint`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from jinja2 import Undefined, pass_context
from jinja2.filters import FILTERS as JINJA
from jinja2.runtime import Context
from markupsafe import escape

from core.prompts.templates.budget import Absent, Budget, Denied, kind
from core.prompts.templates.methods import Function, join_text, replace, splitlines, stripped, text_method
from core.prompts.templates.operators import narrow, percent

MOST_GROUPS = 10_000  # of `batch` and `slice`
PIECES = 50  # of JSON that are made before they are counted
LONGEST_ATTRIBUTE = 200  # characters; Jinja2 takes it apart before anything is counted

_WORD = re.compile(r"\w+")


def _indent(budget: Budget, text: str, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    wide = narrow(len(width) if isinstance(width, str) else width)
    budget.spend(len(text) + wide * len(splitlines(budget, text + "\n")))
    return str(JINJA["indent"](text, width, first, blank))


def _escape(budget: Budget, text: str) -> str:
    budget.spend(len(text) + 4 * sum(text.count(sign) for sign in "&<>\"'"))
    return str(escape(text))


def _title(budget: Budget, text: str) -> str:
    budget.spend(16 * len(text))  # it is taken apart into words
    return str(JINJA["title"](text))


def _urlencode(budget: Budget, text: str) -> str:
    budget.spend(3 * len(text))
    return str(JINJA["urlencode"](text))


def _word_count(budget: Budget, text: str) -> int:
    budget.step(len(text) // 50)
    return sum(1 for _ in _WORD.finditer(text))


def _to_number(name: str) -> Function:
    def convert(budget: Budget, value: Any, *args: Any, **kwargs: Any) -> Any:
        budget.shape(value)
        return JINJA[name](value, *args, **kwargs)

    return convert


def _round(budget: Budget, value: Any, precision: int = 0, method: str = "common") -> Any:
    if not -100 <= precision <= 100:
        raise Denied("The template rounds to more than 100 places.", "Round to fewer.")
    budget.shape(value)
    return JINJA["round"](value, precision, method)


def _to_json(budget: Budget, value: Any, indent: int | None = None) -> str:
    """JSON as models read it best: no escapes for HTML, letters as they are, fields in their order."""
    budget.spend(budget.shape(value)[0])
    encoder = json.JSONEncoder(ensure_ascii=False, indent=indent and narrow(indent))
    if not indent:
        return encoder.encode(value)
    pieces: list[str] = []
    for piece in encoder.iterencode(value):
        pieces.append(piece)
        if len(pieces) % PIECES == 0:
            budget.spend(sum(map(len, pieces[-PIECES:])))
    return "".join(pieces)


def _default(budget: Budget, value: Any, instead: Any = "", boolean: bool = False) -> Any:
    return instead if isinstance(value, Undefined | Absent) or (boolean and not value) else value


def _length(budget: Budget, value: Any) -> int:
    if isinstance(value, str | list | tuple | dict):
        return len(value)
    return len(budget.items(value))


def _mapping(value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{kind(value)} has no fields")
    return value


# (budget, text, ...): given the text of whatever stands before it.
_TEXT: dict[str, Function] = {
    "capitalize": text_method("capitalize"),
    "center": lambda budget, text, width=80: text.center(narrow(width)),
    "e": _escape,
    "escape": _escape,
    "forceescape": _escape,
    "format": lambda budget, text, *args, **kwargs: percent(budget, text, kwargs or args),
    "indent": _indent,
    "lower": text_method("lower"),
    "replace": replace,
    "safe": lambda budget, text: text,
    "string": lambda budget, text: text,
    "title": _title,
    "trim": stripped("strip"),
    "upper": text_method("upper"),
    "urlencode": _urlencode,
    "wordcount": _word_count,
}
# (budget, value, ...): given the value itself.
_VALUE: dict[str, Function] = {
    "abs": _to_number("abs"),
    "count": _length,
    "d": _default,
    "default": _default,
    "float": _to_number("float"),
    "int": _to_number("int"),
    "items": lambda budget, value: list(_mapping(value).items()),
    "length": _length,
    "list": lambda budget, value: list(budget.items(value)),
    "round": _round,
    "tojson": _to_json,
}
# Jinja's own, with a list: by what they are given first.
_BY_ENVIRONMENT = ("first", "groupby", "last", "max", "min", "sort")
_BY_CONTEXT = ("map", "reject", "rejectattr", "select", "selectattr")
# Where the attribute stands if it is given without its name.
_ATTRIBUTE_AT = {"groupby": 0, "max": 1, "min": 1, "rejectattr": 0, "selectattr": 0, "sort": 2}


def _filter(function: Function, text: bool = False) -> Function:
    @pass_context
    def apply(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        budget: Budget = context.environment.budget  # type: ignore[attr-defined]
        budget.step()
        return budget.made(function(budget, budget.text(value) if text else value, *args, **kwargs))

    return apply


def _list_filter(name: str, given: Callable[[Context], Any]) -> Function:
    @pass_context
    def apply(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        budget: Budget = context.environment.budget  # type: ignore[attr-defined]
        place = _ATTRIBUTE_AT.get(name, len(args))
        for attribute in (*args[place : place + 1], kwargs.get("attribute")):
            if isinstance(attribute, str) and len(attribute) > LONGEST_ATTRIBUTE:
                what = f"The attribute that {name} is given has more than {LONGEST_ATTRIBUTE} characters."
                raise Denied(what, "Give the name of a field.")
        if name == "map" and args and isinstance(args[0], str) and args[0] not in FILTERS:
            raise Denied(f"The template may not use the filter {args[0][:80]}.")
        result = JINJA[name](given(context), budget.items(value), *args, **kwargs)
        lazy = not isinstance(result, str | int | float | list | tuple | dict | Undefined | None)
        return budget.made(list(result) if lazy else result)

    return apply


def _attribute(context: Context, value: Any, attribute: Any) -> Any:
    """The items of the value, or this attribute of each."""
    return value if attribute is None else FILTERS["map"](context, value, attribute=attribute)


@pass_context
def _join(context: Context, value: Any, between: Any = "", attribute: Any = None) -> str:
    budget: Budget = context.environment.budget  # type: ignore[attr-defined]
    return join_text(budget, budget.text(between), _attribute(context, value, attribute))


@pass_context
def _unique(context: Context, value: Any, case_sensitive: bool = False, attribute: Any = None) -> Any:
    # Not Jinja2's: numbers can be chosen so that all have one hash, and each is compared with all before it.
    budget: Budget = context.environment.budget  # type: ignore[attr-defined]
    items = budget.items(value)
    seen: set[Any] = set()
    found: list[Any] = []
    for item, key in zip(items, _attribute(context, items, attribute), strict=True):
        budget.step()
        same = key.lower() if isinstance(key, str) and not case_sensitive else key
        if same not in seen:
            seen.add(same)
            found.append(item)
    return budget.made(found)


def mapping_of(budget: Budget, *args: Any, **kwargs: Any) -> dict[Any, Any]:
    """`dict` of a mapping or of pairs, counted for the same reason."""
    found: dict[Any, Any] = {}
    for value in args:
        for pair in list(value.items()) if isinstance(value, dict) else budget.items(value):
            budget.step()
            key, found_value = pair
            found[key] = found_value
    found.update(kwargs)
    return found


@pass_context
def _sum(context: Context, value: Any, attribute: Any = None, start: Any = 0) -> Any:
    budget: Budget = context.environment.budget  # type: ignore[attr-defined]
    items = budget.items(_attribute(context, value, attribute))
    if not all(isinstance(item, int | float) for item in (start, *items)):
        raise TypeError("only numbers have a sum; join puts texts together")
    return budget.made(sum(items, start))


@pass_context
def _truncate(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
    budget: Budget = context.environment.budget  # type: ignore[attr-defined]
    return budget.made(JINJA["truncate"](context.environment, budget.text(value), *args, **kwargs))


@pass_context
def _parts(context: Context, value: Any, count: int, fill_with: Any = None) -> Any:
    budget: Budget = context.environment.budget  # type: ignore[attr-defined]
    return budget.made(list(JINJA["slice"](context.eval_ctx, budget.items(value), _groups(count), fill_with)))


def _batch(budget: Budget, value: Any, count: int, fill_with: Any = None) -> Any:
    return list(JINJA["batch"](budget.items(value), _groups(count), fill_with))


def _groups(count: Any) -> int:
    if isinstance(count, int) and 1 <= count <= MOST_GROUPS:
        return count
    raise Denied(f"The template makes groups of a number that is not between 1 and {MOST_GROUPS:,}.", "Change it.")


FILTERS: dict[str, Function] = {
    **{name: _filter(function, text=True) for name, function in _TEXT.items()},
    **{name: _filter(function) for name, function in _VALUE.items()},
    **{name: _list_filter(name, lambda context: context.environment) for name in _BY_ENVIRONMENT},
    **{name: _list_filter(name, lambda context: context) for name in _BY_CONTEXT},
    "batch": _filter(_batch),
    "dictsort": _filter(lambda budget, value, *args, **kwargs: JINJA["dictsort"](_mapping(value), *args, **kwargs)),
    "join": _join,
    "reverse": _filter(lambda budget, value: value[::-1] if isinstance(value, str) else budget.items(value)[::-1]),
    "slice": _parts,
    "sum": _sum,
    "truncate": _truncate,
    "unique": _unique,
}
