"""OpenAI's Chat Completions, as OpenAI and everybody else speak it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.messages import ChatRequest, Done, Message, StopReason, Usage
from core.models.facts import wire_facts
from core.models.info import ModelInfo
from core.providers._json import count, mapping
from core.providers._parameters import PDF, data_url, effort_of, sampling, strict
from core.providers._stream import Decoder, Wire, logprobs_of
from core.providers._think import ThinkSplitter

_STOPS: dict[str, StopReason] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "context",
    "content_filter": "refusal",
    "refusal": "refusal",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "eos": "stop",
    "stop_sequence": "stop_sequence",
}
_MOST_DOLLARS = 1_000_000  # that one call can cost: more, like less than nothing, is a mistake of the server's


def chat_body(request: ChatRequest, model: ModelInfo) -> dict[str, Any]:
    """The body of a call, with only what the model is able to take."""
    parameters, can = request.parameters, model.abilities
    body: dict[str, Any] = {
        "model": request.model_name,
        "messages": [_message(message) for message in request.messages],
        **sampling(parameters, model),
    }
    if parameters.max_tokens is not None:
        body[wire_facts(request.model).get("max_tokens", "max_tokens")] = parameters.max_tokens
    if parameters.stop and can.stop:
        body["stop"] = list(parameters.stop)
    if (effort := effort_of(parameters, model)) is not None:
        body["reasoning_effort"] = effort
    if parameters.response_schema is not None and can.json_schema:
        schema = dict(parameters.response_schema)
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": schema, "strict": strict(schema)},
        }
    elif parameters.json_object:
        body["response_format"] = {"type": "json_object"}
    if parameters.logprobs is not None and can.logprobs:
        body["logprobs"] = True
        if parameters.logprobs:
            body["top_logprobs"] = parameters.logprobs
    if request.stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    return body


def _message(message: Message) -> dict[str, Any]:
    if not message.attachments:
        return {"role": message.role, "content": message.text}
    parts: list[dict[str, Any]] = []
    for file in message.attachments:
        if file.media_type == PDF:
            parts.append({"type": "file", "file": {"filename": file.name, "file_data": data_url(file)}})
        else:
            parts.append({"type": "image_url", "image_url": {"url": data_url(file)}})
    if message.text:
        parts.append({"type": "text", "text": message.text})
    return {"role": message.role, "content": parts}


class ChatDecoder(Decoder):
    """Chunks `{"choices": [{"delta": …}]}`, then one with the usage, then [DONE]."""

    def __init__(self, request: ChatRequest, request_id: str | None) -> None:
        super().__init__(request, request_id)
        self._think = ThinkSplitter()
        self._stop: StopReason = "stop"
        self._detail: str | None = None
        self._usage: object = None

    def take(self, data: Mapping[str, Any]) -> None:
        if not self._begun:
            self.begin(data.get("model"))
        if (usage := data.get("usage")) is not None:
            self._usage = usage
        for choice in data.get("choices") or ():
            delta = choice.get("delta") or {}
            self._piece(delta, choice.get("logprobs"))
            if reason := choice.get("finish_reason"):
                self._ended(reason)

    def whole(self, data: Mapping[str, Any]) -> None:
        self.begin(data.get("model"))
        self._usage = data.get("usage")
        choice = data["choices"][0]
        self._piece(choice["message"], choice.get("logprobs"))
        self._ended(choice.get("finish_reason") or "stop")

    def done(self) -> Done:
        thinking, text = self._think.end()
        if thinking:
            self.thinking(thinking)
        if text:
            self.text(text)
        self._flush()
        return Done(_usage(self._usage) or self.estimate(), self._stop, self._detail, _cost(self._usage))

    def _piece(self, message: Mapping[str, Any], logprobs: Any) -> None:
        if reasoning := message.get("reasoning_content") or message.get("reasoning"):
            self.thinking(reasoning)
        if text := message.get("content"):
            tokens = logprobs_of(logprobs.get("content")) if logprobs else None
            if not self._think.plain:
                thinking, text = self._think.feed(text)
                if thinking:
                    self.thinking(thinking)
            if text:
                self.text(text, tokens)
        if refusal := message.get("refusal"):
            self.text(refusal)
            self._refused()

    def _ended(self, reason: str) -> None:
        self.complete = True
        stop = _STOPS.get(reason, "other")
        if stop == "refusal":
            self._refused("The provider's filter stopped the answer." if reason == "content_filter" else None)
        elif self._stop != "refusal":
            self._stop = stop

    def _refused(self, detail: str | None = "The model declined to answer.") -> None:
        self._stop, self._detail = "refusal", detail


def _usage(usage: object) -> Usage | None:
    fields = mapping(usage)
    sent, written = count(fields.get("prompt_tokens")), count(fields.get("completion_tokens"))
    if sent is None or written is None:
        return None
    prompt, completion = mapping(fields.get("prompt_tokens_details")), mapping(fields.get("completion_tokens_details"))
    return Usage(
        input=sent,
        cached=count(prompt.get("cached_tokens")) or count(fields.get("prompt_cache_hit_tokens")) or 0,
        cache_write_5m=count(prompt.get("cache_write_tokens")) or 0,
        # xAI and Gemini leave the reasoning, which they charge for, out of completion_tokens but not out of the total.
        output=max(written, (count(fields.get("total_tokens")) or 0) - sent),
        reasoning=count(completion.get("reasoning_tokens")) or 0,
    )


def _cost(usage: object) -> int | None:
    """OpenRouter says in dollars what it charged; in nano-dollars here."""
    cost = mapping(usage).get("cost")
    if isinstance(cost, bool) or not isinstance(cost, (int, float)) or not 0 <= cost < _MOST_DOLLARS:
        return None
    return round(cost * 1e9)


CHAT = Wire("/chat/completions", chat_body, ChatDecoder)
