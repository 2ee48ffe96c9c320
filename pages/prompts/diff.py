"""Two versions compared, as HTML that the style sheet shows inline or side by side.

Each side of a line carries the row that it stands in; inline, all removed lines of a place come before the added ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from core.errors import ParleyError
from core.prompts.editing.diff import Diff, Field, Gap, Row, Spans, fold
from core.prompts.version import Version
from pages.kit.format import text

MOST_FOLDED = 400  # lines that can be unfolded
MOST_ROWS = 2000  # of a field
SIGN = {"del": "−", "add": "+"}
SPOKEN = {"del": "removed", "add": "added"}
ELEMENT = {"del": "del", "add": "ins"}


def whole(old: Version, new: Version, difference: Diff) -> str:
    """With a heading and the choice between inline and side by side."""
    ways = "".join(
        f'<button data-do="prompt_diff" data-way="{way}" aria-pressed="false">{title}</button>'
        for way, title in (("inline", "Inline"), ("split", "Side by side"))
    )
    figures = f"<small>+{difference.added} −{difference.removed}</small>" if difference.fields else ""
    return (
        f'<div class="diff" data-name="{text(new.name)}" data-old="{old.number}" data-new="{new.number}">'
        f'<div class="diff-head"><h2>v{old.number} → v{new.number}{figures}</h2>'
        f'<span class="ways" role="group" aria-label="How the difference is shown">{ways}</span></div>'
        f"{_fields(difference)}</div>"
    )


def fields(difference: Diff) -> str:
    """The differences alone, for a window."""
    return f'<div class="diff">{_fields(difference)}</div>'


def same(number: int) -> str:
    """There is nothing to compare."""
    return f'<div class="diff"><p class="none">Choose another version to compare with v{number}.</p></div>'


def trouble(error: ParleyError) -> str:
    """Why two versions cannot be compared."""
    return f'<div class="diff"><p class="none">{text(error)}</p></div>'


def _fields(difference: Diff) -> str:
    if not difference.fields:
        return '<p class="none">They say the same.</p>'
    return "".join(_field(field) for field in difference.fields)


def _field(field: Field) -> str:
    parts = fold(field)
    rest = len(parts) - MOST_ROWS
    html, number = [], 1
    for changed, run in groupby(parts[:MOST_ROWS], lambda part: isinstance(part, Row) and part.kind != "same"):
        group = list(run)
        if changed:
            html.append(_changed([row for row in group if isinstance(row, Row)], number))
            number += len(group)
            continue
        for part in group:
            html.append(_gap(part, number) if isinstance(part, Gap) else _unchanged(part, number))
            number += len(part.rows) + 1 if isinstance(part, Gap) else 1
    more = f'<p class="none">{rest:,} more lines are not shown.</p>' if rest > 0 else ""
    what = "" if field.kind == "changed" else f"<small>{field.kind}</small>"
    return (
        f'<div class="diff-field"><h3>{text(field.name)}{what}</h3><div class="lines">{"".join(html)}</div>{more}</div>'
    )


def _gap(gap: Gap, number: int) -> str:
    """Unchanged lines that a click unfolds."""
    said = f"{len(gap.rows):,} unchanged line{'s' * (len(gap.rows) != 1)}"
    if len(gap.rows) > MOST_FOLDED:
        return f'<p class="diff-fold" style="--r:{number}">{said}</p>'
    inner = "".join(_unchanged(row, number + 1 + place) for place, row in enumerate(gap.rows))
    return (
        f'<button type="button" class="diff-fold" data-do="diff_fold" aria-expanded="false" style="--r:{number}">{said}'
        f'</button><div class="diff-folded">{inner}</div>'
    )


def _unchanged(row: Row, number: int) -> str:
    return _line("old", row.old, row.before, number) + _line("new", row.new, row.after, number)


def _changed(rows: Sequence[Row], number: int) -> str:
    """A place that was rewritten: each line in its row, and nothing beside a line that has no other side."""
    old = [
        _void("old", number + place) if row.old is None else _line("del", row.old, row.before, number + place)
        for place, row in enumerate(rows)
    ]
    new = [
        _void("new", number + place) if row.new is None else _line("add", row.new, row.after, number + place)
        for place, row in enumerate(rows)
    ]
    return "".join(old + new)


def _line(kind: str, line: int | None, spans: Spans, number: int) -> str:
    sign = f'<u aria-label="{SPOKEN[kind]}">{SIGN[kind]}</u>' if kind in SIGN else "<u></u>"
    return (
        f'<div class="line {kind}" style="--r:{number}"><i>{line}</i>{sign}<span>{_written(spans, kind)}</span></div>'
    )


def _void(side: str, number: int) -> str:
    return f'<div class="line void {side}" style="--r:{number}"></div>'


def _written(spans: Spans, kind: str) -> str:
    """The line, with the words marked that are different."""
    element = ELEMENT.get(kind, "")
    if all(span.changed for span in spans):  # then the line's own colour says it
        element = ""
    return "".join(
        f"<{element}>{text(span.text)}</{element}>" if element and span.changed else text(span.text) for span in spans
    )
