"""What one rendering may use up. A template may come from a stranger, and the server must go on for everybody else.

Every loop, call, filter and operator asks here first, with the size of what it is about to make. Values are JSON
values and nothing else, and the size of a list as text is known before it is written: `[a, a]` forty times over has
a million million parts, although only forty lists exist.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from jinja2 import Undefined

MOST_STEPS = 200_000  # loop turns, calls, filters, operators
MOST_TEXT = 8_000_000  # characters made in all
MOST_ITEMS = 100_000  # of one list
MOST_LEVELS = 50  # of lists in lists
MOST_BITS = 10_000  # of a whole number
SECONDS = 0.5  # of processor time; a usual prompt takes a thousandth of it
CHECK = 20  # steps from one look at the clock to the next
STEP_TEXT = 2_000  # characters that take about as long as a step
OTHER = 24  # characters that a number takes at most, if it is not a long one

TOO_MUCH_FIX = "Make its loops shorter and its texts smaller."


class Denied(Exception):
    """The template does what it may not, in the line `lineno` if that is not 0. Becomes a BadRequest."""

    def __init__(self, what: str, fix: str = "Take it out of the template.", lineno: int = 0) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix
        self.lineno = lineno


class Absent(str):
    """The value of a variable that need not be given and was not: empty text, and not `defined`."""

    __slots__ = ()


def too_much(what: str) -> Denied:
    return Denied(f"The template does too much: {what}.", TOO_MUCH_FIX)


class Budget:
    """Of one rendering, in one thread."""

    def __init__(self) -> None:
        self._steps = 0
        self._text = 0
        self._look = 0  # steps at which the clock is looked at again
        self._end = time.thread_time() + SECONDS
        self._shapes: dict[int, tuple[Any, int, int]] = {}  # id -> the list itself, its size as text, its levels

    def step(self, count: int = 1) -> None:
        """Something is about to be done that takes as long as `count` loop turns."""
        self._steps += count
        if self._steps < self._look:
            return
        if self._steps > MOST_STEPS:
            raise too_much(f"it takes more than {MOST_STEPS:,} steps")
        if time.thread_time() > self._end:
            raise too_much(f"it takes longer than {SECONDS} seconds")
        self._look = self._steps + CHECK

    def spend(self, size: int) -> None:
        """Text of `size` characters is about to be made."""
        self._text += size
        if self._text > MOST_TEXT:
            raise too_much(f"it makes more than {MOST_TEXT:,} characters")
        self.step(1 + size // STEP_TEXT)

    def room(self, count: int) -> int:
        """`count` itself, if a list may have so many items."""
        if count > MOST_ITEMS:
            raise too_much(f"a list has more than {MOST_ITEMS:,} items")
        self.step(1 + count // 20)
        return count

    def made(self, value: Any) -> Any:
        """The value itself, after it was made. Iterators become lists."""
        if isinstance(value, str):
            self.spend(len(value))
        elif id(value) in self._shapes:
            self.step()
        elif isinstance(value, list | tuple | dict):
            self.spend(8 * self.room(len(value)))
            self.shape(value)
        elif isinstance(value, int | float) or value is None:
            self.shape(value)
        elif not isinstance(value, Undefined):
            raise TypeError(f"{kind(value)} cannot be used as a value")
        return value

    def shape(self, value: Any, level: int = 0) -> tuple[int, int]:
        """(characters of the value as text, levels of lists in it). Denied if it is too large, or no JSON value."""
        if isinstance(value, str):
            return len(value) + 4, 0
        if isinstance(value, bool | float) or value is None:
            return OTHER, 0
        if isinstance(value, int):
            if value.bit_length() > MOST_BITS:
                raise too_much(f"a number has more than {MOST_BITS * 3 // 10:,} digits")
            return OTHER + value.bit_length() // 3, 0
        if not isinstance(value, list | tuple | dict):
            if isinstance(value, Undefined):
                str(value)  # raises what it has to say
            raise TypeError(f"{kind(value)} cannot be an item of a list")
        known = self._shapes.get(id(value))
        if known is not None:
            return known[1], known[2]
        if level > MOST_LEVELS:
            raise too_much(f"a list has more than {MOST_LEVELS} levels")
        self.room(len(value))
        size, levels = 4, 0
        for one in (part for item in value.items() for part in item) if isinstance(value, dict) else value:
            more, deep = self.shape(one, level + 1)
            size += more
            levels = max(levels, deep)
        if size > MOST_TEXT:
            raise too_much(f"a list is longer than {MOST_TEXT:,} characters")
        if levels >= MOST_LEVELS:
            raise too_much(f"a list has more than {MOST_LEVELS} levels")
        self._shapes[id(value)] = value, size, levels + 1
        return size, levels + 1

    def text(self, value: Any) -> str:
        """As it is put into the prompt. None is empty text."""
        if isinstance(value, str):
            return str(value)
        if value is None:
            return ""
        if type(value) is Undefined:  # an `if` without `else` within an expression
            return ""
        if isinstance(value, Undefined):
            return str(value)
        self.spend(self.shape(value)[0])
        return str(value)

    def items(self, value: Any) -> Sequence[Any]:
        """What a filter goes through: a list's items, a mapping's keys, a text's characters."""
        if isinstance(value, list | tuple):
            self.room(len(value))
            return value
        if isinstance(value, Undefined):
            iter(value)  # raises, except for an `if` without `else`
            return []
        if isinstance(value, dict | str):
            self.room(len(value))
            return list(value)
        raise TypeError(f"{kind(value)} has no items")

    def joined(self, pieces: Iterable[str], between: str = "") -> str:
        """The pieces in one text, if it is not too long."""
        parts = pieces if isinstance(pieces, list) else list(pieces)
        self.spend(sum(map(len, parts)) + len(between) * max(0, len(parts) - 1))
        return between.join(parts)


_KINDS = {
    "bool": "true or false",
    "int": "a number",
    "float": "a number",
    "complex": "a complex number",
    "str": "a text",
    "Absent": "a text",
    "dict": "a mapping",
    "list": "a list",
    "tuple": "a list",
    "NoneType": "none",
    "LoopContext": "loop",
    "Macro": "a macro",
    "_GroupTuple": "a group",
    "Method": "a function",
}


def kind(value: Any) -> str:
    """What a value is called in an error."""
    name = type(value).__name__
    return _KINDS.get(name) or f"a {name.strip('_').lower()}"
