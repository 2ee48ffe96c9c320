"""Who is asking. A signed, http-only cookie tells visitors of a shared server apart; another one, gone with the
browser session, is what a visitor's own keys are kept under.

Keys live in memory only: never on a disk, in a log, in a repr or in an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from cachetools import LRUCache, TTLCache
from itsdangerous import BadSignature, TimestampSigner
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import BadRequest
from core.hosts import network_of
from core.settings import Settings

LOCAL = "local"
YEAR = 365 * 86400
RENEW_AFTER = 30 * 86400  # a visitor who comes back is not forgotten a year after the first visit
SESSION_LIFE = 30 * 86400  # browsers that restore their tabs keep session cookies for ever; the signature does not
KEYS_LIFE = 12 * 3600
MOST_SESSIONS = 10_000  # with keys at one time; the one that was not used for longest goes first
LONGEST_KEY = 4096
MOST_NETWORKS = 100_000  # visitors of whom is known where they come from
OWN_HEADERS = (b"x-parley-visitor", b"x-parley-session")


class Keys(Mapping[str, str]):
    """A visitor's own keys by provider. Prints the providers only."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values = dict(values or {})

    def __getitem__(self, provider: str) -> str:
        return self._values[provider]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Keys({', '.join(sorted(self._values))})"


class Visitors:
    """The visitors' cookies and their keys. Safe from any thread."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self.shared = settings.shared
        self._lock = threading.Lock()
        self._keys: TTLCache[str, dict[str, str]] = TTLCache(MOST_SESSIONS, KEYS_LIFE, timer=clock)  # by session
        self._networks: LRUCache[str, str] = LRUCache(MOST_NETWORKS)  # by visitor
        secret = settings["PARLEY_SECRET"] or _kept_secret(settings.data_dir / "secret")
        # Cookies do not know ports: two Parleys on one host must not take each other's for forged.
        self._suffix = hashlib.sha256(f"cookie name {secret}".encode()).hexdigest()[:8]
        self._path = settings["PARLEY_ROOT_PATH"] or "/"
        self._signers = {
            kind: TimestampSigner(secret, salt=f"parley.{kind}", digest_method=hashlib.sha256)
            for kind in ("visitor", "session")
        }

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """Wrap `app` so that it finds the headers x-parley-visitor and x-parley-session in every request."""
        return _Middleware(app, self)

    def keys(self, session: str) -> Keys:
        """The keys of one browser session, empty when there are none (any more)."""
        with self._lock:
            self._keys.expire()
            held = self._keys.get(session)
            if held is None:
                return Keys()
            self._keys[session] = held  # every use counts anew
            return Keys(held)

    def set_key(self, session: str, provider: str, key: str) -> None:
        """Keep a key for this browser session. BadRequest, which does not show it, if it cannot be one."""
        if not session:
            raise BadRequest(
                "The key cannot be kept, because the browser sends no cookie.", "Allow cookies for Parley."
            )
        cleaned = clean_key(key)
        with self._lock:
            self._keys[session] = {**self._keys.get(session, {}), provider: cleaned}

    def drop_key(self, session: str, provider: str) -> None:
        """Forget one key. It is no error if there is none."""
        with self._lock:
            held = self._keys.pop(session, {})
            if rest := {name: key for name, key in held.items() if name != provider}:
                self._keys[session] = rest

    def came_from(self, visitor: str, address: str) -> None:
        """Remember where a visitor asked from last."""
        with self._lock:
            self._networks[visitor] = network_of(address)

    def network_of(self, visitor: str) -> str:
        """Where the visitor asked from last, see `core.hosts.network_of`; "" if that is not known (any more)."""
        with self._lock:
            return self._networks.get(visitor, "")

    def read(self, kind: str, cookies: Mapping[str, str]) -> tuple[str, float]:
        """The id in a cookie and its age in seconds; ("", 0) if it is missing, forged or too old."""
        life = YEAR if kind == "visitor" else SESSION_LIFE
        try:
            signed_value = cookies.get(self.cookie_name(kind), "")
            value, signed = self._signers[kind].unsign(signed_value, max_age=life, return_timestamp=True)
            return value.decode("ascii"), time.time() - signed.timestamp()
        except (BadSignature, UnicodeError, ValueError, OverflowError):
            return "", 0.0

    def cookie(self, kind: str, value: str, *, https: bool) -> bytes:
        """The value of a Set-Cookie header."""
        parts = [f"{self.cookie_name(kind)}={self._signers[kind].sign(value).decode('ascii')}", f"Path={self._path}"]
        if kind == "visitor":
            parts.append(f"Max-Age={YEAR}")
        # Inside another site's frame (a Hugging Face Space) only these attributes let a cookie through.
        parts += ["HttpOnly", "SameSite=None", "Secure", "Partitioned"] if https else ["HttpOnly", "SameSite=Lax"]
        return "; ".join(parts).encode("latin-1")

    def cookie_name(self, kind: str) -> str:
        return f"parley_{kind}_{self._suffix}"


class _Middleware:
    """Pure ASGI: the answer passes through untouched but for a Set-Cookie header where one is needed."""

    def __init__(self, app: ASGIApp, visitors: Visitors) -> None:
        self._app = app
        self._visitors = visitors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A request that is cancelled because the server stops just ends: let on, it would print a stack trace."""
        with contextlib.suppress(asyncio.CancelledError):
            await self._pass(scope, receive, send)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = [item for item in scope["headers"] if item[0].lower() not in OWN_HEADERS]
        scope = {**scope, "headers": headers}
        if for_programs(path_of(scope)):
            await self._app(scope, receive, send)
            return

        visitors = self._visitors
        cookies = _cookies(headers)
        session, _ = visitors.read("session", cookies)
        fresh = [] if session else ["session"]
        session = session or secrets.token_urlsafe(16)
        visitor = LOCAL
        if visitors.shared:
            visitor, age = visitors.read("visitor", cookies)
            if not visitor or age > RENEW_AFTER:
                fresh.append("visitor")
            visitor = visitor or secrets.token_urlsafe(16)
            visitors.came_from(visitor, (scope.get("client") or ("",))[0])
        headers += [(b"x-parley-visitor", visitor.encode()), (b"x-parley-session", session.encode())]
        if not fresh or scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return

        ids = {"visitor": visitor, "session": session}
        https = scope.get("scheme") in ("https", "wss")

        async def with_cookies(message: Message) -> None:
            if message["type"] == "http.response.start":
                new = [(b"set-cookie", visitors.cookie(kind, ids[kind], https=https)) for kind in fresh]
                message = {**message, "headers": [*message.get("headers", ()), *new]}
            await send(message)

        await self._app(scope, receive, with_cookies)


def clean_key(key: str) -> str:
    """A pasted key without the white space around it. BadRequest, which does not show it, if it cannot be one."""
    cleaned = key.strip()
    if not cleaned:
        raise BadRequest("The key is empty.", "Paste the key that the provider gave you.")
    if any(not "!" <= character <= "~" for character in cleaned):
        raise BadRequest(
            "The key holds a space, a line break or a character that no key has.",
            "Copy it again, without anything else.",
        )
    if len(cleaned) > LONGEST_KEY:
        raise BadRequest("The key is far too long.", "Copy it again, without anything else.")
    return cleaned


def path_of(scope: Scope) -> str:
    """The path that routes are looked up by: decoded, and without the path under which a proxy serves all of this."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path.removeprefix(root) if path == root or path.startswith(f"{root}/") else path


def api_state(settings: Settings) -> tuple[bool, str]:
    """Whether /v1 answers, and the sentence about it for the start's output, the Settings tab and refused requests."""
    if settings["PARLEY_API_KEYS"]:
        return True, "The API at /v1 is on for holders of one of PARLEY_API_KEYS."
    if not settings.loopback:
        return False, "The API at /v1 is off: set PARLEY_API_KEYS to open it on an address that other machines reach."
    if settings.shared:
        return False, "The API at /v1 is off: set PARLEY_API_KEYS to open it on a shared server."
    if settings["PARLEY_ROOT_PATH"]:
        return False, "The API at /v1 is off: set PARLEY_API_KEYS to open it behind a proxy."
    return True, "The API at /v1 is on for programs on this machine; set PARLEY_API_KEYS to ask for a key."


def for_programs(path: str) -> bool:
    """Whether programs ask here: they keep no cookies, and show a key instead where one is wanted."""
    return path.startswith(("/v1/", "/api/v1/")) or path in ("/v1", "/api/v1", "/healthz", "/readyz")


def _cookies(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """The cookies by name; of two with one name the first, which is the one with the nearer path."""
    cookies: dict[str, str] = {}
    for name, value in headers:
        if name == b"cookie":
            for part in value.decode("latin-1").split(";"):
                key, _, content = part.strip().partition("=")
                cookies.setdefault(key, content)
    return cookies


def _kept_secret(path: Path) -> str:
    """The secret in the data folder, made at the first start; one for this process only if that cannot be."""
    fresh = secrets.token_urlsafe(32)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            kept = path.read_text("ascii").strip()
            if len(kept) >= len(fresh):
                return kept
            path.unlink()  # a process that died while it wrote
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(fresh)
    except (OSError, UnicodeError):
        return fresh
    return fresh
