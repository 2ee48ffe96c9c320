"""Renders prompts with minijinja, in a child process: what a stranger's template can take is that process.

Its fuel ends loops and long texts at once. It does not count lists within lists: of `[a, a]`, forty times over, the
text is a million million parts long, and minijinja would write it while no other thread of the process runs. And
lists that are given to it are Python's own, so a template can change them. Hence the process, and hence no templates
that are rendered anywhere else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from types import BuiltinMethodType
from typing import Any

from minijinja import Environment, TemplateError

FUEL = 1_000_000  # instructions of one message; long texts cost some, too
MOST_TEXT = 6_000_000  # bytes of all messages as JSON
_TOO_MUCH_FIX = "Make its loops shorter and its texts smaller."
_RUST = re.compile(r"\b[iu](8|16|32|64|128|size)\b")
# minijinja tells of an error in an included template only in words.
_CAUSE = re.compile(r"^caused by: (.*) \(in (.*):(\d+)\)$", re.MULTILINE)
_WORDS = {
    "UnknownFilter": "a filter in it is not supported",
    "UnknownTest": "a test in it is not supported",
    "TooManyArguments": "a macro, filter or function is given too much",
    "MissingArgument": "a macro, filter or function is not given enough",
}
_KINDS = {"engine ran out of fuel": "OutOfFuel", "undefined value": "UndefinedError"}


class _Told(Exception):
    """What happened, in the line `line` of `name`, and what to do."""

    def __init__(self, what: str, fix: str, name: str = "", line: int = 0) -> None:
        self.told = (what, fix, name, line)


def render(
    data: bytes, messages: Sequence[tuple[str, Sequence[str]]], parts: Mapping[str, tuple[str, str]]
) -> dict[str, Any]:
    """{"texts": […]}, or {"index": of the message, "name": of the part, "line": 0 if unknown, "what": …, "fix": …}.

    `data` is a JSON object, the values. Each message is its template and the names of the variables that are empty text
    in it. `parts` are what can be included, by reference: template and name.
    """
    environment = _environment({reference: text for reference, (text, _) in parts.items()})
    texts: list[str] = []
    for index, (template, empty) in enumerate(messages):
        values = {**dict.fromkeys(empty, ""), **json.loads(data, parse_int=_whole)}  # anew: a template may change them
        try:
            texts.append(environment.render_str(template, "", **values))
        except Exception as error:
            what, fix, name, line = _told(error)
            place = parts[name][1] if name in parts else name
            return {"index": index, "name": place, "line": line, "what": what, "fix": fix}
        if len(json.dumps(texts)) > MOST_TEXT:
            what = f"The template does too much: it makes more than {MOST_TEXT:,} bytes."
            return {"index": index, "name": "", "line": 0, "what": what, "fix": _TOO_MUCH_FIX}
    return {"texts": texts}


def _environment(templates: dict[str, str]) -> Environment:
    environment = Environment(
        loader=templates.get,
        fuel=FUEL,
        auto_escape_callback=lambda name: False,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.finalizer = _final
    # Strict, but `{% if user.title %}` may be asked. Its stub does not know the word.
    environment.undefined_behavior = "semi_strict"  # type: ignore[assignment]
    for name, filter in _FILTERS.items():
        environment.add_filter(name, filter)
    environment.add_global("text_loop", _text_loop)
    environment.remove_global("debug")
    return environment


def _final(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, BuiltinMethodType):  # of Python's lists and mappings
        name = value.__name__
        raise _Told(f"{name} is a function.", f"Call it, or write [{name!r}] for a field of that name.")
    return NotImplemented


def _whole(digits: str) -> int | str:
    """A whole number; as text if it is longer than minijinja's are."""
    return int(digits) if len(digits) < 38 else digits


def _center(text: Any, width: int = 80) -> str:
    return _text(text).center(width)


def _indent(value: Any, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    """Jinja2's; minijinja's drops the last line end, and takes no text."""
    space = width if isinstance(width, str) else " " * width
    start, *rest = f"{_text(value)}\n".splitlines()
    return "\n".join([space + start if first else start, *(space + line if line or blank else line for line in rest)])


def _to_json(value: Any, indent: int | None = None) -> str:
    """JSON as models read it best: no escapes for HTML, letters as they are, fields in their order."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _truncate(value: Any, length: int = 255, killwords: bool = False, end: str = "...", leeway: int = 5) -> str:
    """Jinja2's; minijinja's takes no arguments without their names."""
    text = _text(value)
    if len(text) <= length + leeway:
        return text
    cut = text[: max(0, length - len(end))]
    return (cut if killwords else cut.rsplit(" ", 1)[0]) + end


def _word_count(value: Any) -> int:
    return len(re.findall(r"\w+", _text(value)))


def _text(value: Any) -> str:
    return "" if value is None else str(value)


_FILTERS: dict[str, Callable[..., Any]] = {
    "center": _center,
    "indent": _indent,
    "tojson": _to_json,
    "truncate": _truncate,
    "wordcount": _word_count,
}


def _text_loop(loop: str, line: int, name: str) -> None:
    raise _Told(
        f"{loop} is text, not a list.",
        f'Give it as a JSON list like ["a", "b"], or split it: {loop}.split(","). For its letters, write {loop}|list.',
        name,
        line,
    )


def _told(error: Exception) -> tuple[str, str, str, int]:
    """What happened, what to do, and the template and line if they are known."""
    if isinstance(error, _Told):
        return error.told
    if not isinstance(error, TemplateError):  # of a method of Python's lists and mappings, or of a filter above
        what = "It cannot be worked out: a filter or function does not fit what it was given."
        return what, "Correct the template or the values.", "", 0
    kind, detail, name, line = error.kind, error.detail or "", error.name or "", error.line or 0
    if kind == "BadInclude" and (causes := _CAUSE.findall(str(error))):
        said, name, number = causes[-1]
        kind, line = _KINDS.get(said.partition(":")[0], ""), int(number)
        detail = said.partition(": ")[2]
    detail = _RUST.sub("a whole number", detail)[:200]
    fix = "Correct the template or the values."
    if kind == "OutOfFuel":
        what, fix = "The template does too much: its loops or texts are too long.", _TOO_MUCH_FIX
    elif kind == "UndefinedError":
        what = f"{detail.replace('`(...)', '`…') or 'A value is undefined'}."
        fix = "Correct the name, give it in the value, or write |default('…')."
    elif "recursion limit" in detail:
        what = "It cannot be worked out: a macro calls itself without end."
    else:
        what = f"It cannot be worked out: {detail or _WORDS.get(kind, kind)}."
        if "operator on unsupported" in detail:
            fix += " ~ joins texts, and the filter format puts values into one."
    return what, fix, name, line
