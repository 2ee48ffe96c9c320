"""A model server that does as it is told: OpenAI's two wires and Anthropic's, on a real socket, with faults on demand.

    with FakeServer() as server:                    # a thread of this process, a port of the system's choice
        client = openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="k")
        client = anthropic.AsyncAnthropic(base_url=server.url, api_key="k")
        server.log                                  # what was received, oldest first: a list of Received

or in a process of its own, for benchmarks: `python tests/fake_server.py --port 0` prints its address, and
`GET /_log` and `POST /_clear` give and empty the log as JSON. uvicorn, Starlette and uvloop are used as they are.

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
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

Event = dict[str, Any]


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
        while not self._server.started:
            time.sleep(0.005)
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
        wire = _WIRES[request.url.path](body, parts)
        if failing := _number(parts, r"fail-(\d+)-then-ok"):
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

    def __init__(self, entry: Received, wire: _Wire, parts: set[str], stream: bool) -> None:
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
        wait = _number(self.parts, r"wait-([\d.]+)") or 0.0
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


def _number(parts: set[str], pattern: str) -> float | None:
    for part in parts:
        if found := re.fullmatch(pattern, part):
            return float(found[1])
    return None


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


class _Wire(ABC):
    """What one call answers, on one of the wires."""

    def __init__(self, body: dict[str, Any], parts: set[str]) -> None:
        self.body, self.parts = body, parts
        count = int(_number(parts, r"(?:tokens|burst)-(\d+)") or 20)
        prompt = _prompt(body)
        if "json" in json.dumps(body.get("response_format") or body.get("text") or body.get("output_config") or ""):
            text = '{"answer": 42}'
        elif prompt.startswith("echo "):
            text = prompt[5:]
        elif "utf8" in parts:
            text = "日本語 ünï 🙂 " * 3
        else:
            text = "".join(f"token {index} " for index in range(1, count + 1))
        if "refusal" in parts:
            text = "I cannot help with that."
        self.tokens = (
            [text]
            if not text.strip()
            else re.findall(r"\s*\S+\s?\d*\s?", text)
            if text.startswith("token ")
            else re.findall(r"\s*\S+\s*", text)
        )
        self.thinking = ["First ", "I think."] if "thinking" in parts else []
        self.prompt_tokens = max(1, len(prompt) // 4)

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    def event(self, data: Event) -> bytes:
        return b"data: " + json.dumps(data, ensure_ascii="utf8" not in self.parts).encode() + b"\n\n"

    def error(self, inner: dict[str, Any]) -> Event:
        return {"error": inner}

    @abstractmethod
    def is_token(self, piece: bytes) -> bool: ...

    @abstractmethod
    def whole(self) -> Event: ...

    @abstractmethod
    def stream(self) -> Iterator[bytes]: ...


def _prompt(body: dict[str, Any]) -> str:
    messages = body.get("messages") or body.get("input") or ""
    if isinstance(messages, str):
        return messages
    content = messages[-1].get("content", "") if messages else ""
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content).strip()
    return str(content)


class _Chat(_Wire):
    def usage(self) -> Event | None:
        if "usage-none" in self.parts:
            return None
        usage: Event = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": len(self.tokens),
            "total_tokens": self.prompt_tokens + len(self.tokens),
        }
        if "usage-cost" in self.parts:
            usage["cost"] = 0.00125
        if "usage-cache" in self.parts:
            usage["prompt_tokens_details"] = {"cached_tokens": 3, "cache_write_tokens": 2}
            usage["completion_tokens_details"] = {"reasoning_tokens": 4}
        return usage

    def finish(self) -> str:
        return "length" if "length" in self.parts else "content_filter" if "refusal" in self.parts else "stop"

    def logprobs(self, tokens: list[str]) -> Event | None:
        if not self.body.get("logprobs"):
            return None
        top = self.body.get("top_logprobs") or 0
        best = [{"token": f"t{index}", "logprob": -1.0 - index, "bytes": None} for index in range(top)]
        return {"content": [{"token": t, "logprob": -0.25, "bytes": None, "top_logprobs": best} for t in tokens]}

    def whole(self) -> Event:
        text = "<think>First I think.</think>\n\n" + self.text if "think-tags" in self.parts else self.text
        message: Event = {"role": "assistant", "content": text}
        if self.thinking:
            message["reasoning_content"] = "".join(self.thinking)
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": self.finish(),
            "logprobs": self.logprobs(self.tokens),
        }
        answer: Event = {"id": "c1", "object": "chat.completion", "created": 1, "model": "fake-1", "choices": [choice]}
        if (usage := self.usage()) is not None:
            answer["usage"] = usage
        return answer

    def is_token(self, piece: bytes) -> bool:
        return b'"content": "' in piece and b'"content": ""' not in piece

    def chunk(self, delta: Event, finish: str | None = None, logprobs: Event | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": logprobs}
        return self.event(
            {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "fake-1", "choices": [choice]}
        )

    def stream(self) -> Iterator[bytes]:
        yield b": a comment, as proxies send it\n\n"
        yield self.chunk({"role": "assistant", "content": ""})
        for piece in self.thinking:
            yield self.chunk({"reasoning_content": piece})
        if "think-tags" in self.parts:
            for piece in ("<th", "ink>First ", "I think.</thi", "nk>\n\n"):
                yield self.chunk({"content": piece})
        for token in self.tokens:
            yield self.chunk({"content": token}, logprobs=self.logprobs([token]))
        yield self.chunk({}, self.finish())
        if (usage := self.usage()) is not None and (self.body.get("stream_options") or {}).get("include_usage"):
            yield self.event(
                {
                    "id": "c1",
                    "object": "chat.completion.chunk",
                    "created": 1,
                    "model": "fake-1",
                    "choices": [],
                    "usage": usage,
                }
            )
        if "done-none" not in self.parts:
            yield b"data: [DONE]\n\n"


class _Responses(_Wire):
    def usage(self) -> Event | None:
        if "usage-none" in self.parts:
            return None
        cached = {"cached_tokens": 3, "cache_write_tokens": 2} if "usage-cache" in self.parts else {"cached_tokens": 0}
        return {
            "input_tokens": self.prompt_tokens,
            "input_tokens_details": cached,
            "output_tokens": len(self.tokens),
            "output_tokens_details": {"reasoning_tokens": 4 if self.thinking else 0},
            "total_tokens": self.prompt_tokens + len(self.tokens),
        }

    def logprobs(self, tokens: list[str]) -> list[Event]:
        if "message.output_text.logprobs" not in (self.body.get("include") or ()):
            return []
        best = [{"token": f"t{index}", "logprob": -1.0 - index} for index in range(self.body.get("top_logprobs") or 0)]
        return [{"token": token, "logprob": -0.25, "top_logprobs": best} for token in tokens]

    def whole(self) -> Event:
        status, details = (
            ("incomplete", {"reason": "max_output_tokens"}) if "length" in self.parts else ("completed", None)
        )
        output: list[Event] = []
        if self.thinking:
            output.append(
                {"type": "reasoning", "id": "r1", "summary": [{"type": "summary_text", "text": "".join(self.thinking)}]}
            )
        if "refusal" in self.parts:
            content: Event = {"type": "refusal", "refusal": self.text}
        else:
            content = {
                "type": "output_text",
                "text": self.text,
                "annotations": [],
                "logprobs": self.logprobs(self.tokens),
            }
        output.append({"type": "message", "id": "m1", "role": "assistant", "status": status, "content": [content]})
        return {
            "id": "resp_1",
            "object": "response",
            "created_at": 1,
            "model": "fake-1",
            "status": status,
            "incomplete_details": details,
            "error": None,
            "output": output,
            "usage": self.usage(),
        }

    def error(self, inner: dict[str, Any]) -> Event:
        return {"type": "error", "error": inner}

    def is_token(self, piece: bytes) -> bool:
        return b'"type": "response.output_text.delta"' in piece

    def event(self, data: Event) -> bytes:
        return f"event: {data['type']}\n".encode() + super().event(data)

    def stream(self) -> Iterator[bytes]:
        empty = {**self.whole(), "status": "in_progress", "output": [], "usage": None}
        yield self.event({"type": "response.created", "sequence_number": 0, "response": empty})
        yield self.event({"type": "response.in_progress", "sequence_number": 1, "response": empty})
        if self.thinking:
            yield self.event({"type": "response.reasoning_summary_part.added", "summary_index": 0, "part": {}})
        for piece in self.thinking:
            yield self.event({"type": "response.reasoning_summary_text.delta", "delta": piece, "summary_index": 0})
        kind = "response.refusal.delta" if "refusal" in self.parts else "response.output_text.delta"
        for token in self.tokens:
            data = {"type": kind, "item_id": "m1", "output_index": 0, "content_index": 0, "delta": token}
            yield self.event({**data, "logprobs": self.logprobs([token])} if kind.endswith("text.delta") else data)
        yield self.event({"type": "response.output_text.done", "text": self.text})
        end = "response.incomplete" if "length" in self.parts else "response.completed"
        yield self.event({"type": end, "response": self.whole()})


class _Messages(_Wire):
    def usage(self) -> Event:
        usage: Event = {"input_tokens": self.prompt_tokens, "output_tokens": len(self.tokens)}
        if "usage-cache" in self.parts:
            usage["cache_read_input_tokens"] = 3
            usage["cache_creation_input_tokens"] = 5
            usage["cache_creation"] = {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 2}
            usage["output_tokens_details"] = {"thinking_tokens": 4}
        return usage

    def ending(self) -> Event:
        if "refusal" in self.parts:
            details = {"type": "refusal", "category": "cyber", "explanation": "It could do harm."}
            return {"stop_reason": "refusal", "stop_sequence": None, "stop_details": details}
        return {"stop_reason": "max_tokens" if "length" in self.parts else "end_turn", "stop_sequence": None}

    def error(self, inner: dict[str, Any]) -> Event:
        return {"type": "error", "error": inner, "request_id": "req-1"}

    def event(self, data: Event) -> bytes:
        return f"event: {data['type']}\n".encode() + super().event(data)

    def whole(self) -> Event:
        blocks: list[Event] = []
        if self.thinking:
            blocks.append({"type": "thinking", "thinking": "".join(self.thinking), "signature": "s"})
        blocks.append({"type": "text", "text": self.text})
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "fake-1", "content": blocks}
        return {**message, **self.ending(), "usage": self.usage()}

    def is_token(self, piece: bytes) -> bool:
        return b'"text_delta"' in piece

    def stream(self) -> Iterator[bytes]:
        start = {**self.whole(), "content": [], "stop_reason": None, "usage": {**self.usage(), "output_tokens": 1}}
        yield self.event({"type": "message_start", "message": start})
        yield self.event({"type": "ping"})
        index = 0
        if self.thinking:
            yield self.event(
                {
                    "type": "content_block_start",
                    "index": 0,
                    "content_block": {"type": "thinking", "thinking": "", "signature": ""},
                }
            )
            for piece in self.thinking:
                yield self.event(
                    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": piece}}
                )
            yield self.event(
                {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s"}}
            )
            yield self.event({"type": "content_block_stop", "index": 0})
            index = 1
        yield self.event({"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}})
        for token in self.tokens:
            yield self.event(
                {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": token}}
            )
        yield self.event({"type": "content_block_stop", "index": index})
        yield self.event(
            {"type": "message_delta", "delta": self.ending(), "usage": {"output_tokens": len(self.tokens)}}
        )
        yield self.event({"type": "message_stop"})


_WIRES: dict[str, type[_Wire]] = {
    "/v1/chat/completions": _Chat,
    "/v1/responses": _Responses,
    "/v1/messages": _Messages,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="A model server for tests and benchmarks.")
    parser.add_argument("--port", type=int, default=0)
    server = FakeServer(parser.parse_args().port)
    print(server.url, flush=True)
    server.run()


if __name__ == "__main__":
    main()
