"""The ledger: one row for each attempt at a model call, written before it starts and completed after it.

A row that is left "running" by a process that died is marked "lost" at the next start. Cost is in nano-dollars.
"""

from __future__ import annotations

import asyncio
import datetime
import secrets
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import structlog
from sqlalchemy import Connection, update

from core.errors import StorageError
from core.ledger.queries import CallRow, Filter, Total, find, find_one, sent, total
from core.ledger.rows import BEGINNING, END, Attempt, Outcome, begin_row, end_row
from core.messages import Usage
from core.models.prices import Prices
from core.store.database import Database
from core.store.tables import calls

__all__ = ["Attempt", "CallRow", "Filter", "Ledger", "Outcome", "Total"]

RETRY_SECONDS = 2.0
KEPT = 100_000  # outcomes that wait in memory while nothing can be written; the oldest go first
LOST = "Parley ended during this call."

log = structlog.get_logger()


class Ledger:
    """Safe from any thread. The async methods cost the event loop little: one wake-up serves all that were waiting."""

    def __init__(self, database: Database, prices: Prices) -> None:
        self._database = database
        self._prices = prices
        self._insert = database.insertion(calls, *BEGINNING)
        self._update = database.change(calls, "id", *END)
        self._running: dict[int, str] = {}  # the models of the calls that run
        self._mutex = threading.Lock()
        self._own_bits = secrets.randbits(10) << 10
        self._last = 0
        self._kept: deque[Sequence[Any]] = deque(maxlen=KEPT)
        self._timer: threading.Timer | None = None
        self._mark_lost()

    async def begin(self, attempt: Attempt) -> int:
        """Write the row; it is on the disk when this returns its id. StorageError if it cannot be written."""
        call, row = self._beginning(attempt)
        try:
            await self._database.aput(self._insert, row)
        except asyncio.CancelledError:  # the row is written all the same
            self.finish_soon(call, Outcome("cancelled", Usage()))
            raise
        except BaseException:
            self._running.pop(call, None)
            raise
        return call

    async def finish(self, call: int, outcome: Outcome) -> int | None:
        """Complete the row and return the cost; it is on the disk when this returns. Only the first finish counts.

        StorageError if it cannot be written now: then it is kept in memory and written as soon as that works again.
        """
        cost, row = self._end(call, outcome)
        if row is not None:
            try:
                await self._database.aput(self._update, row)
            except asyncio.CancelledError:
                self._put_soon(row)
                raise
            except StorageError as error:
                self._keep(row, error)
                raise
        return cost

    def finish_soon(self, call: int, outcome: Outcome) -> int | None:
        """`finish` without waiting, for one who is being cancelled. Raises nothing; what fails is kept as there."""
        cost, row = self._end(call, outcome)
        if row is not None:
            self._put_soon(row)
        return cost

    def begin_blocking(self, attempt: Attempt) -> int:
        """`begin` for threads."""
        call, row = self._beginning(attempt)
        try:
            self._database.put(self._insert, row)
        except BaseException:
            self._running.pop(call, None)
            raise
        return call

    def finish_blocking(self, call: int, outcome: Outcome) -> int | None:
        """`finish` for threads."""
        cost, row = self._end(call, outcome)
        if row is not None:
            try:
                self._database.put(self._update, row)
            except StorageError as error:
                self._keep(row, error)
                raise
        return cost

    def cost(self, model: str, outcome: Outcome) -> int | None:
        """What such an outcome costs in nano-dollars, None when unknown."""
        return self._charge(model, outcome)[0]

    def call(self, call: int) -> CallRow:
        """One row. NotFound if there is none."""
        with self._database.read() as connection:
            return find_one(connection, call)

    def settled(self, call: int) -> CallRow:
        """`call`, after all that was handed over before has been written. Blocks; StorageError if it cannot be."""
        self._database.write(lambda _: None)
        return self.call(call)

    def calls(self, where: Filter = Filter(), limit: int = 100) -> list[CallRow]:  # noqa: B008  (frozen)
        """The newest rows first."""
        with self._database.read() as connection:
            return find(connection, where, limit)

    def total(self, where: Filter = Filter()) -> Total:  # noqa: B008  (frozen)
        """The sums of all rows that the filter lets through."""
        with self._database.read() as connection:
            return total(connection, where)

    def sent(self, visitor: str, since: datetime.datetime) -> int:
        """How many calls of a visitor went out with the server's key, whatever became of them."""
        with self._database.read() as connection:
            return sent(connection, visitor, since)

    def _beginning(self, attempt: Attempt) -> tuple[int, tuple[Any, ...]]:
        now = time.time_ns()
        with self._mutex:
            # 43 bits of milliseconds, 10 of this process, 10 to count: rising, and apart from other processes'.
            call = self._last = max(self._last + 1, now // 1_000_000 << 20 | self._own_bits)
            self._running[call] = attempt.model
        return call, begin_row(call, self._database.instance, now // 1000, attempt)

    def _end(self, call: int, outcome: Outcome) -> tuple[int | None, tuple[Any, ...] | None]:
        model = self._running.pop(call, None)
        if model is None:
            return None, None
        cost, price = self._charge(model, outcome)
        return cost, end_row(call, outcome, cost, price)

    def _charge(self, model: str, outcome: Outcome) -> tuple[int | None, str | None]:
        """The cost and the price as JSON. The model that was asked for decides, then the one that answered."""
        if outcome.cache_hit:
            return 0, '{"source":"answered from Parley\'s cache"}'
        if outcome.provider_cost is not None:
            return outcome.provider_cost, '{"source":"provider"}'
        usage = outcome.usage
        if usage is None:
            return None, None
        price = self._prices.of(model)
        if price is None and outcome.model_answered:
            price = self._prices.of(f"{model.partition('/')[0]}/{outcome.model_answered}")
        if price is None:
            return None, None
        # A call that never went out is no request, where requests have a price of their own.
        return (price.cost(usage) if usage.input or usage.output else 0), price.to_json(usage.input)

    def _put_soon(self, row: Sequence[Any]) -> None:
        def done(error: BaseException | None) -> None:
            if error is not None:
                self._keep(row, error)

        try:
            self._database.put_soon(self._update, row, done)
        except StorageError as error:
            self._keep(row, error)

    def _keep(self, row: Sequence[Any], error: BaseException) -> None:
        log.warning("ledger.kept", call=row[-1], reason=getattr(error, "code", type(error).__name__))
        if self._database.closed:
            return
        with self._mutex:
            self._kept.append(row)
            if self._timer is None:
                self._timer = threading.Timer(RETRY_SECONDS, self._again)
                self._timer.daemon = True
                self._timer.start()

    def _again(self) -> None:
        with self._mutex:
            self._timer = None
            rows = list(self._kept)
            self._kept.clear()
        for row in rows:
            self._put_soon(row)

    def _mark_lost(self) -> None:
        def mark(connection: Connection) -> int:
            running = (calls.c.status == "running") & (calls.c.instance == self._database.instance)
            values = {"status": "lost", "error_code": "lost", "error": LOST}
            return connection.execute(update(calls).where(running).values(values)).rowcount

        try:
            if lost := self._database.write(mark):
                log.warning("ledger.lost", calls=lost)
        except StorageError as error:
            log.warning("ledger.lost", reason=error.code)
