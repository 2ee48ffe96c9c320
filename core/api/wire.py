"""What goes over the wire beside the answers: bodies, JSON, errors in OpenAI's shape, and who hangs up."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Coroutine
from typing import Any

import orjson
from starlette.types import Message, Receive, Send

from core.errors import BadRequest, ParleyError


class BadField(BadRequest):
    """A field of the request that cannot be. `param` names it, as OpenAI's errors do."""

    def __init__(self, param: str, what: str, fix: str | None = None) -> None:
        super().__init__(what, fix)
        self.param = param


class TooLarge(BadRequest):
    """The body is larger than the server reads."""

    code = "request_too_large"
    status = 413


class MethodNotAllowed(BadRequest):
    """The address exists, but takes only the method `allow`."""

    code = "method_not_allowed"
    status = 405

    def __init__(self, method: str, allow: str) -> None:
        super().__init__(f"{method} is not possible here.", f"Use {allow}.")
        self.allow = allow


class ClientGone(Exception):
    """The client hung up before its request had been read. There is nobody to answer."""


# By our code: OpenAI's type, OpenAI's code.
_SHAPES = {
    "bad_request": ("invalid_request_error", "bad_request"),
    "context_too_long": ("invalid_request_error", "context_length_exceeded"),
    "authentication": ("authentication_error", "invalid_api_key"),
    "permission": ("permission_error", "permission_denied"),
    "model_not_found": ("invalid_request_error", "model_not_found"),
    "not_found": ("invalid_request_error", "not_found"),
    "request_too_large": ("invalid_request_error", "request_too_large"),
    "method_not_allowed": ("invalid_request_error", "method_not_allowed"),
    "rate_limited": ("rate_limit_error", "rate_limit_exceeded"),
    "budget_exceeded": ("insufficient_quota", "insufficient_quota"),
    "refused": ("invalid_request_error", "content_filter"),
}


def dumps(value: Any) -> bytes:
    """JSON. Half a surrogate pair, which UTF-8 cannot hold, becomes a question mark."""
    try:
        return orjson.dumps(value)
    except TypeError:  # that, or a whole number of more than 64 bits
        return json.dumps(_clean(value), ensure_ascii=False, separators=(",", ":")).encode()


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    return value


def error_body(error: ParleyError) -> dict[str, Any]:
    """{"error": {message, type, param, code}}."""
    kind, code = _SHAPES.get(error.code, ("server_error", error.code))
    param = getattr(error, "param", "model" if error.code == "model_not_found" else None)
    return {"error": {"message": str(error), "type": kind, "param": param, "code": code}}


async def send_error(send: Send, error: ParleyError) -> None:
    """Answer with an error, and tell clients that retry by themselves whether there is sense in it."""
    headers = [] if error.retryable else [(b"x-should-retry", b"false")]
    wait = getattr(error, "retry_after", None)
    if wait is not None:
        headers.append((b"retry-after", str(max(0, math.ceil(wait))).encode()))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.allow.encode()))
    await send_json(send, error_body(error), error.status, headers)


async def send_json(
    send: Send, value: Any, status: int = 200, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    """Answer with JSON in one piece."""
    await send_body(send, dumps(value), status, headers)


async def send_body(
    send: Send, body: bytes, status: int = 200, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    """Answer with what is JSON already."""
    own = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": own + (headers or [])})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def read_body(receive: Receive) -> bytes:
    """The whole body; `core.api.bodies` lets in no more than may come. ClientGone if it never ends."""
    pieces: list[bytes] = []
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces)


async def until_gone(work: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Do the work, and cancel it in the moment in which the client hangs up. Errors of the work pass through.

    The request's body must have been read. Servers also report the client as gone when the answer has been sent, so
    sending its end must be the last thing that the work does.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnect(receive))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))
    if not task.cancelled():
        task.result()


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
