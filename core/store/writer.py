"""One thread that writes, for all. What waits in its queue is committed together (group commit).

Eight threads that commit one row each starve one another in SQLite; one writer that commits for eight does not.
Two kinds of work: a function that gets the connection, and a plain row for a prepared statement, which costs a tenth.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from queue import Empty, SimpleQueue
from typing import Any

import structlog
from sqlalchemy import Connection, Engine

from core.store.failover import Failover
from core.store.faults import closed, explain, is_unwritable, lost_connection

BATCH = 1000  # jobs in one transaction

Work = Callable[[Connection], Any]
Callback = Callable[[BaseException | None], None]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RowStatement:
    """SQL in the driver's own words, with positional parameters."""

    sql: str


class Ticket:
    """What a thread waits on."""

    __slots__ = ("_lock", "error", "value")

    def __init__(self) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self._lock = threading.Lock()
        self._lock.acquire()

    def punch(self, value: Any, error: BaseException | None) -> None:
        self.value, self.error = value, error
        self._lock.release()

    def wait(self) -> Any:
        self._lock.acquire()
        if self.error is not None:
            raise self.error
        return self.value


class Job:
    """Either `work`, or a `row` for a `statement`. The `waiter` hears of the end after the commit."""

    __slots__ = ("error", "row", "statement", "value", "waiter", "work")

    def __init__(
        self,
        waiter: asyncio.Future[Any] | Ticket | Callback | None,
        work: Work | None = None,
        statement: RowStatement | None = None,
        row: Sequence[Any] = (),
    ) -> None:
        self.waiter = waiter
        self.work = work
        self.statement = statement
        self.row = row
        self.value: Any = None
        self.error: BaseException | None = None


class Writer:
    """Owns the thread and the only connection that writes. What is put is done in order, or fails with an error.

    With a `failover`, what the disk refuses is done in memory instead.
    """

    def __init__(self, engine: Engine, failover: Failover | None) -> None:
        self._engine = engine
        self._failover = failover
        self._sqlite = engine.dialect.name == "sqlite"
        self._connection: Connection | None = None
        self._committing = False
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._gate = threading.Lock()  # nothing enters the queue behind the None that closes it
        self._open = True
        self._thread = threading.Thread(target=self._run, name="parley-writer", daemon=True)
        self._thread.start()

    def put(self, job: Job) -> None:
        """Returns at once. Raises StorageError when closed."""
        with self._gate:
            if not self._open:
                raise closed()
            self._queue.put(job)

    def is_me(self) -> bool:
        return threading.current_thread() is self._thread

    def close(self) -> None:
        """Do what waits, then end. Safe to call twice."""
        with self._gate:
            if self._open:
                self._open = False
                self._queue.put(None)
        if not self.is_me():
            self._thread.join()

    def _run(self) -> None:
        queue = self._queue
        ending = False
        expected = 1
        while not ending:
            taken = self._first()
            if queue.qsize() + len(taken) < expected:
                time.sleep(0)  # let those whom the last commit woke put their next work beside this one
            taken += [queue.get() for _ in range(min(queue.qsize(), BATCH))]
            batch = [job for job in taken if job is not None]
            ending = len(batch) < len(taken)
            if batch:
                self._commit(batch)
                _settle(batch)
            expected = max(len(batch), expected - 1)
            del batch, taken  # results must not live until the next batch
            self._go_back(ending)
        self._drop()

    def _first(self) -> list[Job | None]:
        """Wait for something to do. Nothing, when it is time to look whether the disk has room again."""
        pause = None if self._failover is None else self._failover.pause()
        try:
            return [self._queue.get(timeout=pause)]
        except Empty:
            return []

    def _commit(self, batch: list[Job]) -> None:
        try:
            self._transaction(batch)
        except BaseException as error:
            uncertain = self._committing and lost_connection(error)
            retry = not uncertain and (len(batch) > 1 or lost_connection(error))
            self._undo()
            if not (self._leave(error) or retry):
                for job in batch:
                    job.error = explain(error)
                return
            # Something spoilt the transaction as a whole (a full disk, one bad row, a stale connection): one by one.
            for job in batch:
                self._commit_one(job)

    def _commit_one(self, job: Job) -> None:
        try:
            self._transaction([job])
        except BaseException as error:
            self._undo()
            if self._leave(error):
                self._commit_one(job)
            else:
                job.error = explain(error)

    def _leave(self, error: BaseException) -> bool:
        """Go on in memory, if it was the disk that failed. What was not committed can then be done again."""
        if self._failover is None or not is_unwritable(error):
            return False
        self._drop()
        engine = self._failover.leave(error)
        self._engine = engine or self._engine
        return engine is not None

    def _go_back(self, last: bool) -> None:
        pause = None if self._failover is None else self._failover.pause()
        if self._failover is not None and pause is not None and (last or pause <= 0):
            self._drop()
            self._engine = self._failover.back(last) or self._engine

    def _transaction(self, batch: list[Job]) -> None:
        if self._connection is None:
            self._connection = self._engine.connect()
        connection = self._connection
        alone = len(batch) == 1
        if all(job.work is None for job in batch):
            raw = connection.connection.driver_connection
            assert raw is not None
            if self._sqlite:
                raw.execute("BEGIN IMMEDIATE")
            self._rows(raw, batch)
            self._committing = True
            raw.commit()
        else:
            transaction = connection.begin()
            for job in batch:
                job.value = job.error = None
            for rows, group in groupby(batch, key=lambda job: job.work is None):
                if rows:
                    _guard(connection, list(group), alone, self._rows_inside)
                else:
                    for job in group:
                        _guard(connection, [job], alone, _work)
            self._committing = True
            transaction.commit()
        self._committing = False

    def _rows(self, raw: Any, batch: list[Job]) -> None:
        cursor = raw.cursor()
        for statement, group in groupby(batch, key=lambda job: job.statement):
            assert statement is not None
            cursor.executemany(statement.sql, [job.row for job in group])
        cursor.close()

    def _rows_inside(self, connection: Connection, batch: list[Job]) -> None:
        self._rows(connection.connection.driver_connection, batch)

    def _undo(self) -> None:
        """Leave no transaction behind. A connection to a server is thrown away: it may be what broke."""
        self._committing = False
        if self._connection is None:
            return
        try:
            if self._sqlite:
                self._connection.rollback()
                raw = self._connection.connection.driver_connection
                assert raw is not None
                raw.rollback()
                return
            self._connection.invalidate()
        except Exception:
            log.warning("A write could not be rolled back; its connection is closed.")
        self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _work(connection: Connection, batch: list[Job]) -> None:
    (job,) = batch
    assert job.work is not None
    job.value = job.work(connection)


def _guard(connection: Connection, batch: list[Job], alone: bool, act: Callable[[Connection, list[Job]], None]) -> None:
    """Act within a savepoint, so that a failure undoes this part only."""
    if alone:
        act(connection, batch)
        return
    connection.exec_driver_sql("SAVEPOINT job")
    try:
        act(connection, batch)
    except BaseException as error:
        if len(batch) > 1 or lost_connection(error) or is_unwritable(error):
            raise
        batch[0].error = explain(error)
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT job")
    connection.exec_driver_sql("RELEASE SAVEPOINT job")


def _settle(batch: list[Job]) -> None:
    """Wake all waiters; those of an event loop together, because each wake-up of a loop costs a system call."""
    loops: dict[asyncio.AbstractEventLoop, list[Job]] = {}
    for job in batch:
        waiter = job.waiter
        if isinstance(waiter, asyncio.Future):
            loops.setdefault(waiter.get_loop(), []).append(job)
        elif isinstance(waiter, Ticket):
            waiter.punch(job.value, job.error)
        elif waiter is not None:
            try:
                waiter(job.error)
            except Exception:
                log.exception("A callback of the writer failed.")
    for loop, jobs in loops.items():
        try:
            loop.call_soon_threadsafe(_resolve, jobs)
        except RuntimeError:
            log.debug("An event loop closed before its writes were acknowledged.")


def _resolve(jobs: list[Job]) -> None:
    for job in jobs:
        future = job.waiter
        assert isinstance(future, asyncio.Future)
        if future.done():
            continue
        if job.error is not None:
            future.set_exception(job.error)
        else:
            future.set_result(job.value)
