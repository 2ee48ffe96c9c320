"""A fast local stand-in for the makers' servers, in a process of its own, so that the client is what is measured.

It speaks OpenAI's Chat Completions and Anthropic's Messages, whole and as a stream, and answers about 100,000 calls a
second on one core. `with mock() as url:` gives the address without /v1; `python -m bench._mock --help` runs it alone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORD = " word"


@contextlib.contextmanager
def mock(*, latency: float = 0.0, rate: float = 0.0, tokens: int = 20, stream_tokens: int = 100) -> Iterator[str]:
    """Run the server until the `with` ends. `latency` is in seconds, `rate` in tokens a second (0 = all at once)."""
    command = [sys.executable, "-m", "bench._mock", "--latency", str(latency), "--rate", str(rate)]
    command += ["--tokens", str(tokens), "--stream-tokens", str(stream_tokens)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def _response(body: bytes, kind: bytes = b"application/json") -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (kind, len(body), body)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _event(value: object, name: str = "") -> bytes:
    head = f"event: {name}\n".encode() if name else b""
    return _chunk(head + b"data: " + _json(value) + b"\n\n")


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


class Answers:
    """Everything that is ever sent, made once. A stream is a head, its tokens and a tail."""

    def __init__(self, tokens: int, stream_tokens: int) -> None:
        self.models = _response(
            _json({"object": "list", "data": [{"id": "mock", "object": "model", "created": 0, "owned_by": "mock"}]})
        )
        usage = {"prompt_tokens": 12, "completion_tokens": tokens, "total_tokens": 12 + tokens}
        shape = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "mock"}
        message = {"role": "assistant", "content": WORD * tokens, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        self.openai = _response(_json({**shape, "choices": [choice], "usage": usage}))
        shape["object"] = "chat.completion.chunk"

        def piece(delta: dict[str, str], finish: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            return _event({**shape, "choices": [choice], "usage": None})

        usage = {"prompt_tokens": 12, "completion_tokens": stream_tokens, "total_tokens": 12 + stream_tokens}
        last = _event({**shape, "choices": [], "usage": usage})
        self.openai_stream = (
            STREAM_HEAD + piece({"role": "assistant", "content": ""}),
            [piece({"content": WORD})] * stream_tokens,
            piece({}, "stop") + last + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n",
        )
        used = {"input_tokens": 12, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
        begun = {"id": "msg_1", "type": "message", "role": "assistant", "model": "mock", "stop_sequence": None}
        text = {"type": "text", "text": WORD * tokens}
        end = {"stop_reason": "end_turn", "usage": {**used, "output_tokens": tokens}}
        self.anthropic = _response(_json({**begun, "content": [text], **end}))
        start = {"message": {**begun, "content": [], "stop_reason": None, "usage": {**used, "output_tokens": 1}}}
        delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": WORD}}
        stop = {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": stream_tokens}}
        block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        self.anthropic_stream = (
            STREAM_HEAD
            + _event({"type": "message_start", **start}, "message_start")
            + _event(block, "content_block_start"),
            [_event(delta, "content_block_delta")] * stream_tokens,
            _event({"type": "content_block_stop", "index": 0}, "content_block_stop")
            + _event({"type": "message_delta", **stop}, "message_delta")
            + _event({"type": "message_stop"}, "message_stop")
            + b"0\r\n\r\n",
        )


class Connection(asyncio.Protocol):
    """One keep-alive connection. Knows just enough HTTP for the SDKs: a head, and a body of Content-Length."""

    def __init__(self, answers: Answers, latency: float, rate: float) -> None:
        self._answers = answers
        self._latency = latency
        self._gap = 1 / rate if rate else 0.0
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._streaming: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._streaming is not None:
            self._streaming.cancel()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            head = buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(buffer) < end + 4 + length:
                break
            body = buffer[end + 4 : end + 4 + length]
            buffer = buffer[end + 4 + length :]
            if self._latency:
                asyncio.get_running_loop().call_later(self._latency, self._answer, head, body)
            else:
                self._answer(head, body)
        self._buffer = buffer

    def _answer(self, head: bytes, body: bytes) -> None:
        if self._transport is None:
            return
        answers = self._answers
        path = head.split(b" ", 2)[1]
        stream = b'"stream":true' in body or b'"stream": true' in body
        if path.endswith(b"/chat/completions"):
            self._send(answers.openai_stream) if stream else self._transport.write(answers.openai)
        elif path.endswith(b"/messages"):
            self._send(answers.anthropic_stream) if stream else self._transport.write(answers.anthropic)
        else:
            self._transport.write(answers.models)

    def _send(self, stream: tuple[bytes, list[bytes], bytes]) -> None:
        assert self._transport is not None
        head, tokens, tail = stream
        self._transport.write(head)
        if self._gap:
            self._streaming = asyncio.get_running_loop().create_task(self._paced(tokens, tail))
            return
        for token in tokens:
            self._transport.write(token)
        self._transport.write(tail)

    async def _paced(self, tokens: list[bytes], tail: bytes) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        for token in tokens:
            due += self._gap
            await asyncio.sleep(max(0.0, due - loop.time()))
            if self._transport is None:
                return
            self._transport.write(token)
        if self._transport is not None:
            self._transport.write(tail)


async def serve(arguments: argparse.Namespace) -> None:
    answers = Answers(arguments.tokens, arguments.stream_tokens)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(answers, arguments.latency, arguments.rate), "127.0.0.1", arguments.port, backlog=1024
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    parser = argparse.ArgumentParser(prog="python -m bench._mock", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 = any free one")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before an answer begins")
    parser.add_argument("--rate", type=float, default=0.0, help="tokens a second of a stream; 0 = all at once")
    parser.add_argument("--tokens", type=int, default=20, help="length of an answer in one piece")
    parser.add_argument("--stream-tokens", type=int, default=100, help="length of a streamed answer")
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve(parser.parse_args()))
