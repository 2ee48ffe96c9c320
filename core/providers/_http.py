"""One address, the official SDK's client for it, and the keys that may go there."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2

from core.errors import AuthenticationFailed
from core.hosts import host_of, is_loopback
from core.providers._errors import CallTarget

# The gateway has the limits that people set; these only keep a forgotten connection from living for ever.
_TIMEOUT = httpx2.Timeout(900.0, connect=5.0, pool=None)
_LIMITS = httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=30.0)
_PLACEHOLDER = "unset"  # what a client is made with; every request brings its own key


def shown(url: str) -> str:
    """The address as people may see it: without user, password and query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}"


class Endpoint:
    """Where a provider's calls go. The SDK is imported and its client made at the first call.

    Keys are given with each request, so a visitor's own key is held no longer than the request; the client itself knows
    none, finds none in the environment, and follows no redirect to another address.
    """

    def __init__(
        self,
        name: str,
        label: str,
        base_url: str,
        key: str,
        variable: str,
        *,
        sdk: str,
        make: Callable[[str, httpx2.AsyncClient, str], Any],
        keyless: bool = False,
    ) -> None:
        self.name = name
        self.label = label
        self.base_url = base_url
        self.address = shown(base_url)
        self.key_fix = f"Add {variable}, or paste a key in Settings."
        self._own_key = key.strip()
        self._sdk = sdk
        self._make = make
        self._keyless = keyless
        self._module: Any = None
        self.closes_streams = False  # the server ends the connection after a stream, though it says otherwise
        self._client: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def local(self) -> bool:
        return is_loopback(host_of(self.base_url))

    def has_key(self, keys: Mapping[str, str]) -> bool:
        return bool(keys.get(self.name, "").strip() or self._own_key)

    def key(self, keys: Mapping[str, str]) -> str:
        """The visitor's key, else the server's. Raises AuthenticationFailed without one or if it cannot be sent."""
        key = keys.get(self.name, "").strip() or self._own_key
        if not key and not self._keyless:
            raise AuthenticationFailed(f"There is no key for {self.label}.", self.key_fix)
        if any(ord(letter) < 33 or ord(letter) > 126 for letter in key):
            raise AuthenticationFailed(
                f"The key for {self.label} holds a space, a line break or a character that no key has.",
                "Copy it again, without anything around it.",
            )
        return key

    def target(self, model: str = "", key: str = "") -> CallTarget:
        """What an error about a call may say."""
        return CallTarget(self.label, self.address, model, self.key_fix, bool(key), (key,))

    async def client(self) -> Any:
        """The SDK's client. Importing an SDK takes most of a second, so it is done beside the event loop."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            openai, self._module = await _load("openai"), await _load(self._sdk)
            if self._client is None or self._loop is not loop:
                http = openai.DefaultAioHttpClient(
                    timeout=_TIMEOUT, limits=_LIMITS, follow_redirects=False, trust_env=not self.local
                )
                self._client, self._loop = self._make(self.base_url, http, _PLACEHOLDER), loop
        return self._client

    def _headers(self, key: str) -> dict[str, Any]:
        """The header with this request's key; without a key, none is sent."""
        return {"Authorization": f"Bearer {key}" if key else self._module.Omit()}

    async def post(self, path: str, body: bytes, key: str, *, stream: bool) -> httpx2.Response:
        """Post JSON. With `stream` the answer is not read yet and must be closed. Raises what the SDK raises."""
        client = await self.client()
        headers = self._headers(key)
        if stream and self.closes_streams:
            headers["Connection"] = "close"
        options = {"headers": headers}
        if not stream:
            answer = await client.post(path, cast_to=httpx2.Response, content=body, options=options)
        else:
            answer = await client.post(
                path,
                cast_to=httpx2.Response,
                content=body,
                options=options,
                stream=True,
                stream_cls=self._module.AsyncStream,
            )
        assert isinstance(answer, httpx2.Response)
        if answer.headers.get("server") == "llama.cpp":
            self.closes_streams = True
        return answer

    async def get(self, path: str, key: str, *, timeout: float) -> httpx2.Response:
        """Get a small answer, read to its end. Raises what the SDK raises."""
        client = await self.client()
        options = {"headers": self._headers(key), "timeout": timeout}
        answer = await client.get(path, cast_to=httpx2.Response, options=options)
        assert isinstance(answer, httpx2.Response)
        return answer

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.close()


async def _load(module: str) -> Any:
    return await asyncio.to_thread(importlib.import_module, module)
