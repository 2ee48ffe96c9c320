"""How frames leave: all that is there in one piece, nothing held back, and a provider that is ended in every case."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from core.api.schemas import ParsedRequest
from core.api.streaming import stream_answer
from core.errors import Interrupted
from core.messages import ChatRequest, Done, Event, Message, TextDelta, Usage

ASKED = ParsedRequest(ChatRequest("puppet/able", (Message("user", "Hi"),)))


class Client:
    """Takes what is sent. While `stuck`, it takes nothing more."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.ended = False
        self.free = asyncio.Event()
        self.free.set()
        self.error: Exception | None = None

    async def send(self, message: Any) -> None:
        await self.free.wait()
        if self.error is not None:
            raise self.error
        if message["type"] == "http.response.body":
            self.bodies.append(message["body"])
            self.ended = not message["more_body"]


class Source:
    """Text as it is given; a number is a wait of so many loop turns, None waits for ever."""

    def __init__(self, *items: str | int | Exception | None) -> None:
        self.items = items
        self.closed = False
        self.taken = 0

    async def events(self) -> AsyncGenerator[Event, None]:
        try:
            async with aclosing(self._items()) as items:  # as through the gateway's layers
                async for event in items:
                    yield event
        finally:
            await asyncio.sleep(0)  # ending a connection takes a moment
            self.closed = True

    async def _items(self) -> AsyncGenerator[Event, None]:
        for item in self.items:
            if isinstance(item, Exception):
                raise item
            if isinstance(item, int):
                for _ in range(item):
                    await asyncio.sleep(0)
            elif item is None:
                await asyncio.get_running_loop().create_future()
            else:
                self.taken += 1
                yield TextDelta(item)
        yield Done(Usage())


async def test_what_comes_at_once_goes_out_at_once() -> None:
    client, source = Client(), Source("a", "b", "c", 1, "d", 3, "e", "f")
    await stream_answer(source.events(), ASKED, client.send)
    texts = [[letter for letter in "abcdef" if f'"content":"{letter}"'.encode() in body] for body in client.bodies]
    assert texts == [["a", "b", "c"], ["d"], ["e", "f"], []]
    assert client.ended and source.closed
    assert client.bodies[-1].endswith(b"data: [DONE]\n\n")


async def test_nothing_is_held_back() -> None:
    client, source = Client(), Source("a", None)
    task = asyncio.create_task(stream_answer(source.events(), ASKED, client.send))
    for _ in range(5):
        await asyncio.sleep(0)
    assert b'"content":"a"' in b"".join(client.bodies)
    assert not client.ended
    task.cancel()
    await asyncio.wait((task,))
    assert task.cancelled() and source.closed


async def test_the_stream_waits_for_a_client_that_is_slow_to_read() -> None:
    client, source = Client(), Source("a", 1, "b", 1, "c", 1, "d")
    client.free.clear()
    task = asyncio.create_task(stream_answer(source.events(), ASKED, client.send))
    for _ in range(20):
        await asyncio.sleep(0)
    assert source.taken == 1, "what nobody takes is not fetched"
    client.free.set()
    await task
    assert source.taken == 4 and client.ended


async def test_hanging_up_while_the_client_is_slow_ends_the_provider() -> None:
    client, source = Client(), Source("a", 1, "b", None)
    client.free.clear()
    task = asyncio.create_task(stream_answer(source.events(), ASKED, client.send))
    for _ in range(10):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait((task,))
    assert task.cancelled() and source.closed


async def test_a_client_that_cannot_be_reached_ends_the_provider() -> None:
    client, source = Client(), Source("a", None)
    client.error = OSError("gone")
    task = asyncio.create_task(stream_answer(source.events(), ASKED, client.send))
    await asyncio.wait((task,), timeout=2)
    assert task.cancelled() and source.closed


@pytest.mark.parametrize("wait", [0, 2])
async def test_an_error_after_the_first_frame_is_the_last_frame(wait: int) -> None:
    client, source = Client(), Source("a", wait, Interrupted("Gone."))
    await stream_answer(source.events(), ASKED, client.send)
    body = b"".join(client.bodies)
    assert body.index(b'"content":"a"') < body.index(b'"error"') and b"[DONE]" not in body
    assert client.ended and source.closed


async def test_an_error_before_the_first_frame_is_raised() -> None:
    client, source = Client(), Source(2, Interrupted("Gone."))
    with pytest.raises(Interrupted):
        await stream_answer(source.events(), ASKED, client.send)
    assert client.bodies == [] and source.closed


async def test_a_stream_that_ends_without_a_word_is_an_error() -> None:
    async def events() -> AsyncGenerator[Event, None]:
        yield TextDelta("a")

    client = Client()
    await stream_answer(events(), ASKED, client.send)
    assert b'"code":"interrupted"' in client.bodies[-1]


async def test_a_timeout_inside_the_stream_works() -> None:
    async def events() -> AsyncGenerator[Event, None]:
        yield TextDelta("a")
        try:
            async with asyncio.timeout(0.02):
                await asyncio.sleep(5)
        except TimeoutError:
            raise Interrupted("Too slow.") from None

    client = Client()
    await stream_answer(events(), ASKED, client.send)
    assert b"Too slow" in client.bodies[-1]
