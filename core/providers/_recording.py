"""The format of a recording: what was asked and answered, one JSON object a line.

    {"replay": {"speed": 1}}
    {"messages": [{"role": "user", "content": "Hi"}], "answer": "Hello!", "model": "openai/gpt-6-luna",
     "usage": {"input": 8, "output": 3}, "timing": {"first_token": 0.41, "duration": 0.62}}

The first kind of line may be left out: `speed` 1 replays as fast as it was recorded, 2 twice as fast, 0 at once. Of an
entry only `messages` (role and content, a text) and `answer` are needed. It may also have `thinking`, `stop_reason`
(stop, length, stop_sequence, tool_use, refusal, context, other), `model` (who answered), `usage` (input, cached,
cache_write_5m, cache_write_1h, output, reasoning: tokens), `timing` (seconds from the start to the first token and to
the end) and `logprobs`, a list of {"token": …, "logprob": …, "top": [[token, logprob], …]}. Other fields are ignored,
empty lines too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, cast, get_args

from core.messages import Message, Role, StopReason, TokenLogprob, Usage
from core.providers._json import decode, encode

LONGEST_WAIT = 3600.0  # seconds; a recording that says more is wrong
_ROLES = get_args(Role)
_STOPS = get_args(StopReason)
_USAGE = {field.name for field in fields(Usage)}


@dataclass(frozen=True, slots=True)
class Recorded:
    """One answer. `first_token` and `duration` in seconds, None when they were not recorded; so is `usage`."""

    messages: tuple[Message, ...]
    answer: str
    thinking: str = ""
    usage: Usage | None = None
    first_token: float | None = None
    duration: float | None = None
    stop_reason: StopReason = "stop"
    model: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()

    @property
    def question(self) -> str:
        """The last message of the user."""
        return next((message.text for message in reversed(self.messages) if message.role == "user"), "")


def to_line(entry: Recorded) -> bytes:
    """An entry as one line, without its end. Attachments are not part of a recording."""
    data: dict[str, Any] = {
        "messages": [{"role": message.role, "content": message.text} for message in entry.messages],
        "answer": entry.answer,
    }
    if entry.thinking:
        data["thinking"] = entry.thinking
    if entry.usage is not None:
        data["usage"] = {name: value for name, value in asdict(entry.usage).items() if value}
    timing = {"first_token": entry.first_token, "duration": entry.duration}
    if known := {name: value for name, value in timing.items() if value is not None}:
        data["timing"] = known
    if entry.stop_reason != "stop":
        data["stop_reason"] = entry.stop_reason
    if entry.model:
        data["model"] = entry.model
    if entry.logprobs:
        data["logprobs"] = [{"token": t.token, "logprob": t.logprob, "top": t.top} for t in entry.logprobs]
    return encode(data)


def header(speed: float) -> bytes:
    return encode({"replay": {"speed": speed}})


def parse(lines: Iterable[bytes]) -> tuple[float, list[Recorded]]:
    """The speed and the entries. Raises ValueError with a text that fits after the name of the file: "line 3 has …"."""
    speed, entries = 1.0, list[Recorded]()
    for number, line in enumerate(lines, 1):
        line = line.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else line.strip()
        if not line:
            continue
        try:
            data = _mapping(_json(line), "")
            if "replay" in data:
                given = _mapping(data["replay"], "replay").get("speed", 1)
                speed = _number(given, "speed", 0.0, 1e6)
            else:
                entries.append(_entry(data))
        except ValueError as error:
            raise ValueError(f"line {number} {error}") from None
    return speed, entries


def _entry(data: Mapping[str, Any]) -> Recorded:
    timing = _mapping(data.get("timing") or {}, "timing")
    stop = data.get("stop_reason") or "stop"
    if stop not in _STOPS:
        raise ValueError(f"has a stop_reason that is none of {', '.join(_STOPS)}")
    return Recorded(
        _messages(data.get("messages")),
        _text(data.get("answer"), "answer"),
        _text(data.get("thinking") or "", "thinking"),
        _usage(data.get("usage")),
        _seconds(timing.get("first_token"), "first_token"),
        _seconds(timing.get("duration"), "duration"),
        cast(StopReason, stop),
        _text(data.get("model") or "", "model"),
        _logprobs(data.get("logprobs")),
    )


def _messages(value: object) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("has no messages, a list of {role, content}")
    messages = []
    for item in value:
        message = _mapping(item, "messages")
        if message.get("role") not in _ROLES:
            raise ValueError(f"has a message whose role is none of {', '.join(_ROLES)}")
        messages.append(Message(message["role"], _text(message.get("content"), "content")))
    return tuple(messages)


def _usage(value: object) -> Usage | None:
    if value is None:
        return None
    known = {name: count for name, count in _mapping(value, "usage").items() if name in _USAGE and count is not None}
    estimated = bool(known.pop("estimated", False))
    if not all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in known.values()):
        raise ValueError("has a usage that is not in whole tokens")
    return Usage(**cast(dict[str, int], known), estimated=estimated)


def _logprobs(value: object) -> tuple[TokenLogprob, ...]:
    if value is None:
        return ()
    wrong = 'has logprobs that are not a list of {"token", "logprob", "top"}'
    if not isinstance(value, list):
        raise ValueError(wrong)
    try:
        return tuple(
            TokenLogprob(
                _text(item["token"], "token"),
                _number(item["logprob"], "logprob", -1e9, 0.0),
                tuple(
                    (_text(token, "token"), _number(best, "top", -1e9, 0.0)) for token, best in item.get("top") or ()
                ),
            )
            for item in value
        )
    except (TypeError, LookupError, AttributeError):
        raise ValueError(wrong) from None


def _json(line: bytes) -> object:
    try:
        return decode(line)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"has a {name} that is not an object" if name else "is not a JSON object")
    return value


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"has no {name}, or one that is not a text")
    return value


def _number(value: object, name: str, low: float, high: float) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or not low <= value <= high
    ):
        raise ValueError(f"has a {name} that is not a number from {low:g} to {high:g}")
    return float(value)


def _seconds(value: object, name: str) -> float | None:
    return None if value is None else _number(value, name, 0.0, LONGEST_WAIT)
