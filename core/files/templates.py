"""Renders prompts with minijinja, in a child process: what a stranger's template can take is that process.

Its fuel ends loops and long texts at once. It does not count lists within lists: of `[a, a]`, forty times over, the
text is a million million parts long, and minijinja would write it while no other thread of the process runs. And
lists that are given to it are Python's own, so a template can change them. Hence the process, and hence no templates
that are rendered anywhere else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from minijinja import Environment, TemplateError

FUEL = 1_000_000  # instructions of one message; long texts cost some, too
MOST_TEXT = 6_000_000  # bytes of all messages as JSON
_TOO_MUCH_FIX = "Make its loops shorter and its texts smaller."
_RUST = re.compile(r"\b[iu](8|16|32|64|128|size)\b")


class _Told(Exception):
    """What happened, in the line `line` of `name`, and what to do."""

    def __init__(self, what: str, fix: str, name: str, line: int) -> None:
        self.answer = {"what": what, "fix": fix, "name": name, "line": line}


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
        except _Told as error:
            return {"index": index, **error.answer}
        except Exception as error:
            line, name = getattr(error, "line", None) or 0, getattr(error, "name", None) or ""
            what, fix = _told(error)
            place = parts[name][1] if name in parts else ""
            return {"index": index, "name": place, "line": line, "what": what, "fix": fix}
        if len(json.dumps(texts)) > MOST_TEXT:
            what = f"The template does too much: it makes more than {MOST_TEXT:,} bytes."
            return {"index": index, "name": "", "line": 0, "what": what, "fix": _TOO_MUCH_FIX}
    return {"texts": texts}


def _environment(templates: dict[str, str]) -> Environment:
    environment = Environment(
        loader=templates.get,
        filters={"center": _center, "tojson": _to_json, "truncate": _truncate, "wordcount": _word_count},
        globals={"text_loop": _text_loop},
        debug=False,
        fuel=FUEL,
        undefined_behavior="semi_strict",  # type: ignore[arg-type]  # strict, but `{% if user.title %}` may be asked
        auto_escape_callback=lambda name: False,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalizer=lambda value: "" if value is None else NotImplemented,
    )
    environment.remove_global("debug")
    return environment


def _whole(digits: str) -> int | str:
    """A whole number; as text if it is longer than minijinja's are."""
    return int(digits) if len(digits) < 38 else digits


def _center(text: Any, width: int = 80) -> str:
    return _text(text).center(width)


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


def _text_loop(loop: str, line: int, name: str) -> None:
    raise _Told(
        f"{loop} is text, not a list.",
        f'Give it as a JSON list like ["a", "b"], or split it: {loop}.split(","). For its letters, write {loop}|list.',
        name,
        line,
    )


def _told(error: Exception) -> tuple[str, str]:
    if not isinstance(error, TemplateError):  # of a method of Python's lists and mappings, or of a filter above
        return "It cannot be worked out: a filter or function does not fit what it was given.", "Correct the template."
    if error.kind == "OutOfFuel":
        return "The template does too much: its loops or texts are too long.", _TOO_MUCH_FIX
    detail = re.sub(_RUST, "a whole number", (error.detail or "").splitlines()[0] if error.detail else "")[:200]
    if error.kind == "UndefinedError":
        what = f"{detail.replace('`(...)', '`…') or 'A value is undefined'}."
        return what, "Correct the name, give it in the value, or write |default('…')."
    if error.kind == "SyntaxError":
        return f"The template is wrong: {detail}.", "Correct it."
    if "recursion limit" in detail:
        detail = "a macro calls itself without end"
    hint = " Write the filter format instead, or ~ to join texts." if "operator on unsupported" in detail else ""
    return f"It cannot be worked out: {detail or error.kind}.", f"Correct the template or the values.{hint}"
