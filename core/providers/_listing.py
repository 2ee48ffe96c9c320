"""Models as servers that speak OpenAI's wire list them; each says of a model what it likes."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import httpx2

from core.models.facts import facts_of, is_chat
from core.models.info import Abilities, ModelInfo
from core.providers._json import mapping

# Where servers put the context window: vLLM, OpenRouter and Together, Groq, Mistral, LM Studio; llama.cpp in "meta".
_CONTEXT = ("max_model_len", "context_length", "context_window", "max_context_length", "loaded_context_length")
_OUTPUT = ("max_completion_tokens", "max_output_tokens")


def openai_client(base_url: str, http: httpx2.AsyncClient, key: str) -> Any:
    """The SDK's client with nothing from the environment: no key, organisation, project or header."""
    import openai  # takes half a second: only when the first call is made

    client = openai.AsyncOpenAI(
        api_key=key, admin_api_key="", webhook_secret="", base_url=base_url, http_client=http, max_retries=0
    )
    client.organization = client.project = None
    client._custom_headers = {}
    return client


def listed_models(provider: str, data: Any) -> list[ModelInfo]:
    """The chat models of an answer to GET /models, sorted as the server sorts them. Raises TypeError or LookupError."""
    return [_merged(facts_of(f"{provider}/{entry['id']}"), entry) for entry in _chat(provider, data["data"])]


def _chat(provider: str, entries: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for entry in entries:
        can = entry.get("capabilities")
        if isinstance(can, Mapping) and can.get("completion_chat") is False:
            continue
        if entry.get("type") in ("embedding", "embeddings", "image", "audio", "rerank", "moderation"):
            continue
        if is_chat(f"{provider}/{entry['id']}"):
            yield entry


def _merged(facts: ModelInfo, entry: Mapping[str, Any]) -> ModelInfo:
    meta, top = mapping(entry.get("meta")), mapping(entry.get("top_provider"))
    context = _first(entry, _CONTEXT) or _first(meta, ("n_ctx", "n_ctx_train")) or facts.context
    output = _first(entry, _OUTPUT) or _first(top, _OUTPUT) or facts.max_output
    label = entry.get("name") or entry.get("display_name")
    return dataclasses.replace(
        facts,
        label=facts.label or (label if isinstance(label, str) and label != entry["id"] else ""),
        context=context,
        max_output=output,
        abilities=_abilities(facts.abilities, entry),
        retires=_date(entry.get("shutdown_date") or entry.get("deprecation")) or facts.retires,
        live=True,
    )


def _abilities(known: Abilities, entry: Mapping[str, Any]) -> Abilities:
    """Abilities as the server says them: OpenRouter lists its parameters, Mistral and others their capabilities."""
    said: dict[str, Any] = {}
    if isinstance(takes := entry.get("supported_parameters"), list):
        said = {
            "temperature": "temperature" in takes,
            "seed": "seed" in takes,
            "stop": "stop" in takes,
            "tools": "tools" in takes,
            "json_schema": "structured_outputs" in takes,
            "logprobs": "logprobs" in takes,
            "thinking": "reasoning" in takes or "include_reasoning" in takes,
        }
        if "reasoning" in takes and not known.efforts:
            said["efforts"] = ("low", "medium", "high")
        elif "reasoning" not in takes:
            said["efforts"] = ()
    if isinstance(inputs := mapping(entry.get("architecture")).get("input_modalities"), list):
        said["vision"], said["pdf"] = "image" in inputs, "file" in inputs
    can = mapping(entry.get("capabilities"))
    for ability, name in (("vision", "vision"), ("tools", "function_calling"), ("thinking", "reasoning")):
        if isinstance(can.get(name), bool):
            said[ability] = can[name]
    return dataclasses.replace(known, **said)


def _first(entry: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    for name in names:
        value = entry.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _date(value: object) -> datetime.date | None:
    try:
        return datetime.date.fromisoformat(value[:10]) if isinstance(value, str) else None
    except ValueError:
        return None
