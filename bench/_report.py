"""How every benchmark prints: a table for people, then the same rows as JSON lines for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

Row = Mapping[str, object]


def report(bench: str, rows: Sequence[Row], title: str = "") -> None:
    """Print `rows`; the columns are their keys in the order of first appearance. None is left empty.

    Floats are shown with three significant digits in the table and in full in the JSON.
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns, *([_shown(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    numeric = [all(_is_number(row.get(column)) for row in rows) for column in columns]
    if title:
        print(f"\n{title}")
    for line in cells:
        parts = (
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        )
        print("  ".join(parts).rstrip())
    print()
    for row in rows:
        print(json.dumps({"bench": bench, **row}, default=str), flush=True)


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
