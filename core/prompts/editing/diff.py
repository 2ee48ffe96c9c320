"""What is different between two versions: fields, their lines, and the words within a changed line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any, Literal

from core.prompts import yamltext
from core.prompts.content import Content, PromptMessage
from core.prompts.editing.sequence_diff import Effort, aligned, ends, paired
from core.prompts.version import Version

ALIKE = 0.4  # the part of two lines that must be the same for the one to be a change of the other
LONGEST = 20_000  # characters in which words are looked for
SEEN = 2_000  # characters at either end of a line or message that say which one it was before
MOST_LINES = 20_000  # of a field
ABOUT = ("Description", "Tags", "Variables", "Examples", "Model", "Parameters", "Answer schema")

_WORDS = re.compile(r"\w+|\s+|[^\w\s]")
_ROLES = {"system": "System message", "user": "User message", "assistant": "Assistant message"}
Kind = Literal["same", "changed", "added", "removed"]


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a line. Put together they are the line."""

    text: str
    changed: bool


Spans = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of both sides, or of one. Numbers begin with 1."""

    kind: Kind
    old: int | None
    new: int | None
    before: Spans
    after: Spans


@dataclass(frozen=True, slots=True)
class Line:
    """A line of one side, or the same line of both."""

    kind: Literal["same", "added", "removed"]
    old: int | None
    new: int | None
    spans: Spans


@dataclass(frozen=True, slots=True)
class Gap:
    """Unchanged rows that are folded away."""

    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Field:
    """A message, or what else a version says. `rows` has changed lines side by side, `lines` one below the other."""

    name: str
    kind: Literal["changed", "added", "removed"]
    rows: tuple[Row, ...]

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """As in a unified diff: the removed lines of a place before the added ones."""
        found: list[Line] = []
        for same, run in groupby(self.rows, lambda row: row.kind == "same"):
            rows = list(run)
            if same:
                found += [Line("same", row.old, row.new, row.after) for row in rows]
                continue
            found += [Line("removed", row.old, None, row.before) for row in rows if row.old is not None]
            found += [Line("added", None, row.new, row.after) for row in rows if row.new is not None]
        return tuple(found)


@dataclass(frozen=True)
class Diff:
    """The fields that are different, in the order of the file. None of them: both say the same."""

    fields: tuple[Field, ...]

    @cached_property
    def added(self) -> int:
        """Lines; a changed one is added and removed."""
        return sum(row.new is not None and row.kind != "same" for field in self.fields for row in field.rows)

    @cached_property
    def removed(self) -> int:
        """Lines; a changed one is added and removed."""
        return sum(row.old is not None and row.kind != "same" for field in self.fields for row in field.rows)


def diff(old: Version | Content | None, new: Version | Content | None) -> Diff:
    """From `old` to `new`; None has nothing in it. Takes well under a second for the largest prompts."""
    lines, words = Effort(), Effort()
    before, after = _about(old), _about(new)
    about = [(name, before.get(name), after.get(name)) for name in ABOUT]
    both = [*about[:2], *_messages(_content(old), _content(new), lines), *about[2:]]
    return Diff(tuple(_field(name, one, other, lines, words) for name, one, other in both if one != other))


def fold(field: Field, context: int = 3) -> tuple[Row | Gap, ...]:
    """The rows, with unchanged ones folded that are further than `context` from any change, where that saves room."""
    found: list[Row | Gap] = []
    runs = [(same, list(run)) for same, run in groupby(field.rows, lambda row: row.kind == "same")]
    for place, (same, run) in enumerate(runs):
        first = context if place else 0
        last = len(run) - (context if place < len(runs) - 1 else 0)
        if same and last - first > 1:
            found += [*run[:first], Gap(tuple(run[first:last])), *run[last:]]
        else:
            found += run
    return tuple(found)


def unified_text(difference: Diff, context: int = 3) -> str:
    """For a terminal: a heading for each field, then lines that begin with a space, - or +."""
    written: list[str] = []
    for field in difference.fields:
        written.append(f"@@ {field.name} @@")
        for same, run in groupby(fold(field, context), lambda row: isinstance(row, Row) and row.kind == "same"):
            rows = list(run)
            if same:
                written += [f" {_text(row.after)}" for row in rows if isinstance(row, Row)]
                continue
            written += [f"… {len(row.rows):,} unchanged lines" for row in rows if isinstance(row, Gap)]
            changed = [row for row in rows if isinstance(row, Row)]
            written += [f"-{_text(row.before)}" for row in changed if row.old is not None]
            written += [f"+{_text(row.after)}" for row in changed if row.new is not None]
    return "".join(f"{line}\n" for line in written)


def _text(spans: Spans) -> str:
    return "".join(span.text for span in spans)


def _content(side: Version | Content | None) -> Content | None:
    return side.content if isinstance(side, Version) else side


def _about(side: Version | Content | None) -> dict[str, Any]:
    """All but the messages: texts, and what is shown as YAML."""
    content = _content(side)
    if content is None:
        return {}
    values = content.as_dict()
    found: dict[str, Any] = {}
    if isinstance(side, Version):
        found = {"Description": side.description, "Tags": "\n".join(side.tags)}
    found |= {
        "Variables": values.get("variables"),
        "Examples": {name: values[name] for name in ("nearest", "examples") if name in values},
        "Model": content.model,
        "Parameters": values.get("parameters"),
        "Answer schema": values.get("schema"),
    }
    return {name: value for name, value in found.items() if value}


def _messages(old: Content | None, new: Content | None, effort: Effort) -> Iterator[tuple[str, Any, Any]]:
    """(title, old text, new text), each message with the one that it was before."""
    olds, news = (old.messages if old else ()), (new.messages if new else ())
    before, after = ([_counted(one.content) for one in side] for side in (olds, news))

    def score(one: int, other: int) -> float:
        if olds[one].role != news[other].role:
            return 0.0
        # Messages with nothing in common are paired only where nothing else is left for them.
        return 0.01 + _likeness(before[one], after[other])

    sides = [[(one.role, one.content) for one in side] for side in (olds, news)]
    for same, removed, added in aligned(sides[0], sides[1], effort):
        if same:
            continue
        for gone, come in paired(removed, added, score):
            title = _title(olds, gone or 0) if come is None else _title(news, come)
            yield title, None if gone is None else olds[gone].content, None if come is None else news[come].content


def _title(messages: Sequence[PromptMessage], index: int) -> str:
    role = messages[index].role
    same = [place for place, message in enumerate(messages) if message.role == role]
    return _ROLES[role] + (f" {same.index(index) + 1}" if len(same) > 1 else "")


def _counted(text: str) -> Counter[str]:
    """The words at both ends."""
    text = text if len(text) <= 2 * SEEN else f"{text[:SEEN]} {text[-SEEN:]}"
    return Counter(word for word in _WORDS.findall(text) if not word.isspace())


def _likeness(one: Counter[str], other: Counter[str]) -> float:
    """Between 0 and 1: the part of the words that both have."""
    whole = one.total() + other.total()
    return 2 * (one & other).total() / whole if whole else 1.0


def _field(name: str, old: Any, new: Any, lines: Effort, words: Effort) -> Field:
    before, after = _lines(old), _lines(new)
    rows: list[Row] = []
    for same, removed, added in aligned(before, after, lines):
        if same:
            rows += [_same(after, one, other) for one, other in zip(removed, added, strict=True)]
        else:
            rows += _replaced(before, after, removed, added, words)
    return Field(name, "added" if old is None else "removed" if new is None else "changed", tuple(rows))


def _same(after: list[str], old: int, new: int) -> Row:
    spans = (Span(after[new], False),)
    return Row("same", old + 1, new + 1, spans, spans)


def _lines(value: Any) -> list[str]:
    """The last one holds the rest, if there are more than MOST_LINES."""
    if value is None:
        return []
    text = value if isinstance(value, str) else yamltext.dump(value).rstrip("\n")
    return text.split("\n", MOST_LINES)


def _replaced(before: list[str], after: list[str], removed: range, added: range, effort: Effort) -> Iterator[Row]:
    """The lines of a place that was rewritten: where one is much like another, they go together."""
    words: dict[str, Counter[str]] = {}

    def counted(line: str) -> Counter[str]:
        if line not in words:
            words[line] = _counted(line)
        return words[line]

    def score(one: int, other: int) -> float:
        old, new = before[one], after[other]
        if not effort.take(40 + min(len(old) + len(new), 4 * SEEN) // 2):
            return float(old == new)
        alike = _likeness(counted(old), counted(new))
        return alike if alike >= ALIKE else 0.0

    for one, other in paired(removed, added, score):
        if other is None:
            yield Row("removed", (one or 0) + 1, None, (Span(before[one or 0], True),), ())
        elif one is None:
            yield Row("added", None, other + 1, (), (Span(after[other], True),))
        elif before[one] == after[other]:
            yield _same(after, one, other)
        else:
            yield Row("changed", one + 1, other + 1, *_spans(before[one], after[other], effort))


def _spans(old: str, new: str, effort: Effort) -> tuple[Spans, Spans]:
    """The words that are different. In very long lines only where the difference begins and ends."""
    if max(len(old), len(new)) > LONGEST or not effort.take(100 + 2 * (len(old) + len(new))):
        first, last = ends(old, new)
        return _cut(old, first, last), _cut(new, first, last)
    olds, news = _WORDS.findall(old), _WORDS.findall(new)
    before: list[Span] = []
    after: list[Span] = []
    for same, removed, added in aligned(olds, news, effort):
        before += [Span(olds[index], not same) for index in removed]
        after += [Span(news[index], not same) for index in added]
    return _merged(before), _merged(after)


def _cut(line: str, first: int, last: int) -> Spans:
    end = len(line) - last
    parts = (Span(line[:first], False), Span(line[first:end], True), Span(line[end:], False))
    return tuple(part for part in parts if part.text)


def _merged(spans: list[Span]) -> Spans:
    """Neighbours of a kind in one, with the space between two changed words."""
    marked = [span.changed for span in spans]
    for index in range(1, len(spans) - 1):
        if spans[index].text.isspace() and marked[index - 1] and marked[index + 1]:
            marked[index] = True
    found: list[Span] = []
    for changed, run in groupby(zip(spans, marked, strict=True), lambda pair: pair[1]):
        found.append(Span("".join(span.text for span, _ in run), changed))
    return tuple(found)
