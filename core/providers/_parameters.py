"""What all wires do to a request: leave out what the model does not take, and put files into words of JSON."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from core.errors import BadRequest
from core.messages import Attachment, ChatRequest, Notice, Parameters
from core.models.info import ModelInfo

PDF = "application/pdf"


def data_url(attachment: Attachment) -> str:
    return f"data:{attachment.media_type};base64,{encoded(attachment)}"


def encoded(attachment: Attachment) -> str:
    return base64.b64encode(attachment.data).decode("ascii")


def check_attachments(request: ChatRequest, model: ModelInfo) -> None:
    """Raises BadRequest for a file that the model cannot read."""
    for message in request.messages:
        for attachment in message.attachments:
            if attachment.media_type == PDF:
                able, kind = model.abilities.pdf, "PDF files"
            else:
                able, kind = model.abilities.vision, "images"
            if not able:
                raise BadRequest(
                    f"{model.label or request.model} does not read {kind}, and {attachment.name} is attached.",
                    "Choose a model that does, or remove the file.",
                )


def left_out(parameters: Parameters, model: ModelInfo) -> Notice | None:
    """What was asked for and is not sent, because the model does not take it."""
    can = model.abilities
    unsupported = {
        "temperature": parameters.temperature is not None and not can.temperature,
        "top_p": parameters.top_p is not None and not can.temperature,
        "seed": parameters.seed is not None and not can.seed,
        "stop": bool(parameters.stop) and not can.stop,
        "effort": parameters.effort is not None and parameters.effort not in can.efforts,
        "response_schema": parameters.response_schema is not None and not can.json_schema,
        "logprobs": parameters.logprobs is not None and not can.logprobs,
        "thinking": (parameters.thinking is True and not can.thinking)
        or (parameters.thinking is False and can.thinking and not can.thinking_off),
    }
    names = [name for name, out in unsupported.items() if out]
    if not names:
        return None
    return Notice("parameter", f"{model.label or model.id} does not take {' or '.join(names)}: not sent.")


def sampling(parameters: Parameters, model: ModelInfo) -> dict[str, Any]:
    """temperature, top_p and seed, which have one name on every wire."""
    can = model.abilities
    body: dict[str, Any] = {}
    if can.temperature and parameters.temperature is not None:
        body["temperature"] = parameters.temperature
    if can.temperature and parameters.top_p is not None:
        body["top_p"] = parameters.top_p
    if can.seed and parameters.seed is not None:
        body["seed"] = parameters.seed
    return body


def effort_of(parameters: Parameters, model: ModelInfo) -> str | None:
    """The effort to send. Reasoning switched off is effort "none", where a model has that."""
    if parameters.effort in model.abilities.efforts:
        return parameters.effort
    if parameters.thinking is False and parameters.effort is None and "none" in model.abilities.efforts:
        return "none"
    return None


def strict(schema: Any) -> bool:
    """Whether OpenAI takes the schema in strict mode: every object closed, and each of its properties required."""
    if isinstance(schema, Mapping):
        properties = schema.get("properties")
        if schema.get("type") == "object" or isinstance(properties, Mapping):
            required = schema.get("required") or ()
            if schema.get("additionalProperties") is not False or set(properties or ()) != set(required):
                return False
        return all(strict(value) for value in schema.values())
    if isinstance(schema, (list, tuple)):
        return all(strict(item) for item in schema)
    return True
