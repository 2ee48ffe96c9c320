"""What prompts were used for: calls and cost from the ledger, thumbs from the conversations."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, cast, func, select

from core.store.database import Database
from core.store.tables import RATED, call_time, calls, messages


@dataclass(frozen=True, slots=True)
class PromptUse:
    """Sums. `cost` holds what is known; `unpriced` says how many calls with tokens have no known price."""

    calls: int = 0  # attempts, as the ledger counts them
    cost: int = 0  # nano-dollars
    unpriced: int = 0
    last: datetime.datetime | None = None  # when the newest call began, in UTC
    up: int = 0  # thumbs of the answers
    down: int = 0


class PromptUsage:
    """Every method may be called from any thread and blocks for as long as the database takes. StorageError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def uses(self, visitor: str | None = None) -> Mapping[str, PromptUse]:
        """By prompt, of one visitor or (None) of all. Prompts without calls are not in it."""
        return self._sums(calls.c.prompt_name, calls.c.prompt_name.is_not(None), visitor)

    def by_version(self, name: str, visitor: str | None = None) -> Mapping[int | None, PromptUse]:
        """Of one prompt, by version; None stands for drafts that were tried before they were saved."""
        return self._sums(calls.c.prompt_version, calls.c.prompt_name == name, visitor)

    def _sums(self, by: ColumnElement[Any], which: ColumnElement[bool], visitor: str | None) -> dict[Any, PromptUse]:
        columns = calls.c
        wanted = [which] if visitor is None else [which, columns.visitor == visitor]
        spent = select(
            by,
            func.count(),
            func.sum(columns.cost),
            func.count().filter(columns.cost.is_(None) & (columns.input + columns.output > 0)),
            func.max(columns.id),
        )
        with self._database.read() as connection:
            found = {
                key: PromptUse(count, int(cost or 0), unpriced, call_time(last))
                for key, count, cost, unpriced, last in connection.execute(spent.where(*wanted).group_by(by))
            }
            for key, rating, count in connection.execute(_thumbs(by, wanted)):
                use = found.get(key)  # None for a call that was made between the two questions
                if key is not None and use is not None:  # no key: an answer without this prompt; a draft has no thumbs
                    found[key] = replace(use, **{"up" if rating > 0 else "down": count})
        return found


def _thumbs(by: ColumnElement[Any], wanted: Sequence[ColumnElement[bool]]) -> Select[tuple[Any, int, int]]:
    """How often each rating was given, by the call that made the answer.

    A subquery and not a join, which SQLite may begin at the many calls. The conversation must be the same, because
    what was imported carries ids of calls that were made for another conversation, or elsewhere.
    """
    call = cast(messages.c.meter["call"].as_string(), BigInteger)
    made = select(by).where(calls.c.id == call, calls.c.conversation == messages.c.conversation, *wanted)
    key = made.correlate(messages).scalar_subquery().label("key")
    return select(key, messages.c.rating, func.count()).where(RATED).group_by(key, messages.c.rating)
