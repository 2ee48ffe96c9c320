"""GPT: the Responses API at api.openai.com, Chat Completions at any other OPENAI_BASE_URL."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from urllib.parse import urlsplit

from core.messages import ChatRequest, Event
from core.models.info import ModelInfo
from core.providers import Provider, Status
from core.providers._chat_completions import ChatCompletions
from core.providers._http import shown
from core.providers._parameters import check_attachments, left_out
from core.providers._responses_wire import RESPONSES, responses_body
from core.providers._stream import converse
from core.settings import Settings

_HOST = "api.openai.com"
_ADDRESS = f"https://{_HOST}/v1"


def providers(settings: Settings) -> list[Provider]:
    address, key = settings["OPENAI_BASE_URL"] or _ADDRESS, settings["OPENAI_API_KEY"]
    if urlsplit(address).hostname == _HOST:
        return [OpenAI(address, key)]
    label = f"OpenAI API at {urlsplit(shown(address)).netloc}"
    return [ChatCompletions("openai", label, address, key, variable="OPENAI_API_KEY")]


class OpenAI(ChatCompletions):
    """Implements Provider on the Responses API; listing and keys are as everywhere."""

    def __init__(self, base_url: str = _ADDRESS, key: str = "") -> None:
        super().__init__("openai", "OpenAI", base_url, key, variable="OPENAI_API_KEY", key_needed=True)

    async def status(self, keys: Mapping[str, str]) -> Status:
        if not self._endpoint.has_key(keys):
            return Status("no_key", "No key for OpenAI.", self._endpoint.key_fix)
        return Status("ready")

    async def stream(self, request: ChatRequest, model: ModelInfo) -> AsyncGenerator[Event, None]:
        check_attachments(request, model)
        if notice := left_out(request.parameters, model):
            yield notice
        async with aclosing(converse(self._endpoint, RESPONSES, request, responses_body(request, model))) as events:
            async for event in events:
                yield event
