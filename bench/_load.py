"""A client that costs little: raw sockets, and of the answers only the tokens are counted."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import orjson

WORD = b" word"  # a token, alone in its frame or together with others that came at the same moment
END = b"0\r\n\r\n"  # the end of a chunked body


@dataclass(slots=True)
class Stream:
    """One answer: when it was asked for, and when each of its tokens came (seconds, monotonic)."""

    asked: float
    tokens: list[float] = field(default_factory=list)
    ended: float = 0.0
    ok: bool = False


class _Connection(asyncio.Protocol):
    def __init__(self, expected: int, keep_times: bool) -> None:
        self._expected = expected
        self._keep_times = keep_times
        self._transport: asyncio.Transport | None = None
        self._stream: Stream | None = None
        self._done: asyncio.Future[Stream] | None = None
        self._rest = b""
        self._first = True
        self._count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, error: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(ConnectionError("the server closed the connection"))

    def ask(self, request: bytes) -> asyncio.Future[Stream]:
        assert self._transport is not None
        self._done = asyncio.get_running_loop().create_future()
        self._first, self._rest, self._count = True, b"", 0
        self._stream = Stream(time.perf_counter())
        self._transport.write(request)
        return self._done

    def data_received(self, data: bytes) -> None:
        stream, done = self._stream, self._done
        if stream is None or done is None or done.done():
            return
        now = time.perf_counter()
        if self._first:
            self._first = False
            stream.ok = data.startswith(b"HTTP/1.1 200")
        joined = self._rest + data
        found = joined.count(WORD)
        if found:
            self._count += found
            if self._keep_times:
                stream.tokens += [now] * found
            elif not stream.tokens:
                stream.tokens.append(now)
        if joined.endswith(END) or not stream.ok:
            stream.ended = now
            stream.ok = stream.ok and self._count == self._expected
            done.set_result(stream)
        # A token that is cut in two is counted when its other half comes.
        self._rest = joined[1 - len(WORD) :]


def request_for(url: str, model: str) -> bytes:
    """The bytes of one request for a stream."""
    body = orjson.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": "Hello"}]})
    address = urlsplit(url)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {address.netloc}\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


async def run(
    url: str,
    model: str,
    *,
    at_once: int,
    tokens: int = 100,
    seconds: float = 0.0,
    rounds: int = 0,
    apart: float = 0.0,
    times: bool = False,
) -> list[Stream]:
    """Keep `at_once` connections busy for `seconds`, or for so many `rounds` each, and return the answers.

    The connections begin one after the other within `apart` seconds. With `times` the moment of every token is kept,
    else that of the first only. RuntimeError if an answer is not whole.
    """
    loop = asyncio.get_running_loop()
    address = urlsplit(url)
    request = request_for(url, model)
    streams: list[Stream] = []
    began = time.perf_counter()

    async def keep_busy(number: int) -> None:
        _, connection = await loop.create_connection(lambda: _Connection(tokens, times), address.hostname, address.port)
        await asyncio.sleep(apart * number / at_once)
        left = rounds
        while (time.perf_counter() - began < seconds) if seconds else left > 0:
            left -= 1
            streams.append(await connection.ask(request))
        assert connection._transport is not None
        connection._transport.close()

    await asyncio.gather(*(keep_busy(number) for number in range(at_once)))
    failed = sum(not stream.ok for stream in streams)
    if failed:
        raise RuntimeError(f"{failed} of {len(streams)} answers of {url} were not whole")
    return streams
