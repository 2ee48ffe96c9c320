"""An answer as server-sent events. The hot path of the API: frames are bytes from the start, and everything that one
wake-up of the event loop brings goes out in one piece.
"""

from __future__ import annotations

import asyncio
import time
import types
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import aclosing
from typing import Any

from starlette.types import Send

from core.api.answers import FINISH, logprobs_json, new_id, parley_json, prompt_json, usage_json
from core.api.schemas import ParsedRequest
from core.api.wire import dumps, error_body
from core.errors import Interrupted, ParleyError
from core.messages import Done, Event, Notice, TextDelta, ThinkingDelta

Flush = Callable[[], Coroutine[Any, Any, None]]

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would hold the stream back
]


async def stream_answer(events: AsyncGenerator[Event, None], parsed: ParsedRequest, send: Send) -> None:
    """Send a stream of events as chat.completion.chunk frames.

    Errors before the first frame are raised, so that they can still have a status; later ones become the last frame.
    """
    frames = _Frames(parsed)
    started = False

    async def flush() -> None:
        nonlocal started
        if frames.pending:
            body = b"".join(frames.pending)
            frames.pending.clear()
            if not started:
                started = True
                await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            await send({"type": "http.response.body", "body": body, "more_body": True})

    try:
        async with aclosing(events):
            while (event := await _next(events, flush)) is not None:
                frames.add(event)
        frames.end()
    except ParleyError as error:
        if not started and not frames.pending:
            raise
        frames.fail(error)
    if not started:
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": b"".join(frames.pending), "more_body": False})


def error_frame(error: ParleyError) -> bytes:
    """The last frame of a stream that broke off."""
    return b"data: %b\n\n" % dumps(error_body(error))


class _Frames:
    """Makes the frames of one answer; `pending` are the pieces that have not been sent."""

    def __init__(self, parsed: ParsedRequest) -> None:
        self.pending: list[bytes] = []
        self._asked = parsed
        self._notices: list[Notice] = []
        self._done: Done | None = None
        self._begun = False
        self._id, self._created = new_id(), int(time.time())
        usage = b',"usage":null' if parsed.include_usage else b""
        self._suffix = b'},"logprobs":null,"finish_reason":null}]' + usage + b"}\n\n"
        self._name(parsed.request.model)

    def add(self, event: Event) -> None:
        kind = type(event)
        if kind is TextDelta:
            assert isinstance(event, TextDelta)
            self._begin()
            if event.logprobs and self._asked.logprobs:
                logprobs = dumps(logprobs_json(event.logprobs))
                suffix = self._suffix.replace(b"null", logprobs, 1)
                self.pending += (self._content, dumps(event.text), suffix)
            else:
                self.pending += (self._content, dumps(event.text), self._suffix)
        elif kind is ThinkingDelta:
            assert isinstance(event, ThinkingDelta)
            self._begin()
            self.pending += (self._reasoning, dumps(event.text), self._suffix)
        elif kind is Notice:
            assert isinstance(event, Notice)
            self._notices.append(event)
            if event.model:
                self._name(event.model)
        elif kind is Done:
            assert isinstance(event, Done)
            self._done = event

    def end(self) -> None:
        """The stream has ended as it should: why, what it cost, and the end mark."""
        done = self._done
        if done is None:
            raise Interrupted("The answer ended without saying so.")
        self._begin()
        if done.model:
            self._name(done.model)
        choice = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": FINISH[done.stop_reason]}
        last: dict[str, Any] = {"choices": [choice], "parley": parley_json(done, self._notices, self._asked)}
        last |= prompt_json(self._asked)
        if self._asked.include_usage:
            last["usage"] = None
        self._frame(last)
        if self._asked.include_usage:
            self._frame({"choices": [], "usage": usage_json(done.usage)})
        self.pending.append(b"data: [DONE]\n\n")

    def fail(self, error: ParleyError) -> None:
        """The stream broke off. There is no end mark, so that nobody takes the text for a whole answer."""
        self.pending.append(error_frame(error))

    def _name(self, model: str) -> None:
        head = {"id": self._id, "object": "chat.completion.chunk", "created": self._created, "model": model}
        self._head = b"data: " + dumps(head)[:-1]
        self._content = self._head + b',"choices":[{"index":0,"delta":{"content":'
        self._reasoning = self._head + b',"choices":[{"index":0,"delta":{"reasoning_content":'

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self.pending += (self._content[: -len(b'"content":')], b'"role":"assistant","content":""', self._suffix)

    def _frame(self, fields: dict[str, Any]) -> None:
        self.pending += (self._head, b",", dumps(fields)[1:], b"\n\n")


@types.coroutine
def _next(events: AsyncGenerator[Event, None], flush: Flush) -> Generator[Any, Any, Event | None]:
    """The next event, None at the end. Only if the stream has to wait for it, `flush` is called, and before the wait.

    An `async for` cannot tell whether the next event is there already. This drives the stream's coroutine by hand, as
    `yield from` does (PEP 380), but for the flush at its first stop.
    """
    step = events.__anext__().__await__()
    thrown: BaseException | None = None
    answer: Any = None
    try:
        waits_for = step.send(None)
        try:
            yield from flush().__await__()
        except Exception:
            thrown = asyncio.CancelledError()  # the client cannot be reached
        except BaseException as error:
            thrown = error
        while True:
            if thrown is None:
                try:
                    answer = yield waits_for
                except BaseException as error:
                    thrown = error
            if thrown is None:
                waits_for = step.send(answer)
            else:
                waits_for = step.throw(thrown)
                thrown = None
    except StopIteration as ready:
        event: Event = ready.value
        return event
    except StopAsyncIteration:
        return None
