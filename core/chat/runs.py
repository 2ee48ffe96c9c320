"""Answers in the making. A run outlives the page that began it: a reload finds it again and goes on watching.

A run is stopped when the user says so, or when nobody has watched it for a while, because an answer that nobody
reads still costs money.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

import structlog

from core.conversations import Meter, Turn
from core.errors import Interrupted, ParleyError
from core.ledger.store import Ledger
from core.messages import Begun, Done, Event, Notice, TextDelta, ThinkingDelta, Usage
from core.threads import Pool

log = structlog.get_logger()

CHECKPOINT = 0.25  # seconds between two savings of a running answer: what a power cut can take
LEFT_ALONE = "Stopped because nobody was watching any more. Continue the answer to go on."
SHUT_DOWN = "Broken off because the server was stopped. Continue the answer to go on."


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is to be seen of an answer at one moment."""

    turn: str
    text: str
    thinking: str
    status: str  # streaming, complete, stopped, interrupted, failed
    error: str = ""
    meter: Meter | None = None
    notices: tuple[str, ...] = ()
    model: str = ""

    @classmethod
    def of(cls, turn: Turn) -> Snapshot:
        """The snapshot of an answer that is not running."""
        return cls(turn.id, turn.text, turn.thinking, turn.status, turn.error, turn.meter, (), turn.model)


Save = Callable[[Snapshot], Awaitable[None]]
Bill = Callable[[int], Awaitable[Meter | None]]  # from the ledger's id of a call that did not end by itself


class Run:
    """One answer: drains a stream of events, saves it now and then, and tells those who watch."""

    def __init__(
        self, turn: Turn, visitor: str, events: AsyncGenerator[Event, None], save: Save, bill: Bill, unwatched: float
    ) -> None:
        self.turn = turn
        self.visitor = visitor
        self.watchers: set[asyncio.Event] = set()
        self._events = events
        self._save = save
        self._bill = bill
        self._call: int | None = None
        self._unwatched = unwatched
        self._text = [turn.text] if turn.text else []
        self._thinking = [turn.thinking] if turn.thinking else []
        self._earlier = turn.meter  # of the part that is being continued
        self._last = Snapshot.of(replace(turn, status="streaming", error="", meter=None))
        self._dirty = False
        self._ended = False  # nothing is to be waited for any more but the saving
        self._why = "stopped"
        self._left = time.monotonic()
        self.task = asyncio.create_task(self._go(), name=f"answer {turn.id}")

    @property
    def snapshot(self) -> Snapshot:
        """The state now. Joining happens here, so that a token costs an append and nothing more."""
        if self._dirty:
            self._dirty = False
            self._last = replace(self._last, text="".join(self._text), thinking="".join(self._thinking))
        return self._last

    def stop(self, why: str = "stopped") -> None:
        """End it now; what had come is kept. `why` is "stopped", or the sentence that explains an interruption."""
        if not self._ended:
            self._why = why
            # Not at once: a task that is cancelled before its first step would never save anything.
            asyncio.get_running_loop().call_soon(self._cancel)

    def _cancel(self) -> None:
        if not self._ended:  # else it would break off the saving
            self.task.cancel()

    def watch(self, bell: asyncio.Event) -> None:
        self.watchers.add(bell)

    def leave(self, bell: asyncio.Event) -> None:
        self.watchers.discard(bell)
        self._left = time.monotonic()

    async def _go(self) -> None:
        guard = asyncio.create_task(self._guard())
        try:
            async with contextlib.aclosing(self._events) as events:
                await self._drain(events)
        except asyncio.CancelledError:
            if self._why == "stopped":
                self._set(status="stopped")
            else:
                self._set(status="interrupted", error=self._why)
        except ParleyError as error:
            broken = isinstance(error, Interrupted) or bool(self._text)
            self._set(status="interrupted" if broken else "failed", error=str(error))
        except Exception:
            log.exception("answer.failed", turn=self.turn.id)
            self._set(
                status="failed", error="Something went wrong inside Parley. Try again; the server's log says more."
            )
        finally:
            self._ended = True
            guard.cancel()
            await self._settle()
            self._ring()

    async def _drain(self, events: AsyncGenerator[Event, None]) -> None:
        saved = time.monotonic()
        async for event in events:
            match event:
                case TextDelta():
                    self._text.append(event.text)
                    self._dirty = True
                case ThinkingDelta():
                    self._thinking.append(event.text)
                    self._dirty = True
                case Notice():
                    model = event.model or self._last.model
                    self._set(notices=(*self._last.notices, event.text), model=model)
                case Begun():
                    self._call = event.call or self._call
                    continue
                case Done():
                    self._finish(event)
            self._ring()
            if time.monotonic() - saved >= CHECKPOINT:
                await self._store()
                saved = time.monotonic()

    def _finish(self, done: Done) -> None:
        timing = done.first_token, done.duration
        meter = Meter(done.call, done.usage, done.cost, *timing, done.stop_reason, done.detail, done.prompt)
        self._set(status="complete", meter=self._with_earlier(meter), model=done.model or self._last.model)

    def _with_earlier(self, meter: Meter | None) -> Meter | None:
        if meter is None or self._earlier is None:
            return meter or self._earlier
        return _joined(self._earlier, meter)

    async def _settle(self) -> None:
        """Save the end. What an answer that did not end by itself has cost is asked of the ledger."""
        if self._last.meter is None:
            meter = await self._bill(self._call) if self._call is not None else None
            self._set(meter=self._with_earlier(meter))
        await self._store()

    async def _guard(self) -> None:
        """Stop a run that nobody watches."""
        while True:
            await asyncio.sleep(min(1.0, self._unwatched / 4))
            if not self.watchers and time.monotonic() - self._left > self._unwatched:
                self.stop(LEFT_ALONE)
                return

    async def _store(self) -> None:
        try:
            await asyncio.shield(asyncio.ensure_future(self._save(self.snapshot)))
        except ParleyError as error:
            text = f"This answer could not be saved: {error.what}"
            if text not in self._last.notices:
                self._set(notices=(*self._last.notices, text))

    def _set(self, **changes: object) -> None:
        self._last = replace(self.snapshot, **changes)  # type: ignore[arg-type]

    def _ring(self) -> None:
        for bell in self.watchers:
            bell.set()


class Runs:
    """Several answers in the making. `database` are the threads in which the ledger is read."""

    def __init__(self, ledger: Ledger, database: Pool) -> None:
        self._ledger = ledger
        self._database = database
        self._runs: dict[str, Run] = {}

    def start(self, turn: Turn, visitor: str, events: AsyncGenerator[Event, None], save: Save, unwatched: float) -> Run:
        """Begin an answer. It is stopped when nobody has watched it for `unwatched` seconds."""
        run = self._runs[turn.id] = Run(turn, visitor, events, save, self._bill, unwatched)
        run.task.add_done_callback(lambda _: self._forget(run))
        return run

    def get(self, turn: str) -> Run | None:
        """The run of this answer, if it is still going. Those who watch hear of an end before it is forgotten."""
        run = self._runs.get(turn)
        return None if run is None or run.task.done() else run

    def of(self, conversation: str) -> list[Run]:
        """What is being written in a conversation."""
        return [run for run in self._runs.values() if run.turn.conversation == conversation and not run.task.done()]

    def stop(self, turns: Iterable[str], why: str = "stopped") -> None:
        for turn in turns:
            if run := self._runs.get(turn):
                run.stop(why)

    async def close(self) -> None:
        """Stop everything and wait until it is saved."""
        tasks = [run.task for run in self._runs.values()]
        self.stop(list(self._runs), SHUT_DOWN)
        if tasks:
            await asyncio.wait(tasks, timeout=10)

    def _forget(self, run: Run) -> None:
        if self._runs.get(run.turn.id) is run:  # it may be going on already in a run of its own
            del self._runs[run.turn.id]

    async def _bill(self, call: int) -> Meter | None:
        """The meter of a call that was stopped or broke off. None if it could not be recorded."""
        with contextlib.suppress(ParleyError):
            row = await self._database.run(self._ledger.settled, call)
            if row.usage is not None:
                took = row.first_token, row.duration or 0.0
                return Meter(call, row.usage, row.cost, *took, row.stop_reason or "", prompt=row.prompt)
        return None


async def watch(runs: dict[str, Run], every: float, idle: float) -> AsyncIterator[dict[str, Snapshot]]:
    """Yield the snapshots that changed, at most every `every` and at least every `idle` seconds, until all have ended.

    The empty yield of an idle tick is what lets the web server notice a closed page while a model is silent.
    """
    bell = asyncio.Event()
    for run in runs.values():
        run.watch(bell)
    shown: dict[str, Snapshot] = {}
    sent = 0.0
    try:
        while True:
            bell.clear()
            going = any(not run.task.done() for run in runs.values())
            now = {turn: run.snapshot for turn, run in runs.items()}
            changed = {turn: snapshot for turn, snapshot in now.items() if shown.get(turn) is not snapshot}
            shown = now
            sent = time.monotonic()
            yield changed
            if not going:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(idle):
                    await bell.wait()
            wait = every - (time.monotonic() - sent)
            if wait > 0:
                await asyncio.sleep(wait)
    finally:
        for run in runs.values():
            run.leave(bell)


def _joined(first: Meter, second: Meter) -> Meter:
    """The meter of an answer that was continued: what both calls used and cost."""
    a, b = first.usage, second.usage
    usage = Usage(
        a.input + b.input,
        a.cached + b.cached,
        a.cache_write_5m + b.cache_write_5m,
        a.cache_write_1h + b.cache_write_1h,
        a.output + b.output,
        a.reasoning + b.reasoning,
        a.estimated or b.estimated,
    )
    cost = None if first.cost is None or second.cost is None else first.cost + second.cost
    return replace(
        second, usage=usage, cost=cost, first_token=first.first_token, duration=first.duration + second.duration
    )
