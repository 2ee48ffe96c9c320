"""A provider whose models do as their names say, for what no real model does on command.

scripted/words       twenty words, a pause of `pace` seconds before each
scripted/held        the same, but after six words it waits until `free` is set
scripted/echo        the last message, in one piece
scripted/silent      never says anything
scripted/breaks      three words, then the stream breaks off
scripted/fails       unavailable from the start
scripted/long        ends at its length
`requests` holds every request that came, `closed` counts streams that were ended from outside.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping

from core.errors import Interrupted, ProviderUnavailable
from core.messages import Begun, ChatRequest, Done, Event, TextDelta, ThinkingDelta, Usage
from core.models.info import Abilities, ModelInfo
from core.providers import Status
from tests.waiting import until

NAMES = ("words", "held", "echo", "silent", "breaks", "fails", "long")


class Scripted:
    name = "scripted"
    label = "Scripted"
    takes_key = True

    def __init__(self, pace: float = 0.01, words: int = 20) -> None:
        self.pace = pace
        self.words = words
        self.requests: list[ChatRequest] = []
        self.closed = 0
        self.free = threading.Event()

    async def models(self, keys: Mapping[str, str]) -> list[ModelInfo]:
        return [ModelInfo(f"scripted/{name}", context=8192, abilities=Abilities(vision=True)) for name in NAMES]

    async def status(self, keys: Mapping[str, str]) -> Status:
        return Status("ready")

    async def stream(self, request: ChatRequest, model: ModelInfo) -> AsyncIterator[Event]:
        self.requests.append(request)
        try:
            async for event in self._events(request):
                yield event
        except (asyncio.CancelledError, GeneratorExit):
            self.closed += 1
            raise

    async def _events(self, request: ChatRequest) -> AsyncIterator[Event]:
        name = request.model_name
        if name == "fails":
            raise ProviderUnavailable("Scripted is out of order.")
        yield Begun(name)
        if name == "silent":
            await asyncio.sleep(3600)
        if name == "echo":
            yield TextDelta(request.messages[-1].text)
            yield Done(Usage(input=10, output=2))
            return
        yield ThinkingDelta("hm")
        for number in range(3 if name == "breaks" else self.words):
            await asyncio.sleep(self.pace)
            if name == "held" and number == 6:
                await until(self.free.is_set)
            yield TextDelta(f"word{number} ")
        if name == "breaks":
            raise Interrupted("The stream broke off.")
        yield Done(Usage(input=10, output=self.words), "length" if name == "long" else "stop")

    async def close(self) -> None:
        return None
