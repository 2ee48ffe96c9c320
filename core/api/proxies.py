"""Believes what trusted proxies say of the client, and nobody else who says it.

After this layer scope["client"], scope["scheme"] and the Host header are the truth, as far as it can be known, and the
headers that could contradict it are gone: other code, and Gradio, would believe them from anybody.
"""

from __future__ import annotations

import ipaddress

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from core.settings import Settings

# From where the proxy of Hugging Face reaches a Space; nothing else does.
SPACE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
SIGNS = (b"forwarded", b"via", b"x-real-ip", b"x-client-ip", b"x-cluster-client-ip", b"true-client-ip", b"cdn-loop")
BELIEVED = (b"x-forwarded-proto", b"x-forwarded-host", b"x-gradio-server")
_KEY = "parley.proxied"


def proxied(scope: Scope) -> bool:
    """Whether the request says that a proxy has passed it on. Only programs write HTTP/1.0 today, most are proxies."""
    return bool(scope.get(_KEY)) or scope.get("http_version") in ("0.9", "1.0") or _signed(scope)


class Proxies:
    """Pure ASGI."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        trusted = settings["PARLEY_TRUSTED_PROXIES"] or (SPACE if settings["SPACE_ID"] else ())
        self._trusted = [ipaddress.ip_network(network) for network in trusted]
        self._library = ProxyHeadersMiddleware(self._told, list(trusted))  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        scope = {**scope, _KEY: _signed(scope)}
        scope["client"] = client = _plain(scope.get("client"))
        if client is not None and self._trusts(client[0]):
            scope["headers"] = _first_proto_and_host(scope["headers"])
            await self._library(scope, receive, send)  # type: ignore[arg-type]
        else:
            await self._told(scope, receive, send)

    async def _told(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["headers"] = [item for item in scope["headers"] if item[0] not in BELIEVED]
        await self._app(scope, receive, send)

    def _trusts(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._trusted)


def _signed(scope: Scope) -> bool:
    return any(name in SIGNS or name.startswith((b"x-forwarded", b"cf-")) for name, _ in scope["headers"])


def _plain(client: tuple[str, int] | None) -> tuple[str, int] | None:
    """IPv4 that arrives at an IPv6 socket is written ::ffff:10.0.0.1."""
    return client and (client[0].removeprefix("::ffff:") if "." in client[0] else client[0], client[1])


def _first_proto_and_host(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """With the nearest to the client of several schemes, and its host in the place of ours."""
    said: dict[bytes, bytes] = {}
    for name, value in headers:
        if first := value.split(b",")[0].strip().lower():
            said.setdefault(name, first)
    kept = [item for item in headers if item[0] != b"x-forwarded-proto"]
    if proto := said.get(b"x-forwarded-proto"):
        kept.append((b"x-forwarded-proto", proto))
    if host := said.get(b"x-forwarded-host"):
        kept = [(b"host", host), *(item for item in kept if item[0] != b"host")]
    return kept
