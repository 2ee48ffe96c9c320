"""YAML for files that people read and change by hand: texts as blocks, no tags, no anchors, no key twice.

Read as YAML 1.2's core schema, so `no`, `on` and a date are text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, ClassVar

import yaml
from yaml.constructor import ConstructorError

from core.errors import BadRequest

DEEPEST = 40  # levels
HEADER = "# yaml-language-server: $schema="
LONG = 80  # characters; longer texts become blocks
WIDTH = 1000
BLOCKS = ("content", "input", "output")  # fields that are blocks however short
FIX = "Correct the file. Texts of several lines begin with | and are indented."

_Loading: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumping: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_CORE = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
)


def _resolvers(before: Mapping[str, Any]) -> dict[str, Any]:
    """What a plain scalar is, by its first character: what `before` says, and YAML 1.2's core schema."""
    found = {first: list(pairs) for first, pairs in before.items()}
    for tag, pattern, firsts in _CORE:
        for first in firsts:
            found.setdefault(first, []).append((f"tag:yaml.org,2002:{tag}", re.compile(rf"(?:{pattern})\Z")))
    return found


def _integer(loader: Any, node: Any) -> int:
    try:
        return int(node.value, 0 if node.value[:2] in ("0o", "0x") else 10)
    except ValueError:
        raise ConstructorError(None, None, "a number with too many digits", node.start_mark) from None


def _float(loader: Any, node: Any) -> float:
    number = float(node.value)
    if not math.isfinite(number):
        raise ConstructorError(None, None, "a number that is too large", node.start_mark)
    return number


class _Loader(_Loading):  # type: ignore[misc]
    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = _resolvers({})
    yaml_constructors: ClassVar[dict[str, Any]] = _Loading.yaml_constructors | {
        "tag:yaml.org,2002:int": _integer,
        "tag:yaml.org,2002:float": _float,
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ConstructorError(None, None, "a key must be text", key.start_mark)
            if key.value in found:
                raise ConstructorError(None, None, f"{key.value[:80]!r} stands there twice", key.start_mark)
            found[key.value] = self.construct_object(value, deep=True)
        return found


class _Block(str):
    pass


class _Dumper(_Dumping):  # type: ignore[misc]
    # Quotes what either version of YAML would take for something else than text.
    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = _resolvers(_Dumping.yaml_implicit_resolvers)
    yaml_representers: ClassVar[dict[Any, Any]] = _Dumping.yaml_representers | {
        _Block: lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|")
    }


def load(text: str, where: str) -> dict[str, Any]:
    """The mapping that the text holds: JSON values only. BadRequest names the line; `where` is the file."""
    value = load_value(text, where)
    if not isinstance(value, dict):
        raise BadRequest(f"{where} holds no fields.", "It must begin with lines like `description: …`.")
    return value


def load_value(text: str, where: str) -> Any:
    """Whatever the text holds: a mapping, a list or a single value. Otherwise as `load`."""
    try:
        _check(text)
        value = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise BadRequest(f"{where}{line} is not valid YAML: {error.problem or error.context}.", FIX) from None
    except (yaml.YAMLError, RecursionError, OverflowError):
        raise BadRequest(f"{where} is not valid YAML.", FIX) from None
    return value


def _check(text: str) -> None:
    """Refuse what could grow or build objects, before anything is built. Iterative: depth costs no stack."""
    depth = 0
    for event in yaml.parse(text, _Loading):
        wrong = ""
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            wrong = f"more than {DEEPEST} levels" if depth > DEEPEST else ""
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            wrong = "anchors and aliases (& and *) are not allowed; quote a text that begins so"
        elif getattr(event, "tag", None) is not None:
            wrong = "tags (!) are not allowed; quote a text that begins so"
        if wrong:
            mark: Any = event.start_mark
            raise ConstructorError(None, None, wrong, mark)


def dump(values: Mapping[str, Any], schema: str = "") -> str:
    """The text that `load` reads as `values`, with the header for editors that know the schema at this address."""
    header = f"{HEADER}{schema}\n" if schema else ""
    text = _write(_marked(values, ""))
    if _again(text) != values:  # a text that YAML's blocks cannot hold
        text = _write(dict(values))
    return header + text


def _again(text: str) -> Any:
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError:
        return None


def _write(values: Any) -> str:
    return str(yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH))


def _marked(value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        return {name: _marked(one, str(name)) for name, one in value.items()}
    if isinstance(value, list):
        return [_marked(one, key) for one in value]
    if isinstance(value, str) and (key in BLOCKS or "\n" in value or len(value) > LONG):
        return _Block(value)
    return value
