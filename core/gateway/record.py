"""Writes every attempt into the ledger: before the provider is called, and again when it has ended, however it ended.

A call that cannot be recorded goes on; the reader and the log are told.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from dataclasses import replace
from time import perf_counter
from typing import Literal

import structlog

from core.errors import Interrupted, ParleyError, StorageError, TimedOut
from core.gateway._call import Call, Events, Handler, Layer, LayerContext
from core.gateway._estimate import request_tokens
from core.ledger.store import Attempt, Ledger, Outcome
from core.messages import Begun, Done, Notice, TextDelta, ThinkingDelta, ToolUse, Usage
from core.tokens import estimate_tokens

ORDER = 30

Status = Literal["ok", "failed", "cancelled", "interrupted"]

log = structlog.get_logger()


def make(context: LayerContext) -> Layer:
    ledger = context.ledger

    async def layer(call: Call, inner: Handler) -> Events:
        entry = _Entry(ledger, call)
        notice = await entry.begin()
        said = entry.said
        try:
            yield notice or Begun(call=entry.id)
            entry.start()
            async with aclosing(inner(call)) as events:
                async for event in events:
                    kind = type(event)
                    if kind is TextDelta or kind is ThinkingDelta:
                        if not said:
                            entry.first = perf_counter()
                        said.append(event.text)  # type: ignore[union-attr]
                        yield event
                    elif kind is Done:
                        done, notice = await entry.done(event)  # type: ignore[arg-type]
                        if notice:
                            yield notice
                        yield done
                    else:
                        entry.note(event)
                        yield event
            if not entry.ended:
                raise Interrupted(f"{call.provider.label} ended the answer in the middle.")
        except (asyncio.CancelledError, GeneratorExit):
            entry.cancelled()
            raise
        except Exception as error:
            await entry.failed(error)
            raise

    return layer


class _Entry:
    """One row of the ledger, from its beginning to its end."""

    __slots__ = ("_call", "_ledger", "_started", "begun", "ended", "first", "id", "said")

    def __init__(self, ledger: Ledger, call: Call) -> None:
        self._ledger = ledger
        self._call = call
        self.id: int | None = None
        self._started = 0.0
        self.begun: Begun | None = None
        self.first: float | None = None
        self.said: list[str] = []  # text, reasoning and the arguments of tools
        self.ended = False

    async def begin(self) -> Notice | None:
        call = self._call
        call.queued = 0.0
        call.sent = False
        request = call.request
        attempt = Attempt(
            provider=call.provider.name,
            model=request.model,
            feature=request.feature,
            conversation=request.conversation,
            visitor=request.visitor,
            prompt_name=request.prompt_name,
            prompt_version=request.prompt_version,
            prompt_hash=request.prompt_hash,
            prompt_parts=request.prompt_parts,
            attempt=call.attempt,
            key_source="visitor" if call.own_key else "server" if call.provider.takes_key else "none",
        )
        notice: Notice | None = None
        try:
            self.id = await self._ledger.begin(attempt)
        except StorageError as error:
            notice = _unrecorded(error)
        self.start()
        return notice

    def start(self) -> None:
        """Time is counted from here."""
        self._started = perf_counter()

    def note(self, event: object) -> None:
        if isinstance(event, Begun):
            self.begun = event
        elif isinstance(event, ToolUse):
            if not self.said:
                self.first = perf_counter()
            self.said.append(event.name + event.arguments)

    async def done(self, event: Done) -> tuple[Done, Notice | None]:
        """The end as the reader sees it, with what only the gateway knows."""
        self.ended = True
        outcome = self._outcome("ok", event.usage, event)
        notice: Notice | None = None
        cost: int | None
        if self.id is None:
            cost = self._lose(outcome)
        else:
            try:
                cost = await self._ledger.finish(self.id, outcome)
            except StorageError as error:
                notice = _unrecorded(error)
                cost = self._ledger.cost(self._call.request.model, outcome)
        done = Done(
            usage=event.usage,
            stop_reason=event.stop_reason,
            detail=event.detail,
            provider_cost=event.provider_cost,
            model=self._call.request.model,
            call=self.id,
            cost=cost,
            first_token=outcome.first_token,
            duration=outcome.duration or 0.0,
            cache_hit=event.cache_hit,
            prompt=self._call.request.prompt,
        )
        return done, notice

    async def failed(self, error: Exception) -> None:
        if self.ended:
            return
        self.ended = True
        known = error if isinstance(error, ParleyError) else ParleyError("Something went wrong inside Parley.")
        broken = isinstance(error, Interrupted) or bool(self.said)
        outcome = self._outcome("interrupted" if broken else "failed", self._used(isinstance(error, TimedOut)))
        outcome = replace(outcome, error_code=known.code, error=known.what)
        if self.id is None:
            self._lose(outcome)
            return
        with suppress(StorageError):  # the ledger keeps it and has logged that
            await self._ledger.finish(self.id, outcome)

    def cancelled(self) -> None:
        """Does not wait: somebody wants this call to be over."""
        if self.ended:
            return
        outcome = self._outcome("cancelled", self._used(True))
        if self.id is None:
            self._lose(outcome)
        else:
            self._ledger.finish_soon(self.id, outcome)

    def _outcome(self, status: Status, usage: Usage | None, done: Done | None = None) -> Outcome:
        call = self._call
        begun = self.begun
        start = self._started + call.queued
        return Outcome(
            status=status,
            usage=usage,
            stop_reason=None if done is None else done.stop_reason,
            model_answered=None if begun is None else begun.model or None,
            request_id=None if begun is None else begun.request_id,
            queued=call.queued,
            first_token=None if self.first is None else max(0.0, self.first - start),
            duration=max(0.0, perf_counter() - start),
            cache_hit=done is not None and done.cache_hit,
            provider_cost=None if done is None else done.provider_cost,
        )

    def _used(self, working: bool) -> Usage | None:
        """What a call that did not end has used, estimated. `working`: the provider was still at it."""
        if not self._call.sent:
            return Usage()
        reported = self.begun.usage if self.begun is not None else None
        if reported is None:
            if not working and not self.said:
                return None
            reported = Usage(input=request_tokens(self._call.request))
        return replace(reported, output=max(reported.output, estimate_tokens("".join(self.said))), estimated=True)

    def _lose(self, outcome: Outcome) -> int | None:
        """The row could not even be begun: what it would have said goes to the log."""
        request = self._call.request
        cost = self._ledger.cost(request.model, outcome)
        usage = outcome.usage or Usage()
        log.warning(
            "call.unrecorded",
            model=request.model,
            status=outcome.status,
            conversation=request.conversation,
            request_id=outcome.request_id,
            input_tokens=usage.input,
            output_tokens=usage.output,
            nano_dollars=cost,
        )
        return cost


def _unrecorded(error: StorageError) -> Notice:
    return Notice("storage", f"This call cannot be recorded: {error.what}")
