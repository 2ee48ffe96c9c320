"""Models of an Ollama server, by its own API: the OpenAI-compatible one cannot set the size of the context."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

import httpx
import ollama

from core.errors import AuthenticationFailed, ModelNotFound
from core.hosts import host_of, is_loopback
from core.messages import Begun, ChatRequest, Done, Event, TextDelta, ThinkingDelta, TokenLogprob
from core.models.info import ModelInfo
from core.providers import Provider, Status
from core.providers._errors import CallTarget, broken_off
from core.providers._ollama_wire import FORGIVEN, ModelDetails, address_of, chat, check_length, explain, shown, usage_of
from core.providers._parameters import check_attachments, left_out
from core.providers._think import ThinkSplitter
from core.settings import Settings

_TIMEOUT = httpx.Timeout(600.0, connect=3.0)  # a large model may take minutes to load before its first token
_LOOK = 3.0  # seconds for a look at whether it is there
_AT_ONCE = 8
_START = "Start Ollama, or set OLLAMA_HOST."
_KEY_FIX = "Add OLLAMA_API_KEY, or paste a key in Settings."
_REASONS: Mapping[str, Any] = {"stop": "stop", "length": "length", "load": "other", "unload": "other"}


class Ollama:
    """Implements Provider."""

    name = "ollama"

    def __init__(self, host: str, key: str = "", *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._url = address_of(host)
        local = is_loopback(host_of(self._url))
        self.label = "Ollama" if local else f"Ollama at {self._url.partition('://')[2]}"
        self.takes_key = not local
        self._key = key
        self._kept: tuple[asyncio.AbstractEventLoop, ollama.AsyncClient] | None = None
        self._shown: dict[tuple[str, str], ModelDetails] = {}
        self._options: dict[str, Any] = {
            "timeout": _TIMEOUT,
            "follow_redirects": False,
            "trust_env": not local,
            "transport": transport,
        }

    async def models(self, keys: Mapping[str, str]) -> list[ModelInfo]:
        """The models that can chat, each with what the server says of it. Raises core.errors."""
        target = self._target(keys)
        gate = asyncio.Semaphore(_AT_ONCE)

        async def look(client: ollama.AsyncClient, name: str, digest: str) -> ModelDetails | None:
            async with gate:
                return await self._look(client, name, digest)

        try:
            async with self._client(keys) as client:
                listed = [(model.model, model.digest or "") for model in (await client.list()).models if model.model]
                found = await asyncio.gather(*(look(client, name, digest) for name, digest in listed))
        except FORGIVEN as error:
            raise explain(error, target) from None
        return [each.info for each in found if each is not None and each.chats]

    async def status(self, keys: Mapping[str, str]) -> Status:
        try:
            async with asyncio.timeout(_LOOK), self._client(keys) as client:
                listed = (await client.list()).models
        except TimeoutError:
            return Status("unreachable", f"Ollama at {self._url} does not answer.", _START)
        except AuthenticationFailed as error:
            return Status("no_key", error.what, error.fix)
        except FORGIVEN as error:
            said = explain(error, self._target(keys))
            if isinstance(said, AuthenticationFailed):
                return Status("no_key", said.what, _KEY_FIX)
            return Status("unreachable", said.what, said.fix if isinstance(error, ollama.ResponseError) else _START)
        if not listed:
            return Status("missing", "Ollama has no model yet.", "Fetch one, for example with `ollama pull qwen3:4b`.")
        return Status("ready")

    async def stream(self, request: ChatRequest, model: ModelInfo) -> AsyncIterator[Event]:
        check_attachments(request, model)
        check_length(request, model)
        if notice := left_out(request.parameters, model):
            yield notice
        target = self._target(request.keys, request.model_name)
        decoder = _Decoder(request)
        try:
            async with self._client(request.keys) as client:
                body = chat(request, model, await self._context_set(client, request.model_name))
                if not request.stream:
                    for event in decoder.take(await client.chat(**body)):
                        yield event
                else:
                    async with aclosing(await client.chat(**body, stream=True)) as parts:  # type: ignore[type-var]
                        async for part in parts:
                            for event in decoder.take(part):
                                yield event
        except FORGIVEN as error:
            said = explain(error, target, began=decoder.began)
            if isinstance(said, ModelNotFound):
                said.fix = f"Run `ollama pull {request.model_name}`, or pick a model from the list."
            raise said from None
        for event in decoder.end(target):
            yield event

    async def close(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None and kept[0] is asyncio.get_running_loop():
            await kept[1].close()  # type: ignore[no-untyped-call]

    @asynccontextmanager
    async def _client(self, keys: Mapping[str, str]) -> AsyncIterator[ollama.AsyncClient]:
        """The kept client for the server's own key; one for this call only for a visitor's."""
        key = self._checked_key(keys)
        if key != self._key:
            async with self._made(key) as client:
                yield client
            return
        loop = asyncio.get_running_loop()
        if self._kept is None or self._kept[0] is not loop:
            self._kept = loop, self._made(key)
        yield self._kept[1]

    def _made(self, key: str) -> ollama.AsyncClient:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return ollama.AsyncClient(self._url, headers=headers, **self._options)

    def _checked_key(self, keys: Mapping[str, str]) -> str:
        key = keys.get(self.name, "").strip() if self.takes_key else ""
        if any(ord(letter) < 33 or ord(letter) > 126 for letter in key):
            raise AuthenticationFailed(
                "The key for Ollama holds a space, a line break or a character that no key has.",
                "Copy it again, without anything around it.",
            )
        return key or self._key

    def _target(self, keys: Mapping[str, str], model: str = "") -> CallTarget:
        key = self._checked_key(keys)
        return CallTarget("Ollama", self._url, model, _KEY_FIX, bool(key), (key,))

    async def _look(self, client: ollama.AsyncClient, name: str, digest: str) -> ModelDetails | None:
        """What the server says of a model, asked once for each version. None if it has gone meanwhile."""
        known = self._shown.get((name, digest))
        if known is None:
            try:
                # `show` of the SDK drops the levels of thinking.
                answer = await client._request_raw("POST", "/api/show", json={"model": name})  # type: ignore[no-untyped-call]
            except ollama.ResponseError:
                return None
            known = self._shown[name, digest] = shown(f"{self.name}/{name}", answer.json())
        return known

    async def _context_set(self, client: ollama.AsyncClient, name: str) -> int | None:
        """The num_ctx that the owner of the server has set for a model, None for nothing. Asks once for each model."""
        for key in ((name, digest) for known, digest in self._shown if known == name):
            return self._shown[key].num_ctx
        found = await self._look(client, name, "")
        return found.num_ctx if found else None


class _Decoder:
    """Parts of a chat in, events out."""

    def __init__(self, request: ChatRequest) -> None:
        self.began = False
        self._request = request
        self._think = ThinkSplitter()
        self._last: ollama.ChatResponse | None = None
        self._begun = False
        self._written: list[str] = []

    def take(self, part: ollama.ChatResponse) -> list[Event]:
        events: list[Event] = []
        if not self._begun:
            self._begun = True
            events.append(Begun(part.model or ""))
        if part.message.thinking:
            events.append(ThinkingDelta(part.message.thinking))
        thinking, text = self._think.feed(part.message.content or "")
        if thinking:
            events.append(ThinkingDelta(thinking))
        logprobs = tuple(
            TokenLogprob(item.token, item.logprob, tuple((top.token, top.logprob) for top in item.top_logprobs or ()))
            for item in part.logprobs or ()
        )
        if text:
            events.append(TextDelta(text, logprobs))
        if part.done:
            self._last = part
        self._note(events)
        return events

    def end(self, target: CallTarget) -> list[Event]:
        """What is left, and Done. Raises Interrupted if the server never said that it was done."""
        last = self._last
        if last is None:
            raise broken_off(target)
        thinking, text = self._think.end()
        events: list[Event] = [ThinkingDelta(thinking)] if thinking else []
        if text:
            events.append(TextDelta(text))
        self._note(events)
        usage = usage_of(last, self._request, "".join(self._written))
        events.append(Done(usage, _REASONS.get(last.done_reason or "stop", "other")))
        return events

    def _note(self, events: list[Event]) -> None:
        texts = [event.text for event in events if isinstance(event, (TextDelta, ThinkingDelta))]
        self._written.extend(texts)
        self.began = self.began or bool(texts)


def providers(settings: Settings) -> list[Provider]:
    return [Ollama(settings["OLLAMA_HOST"], settings["OLLAMA_API_KEY"])]
