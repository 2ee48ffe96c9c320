"""What goes out: OpenAI's chat.completion, and the parts that it has in common with the chunks of a stream."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from typing import Any

from core.api.schemas import ParsedRequest
from core.messages import Done, Notice, Reply, StopReason, TokenLogprob, Usage

FINISH: dict[StopReason, str] = {
    "stop": "stop",
    "length": "length",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "context": "length",
    "other": "stop",
}


def new_id() -> str:
    """A name for an answer, as OpenAI's look. It opens nothing, so it need not be hard to guess."""
    return f"chatcmpl-{random.getrandbits(96):024x}"


def completion(reply: Reply, parsed: ParsedRequest) -> dict[str, Any]:
    """A whole answer."""
    done = reply.done
    refused = done.stop_reason == "refusal"
    message: dict[str, Any] = {
        "role": "assistant",
        "content": reply.text,
        "refusal": (done.detail or "The model declined to answer.") if refused else None,
    }
    if reply.thinking:
        message["reasoning_content"] = reply.thinking
    choice = {
        "index": 0,
        "message": message,
        "logprobs": logprobs_json(reply.logprobs) if parsed.logprobs else None,
        "finish_reason": FINISH[done.stop_reason],
    }
    return {
        "id": new_id(),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": done.model or parsed.request.model,
        "choices": [choice],
        "usage": usage_json(done.usage),
        "parley": parley_json(done, reply.notices, parsed),
        **prompt_json(parsed),
    }


def prompt_json(parsed: ParsedRequest) -> dict[str, Any]:
    """Which prompt was asked with, where one was: {"prompt": {name, version, hash}}."""
    request = parsed.request
    if request.prompt_name is None:
        return {}
    version = {"name": request.prompt_name, "version": request.prompt_version, "hash": request.prompt_hash}
    return {"prompt": version}


def usage_json(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached,
            "cache_write_tokens": usage.cache_write_5m + usage.cache_write_1h,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def parley_json(done: Done, notices: Iterable[Notice], parsed: ParsedRequest) -> dict[str, Any]:
    """What OpenAI's shape has no place for. `call` is a string: as a number JavaScript would round it."""
    return {
        "call": None if done.call is None else str(done.call),
        "cost_nano_dollars": done.cost,
        "cost_dollars": None if done.cost is None else done.cost / 1e9,
        "first_token": done.first_token,
        "duration": done.duration,
        "stop_reason": done.stop_reason,
        "detail": done.detail,
        "cache_hit": done.cache_hit,
        "usage_estimated": done.usage.estimated,
        "notices": [{"kind": notice.kind, "text": notice.text} for notice in notices],
        "ignored": parsed.ignored,
    }


def logprobs_json(logprobs: Iterable[TokenLogprob]) -> dict[str, Any]:
    content = []
    for entry in logprobs:
        top = [_token(token, logprob) for token, logprob in entry.top]
        content.append({**_token(entry.token, entry.logprob), "top_logprobs": top})
    return {"content": content, "refusal": None}


def _token(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode("utf-8", "replace"))}
