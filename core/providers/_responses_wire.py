"""OpenAI's Responses API, as api.openai.com speaks it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.messages import ChatRequest, Done, Message, StopReason, Usage
from core.models.info import ModelInfo
from core.providers._json import count, mapping
from core.providers._parameters import PDF, data_url, effort_of, sampling, strict
from core.providers._stream import Decoder, Reported, Wire, logprobs_of

_DECLINED = "The model declined to answer."
_FILTERED = "The provider's filter stopped the answer."


def responses_body(request: ChatRequest, model: ModelInfo) -> dict[str, Any]:
    """The body of a call, with only what the model is able to take. Nothing is stored at OpenAI."""
    parameters, can = request.parameters, model.abilities
    body: dict[str, Any] = {
        "model": request.model_name,
        "input": [_message(message) for message in request.messages if message.role != "system"],
        "store": False,
        **sampling(parameters, model),
    }
    if instructions := "\n\n".join(message.text for message in request.messages if message.role == "system"):
        body["instructions"] = instructions
    if parameters.max_tokens is not None:
        body["max_output_tokens"] = parameters.max_tokens
    reasoning: dict[str, Any] = {}
    if (effort := effort_of(parameters, model)) is not None:
        reasoning["effort"] = effort
    if parameters.thinking and can.thinking:
        reasoning["summary"] = "auto"  # only when asked for: it needs a verified organisation
    if reasoning:
        body["reasoning"] = reasoning
    if parameters.response_schema is not None and can.json_schema:
        schema = dict(parameters.response_schema)
        body["text"] = {"format": {"type": "json_schema", "name": "answer", "schema": schema, "strict": strict(schema)}}
    elif parameters.json_object:
        body["text"] = {"format": {"type": "json_object"}}
    if parameters.logprobs is not None and can.logprobs:
        body["include"] = ["message.output_text.logprobs"]
        body["top_logprobs"] = parameters.logprobs
    if request.stream:
        body["stream"] = True
    return body


def _message(message: Message) -> dict[str, Any]:
    if not message.attachments:
        return {"role": message.role, "content": message.text}
    parts: list[dict[str, Any]] = []
    for file in message.attachments:
        if file.media_type == PDF:
            parts.append({"type": "input_file", "filename": file.name, "file_data": data_url(file)})
        else:
            parts.append({"type": "input_image", "image_url": data_url(file)})
    if message.text:
        parts.append({"type": "input_text", "text": message.text})
    return {"role": message.role, "content": parts}


class ResponsesDecoder(Decoder):
    """Events with a `type`; usage and the reason of the end are only on the last one."""

    def __init__(self, request: ChatRequest, request_id: str | None) -> None:
        super().__init__(request, request_id)
        self._usage: object = None
        self._stop: StopReason = "stop"
        self._detail: str | None = None
        self._summaries = 0

    def take(self, data: Mapping[str, Any]) -> None:
        match data.get("type"):
            case "response.output_text.delta":
                self.text(data["delta"], logprobs_of(data.get("logprobs")))
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                self.thinking(data["delta"])
            case "response.reasoning_summary_part.added":
                if self._summaries:
                    self.thinking("\n\n")
                self._summaries += 1
            case "response.refusal.delta":
                self.text(data["delta"])
                self._refused(_DECLINED)
            case "response.created":
                self.begin(data["response"].get("model"))
            case "response.completed" | "response.incomplete" | "response.failed":
                self._ended(data["response"])
                self.finished = True
            case "error":
                raise Reported(data)

    def whole(self, data: Mapping[str, Any]) -> None:
        self.begin(data.get("model"))
        for item in data["output"]:
            if item["type"] == "reasoning":
                self.thinking("\n\n".join(part["text"] for part in item.get("summary") or ()))
            elif item["type"] == "message":
                for part in item["content"]:
                    self._part(part)
        self._ended(data)

    def done(self) -> Done:
        self._flush()
        return Done(_usage(self._usage) or self.estimate(), self._stop, self._detail)

    def _part(self, part: Mapping[str, Any]) -> None:
        if part["type"] == "output_text":
            self.text(part["text"], logprobs_of(part.get("logprobs")))
        elif part["type"] == "refusal":
            self.text(part["refusal"])
            self._refused(_DECLINED)

    def _ended(self, response: Mapping[str, Any]) -> None:
        self._usage = response.get("usage")
        if response.get("status") == "failed":
            raise Reported(response.get("error"))
        if response.get("status") == "incomplete":
            reason = (response.get("incomplete_details") or {}).get("reason")
            if reason == "content_filter":
                self._refused(_FILTERED)
            else:
                self._stop = "length" if reason == "max_output_tokens" else "other"

    def _refused(self, detail: str) -> None:
        self._stop, self._detail = "refusal", detail


def _usage(usage: object) -> Usage | None:
    fields = mapping(usage)
    sent, written = count(fields.get("input_tokens")), count(fields.get("output_tokens"))
    if sent is None or written is None:
        return None
    before, made = mapping(fields.get("input_tokens_details")), mapping(fields.get("output_tokens_details"))
    return Usage(
        input=sent,
        cached=count(before.get("cached_tokens")) or 0,
        cache_write_5m=count(before.get("cache_write_tokens")) or 0,
        output=written,
        reasoning=count(made.get("reasoning_tokens")) or 0,
    )


RESPONSES = Wire("/responses", responses_body, ResponsesDecoder)
