"""What the fake server answers, on each of the wires: OpenAI's Chat Completions and Responses, Anthropic's Messages."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

Event = dict[str, Any]


def number(parts: set[str], pattern: str) -> float | None:
    for part in parts:
        if found := re.fullmatch(pattern, part):
            return float(found[1])
    return None


class Wire(ABC):
    """What one call answers, on one of the wires."""

    def __init__(self, body: dict[str, Any], parts: set[str]) -> None:
        self.body, self.parts = body, parts
        count = int(number(parts, r"(?:tokens|burst)-(\d+)") or 20)
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


class _Chat(Wire):
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


class _Responses(Wire):
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


class _Messages(Wire):
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


WIRES: dict[str, type[Wire]] = {
    "/v1/chat/completions": _Chat,
    "/v1/responses": _Responses,
    "/v1/messages": _Messages,
}
