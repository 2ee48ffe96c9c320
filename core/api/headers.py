"""What goes out with every answer: who may frame it, who may keep it, and nothing that opens it to other sites."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.settings import Settings
from core.visitors import for_programs, path_of

HUGGING_FACE = "https://huggingface.co"
STATIC = ("/assets/", "/static/", "/svelte/", "/theme.css", "/favicon.ico")  # the same for everybody
# Gradio sends back whatever was in a request for a part of a file.
INCOMING = (b"cookie", b"authorization", b"x-parley-visitor", b"x-parley-session")


class Headers:
    """Pure ASGI."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._cors = bool(settings["PARLEY_ALLOWED_ORIGINS"])
        frames = settings["PARLEY_FRAME_ANCESTORS"] or ((HUGGING_FACE,) if settings["SPACE_ID"] else ())
        self._own = [
            (b"content-security-policy", " ".join(("frame-ancestors 'self'", *frames)).encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
        ]
        self._names = {name for name, _ in self._own}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = path_of(scope)
        programs = for_programs(path)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [item for item in message.get("headers", ()) if self._passes(item[0], programs)]
                message = {**message, "headers": _kept(path, headers) + self._own}
            await send(message)

        await self._app(scope, receive, with_headers)

    def _passes(self, name: bytes, programs: bool) -> bool:
        if name.startswith(b"access-control-"):
            return self._cors and programs
        return name not in INCOMING and name not in self._names


def _kept(path: str, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """With what caches are to do, where the answer belongs to one visitor."""
    names = {name for name, _ in headers}
    if b"set-cookie" not in names:
        if path.startswith(STATIC) or (for_programs(path) and b"cache-control" in names):
            return headers
        if path.startswith("/gradio_api/file="):  # only its visitor knows the address, and pictures are shown often
            return [*(item for item in headers if item[0] != b"cache-control"), (b"cache-control", b"private")]
    return [*(item for item in headers if item[0] != b"cache-control"), (b"cache-control", b"no-store")]
