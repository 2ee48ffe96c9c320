"""Price tables in YAML: the one that ships (data/prices.yaml) and the user's own.

- models: [qwen/qwen-max*]     # patterns of maker/model; * stands for any characters
  host: example.com            # or: the server's name, then the patterns are of the model's own name
  input: 1.6                   # dollars per million tokens, like all that follow
  output: 6.4
  cached: 0.64                 # read from the provider's cache; without it as input
  cache_write_5m: 2            # written to the cache; without it as input
  cache_write_1h: 3.2          # without it as cache_write_5m
  source: where the numbers are from
  from: 2026-11-01             # not before that day (UTC); of several entries that match, the last one counts
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

from core.errors import SettingsError

RATES = ("input", "output", "cached", "cache_write_5m", "cache_write_1h")
FIELDS = ("models", "host", *RATES, "source", "from")
DOLLARS_LIMIT = 1_000_000  # a million tokens for a million dollars: surely a slip of the pen


@dataclass(frozen=True, slots=True)
class PriceRow:
    """One row of a table. `rates` are dollars per million tokens by the names in RATES; input and output are there."""

    models: tuple[str, ...]
    host: str | None
    rates: dict[str, Decimal]
    source: str
    since: datetime.date | None

    def fits(self, model: str, host: str | None, day: datetime.date) -> bool:
        """Whether this is the price of `maker/model`, answered by `host`, on that day."""
        if self.since is not None and day < self.since:
            return False
        if self.host is not None:
            if host != self.host:
                return False
            model = model.partition("/")[2]
        return any(fnmatchcase(model.lower(), pattern) for pattern in self.models)


def read(path: Path) -> list[PriceRow]:
    """All entries of a table. SettingsError with the file's name, the line and the field when it makes no sense."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"The price table {path.name} cannot be read.", "It must be a UTF-8 file.") from None
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = 1 if error.problem_mark is None else error.problem_mark.line + 1
        raise _wrong(path, line, f"is not YAML ({error.problem or 'it cannot be read'})") from None
    except yaml.YAMLError:
        raise _wrong(path, 1, "is not YAML") from None
    if root is None:
        return []
    if not isinstance(root, yaml.SequenceNode):
        raise _wrong(path, 1, "must be a list: each entry begins with `- models:`")
    return [_entry(path, node) for node in root.value]


def _entry(path: Path, node: yaml.Node) -> PriceRow:
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        raise _wrong(path, line, "must be an entry with `models`, `input` and `output`")
    fields: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = str(key.value)
        where = key.start_mark.line + 1
        if name not in FIELDS:
            raise _wrong(path, where, f"has the field `{name[:40]}`; there are {', '.join(FIELDS)}")
        if name in fields:
            raise _wrong(path, where, f"has `{name}` twice in one entry")
        fields[name] = value
    for name in ("models", "input", "output"):
        if name not in fields:
            raise _wrong(path, line, f"has an entry without `{name}`")
    return PriceRow(
        models=tuple(_models(path, fields["models"])),
        host=_text(path, "host", fields["host"]).lower() if "host" in fields else None,
        rates={name: _dollars(path, name, fields[name]) for name in RATES if name in fields},
        source=_text(path, "source", fields["source"]) if "source" in fields else path.name,
        since=_date(path, fields["from"]) if "from" in fields else None,
    )


def _models(path: Path, node: yaml.Node) -> Iterator[str]:
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    if not nodes:
        raise _wrong(path, node.start_mark.line + 1, "has an empty `models`")
    for item in nodes:
        yield _text(path, "models", item).lower()


def _text(path: Path, name: str, node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
        raise _wrong(path, node.start_mark.line + 1, f"has a `{name}` that is not a text")
    return str(node.value).strip()


def _dollars(path: Path, name: str, node: yaml.Node) -> Decimal:
    try:
        amount = Decimal(_text(path, name, node))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount <= DOLLARS_LIMIT or amount.as_tuple().exponent < -9:  # type: ignore[operator]
        line = node.start_mark.line + 1
        raise _wrong(path, line, f"has a `{name}` that is not a number of dollars per million tokens, like 1.25")
    return amount


def _date(path: Path, node: yaml.Node) -> datetime.date:
    try:
        return datetime.date.fromisoformat(_text(path, "from", node))
    except ValueError:
        raise _wrong(path, node.start_mark.line + 1, "has a `from` that is not a date like 2026-11-01") from None


def _wrong(path: Path, line: int, what: str) -> SettingsError:
    return SettingsError(f"The price table {path.name}, line {line}, {what}.", "Correct the line, then start again.")
