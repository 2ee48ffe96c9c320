"""A file that somebody gives: its text, and what the text says as JSON, as YAML, or below a frontmatter."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, Literal

from core.errors import BadRequest
from core.prompts import yamltext

LARGEST = 20_000_000  # bytes of a file of another program
LARGEST_OWN = 500_000_000  # bytes of an export of a registry, which may be as large as the registry
DEEPEST = 100  # levels of JSON
NOTHING = "Nothing was imported. Correct the file and try again."
_KINDS: dict[str, Literal["json", "yaml", "text"]] = {
    ".json": "json",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".prompt": "text",
    ".prompty": "text",
}
_OWN = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\{\s*)?[\"']?format[\"']?\s*:\s*[\"']?parley-prompts\b")
_UNSAVABLE = re.compile("[\x00\ud800-\udfff]")
_DELIMITER = re.compile(r"(?:---|\+\+\+)[ \t]*")


@dataclass(frozen=True, slots=True)
class Split:
    """A file with a frontmatter: the fields above, the text below."""

    fields: dict[str, Any]
    body: str
    declared: bool  # whether there is a frontmatter at all


def most_bytes(start: bytes) -> int:
    """How many bytes a file may have that begins so."""
    return LARGEST_OWN if _OWN.match(start) else LARGEST


class Given:
    """Everything is read when it is first asked for. All properties raise BadRequest that names the line."""

    def __init__(self, data: bytes, filename: str) -> None:
        self._data = data
        self.path = PurePosixPath(filename.replace("\\", "/"))
        self.filename = self.path.name or "the file"
        self.extension = self.path.suffix.lower()

    @cached_property
    def text(self) -> str:
        """The whole file, with one kind of line end."""
        most = most_bytes(self._data[:1000])
        if len(self._data) > most:
            raise BadRequest(
                f"{self.filename} is larger than {most / 1e6:g} MB.", "Import it in several smaller files."
            )
        try:
            text = self._data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = self._data.count(b"\n", 0, error.start) + 1
            raise BadRequest(f"{self.filename}, line {line}, is not UTF-8 text.", "Save it as UTF-8.") from None
        return text.replace("\r\n", "\n").replace("\r", "\n")

    @cached_property
    def kind(self) -> Literal["json", "yaml", "text"]:
        """What the file is written in: by its extension, or else by how it begins."""
        if self.extension in _KINDS:
            return _KINDS[self.extension]
        start = self.text.lstrip()
        if start[:1] in ("{", "[") and start[:2] not in ("{{", "{%", "{#"):
            return "json"
        return "text" if start.startswith("---") or self.extension else "yaml"

    @cached_property
    def value(self) -> Any:
        """The file as JSON or YAML; None for other texts."""
        if self.kind == "json":
            return load_json(self.text, self.filename)
        return _checked(yamltext.load_value(self.text, self.filename), self.filename) if self.kind == "yaml" else None

    @cached_property
    def split(self) -> Split:
        """Fields between lines of `---` (or `+++`), and what follows them. Without such lines, all of it is body."""
        lines = self.text.split("\n")
        start = next((n for n, line in enumerate(lines) if line.strip() and not line.startswith("#")), None)
        if start is None or not _DELIMITER.fullmatch(lines[start].lstrip()):
            return Split({}, self.text, False)
        end = next((n for n in range(start + 1, len(lines)) if _DELIMITER.fullmatch(lines[n])), None)
        if end is None:
            raise BadRequest(
                f"{self.filename}, line {start + 1}: the frontmatter that begins here does not end.",
                "Put a line of --- between the fields and the prompt.",
            )
        above = "\n" * (start + 1) + "\n".join(lines[start + 1 : end])  # so that errors name the file's own lines
        fields = yamltext.load(above, self.filename) if above.strip() else {}
        return Split(_checked(fields, self.filename), "\n".join(lines[end + 1 :]), True)


def load_json(text: str, where: str) -> Any:
    """JSON as the standard has it: no key twice, no NaN. BadRequest names the line."""
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise BadRequest(f"{where}, line {error.lineno}, is not valid JSON: {error.msg}.", NOTHING) from None
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, _Twice) else "it is nested too deeply or holds an impossible number"
        raise BadRequest(f"{where} is not valid JSON: {reason}.", NOTHING) from None
    return _checked(value, where)


class _Twice(ValueError):
    pass


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise _Twice(f"{next(key for key in keys if keys.count(key) > 1)[:80]!r} stands there twice")
    return found


def _no_constant(name: str) -> Any:
    raise _Twice(f"{name} is no number of JSON")


def _checked(value: Any, where: str) -> Any:
    """The value, if it is not too deep and all of its texts can be saved."""
    level = [value]
    for _ in range(DEEPEST):
        if any(isinstance(one, str) and _UNSAVABLE.search(one) for one in level):
            raise BadRequest(f"{where} holds a character that no file can hold.", NOTHING)
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in ([*one, *one.values()] if isinstance(one, dict) else one)
        ]
        if not level:
            return value
    raise BadRequest(f"{where} is nested more than {DEEPEST} levels deep.", NOTHING)
