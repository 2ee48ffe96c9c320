"""Ollama's API (docs.ollama.com/api): addresses, what a model can do, the body of a chat, and errors."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args
from urllib.parse import urlsplit

import httpx
import ollama

from core.errors import ContextTooLong, ModelUnavailable, ParleyError, ProviderUnavailable, SettingsError, TimedOut
from core.hosts import host_of, is_loopback
from core.messages import ChatRequest, Effort, Usage
from core.models.info import Abilities, ModelInfo
from core.providers._errors import CallTarget, broken_off, from_event, from_status, malformed
from core.providers._parameters import sampling
from core.tokens import estimate_tokens

# All that the client raises: its own errors, httpx's, and at answers of another shape those of json and pydantic.
FORGIVEN = (ollama.ResponseError, httpx.HTTPError, OSError, ValueError, TypeError, LookupError, AttributeError)

_PORT = 11434
_SMALLEST_CONTEXT = 8192  # the server's own default is as low as 4096, and it drops what does not fit without a word
_ANSWER = 2048  # tokens of room for an answer of no set length
_IMAGE = 1000  # tokens of an image, about
_EFFORTS = get_args(Effort)
_NUM_CTX = re.compile(r"^num_ctx\s+(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ModelDetails:
    """What a server says of a model. `num_ctx` is what its owner has set, None for nothing."""

    info: ModelInfo
    chats: bool
    num_ctx: int | None


def address_of(host: str) -> str:
    """OLLAMA_HOST as an address to call, in all the forms that Ollama's own programs take. Raises SettingsError.

    An address to listen on (0.0.0.0) means this machine; a local one without a port means Ollama's own and not 80.
    """
    text = host.strip().rstrip("/") or "127.0.0.1"
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "", text
    try:
        parts = urlsplit(f"//{rest}")
        name, port = parts.hostname or "127.0.0.1", parts.port
    except ValueError:
        raise SettingsError("OLLAMA_HOST is not an address.", "It looks like http://127.0.0.1:11434.") from None
    if scheme not in ("", "http", "https"):
        raise SettingsError("OLLAMA_HOST does not begin with http:// or https://.", "Write http://host:11434.")
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(name, name)  # noqa: S104
    if ":" in name:
        name = f"[{name}]"
    if port is None:
        local = is_loopback(host_of(name))
        port = _PORT if not scheme or (scheme == "http" and local) else {"http": 80, "https": 443}[scheme]
    return f"{scheme or 'http'}://{name}:{port}{parts.path}"


def shown(model_id: str, data: Mapping[str, Any]) -> ModelDetails:
    """The answer of /api/show."""
    capabilities = data.get("capabilities")
    can = set(capabilities or ())
    details = data.get("details") or {}
    facts = data.get("model_info") or {}
    context = facts.get(f"{facts.get('general.architecture')}.context_length")
    levels, off = _levels(data.get("thinking"), str(details.get("family") or ""))
    thinks = "thinking" in can
    abilities = Abilities(
        seed=True,
        json_schema=True,
        logprobs=True,
        vision="vision" in can,
        tools="tools" in can,
        thinking=thinks,
        thinking_off=off,
        efforts=levels if thinks else (),
    )
    size = " ".join(str(details[key]) for key in ("parameter_size", "quantization_level") if details.get(key))
    info = ModelInfo(model_id, context=context if isinstance(context, int) else None, abilities=abilities, note=size)
    set_by_owner = _NUM_CTX.search(str(data.get("parameters") or ""))
    return ModelDetails(
        info, capabilities is None or "completion" in can, int(set_by_owner[1]) if set_by_owner else None
    )


def _levels(thinking: Any, family: str) -> tuple[tuple[str, ...], bool]:
    """Thinking's levels by name, and whether it can be switched off. Older servers do not say: gpt-oss has three."""
    values = thinking.get("values") if isinstance(thinking, dict) else None
    if not isinstance(values, list):
        return (("low", "medium", "high"), False) if family in ("gptoss", "gpt-oss") else ((), True)
    return tuple(level for level in _EFFORTS if level in values), False in values or "none" in values


def chat(request: ChatRequest, model: ModelInfo, num_ctx: int | None) -> dict[str, Any]:
    """The arguments for the client's `chat`."""
    parameters, can = request.parameters, model.abilities
    options: dict[str, Any] = {"num_ctx": _context(request, model, num_ctx), **sampling(parameters, model)}
    if parameters.max_tokens is not None:
        options["num_predict"] = parameters.max_tokens
    if parameters.stop and can.stop:
        options["stop"] = list(parameters.stop)
    body: dict[str, Any] = {
        "model": request.model_name,
        "messages": [
            {
                "role": message.role,
                "content": _clean(message.text),
                "images": [file.data for file in message.attachments],
            }
            for message in request.messages
        ],
        "options": options,
    }
    if (think := _think(request, model)) is not None:
        body["think"] = think
    if parameters.response_schema is not None and can.json_schema:
        body["format"] = dict(parameters.response_schema)
    elif parameters.json_object:
        body["format"] = "json"
    if parameters.logprobs is not None and can.logprobs:
        body["logprobs"] = True
        if parameters.logprobs:
            body["top_logprobs"] = parameters.logprobs
    return body


def check_length(request: ChatRequest, model: ModelInfo) -> None:
    """Raises ContextTooLong: the server itself would drop the oldest messages without a word."""
    count = _prompt(request)
    if model.context is not None and count > model.context:
        raise ContextTooLong(
            f"The conversation has about {count:,} tokens and does not fit {request.model_name}, "
            f"which takes {model.context:,}."
        )


def usage_of(last: ollama.ChatResponse, request: ChatRequest, written: str) -> Usage:
    """The server's counts, or estimates where it gives none."""
    if last.prompt_eval_count is None or last.eval_count is None:
        return Usage(input=_prompt(request), output=estimate_tokens(written), estimated=True)
    return Usage(input=last.prompt_eval_count, output=last.eval_count)


def explain(error: Exception, target: CallTarget, *, began: bool = False) -> ParleyError:
    """The error for anything in FORGIVEN. `began`: part of the answer has arrived."""
    if isinstance(error, ollama.ResponseError):
        body = {"error": {"message": str(error.error)}}
        if error.status_code < 0:  # a line of the stream that says error
            return from_event(body, target)
        return from_status(error.status_code, json.dumps(body).encode(), {}, target)
    if isinstance(error, ParleyError):
        return error
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, ConnectionError)) and not began:
        return ProviderUnavailable(
            f"Ollama cannot be reached at {target.address}.", "Start Ollama, or set OLLAMA_HOST."
        )
    if isinstance(error, httpx.TimeoutException) and not began:
        return TimedOut(f"Ollama at {target.address} did not answer in time.")
    if isinstance(error, (httpx.HTTPError, OSError)) and not isinstance(error, httpx.DecodingError):
        if began:
            return broken_off(target)
        return ModelUnavailable(f"Ollama at {target.address} closed the connection without an answer.")
    return malformed(target, began=began)


def _think(request: ChatRequest, model: ModelInfo) -> bool | str | None:
    parameters, can = request.parameters, model.abilities
    if not can.thinking:
        return None
    if parameters.effort in can.efforts:
        return parameters.effort
    if parameters.thinking is False:
        return False if can.thinking_off else None
    return parameters.thinking


def _context(request: ChatRequest, model: ModelInfo, set_by_owner: int | None) -> int:
    """num_ctx. It costs memory and a change loads the model anew, so it grows only by doubling and when it must."""
    images = sum(len(message.attachments) for message in request.messages)
    need = _prompt(request) * 5 // 4 + images * _IMAGE + (request.parameters.max_tokens or _ANSWER)
    size = set_by_owner or _SMALLEST_CONTEXT
    while size < need:
        size *= 2
    return min(size, model.context) if model.context else size


def _prompt(request: ChatRequest) -> int:
    return sum(estimate_tokens(message.text) + 4 for message in request.messages)


def _clean(text: str) -> str:
    """Without lone surrogates, which cannot be sent."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
