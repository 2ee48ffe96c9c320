"""Claude, by Anthropic's Messages API."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import httpx2

from core.errors import BadRequest
from core.messages import ChatRequest, Event
from core.models.facts import facts_of
from core.models.info import Abilities, ModelInfo
from core.providers import Provider, Status
from core.providers._errors import explain
from core.providers._http import Endpoint
from core.providers._messages_wire import MESSAGES, messages_body, thinking_notice
from core.providers._parameters import check_attachments, left_out
from core.providers._stream import converse
from core.settings import Settings

_ADDRESS = "https://api.anthropic.com"
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_LIST_TIMEOUT = 10.0


def providers(settings: Settings) -> list[Provider]:
    return [Anthropic(settings["ANTHROPIC_BASE_URL"] or _ADDRESS, settings["ANTHROPIC_API_KEY"])]


class Anthropic:
    """Implements Provider. `base_url` is without /v1, as the SDK wants it."""

    name = "anthropic"
    label = "Anthropic"
    takes_key = True

    def __init__(self, base_url: str, key: str) -> None:
        self._endpoint = Endpoint(
            self.name, self.label, base_url, key, "ANTHROPIC_API_KEY", sdk="anthropic", make=_client
        )

    async def models(self, keys: Mapping[str, str]) -> list[ModelInfo]:
        key = self._endpoint.key(keys)
        client = await self._endpoint.client()
        headers = {"Authorization": f"Bearer {key}"}
        try:
            listed = client.models.list(limit=100, extra_headers=headers, timeout=_LIST_TIMEOUT)
            models = [_merged(facts_of(f"{self.name}/{entry.id}"), entry) async for entry in listed]
        except Exception as error:
            raise explain(error, self._endpoint.target(key=key)) from None
        return [model for model in models if model is not None]

    async def status(self, keys: Mapping[str, str]) -> Status:
        if not self._endpoint.has_key(keys):
            return Status("no_key", "No key for Anthropic.", self._endpoint.key_fix)
        return Status("ready")

    async def stream(self, request: ChatRequest, model: ModelInfo) -> AsyncGenerator[Event, None]:
        check_attachments(request, model)
        if request.parameters.json_object and request.parameters.response_schema is None:
            raise BadRequest(
                "Claude answers in JSON by a schema only.", "Give the JSON schema that the answer must fit."
            )
        for notice in (left_out(request.parameters, model), thinking_notice(request, model)):
            if notice is not None:
                yield notice
        async with aclosing(converse(self._endpoint, MESSAGES, request, messages_body(request, model))) as events:
            async for event in events:
                yield event

    async def close(self) -> None:
        await self._endpoint.close()


def _client(base_url: str, http: httpx2.AsyncClient, key: str) -> Any:
    """The SDK's client with nothing from the environment: no key, profile, header or tracing."""
    import anthropic  # takes most of a second: only when the first call is made

    client = anthropic.AsyncAnthropic(
        api_key=key, webhook_key="", base_url=base_url, http_client=http, max_retries=0, open_telemetry=False
    )
    client._custom_headers = {}
    return client


def _merged(facts: ModelInfo, entry: Any) -> ModelInfo | None:
    """The facts with what the live list says. Other servers leave any field out; None for a model that is retired."""
    if getattr(entry, "lifecycle", None) == "retired":
        return None
    retires = getattr(entry, "retires_at", None)
    return dataclasses.replace(
        facts,
        label=getattr(entry, "display_name", None) or facts.label,
        context=getattr(entry, "max_input_tokens", None) or facts.context,
        max_output=getattr(entry, "max_tokens", None) or facts.max_output,
        abilities=_abilities(facts.abilities, getattr(entry, "capabilities", None)),
        retires=retires.date() if isinstance(retires, datetime.datetime) else facts.retires,
        live=True,
    )


def _abilities(known: Abilities, can: Any) -> Abilities:
    if can is None:
        return known
    thinking = getattr(can, "thinking", None)
    types = getattr(thinking, "types", None)
    effort = getattr(can, "effort", None)
    efforts = tuple(level for level in _EFFORTS if _yes(getattr(effort, level, None), False))
    return dataclasses.replace(
        known,
        vision=_yes(getattr(can, "image_input", None), known.vision),
        pdf=_yes(getattr(can, "pdf_input", None), known.pdf),
        json_schema=_yes(getattr(can, "structured_outputs", None), known.json_schema),
        thinking=_yes(thinking, known.thinking),
        thinking_off=_yes(getattr(types, "disabled", None), known.thinking_off)
        or _yes(getattr(types, "between_tools", None), False),
        efforts=known.efforts if effort is None else efforts if _yes(effort, True) else (),
    )


def _yes(capability: Any, otherwise: bool) -> bool:
    supported = getattr(capability, "supported", None)
    return supported if isinstance(supported, bool) else otherwise
