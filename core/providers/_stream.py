"""One call, whatever the wire: send, read events as they come, and turn every ending into `Done` or an error.

The SDK keeps authentication, addresses, headers and the meaning of errors; here the bytes of the answer are decoded,
only the fields that matter, and all that one network read brought becomes as few events as possible.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from core.errors import ParleyError
from core.messages import Begun, ChatRequest, Done, Event, TextDelta, ThinkingDelta, TokenLogprob, Usage
from core.providers._errors import CallTarget, broken_off, explain, from_event, malformed
from core.providers._http import Endpoint
from core.providers._json import decode, encode
from core.providers._sse import EventSplitter
from core.tokens import estimate_tokens

# How long the end of the connection is waited for after the last event, so that it can be used again.
_LINGER = 0.25
_LOWEST = -9999.0  # what OpenAI sends for "never"; JSON has no -inf


class Reported(Exception):
    """An event by which the provider says that it has failed. `error` has type, code and message."""

    def __init__(self, error: object) -> None:
        super().__init__()
        self.error = error


class Decoder(ABC):
    """Turns the decoded events of one answer into core's. One for each call.

    `take` is given every event of a stream in order, `whole` the one object of a call without stream; both call `text`,
    `thinking` and `add`, and set `finished` at the last event. `complete` may be set earlier: the answer is whole even
    if the stream ends without a last event.
    """

    def __init__(self, request: ChatRequest, request_id: str | None) -> None:
        self.request = request
        self.request_id = request_id
        self.finished = False
        self.complete = False
        self.began = False  # text or reasoning has come
        self._begun = False
        self._events: list[Event] = []
        self._parts: list[str] = []
        self._logprobs: list[TokenLogprob] = []
        self._reasoning = False  # whether _parts are reasoning
        self._written: list[str] = []

    @abstractmethod
    def take(self, data: Mapping[str, Any]) -> None:
        """One event of a stream."""

    @abstractmethod
    def whole(self, data: Mapping[str, Any]) -> None:
        """The answer to a call without stream."""

    @abstractmethod
    def done(self) -> Done:
        """The end, after `finished` or `complete`."""

    def text(self, piece: str, logprobs: list[TokenLogprob] | None = None) -> None:
        if self._reasoning:
            self._flush()
            self._reasoning = False
        self._parts.append(piece)
        if logprobs:
            self._logprobs.extend(logprobs)

    def thinking(self, piece: str) -> None:
        if not self._reasoning:
            self._flush()
            self._reasoning = True
        self._parts.append(piece)

    def add(self, event: Event) -> None:
        self._flush()
        self._events.append(event)

    def begin(self, model: object, usage: Usage | None = None) -> None:
        """Say once that the provider has accepted the request, and as what."""
        if not self._begun:
            self._begun = True
            self.add(Begun(model if isinstance(model, str) else "", self.request_id, usage))

    def drain(self) -> list[Event]:
        """The events since the last call, neighbours merged into one."""
        self._flush()
        events, self._events = self._events, []
        return events

    def estimate(self) -> Usage:
        """Usage for a provider that does not count."""
        sent = sum(estimate_tokens(message.text) + 4 for message in self.request.messages)
        return Usage(input=sent, output=estimate_tokens("".join(self._written)), estimated=True)

    def _flush(self) -> None:
        piece = "".join(self._parts)
        if not piece:
            return
        self._parts.clear()
        self.began = True
        self._written.append(piece)
        if self._reasoning:
            self._events.append(ThinkingDelta(piece))
        else:
            self._events.append(TextDelta(piece, tuple(self._logprobs)))
            self._logprobs.clear()


@dataclass(frozen=True, slots=True)
class Wire:
    """One protocol: where to post, what to post, and how to read the answer."""

    path: str
    body: Callable[..., dict[str, Any]]  # (request, model) -> body without "stream"
    decoder: Callable[[ChatRequest, str | None], Decoder]
    request_id: str = "x-request-id"  # the header with the provider's name of the call


async def converse(
    endpoint: Endpoint, wire: Wire, request: ChatRequest, body: dict[str, Any]
) -> AsyncGenerator[Event, None]:
    """Send `body` and yield the events of the answer. Raises core.errors; closing it closes the connection at once."""
    key = endpoint.key(request.keys)
    target = endpoint.target(request.model_name, key)
    known_to_close = endpoint.closes_streams
    try:
        response = await endpoint.post(wire.path, encode(body), key, stream=request.stream)
    except Exception as error:
        raise explain(error, target) from None
    decoder = wire.decoder(request, response.headers.get(wire.request_id))
    kind = response.headers.get("content-type", "")
    try:
        if kind.startswith("text/html"):
            raise malformed(target, began=False)
        if not request.stream or kind.startswith("application/json"):
            for event in await _whole(response, decoder, target):
                yield event
            return
        async for event in _streamed(response, decoder, target):
            if isinstance(event, Done) and endpoint.closes_streams and not known_to_close:
                await asyncio.sleep(_LINGER / 10)  # its end must be seen before another call takes the connection
            yield event
    finally:
        await response.aclose()


async def _whole(response: httpx2.Response, decoder: Decoder, target: CallTarget) -> list[Event]:
    try:
        data = decode(await response.aread())
        if data.get("error"):
            raise from_event(data, target)
        decoder.whole(data)
    except Reported as reported:
        raise from_event(reported.error, target) from None
    except (ValueError, TypeError, LookupError, AttributeError):
        raise malformed(target, began=False) from None
    except httpx2.HTTPError as error:
        raise explain(error, target) from None
    decoder.add(decoder.done())
    return decoder.drain()


async def _streamed(response: httpx2.Response, decoder: Decoder, target: CallTarget) -> AsyncGenerator[Event, None]:
    splitter = EventSplitter()
    chunks = response.aiter_bytes()
    failure: ParleyError | None = None
    unreadable = False
    while not decoder.finished and failure is None:
        try:
            chunk = await anext(chunks, None)
        except (httpx2.HTTPError, OSError) as error:
            failure = explain(error, target, began=decoder.began)
            break
        try:
            for data in splitter.end() if chunk is None else splitter.feed(chunk):
                _take(decoder, data, target)
        except ParleyError as error:
            failure = error
        except (ValueError, TypeError, LookupError, AttributeError):
            unreadable = chunk is not None  # at the end of the stream it is an event that was cut off
        for event in decoder.drain():
            yield event
        if unreadable:
            failure = malformed(target, began=decoder.began)
        if chunk is None:
            break
    if failure is None and not decoder.finished and not decoder.complete:
        failure = broken_off(target) if decoder.began else explain(httpx2.ReadError(""), target)
    if failure is not None:
        raise failure
    if decoder.finished:
        await _read_to_end(chunks)
    decoder.add(decoder.done())
    for event in decoder.drain():
        yield event


def _take(decoder: Decoder, data: bytes, target: CallTarget) -> None:
    if data == b"[DONE]":
        decoder.finished = True
    if decoder.finished:
        return
    event = decode(data)
    if event.get("error"):
        raise from_event(event, target)
    try:
        decoder.take(event)
    except Reported as reported:
        raise from_event(reported.error, target) from None


async def _read_to_end(chunks: AsyncIterator[bytes]) -> None:
    """Let the connection end by itself, so that the next call can use it; not for long."""
    try:
        async with asyncio.timeout(_LINGER):
            async for _ in chunks:
                pass
    except (TimeoutError, httpx2.HTTPError, OSError):
        return


def logprobs_of(content: object) -> list[TokenLogprob]:
    """`logprobs.content` of Chat Completions, `logprobs` of Responses: the same shape."""
    if not isinstance(content, list):
        return []
    return [
        TokenLogprob(
            item["token"],
            max(item["logprob"], _LOWEST),
            tuple((best["token"], max(best["logprob"], _LOWEST)) for best in item.get("top_logprobs") or ()),
        )
        for item in content
    ]
