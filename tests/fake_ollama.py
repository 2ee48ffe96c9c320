"""A server that speaks Ollama's wire on a real socket, with faults on demand.

    with FakeOllama() as server:
        client = ollama.AsyncClient(server.url)
        server.log       # the bodies received by /api/chat, oldest first; server.shown: the names asked of /api/show

The model's name chooses the behaviour: "plain:1b" answers, "think:4b" reasons first, "oss:20b" has levels of thinking,
"see:7b" sees, "old:1b" says nothing of its abilities, "embed" cannot chat; "error:1b" fails in the middle, "cut:1b"
ends without done, "junk:1b" sends a line that is not JSON, "busy:1b" answers 503, "slow:1b" waits before each token.
The text "echo <text>" is answered with that text, anything else with twelve words.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.waiting import wait_until

MODELS: dict[str, dict[str, Any]] = {
    "plain:1b": {"capabilities": ["completion"], "parameters": 'num_ctx                        4096\nstop "<x>"'},
    "think:4b": {
        "capabilities": ["completion", "thinking", "tools"],
        "thinking": {"values": [False, True], "default": True},
    },
    "oss:20b": {"capabilities": ["completion", "thinking"], "thinking": {"values": ["low", "medium", "high"]}},
    "gptoss-old:20b": {"capabilities": ["completion", "thinking"], "details": {"family": "gptoss"}},
    "see:7b": {"capabilities": ["completion", "vision"]},
    "old:1b": {},
    "embed": {"capabilities": ["embedding"]},
}
FAULTY = ("error:1b", "cut:1b", "junk:1b", "busy:1b", "slow:1b", "uncounted:1b", "tags:1b")


class FakeOllama:
    """Runs in a thread of this process."""

    def __init__(self, key: str = "", *, empty: bool = False) -> None:
        self.log: list[dict[str, Any]] = []
        self.shown: list[str] = []
        self.closed: list[str] = []  # models whose caller went away during the answer
        self._key = key
        self._names = [] if empty else [*MODELS]
        routes = [
            Route("/api/tags", self._tags),
            Route("/api/show", self._show, methods=["POST"]),
            Route("/api/chat", self._chat, methods=["POST"]),
        ]
        config = uvicorn.Config(Starlette(routes=routes), port=0, log_level="error", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> FakeOllama:
        self._thread.start()
        wait_until(lambda: self._server.started)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(5)

    def _denied(self, request: Request) -> Response | None:
        if self._key and request.headers.get("authorization") != f"Bearer {self._key}":
            return JSONResponse({"error": "unauthorized"}, 401)
        return None

    async def _tags(self, request: Request) -> Response:
        models = [{"name": name, "model": name, "digest": f"sha-{name}", "size": 1} for name in self._names]
        return self._denied(request) or JSONResponse({"models": models})

    async def _show(self, request: Request) -> Response:
        name = (await request.json())["model"]
        self.shown.append(name)
        if name not in MODELS and name not in FAULTY:
            return JSONResponse({"error": f"model '{name}' not found"}, 404)
        facts = {"general.architecture": "llama", "llama.context_length": 40960}
        details = {"family": "llama", "parameter_size": "1.2B", "quantization_level": "Q4_K_M"}
        return JSONResponse(
            {"details": details, "model_info": facts, **MODELS.get(name, {"capabilities": ["completion"]})}
        )

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        self.log.append(body)
        name = body["model"]
        if denied := self._denied(request):
            return denied
        if name not in MODELS and name not in FAULTY:
            return JSONResponse({"error": f"model '{name}' not found"}, 404)
        if name == "busy:1b":
            return JSONResponse({"error": "server busy, please try again. maximum pending requests exceeded"}, 503)
        if not body.get("stream"):
            return JSONResponse(self._whole(body))
        return StreamingResponse(self._lines(name, body), media_type="application/x-ndjson")

    def _whole(self, body: dict[str, Any]) -> dict[str, Any]:
        parts = list(_parts(body))
        text = "".join(part["message"]["content"] for part in parts)
        return {**parts[-1], "message": {"role": "assistant", "content": text}}

    async def _lines(self, name: str, body: dict[str, Any]) -> AsyncIterator[bytes]:
        try:
            for number, part in enumerate(_parts(body)):
                if number == 3 and name == "error:1b":
                    yield b'{"error": "llama runner process has terminated"}\n'
                    return
                if number == 3 and name == "junk:1b":
                    yield b"<html>\n"
                    return
                if part["done"] and name == "cut:1b":
                    return
                if name == "slow:1b":
                    await asyncio.sleep(0.2)
                yield json.dumps(part, ensure_ascii=False).encode() + b"\n"
        except asyncio.CancelledError:
            self.closed.append(name)
            raise


def _parts(body: dict[str, Any]) -> Any:
    name, prompt = body["model"], body["messages"][-1]["content"]
    text = prompt.removeprefix("echo ") if prompt.startswith("echo ") else " ".join(f"word{n}" for n in range(12))
    if body.get("format"):
        text = '{"a": 1}'
    thinks = "thinking" in MODELS.get(name, {}).get("capabilities", ()) and body.get("think") is not False
    base = {"model": name, "created_at": "2026-11-20T00:00:00Z", "done": False}
    if thinks:
        yield {**base, "message": {"role": "assistant", "content": "", "thinking": "Let me see."}}
    if name == "tags:1b":
        yield {**base, "message": {"role": "assistant", "content": "<think>Hm.</think>"}}
    for token in [text[n : n + 6] for n in range(0, len(text), 6)]:
        part = {**base, "message": {"role": "assistant", "content": token}}
        if body.get("logprobs"):
            top = [{"token": f"t{n}", "logprob": -1.0 - n} for n in range(body.get("top_logprobs", 0))]
            part["logprobs"] = [{"token": token, "logprob": -0.25, "top_logprobs": top}]
        yield part
    limit = body["options"].get("num_predict")
    counts = {} if name == "uncounted:1b" else {"prompt_eval_count": 11, "eval_count": 12}
    yield {
        **base,
        **counts,
        "done": True,
        "done_reason": "length" if limit else "stop",
        "message": {"role": "assistant", "content": ""},
    }
