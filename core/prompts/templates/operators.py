"""What + - * / // % ** give in a template, without letting a number or a text explode."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

from jinja2 import Undefined

from core.prompts.templates.budget import MOST_BITS, Budget, Denied, kind

WIDEST = 1000  # characters of an indent, a centred text, a number

_PLACE = re.compile(r"%%|%(?:\([^()%]*\))?[-+ #0]{0,5}(\d{0,9})(?:\.(\d{0,9}))?[diouxXeEfFgGcs]")
_NUMBERS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}


def calculate(budget: Budget, sign: str, left: Any, right: Any) -> Any:
    """`left sign right`. Raises Denied, and TypeError for what does not go together."""
    budget.step()
    for one in (left, right):
        if isinstance(one, Undefined):
            str(one)  # raises what it has to say
    if isinstance(left, int | float) and isinstance(right, int | float):
        if sign == "**" and isinstance(left, int) and isinstance(right, int):
            budget.shape(1 << min(left.bit_length() * max(right, 0), 2 * MOST_BITS))
        return budget.made(_NUMBERS[sign](left, right))
    if isinstance(left, str) and sign == "%":
        return budget.made(percent(budget, left, right))
    if sign == "*" and isinstance(left, int):
        left, right = right, left
    if isinstance(left, str | list | tuple) and sign == "*" and isinstance(right, int):
        return _repeated(budget, left, max(right, 0))
    if sign == "+" and isinstance(left, str) and isinstance(right, str):
        return budget.joined([left, right])
    if sign == "+" and isinstance(left, list | tuple) and isinstance(right, list | tuple):
        budget.room(len(left) + len(right))
        return budget.made([*left, *right])
    hint = "; ~ joins texts" if sign == "+" else ""
    raise TypeError(f"{kind(left)} {sign} {kind(right)} has no result{hint}")


def _repeated(budget: Budget, value: Any, times: int) -> Any:
    if not isinstance(value, str):
        budget.room(len(value) * times)
        return budget.made(list(value) * times)
    budget.spend(len(value) * times)
    return value * times


def narrow(width: Any) -> int:
    """A width that can be wanted."""
    if isinstance(width, int) and 0 <= width <= WIDEST:
        return width
    raise Denied(f"A width in the template is not between 0 and {WIDEST}.", "Make it smaller.")


def percent(budget: Budget, text: str, values: Any) -> str:
    """`text % values`, with widths that are written in the text and not too large."""
    budget.room(text.count("%"))
    places = list(_PLACE.finditer(text))
    if "%" in _PLACE.sub("", text):
        raise Denied("A text with % cannot be formatted.", "Use %s, %d, %f, %x or %%, with at most a width before it.")
    width = sum(narrow(int(number)) for place in places for number in place.groups() if number)
    size = budget.shape(values if isinstance(values, tuple | dict) else (values,))[0]
    budget.spend(len(text) + width + size * len(places))
    return str(text % values)
