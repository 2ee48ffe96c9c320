"""A model server that does as it is told: OpenAI's two wires and Anthropic's, on a real socket, with faults on demand.

    with FakeServer() as server:                    # a thread of this process, a port of the system's choice
        client = openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="k")
        client = anthropic.AsyncAnthropic(base_url=server.url, api_key="k")
        server.log                                  # what was received, oldest first: a list of Received

or in a process of its own, for benchmarks: `python -m tests.fake_server --port 0` prints its address,
and `GET /_log` and `POST /_clear` give and empty the log as JSON. uvicorn, Starlette and uvloop are used as they are.

Routes: POST /v1/chat/completions, /v1/responses, /v1/messages; GET /v1/models (either shape, by header) and /health.

The **model's name** chooses the behaviour; parts are joined with +, for example "slow+usage-none":

    ok              answers at once, 20 tokens "token 1 token 2 …" (any unknown name does the same)
    tokens-N        N tokens, one write each
    burst-N         N tokens in one single write
    slow            0.05 s before each token
    wait-S          S seconds before the first byte (also "wait-0.3")
    never           accepts the request and never answers
    stall           two tokens, then nothing more
    break           half of the tokens, then the connection is closed without an end
    cut             half of the tokens, then a proper end of the HTTP answer without the wire's own end
    empty           an event stream without any event
    malformed       two tokens, then an event that is not JSON
    html            an HTML page with status 200
    status-N        HTTP error N in the wire's own shape (400, 401, 402, 403, 404, 408, 413, 500, 503, 529 …)
    429             RateLimited without Retry-After; 429-S with Retry-After: S; 429-date with an HTTP date in 5 s
    quota           429 insufficient_quota
    context         400 for a prompt that is too long, with both token counts
    filter          400 content_filter
    overloaded      two tokens, then an error event of type overloaded
    leak            401 whose message repeats the caller's key
    refusal         an answer that the model declines to give
    length          an answer that ends at the token limit
    thinking        reasoning before the answer (a summary, reasoning_content, or thinking blocks)
    think-tags      reasoning inside <think> in the text (Chat Completions)
    usage-none      no usage; usage-cost adds "cost" as OpenRouter does; usage-cache has cached and cache-write tokens
    done-none       no [DONE] at the end, but a finish_reason
    crlf, utf8      lines end with CRLF; the text is many-byte characters, written one byte at a time
    late-end        the connection's own end comes 0.05 s after the last event
    fail-N-then-ok  status 500 for the first N calls with this name, then ok

The **prompt** chooses the text: "echo <text>" is answered with <text>. A response format of JSON is answered with a
small JSON object. `logprobs` are given when asked for.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import email.utils
import json
import re
import socket
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tests.fake_wires import WIRES, Wire, number
from tests.waiting import wait_until


@dataclasses.dataclass
class Received:
    """One request. `disconnected_after` is in seconds, None while the caller has not gone before the end."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float
    disconnected_after: float | None = None
    finished: bool = False


class FakeServer:
    """The server in a thread. `url` is its address without a path, `log` what it received."""

    def __init__(self, port: int = 0, models: list[dict[str, Any]] | None = None) -> None:
        self.log: list[Received] = []
        self.models = models or [{"id": name} for name in ("ok", "slow", "break")]
        self.calls: dict[str, int] = {}
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._server = uvicorn.Server(
            uvicorn.Config(
                self.app(), log_level="critical", access_log=False, timeout_graceful_shutdown=1, lifespan="off"
            )
        )
        self._thread: threading.Thread | None = None

    def __enter__(self) -> FakeServer:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        wait_until(lambda: self._server.started)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        if self._thread is not None:
            self._thread.join(5)
        self._socket.close()

    def clear(self) -> None:
        self.log.clear()
        self.calls.clear()

    @property
    def last(self) -> Received:
        return self.log[-1]

    def run(self) -> None:
        """Serve in this thread until a signal comes."""
        self._run()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self._answer, methods=["POST"]),
                Route("/v1/responses", self._answer, methods=["POST"]),
                Route("/v1/messages", self._answer, methods=["POST"]),
                Route("/v1/models", self._models),
                Route("/health", lambda request: JSONResponse({"status": "ok"})),
                Route("/_log", lambda request: JSONResponse([dataclasses.asdict(entry) for entry in self.log])),
                Route("/_clear", self._clear, methods=["POST"]),
            ]
        )

    async def _clear(self, request: Request) -> Response:
        self.clear()
        return Response(status_code=204)

    async def _models(self, request: Request) -> Response:
        self.log.append(Received(request.url.path, dict(request.headers), {}, time.time()))
        if request.headers.get("authorization") == "Bearer wrong":
            return JSONResponse({"error": {"type": "authentication_error", "message": "wrong key"}}, 401)
        if "anthropic-version" in request.headers:
            return JSONResponse({"data": self.models, "has_more": False, "first_id": None, "last_id": None})
        return JSONResponse({"object": "list", "data": self.models})

    async def _answer(self, request: Request) -> Response:
        body = await request.json()
        entry = Received(request.url.path, dict(request.headers), body, time.time())
        self.log.append(entry)
        name = str(body.get("model", "ok"))
        parts = set(name.split("+"))
        self.calls[name] = count = self.calls.get(name, 0) + 1
        wire = WIRES[request.url.path](body, parts)
        if failing := number(parts, r"fail-(\d+)-then-ok"):
            parts |= {"status-500"} if count <= failing else set()
        for part in parts:
            if (failure := _failure(part, request)) is not None:
                status, headers, error = failure
                return JSONResponse(wire.error(error), status, headers)
        if "html" in parts:
            return HTMLResponse("<html><body>Welcome to the router</body></html>")
        return _Answer(entry, wire, parts, bool(body.get("stream")))


class _Answer(Response):
    """Sends the events with their delays and faults, and notes when the caller goes away."""

    def __init__(self, entry: Received, wire: Wire, parts: set[str], stream: bool) -> None:
        self.entry, self.wire, self.parts, self.streaming = entry, wire, parts, stream
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(self._wait_for_leaving(receive))
        work = asyncio.create_task(self._send(send))
        await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            gone.cancel()
            self.entry.finished = work.exception() is None
            work.result()
        else:
            self.entry.disconnected_after = time.time() - self.entry.at
            work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(gone, work)

    async def _wait_for_leaving(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def _send(self, send: Send) -> None:
        wait = number(self.parts, r"wait-([\d.]+)") or 0.0
        if wait or "never" in self.parts:
            await asyncio.sleep(wait or 3600)
        headers = [(b"x-request-id", b"req-1"), (b"request-id", b"req-1")]
        if not self.streaming:
            body = json.dumps(self.wire.whole()).encode()
            if "malformed" in self.parts:
                body = body[: len(body) // 2]
            headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [*headers, (b"content-type", b"text/event-stream")],
            }
        )
        async for piece in self._pieces():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if "late-end" in self.parts:
            await asyncio.sleep(0.05)
        if "break" in self.parts:
            raise ConnectionAbortedError("asked to break off")
        await send({"type": "http.response.body", "body": b""})

    async def _pieces(self) -> AsyncIterator[bytes]:
        if "empty" in self.parts:
            return
        if "burst" in " ".join(self.parts):
            yield b"".join(self.wire.stream())
            return
        tokens = len(self.wire.tokens)
        end = (
            tokens // 2
            if self.parts & {"break", "cut"}
            else 2
            if self.parts & {"stall", "malformed", "overloaded"}
            else None
        )
        sent = 0
        for piece in self.wire.stream():
            is_token = self.wire.is_token(piece)
            if end is not None and is_token and sent == end:
                break
            if is_token:
                sent += 1
                if "slow" in self.parts:
                    await asyncio.sleep(0.05)
            if "crlf" in self.parts:
                piece = piece.replace(b"\n", b"\r\n")
            if "utf8" in self.parts:
                for index in range(len(piece)):
                    yield piece[index : index + 1]
            else:
                yield piece
        if "stall" in self.parts:
            await asyncio.sleep(3600)
        if "malformed" in self.parts:
            yield b'data: {"type": "content_block_delta", "del\n\n'
        if "overloaded" in self.parts:
            yield self.wire.event(self.wire.error({"type": "overloaded_error", "message": "Overloaded"}))


def _failure(part: str, request: Request) -> tuple[int, dict[str, str], dict[str, Any]] | None:
    """Status, headers and the inner error of a behaviour that is an HTTP error."""
    if found := re.fullmatch(r"status-(\d{3})", part):
        return int(found[1]), {}, {"type": "api_error", "message": f"asked for {found[1]}"}
    if found := re.fullmatch(r"429(?:-(.+))?", part):
        wait = email.utils.formatdate(time.time() + 5, usegmt=True) if found[1] == "date" else found[1]
        headers = {"retry-after": wait} if wait else {}
        return 429, headers, {"type": "rate_limit_error", "code": "rate_limit_exceeded", "message": "Slow down"}
    simple = {
        "quota": (
            429,
            {"type": "insufficient_quota", "code": "insufficient_quota", "message": "You exceeded your quota"},
        ),
        "filter": (
            400,
            {"type": "invalid_request_error", "code": "content_filter", "message": "The prompt was filtered"},
        ),
        "leak": (401, {"type": "authentication_error", "message": f"Bad {request.headers.get('authorization')}"}),
    }
    if part in simple:
        status, error = simple[part]
        return status, {}, error
    if part == "context":
        if request.url.path.endswith("/messages"):
            return (
                400,
                {},
                {"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000 maximum"},
            )
        message = "This model's maximum context length is 8192 tokens. However, your messages resulted in 10000 tokens."
        return 400, {}, {"type": "invalid_request_error", "code": "context_length_exceeded", "message": message}
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description="A model server for tests and benchmarks.")
    parser.add_argument("--port", type=int, default=0)
    server = FakeServer(parser.parse_args().port)
    print(server.url, flush=True)
    server.run()


if __name__ == "__main__":
    main()
