"""A provider at any address that speaks Chat Completions: PARLEY_ENDPOINTS, OPENAI_BASE_URL, the embedded model."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from core.errors import AuthenticationFailed, ParleyError, PermissionDenied, ProviderUnavailable, TimedOut
from core.hosts import host_of, is_loopback
from core.messages import ChatRequest, Event
from core.models.facts import host_facts
from core.models.info import ModelInfo
from core.providers import Status
from core.providers._chat_wire import CHAT
from core.providers._errors import explain, malformed
from core.providers._http import Endpoint
from core.providers._json import decode
from core.providers._listing import listed_models, openai_client
from core.providers._parameters import check_attachments, left_out
from core.providers._stream import converse

_LIST_TIMEOUT = 10.0
_LOOK_TIMEOUT = 3.0
_LOOK_TIMEOUT_LOCAL = 1.0


class ChatCompletions:
    """Implements Provider.

    `base_url` includes /v1. `key` may be empty: many servers want none. `variable` is the setting that holds the key,
    to be named in what to do. `extra` is merged into every request's body.
    """

    def __init__(
        self,
        name: str,
        label: str,
        base_url: str,
        key: str = "",
        *,
        variable: str = "",
        takes_key: bool = True,
        key_needed: bool = False,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.label = label
        self.takes_key = takes_key
        self._key_needed = key_needed
        self._extra = dict(extra or {})
        host = host_of(base_url)
        host = "local" if is_loopback(host) else host
        self._thinking_switch: str | None = host_facts(host).get("thinking_switch")
        self._variable = variable or f"{name.upper().replace('-', '_')}_API_KEY"
        self._endpoint = Endpoint(
            name, label, base_url, key, self._variable, sdk="openai", make=openai_client, keyless=not key_needed
        )

    async def models(self, keys: Mapping[str, str]) -> list[ModelInfo]:
        """What the server lists, with context length and abilities where it says them. Raises core.errors."""
        data = await self._listed(keys, _LIST_TIMEOUT)
        try:
            return [self._as_here(model) for model in listed_models(self.name, data)]
        except (ValueError, TypeError, LookupError, AttributeError):
            raise malformed(self._endpoint.target(), began=False) from None

    async def status(self, keys: Mapping[str, str]) -> Status:
        """Asks for the list of models where the answer is near or the key may be missing; costs nothing."""
        has_key = self._endpoint.has_key(keys)
        if self._key_needed and not has_key:
            return Status("no_key", f"No key for {self.label}.", self._endpoint.key_fix)
        if has_key and not self._endpoint.local:
            return Status("ready")
        try:
            await self._listed(keys, _LOOK_TIMEOUT_LOCAL if self._endpoint.local else _LOOK_TIMEOUT)
        except (AuthenticationFailed, PermissionDenied) as error:
            return Status("no_key", error.what, self._endpoint.key_fix)
        except (ProviderUnavailable, TimedOut):
            what = f"Nothing answers at {self._endpoint.address}."
            return Status("unreachable", what, "Start the server, or check its address in the settings.")
        except ParleyError:
            return Status("ready")  # it answers, though it has no list
        return Status("ready")

    async def stream(self, request: ChatRequest, model: ModelInfo) -> AsyncGenerator[Event, None]:
        model = self._as_here(model)
        check_attachments(request, model)
        if notice := left_out(request.parameters, model):
            yield notice
        body = {**CHAT.body(request, model), **self._switched(request, model), **self._extra}
        async with aclosing(converse(self._endpoint, CHAT, request, body)) as events:
            async for event in events:
                yield event

    async def close(self) -> None:
        await self._endpoint.close()

    def _as_here(self, model: ModelInfo) -> ModelInfo:
        """The model without the switch for reasoning, where this server has none that is known."""
        if self._thinking_switch or not model.abilities.thinking or "none" in model.abilities.efforts:
            return model
        return dataclasses.replace(model, abilities=dataclasses.replace(model.abilities, thinking_off=False))

    def _switched(self, request: ChatRequest, model: ModelInfo) -> dict[str, Any]:
        wanted, can = request.parameters.thinking, model.abilities
        if wanted is None or not can.thinking or (not wanted and not can.thinking_off):
            return {}
        match self._thinking_switch:
            case "template":
                return {"chat_template_kwargs": {"enable_thinking": wanted}}
            case "flag":
                return {"enable_thinking": wanted}
            case "reasoning":
                return {"reasoning": {"enabled": wanted}}
        return {}

    async def _listed(self, keys: Mapping[str, str], timeout: float) -> Any:
        key = self._endpoint.key(keys)
        target = self._endpoint.target(key=key)
        try:
            answer = await self._endpoint.get("/models", key, timeout=timeout)
        except Exception as error:
            raise explain(error, target) from None
        try:
            return decode(answer.content)
        except ValueError:
            raise malformed(target, began=False) from None
