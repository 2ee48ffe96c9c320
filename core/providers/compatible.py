"""Any number of OpenAI-compatible endpoints, by name: Qwen, vLLM, llama.cpp, LM Studio, OpenRouter, Mistral, Groq …"""

from __future__ import annotations

from urllib.parse import urlsplit

from core.errors import SettingsError
from core.models.facts import makers
from core.providers import Provider
from core.providers._chat_completions import ChatCompletions
from core.providers._http import shown
from core.settings import Settings


def providers(settings: Settings) -> list[Provider]:
    """One for each name=address of PARLEY_ENDPOINTS. A name that a provider of ours has is a SettingsError."""
    found: list[Provider] = []
    for name, address in settings["PARLEY_ENDPOINTS"].items():
        if name in makers():
            raise SettingsError(f"PARLEY_ENDPOINTS cannot have the name {name!r}.", "Choose another name.")
        label = f"{name} at {urlsplit(shown(address)).netloc}"
        found.append(ChatCompletions(name, label, address, settings.endpoint_keys.get(name, "")))
    return found
