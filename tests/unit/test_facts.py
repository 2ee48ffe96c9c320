"""data/models.yaml and how it is looked up."""

from __future__ import annotations

import datetime
import typing

import pytest
from anthropic.types.model import Model
from openai.types.shared.chat_model import ChatModel

from core.models.facts import _tables, facts_of, host_facts, is_chat, static_models, wire_facts

CLAUDE = typing.get_args(typing.get_args(Model)[0])
GPT = typing.get_args(ChatModel)


@pytest.mark.parametrize("name", CLAUDE)
def test_every_claude_of_the_sdk_is_known(name: str) -> None:
    info = facts_of(f"anthropic/{name}")
    assert info.context in (200_000, 1_000_000) and info.max_output in (64_000, 128_000)
    assert info.label.startswith("Claude") and not info.abilities.temperature and info.abilities.vision
    assert wire_facts(info.id)["thinking_types"]


@pytest.mark.parametrize("name", [name for name in GPT if is_chat(f"openai/{name}")])
def test_every_gpt_of_the_sdk_has_a_context(name: str) -> None:
    info = facts_of(f"openai/{name}")
    assert info.context, name
    assert info.abilities.temperature != info.abilities.thinking or name.endswith("chat-latest") or "gpt-5" in name


def test_dated_names_are_the_same_model() -> None:
    dated, plain = facts_of("anthropic/claude-haiku-4-5-20251001"), facts_of("anthropic/claude-haiku-4-5")
    assert (dated.context, dated.abilities, dated.label) == (plain.context, plain.abilities, plain.label)
    assert facts_of("openai/gpt-5-mini-2025-08-07").retires == datetime.date(2026, 12, 11)


def test_lifecycles() -> None:
    today = datetime.date(2026, 11, 20)
    assert facts_of("anthropic/claude-sonnet-4-5").lifecycle(today) == "retires 2026-11-30"
    assert facts_of("openai/gpt-5").lifecycle(today) == "retires 2026-12-11"
    assert facts_of("openai/o1").lifecycle(today) == "retired 2026-10-23"
    assert facts_of("openai/gpt-6-luna").lifecycle(today) == ""


def test_the_static_list_has_no_retired_model() -> None:
    names = [info.name for info in static_models("openai")]
    assert "gpt-6-luna" in names and "o1" not in names and "gpt-4-turbo" not in names
    assert all(not info.live for info in static_models("anthropic"))
    assert static_models("nobody") == []


def test_efforts_rise() -> None:
    order = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
    for provider in ("anthropic", "openai"):
        for info in static_models(provider):
            places = [order.index(effort) for effort in info.abilities.efforts]
            assert places == sorted(places), info.id


@pytest.mark.parametrize(
    ("model", "context", "vision", "thinking"),
    [
        ("vllm/Qwen/Qwen3-8B", 40960, False, True),
        ("lm/qwen3-vl-8b-instruct", 262144, True, True),
        ("ollama/llama3.2:3b", 131072, False, False),
        ("groq/openai/gpt-oss-120b", 131072, False, True),
        ("x/google/gemma-3-27b-it", 131072, True, False),
        ("openrouter/deepseek/deepseek-r1", 131072, False, True),
        ("embedded/smollm2-135m", 8192, False, False),
    ],
)
def test_open_models_by_family(model: str, context: int, vision: bool, thinking: bool) -> None:
    info = facts_of(model)
    assert (info.context, info.abilities.vision, info.abilities.thinking) == (context, vision, thinking)


def test_an_unknown_name_gets_careful_defaults() -> None:
    info = facts_of("somebody/something-new")
    assert info.context is None and not info.abilities.vision and not info.abilities.json_schema
    assert facts_of("").id == "" and facts_of("anthropic/claude-next-9").context == 200_000


@pytest.mark.parametrize(
    "name",
    ["text-embedding-3-large", "whisper-1", "tts-1-hd", "dall-e-3", "omni-moderation-latest", "gpt-realtime", "sora-2"],
)
def test_what_is_not_chat(name: str) -> None:
    assert not is_chat(f"openai/{name}")
    assert is_chat("openai/gpt-6-luna") and not is_chat("vllm/BAAI/bge-m3")


def test_every_table_says_its_source() -> None:
    assert all(len(table["source"]) > 40 for table in _tables().values())
    assert host_facts("dashscope-intl.aliyuncs.com")["thinking_switch"] == "flag" and host_facts("example.org") == {}
