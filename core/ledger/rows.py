"""What goes into the ledger, and in which columns. Rows are tuples, because writing them is the gateway's hot path."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from core.messages import Usage

BEGINNING = (
    "id",
    "instance",
    "started",
    "feature",
    "provider",
    "model",
    "conversation",
    "visitor",
    "prompt_name",
    "prompt_version",
    "prompt_hash",
    "prompt_parts",
    "attempt",
    "key_source",
    "status",
    "cache_hit",
)
END = (
    "model_answered",
    "status",
    "error_code",
    "error",
    "stop_reason",
    "request_id",
    "input",
    "cached",
    "cache_write_5m",
    "cache_write_1h",
    "reasoning",
    "output",
    "usage_estimated",
    "price",
    "cost",
    "queued",
    "first_token",
    "duration",
    "cache_hit",
)
NO_USAGE = (None,) * 7
LARGEST = 2**53  # of counts and nano-dollars: a server may report nonsense, and sums must fit 64 bits


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is known before a call."""

    model: str  # maker/model as asked
    provider: str = ""  # "" = the maker of the model
    feature: str = "chat"
    conversation: str | None = None
    visitor: str = "local"
    prompt_name: str | None = None
    prompt_version: int | None = None
    prompt_hash: str | None = None
    prompt_parts: tuple[tuple[str, int], ...] = ()
    attempt: int = 0  # 0 = first try
    key_source: Literal["server", "visitor", "none"] = "server"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is known after it. `error` is one sentence without contents or keys. Times are in seconds."""

    status: Literal["ok", "failed", "cancelled", "interrupted"]
    usage: Usage | None = None  # None: nothing is known of the tokens
    stop_reason: str | None = None
    error_code: str | None = None
    error: str | None = None
    model_answered: str | None = None  # the provider's own name
    request_id: str | None = None  # the provider's
    queued: float | None = None
    first_token: float | None = None
    duration: float | None = None
    cache_hit: bool = False  # from Parley's own cache: costs nothing
    provider_cost: int | None = None  # nano-dollars, where the provider says what it charged


def begin_row(call: int, instance: str, started: int, attempt: Attempt) -> tuple[Any, ...]:
    """The values of BEGINNING. `started` is in microseconds since 1970."""
    return (
        call,
        instance,
        started,
        attempt.feature,
        _clean(attempt.provider or attempt.model.partition("/")[0]),
        _clean(attempt.model),
        attempt.conversation and _clean(attempt.conversation),
        _clean(attempt.visitor),
        attempt.prompt_name and _clean(attempt.prompt_name),
        attempt.prompt_version,
        attempt.prompt_hash and _clean(attempt.prompt_hash),
        json.dumps([[_clean(name), number] for name, number in attempt.prompt_parts]) if attempt.prompt_parts else None,
        attempt.attempt,
        attempt.key_source,
        "running",
        False,
    )


def end_row(call: int, outcome: Outcome, cost: int | None, price: str | None) -> tuple[Any, ...]:
    """The values of END, then the id. `price` is JSON."""
    usage = outcome.usage
    return (
        outcome.model_answered and _clean(outcome.model_answered),
        outcome.status,
        outcome.error_code,
        outcome.error and _clean(outcome.error, 500),
        outcome.stop_reason,
        outcome.request_id and _clean(outcome.request_id),
        *(NO_USAGE if usage is None else _counts(usage)),
        price,
        cost and min(cost, LARGEST),
        outcome.queued,
        outcome.first_token,
        outcome.duration,
        outcome.cache_hit,
        call,
    )


def _counts(usage: Usage) -> tuple[Any, ...]:
    return (
        min(usage.input, LARGEST),
        min(usage.cached, LARGEST),
        min(usage.cache_write_5m, LARGEST),
        min(usage.cache_write_1h, LARGEST),
        min(usage.reasoning, LARGEST),
        min(usage.output, LARGEST),
        usage.estimated,
    )


def _clean(text: str, limit: int = 255) -> str:
    """Text that every database takes and every index holds: no NUL, no lone surrogates, not endless."""
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isascii() and text.isprintable():
        return text
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
