"""Anthropic's Messages API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.messages import ChatRequest, Done, Message, Notice, StopReason, Usage
from core.models.facts import wire_facts
from core.models.info import ModelInfo
from core.providers._json import count, mapping
from core.providers._parameters import PDF, encoded, sampling
from core.providers._stream import Decoder, Wire

# Room for an answer when none is asked for; reasoning counts in it. What is not used costs nothing.
_ROOM = 32_000
_ROOM_UNKNOWN = 8192  # where the model's own limit is not known
_LEAST_BUDGET = 1024
# A conversation that is worth keeping in the provider's cache: writing costs a quarter more, reading a tenth.
_CACHE_FROM_MESSAGES = 4
_CACHE_FROM_CHARACTERS = 12_000
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_BUDGETS = {"low": 4096, "medium": 8192, "high": 16384}
_STOPS: dict[str, StopReason] = {
    "end_turn": "stop",
    "max_tokens": "length",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_use",
    "refusal": "refusal",
    "model_context_window_exceeded": "context",
}


def messages_body(request: ChatRequest, model: ModelInfo) -> dict[str, Any]:
    """The body of a call, with only what the model is able to take. Reasoning of earlier turns is never sent again."""
    parameters, can = request.parameters, model.abilities
    limit = parameters.max_tokens or min(model.max_output or _ROOM_UNKNOWN, _ROOM)
    body: dict[str, Any] = {
        "model": request.model_name,
        "max_tokens": limit,
        "messages": _messages(request),
        **{name: value for name, value in sampling(parameters, model).items() if name != "seed"},
    }
    if system := "\n\n".join(message.text for message in request.messages if message.role == "system"):
        body["system"] = system
    if parameters.stop and can.stop:
        body["stop_sequences"] = list(parameters.stop)
    output: dict[str, Any] = {}
    if parameters.effort in can.efforts:
        output["effort"] = parameters.effort
    if parameters.response_schema is not None and can.json_schema:
        output["format"] = {"type": "json_schema", "schema": _closed(dict(parameters.response_schema))}
    if output:
        body["output_config"] = output
    if (thinking := _thinking(request, model, limit)) is not None:
        body["thinking"] = thinking
    if _worth_caching(request):
        body["cache_control"] = {"type": "ephemeral"}
    if request.stream:
        body["stream"] = True
    return body


def thinking_notice(request: ChatRequest, model: ModelInfo) -> Notice | None:
    """Says that a budget for reasoning does not fit into the limit, or that it cannot be off at this effort."""
    parameters = request.parameters
    if not model.abilities.thinking or parameters.thinking is None:
        return None
    sent = _thinking(request, model, parameters.max_tokens or _ROOM)
    if parameters.thinking and sent is None:
        return Notice("parameter", f"Thinking needs a limit of more than {_LEAST_BUDGET:,} tokens: left off.")
    if not parameters.thinking and model.abilities.thinking_off and sent is not None and sent["type"] == "adaptive":
        return Notice("parameter", "Thinking cannot be switched off at this effort: left on.")
    return None


def _messages(request: ChatRequest) -> list[dict[str, Any]]:
    messages = [_message(message) for message in request.messages if message.role != "system"]
    if messages and messages[-1]["role"] == "assistant" and isinstance(messages[-1]["content"], str):
        messages[-1]["content"] = messages[-1]["content"].rstrip()  # white space at its end is rejected
    return messages


def _message(message: Message) -> dict[str, Any]:
    if not message.attachments:
        return {"role": message.role, "content": message.text}
    blocks: list[dict[str, Any]] = []
    for file in message.attachments:
        source = {"type": "base64", "media_type": file.media_type, "data": encoded(file)}
        if file.media_type == PDF:
            blocks.append({"type": "document", "source": source, "title": file.name})
        else:
            blocks.append({"type": "image", "source": source})
    if message.text:
        blocks.append({"type": "text", "text": message.text})
    return {"role": message.role, "content": blocks}


def _thinking(request: ChatRequest, model: ModelInfo, limit: int) -> dict[str, Any] | None:
    """The `thinking` parameter, None to leave it out. Shown as a summary, since the default shows nothing."""
    if not model.abilities.thinking:
        return None
    wanted, effort = request.parameters.thinking, request.parameters.effort
    facts = wire_facts(request.model)
    types = facts.get("thinking_types", ("adaptive",))
    if wanted is False:
        if not facts.get("thinking_default"):
            return None
        highest = facts.get("thinking_off_up_to")
        allowed = highest is None or effort not in _EFFORTS or _EFFORTS.index(effort) <= _EFFORTS.index(highest)
        for off in ("disabled", "between_tools"):
            if off in types and allowed:
                return {"type": off}
    elif wanted is None and not facts.get("thinking_default"):
        return None
    if "adaptive" in types:
        return {"type": "adaptive", "display": "summarized"}
    budget = min(_BUDGETS.get(effort or "medium", _BUDGETS["high"]), limit // 2)
    return {"type": "enabled", "budget_tokens": budget} if budget >= _LEAST_BUDGET else None


def _worth_caching(request: ChatRequest) -> bool:
    texts = [message.text for message in request.messages]
    return len(texts) >= _CACHE_FROM_MESSAGES and sum(map(len, texts)) >= _CACHE_FROM_CHARACTERS


def _closed(schema: Any) -> Any:
    """The schema with `additionalProperties: false` on every object, which the API wants."""
    if isinstance(schema, Mapping):
        closed = {key: _closed(value) for key, value in schema.items()}
        if schema.get("type") == "object":
            closed["additionalProperties"] = False
        return closed
    return [_closed(item) for item in schema] if isinstance(schema, (list, tuple)) else schema


class MessagesDecoder(Decoder):
    """message_start, blocks with their deltas, message_delta with the reason of the end, message_stop."""

    def __init__(self, request: ChatRequest, request_id: str | None) -> None:
        super().__init__(request, request_id)
        self._usage: dict[str, Any] = {}
        self._stop: StopReason = "other"
        self._detail: str | None = None
        self._has_text = False

    def take(self, data: Mapping[str, Any]) -> None:
        match data.get("type"):
            case "content_block_delta":
                delta = data["delta"]
                if (kind := delta["type"]) == "text_delta":
                    self.text(delta["text"])
                elif kind == "thinking_delta":
                    self.thinking(delta["thinking"])
            case "content_block_start":
                self._block(data["content_block"])
            case "message_start":
                message = data["message"]
                self._count(message.get("usage"))
                self.begin(message.get("model"), usage_of(self._usage))
            case "message_delta":
                self._count(data.get("usage"))
                self._ended(data["delta"])
            case "message_stop":
                self.finished = True

    def whole(self, data: Mapping[str, Any]) -> None:
        self._count(data.get("usage"))
        self.begin(data.get("model"), usage_of(self._usage))
        for block in data["content"]:
            self._block(block)
        self._ended(data)

    def done(self) -> Done:
        self._flush()
        return Done(usage_of(self._usage) if self._usage else self.estimate(), self._stop, self._detail)

    def _block(self, block: Mapping[str, Any]) -> None:
        """A block at its start (then nearly always empty) or whole."""
        if block["type"] == "text":
            self.text(block.get("text") or "")
        elif block["type"] == "thinking":
            self.thinking(block.get("thinking") or "")

    def _count(self, usage: object) -> None:
        """Later counts are totals and replace earlier ones; what a later one leaves out stays."""
        self._usage.update({name: value for name, value in mapping(usage).items() if value is not None})

    def _ended(self, delta: Mapping[str, Any]) -> None:
        if (reason := delta.get("stop_reason")) is None:
            return
        self.complete = True
        self._stop = _STOPS.get(reason, "other")
        if self._stop == "refusal":
            details = delta.get("stop_details") or {}
            said = [part for part in (details.get("category"), details.get("explanation")) if isinstance(part, str)]
            self._detail = ": ".join(said)[:300] or "The model declined to answer."


def usage_of(usage: Mapping[str, Any]) -> Usage:
    """Anthropic's `input_tokens` leaves out what was read from and written to the cache; ours holds all of it."""
    written = count(usage.get("cache_creation_input_tokens")) or 0
    hour = count(mapping(usage.get("cache_creation")).get("ephemeral_1h_input_tokens")) or 0
    read = count(usage.get("cache_read_input_tokens")) or 0
    return Usage(
        input=(count(usage.get("input_tokens")) or 0) + written + read,
        cached=read,
        cache_write_5m=max(written - hour, 0),
        cache_write_1h=hour,
        output=count(usage.get("output_tokens")) or 0,
        reasoning=count(mapping(usage.get("output_tokens_details")).get("thinking_tokens")) or 0,
    )


MESSAGES = Wire("/v1/messages", messages_body, MessagesDecoder, "request-id")
