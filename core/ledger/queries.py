"""Reading the ledger: rows and sums of calls."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, case, func, select

from core.errors import NotFound
from core.messages import Usage, prompt_ref
from core.store.tables import calls, first_call


@dataclass(frozen=True, slots=True)
class Filter:
    """Which calls. None lets all through; times are aware, `since` is included, `until` is not."""

    conversation: str | None = None
    feature: str | None = None
    visitor: str | None = None
    model: str | None = None  # maker/model as asked
    status: str | None = None
    prompt_name: str | None = None
    prompt_version: int | None = None
    since: datetime.datetime | None = None
    until: datetime.datetime | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        columns = calls.c
        wanted = {
            columns.conversation: self.conversation,
            columns.feature: self.feature,
            columns.visitor: self.visitor,
            columns.model: self.model,
            columns.status: self.status,
            columns.prompt_name: self.prompt_name,
            columns.prompt_version: self.prompt_version,
        }
        found: list[ColumnElement[bool]] = [column == value for column, value in wanted.items() if value is not None]
        if self.since is not None:
            found += [columns.id >= first_call(self.since), columns.started >= self.since]
        if self.until is not None:
            found.append(columns.started < self.until)
        return found


@dataclass(frozen=True, slots=True)
class CallRow:
    """One attempt. Times are in seconds, `cost` in nano-dollars (None = unknown), `price` in dollars per million."""

    id: int
    started: datetime.datetime
    feature: str
    provider: str
    model: str
    model_answered: str | None
    conversation: str | None
    visitor: str
    prompt_name: str | None
    prompt_version: int | None
    prompt_hash: str | None
    prompt_parts: tuple[tuple[str, int], ...]  # the included prompts with the versions that were used
    attempt: int
    key_source: str
    status: str
    error_code: str | None
    error: str | None
    stop_reason: str | None
    request_id: str | None
    usage: Usage | None
    price: dict[str, Any] | None
    cost: int | None
    queued: float | None
    first_token: float | None
    duration: float | None
    cache_hit: bool

    @property
    def prompt(self) -> str | None:
        """As ChatRequest.prompt."""
        return prompt_ref(self.prompt_name, self.prompt_version)


@dataclass(frozen=True, slots=True)
class Total:
    """Sums. `cost` holds what is known; `unpriced` says how many calls with tokens have no known price."""

    calls: int = 0
    failed: int = 0  # failed, interrupted or lost
    running: int = 0
    input: int = 0  # tokens, with the cached ones
    cached: int = 0
    output: int = 0
    reasoning: int = 0
    cost: int = 0  # nano-dollars
    unpriced: int = 0


def find_one(connection: Connection, call: int) -> CallRow:
    row = connection.execute(select(calls).where(calls.c.id == call)).mappings().one_or_none()
    if row is None:
        raise NotFound("There is no such call in the ledger.")
    return _call(row)


def find(connection: Connection, where: Filter, limit: int) -> list[CallRow]:
    query = select(calls).where(*where.conditions()).order_by(calls.c.id.desc()).limit(limit)
    return [_call(row) for row in connection.execute(query).mappings()]


def total(connection: Connection, where: Filter) -> Total:
    columns = calls.c

    def count(condition: ColumnElement[bool]) -> ColumnElement[Any]:
        return func.sum(case((condition, 1), else_=0))

    query = select(
        func.count().label("calls"),
        count(columns.status.in_(("failed", "interrupted", "lost"))).label("failed"),
        count(columns.status == "running").label("running"),
        *(func.sum(columns[name]).label(name) for name in ("input", "cached", "output", "reasoning", "cost")),
        count((columns.input + columns.output > 0) & columns.cost.is_(None)).label("unpriced"),
    ).where(*where.conditions())
    row = connection.execute(query).mappings().one()
    return Total(**{name: int(value or 0) for name, value in row.items()})


def sent(connection: Connection, visitor: str, since: datetime.datetime) -> int:
    """The calls of a visitor that reached a provider with the server's key. One that did not has used no token."""
    columns = calls.c
    reached = (columns.status == "ok") | columns.input.is_(None) | (columns.input > 0)
    found = select(func.count()).where(
        columns.id >= first_call(since),
        columns.visitor == visitor,
        columns.key_source == "server",
        columns.cache_hit.is_(False),
        reached,
    )
    return int(connection.execute(found).scalar_one())


def _call(row: RowMapping) -> CallRow:
    usage = None
    if row["input"] is not None:
        usage = Usage(
            input=row["input"],
            cached=row["cached"],
            cache_write_5m=row["cache_write_5m"],
            cache_write_1h=row["cache_write_1h"],
            output=row["output"],
            reasoning=row["reasoning"],
            estimated=row["usage_estimated"],
        )
    names = (name for name in CallRow.__dataclass_fields__ if name not in ("usage", "prompt_parts"))
    parts = tuple((name, number) for name, number in row["prompt_parts"] or ())
    return CallRow(**{name: row[name] for name in names}, usage=usage, prompt_parts=parts)
