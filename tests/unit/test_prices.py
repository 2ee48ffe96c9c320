"""What calls cost: exactly what genai-prices says, faster; and what one's own table says before that."""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot

from core.errors import SettingsError
from core.messages import Usage
from core.models.prices import LOCAL, Prices
from core.settings import Settings

ANTHROPIC = [
    "claude-fable-5-2",
    "claude-mythos-5-2",
    "claude-haiku-5-5",
    "claude-sonnet-5-5",
    "claude-opus-5-5",
    "claude-fable-5-1",
    "claude-sonnet-5",
    "claude-fable-5",
    "claude-opus-5",
    "claude-opus-4-8",
    "claude-opus-4-7",
    "claude-opus-4-6",
    "claude-sonnet-4-6",
    "claude-haiku-4-5",
    "claude-haiku-4-5-20251001",
    "claude-opus-4-5",
    "claude-opus-4-5-20251101",
    "claude-sonnet-4-5",
    "claude-sonnet-4-5-20250929",
]
OPENAI = [
    "gpt-6-astra",
    "gpt-6.1-sol",
    "gpt-6.1-terra",
    "gpt-6-sol",
    "gpt-6-luna",
    "gpt-5.6-sol",
    "gpt-5.6-terra",
    "gpt-5.6-luna",
    "gpt-5.5",
    "gpt-5.4",
    "gpt-5.4-mini",
    "gpt-5.4-nano",
    "gpt-5.2",
    "gpt-5.1",
    "gpt-5",
    "gpt-5-mini",
    "gpt-5-nano",
    "o3",
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4.1",
    "gpt-4.1-mini",
]
KNOWN = [f"anthropic/{name}" for name in ANTHROPIC] + [f"openai/{name}" for name in OPENAI]
HOSTS = {
    "openrouter": "https://openrouter.ai/api/v1",
    "groq": "https://api.groq.com/openai/v1",
    "mistral": "https://api.mistral.ai/v1",
    "deepseek": "https://api.deepseek.com",
    "together": "https://api.together.xyz/v1",
    "fireworks": "https://api.fireworks.ai/inference/v1",
    "x-ai": "https://api.x.ai/v1",
    "google": "https://generativelanguage.googleapis.com/v1beta/openai",
    "perplexity": "https://api.perplexity.ai",
}

Make = Callable[..., Settings]


def random_usage(dice: random.Random) -> Usage:
    """Small and huge, around the thresholds of the tiers, with and without a cache."""
    near = dice.choice([0, 100_000, 128_000, 200_000, 256_000, 272_000]) + dice.randint(-3, 3)
    input = max(0, dice.choice([near, near, dice.randint(0, 5000), dice.randint(0, 2_000_000)]))
    parts = [0, 0, 0]
    if dice.random() < 0.7:
        left = input
        for place in dice.sample(range(3), 3):
            parts[place] = dice.randint(0, left)
            left -= parts[place]
    output = dice.choice([0, dice.randint(0, 3000), dice.randint(0, 200_000)])
    cached, write_5m, write_1h = parts
    return Usage(input, cached, write_5m, write_1h, output, dice.randint(0, output))


def theirs(usage: Usage, provider: str, name: str, at: datetime.datetime) -> int:
    counts = {
        "input_tokens": usage.input,
        "cache_read_tokens": usage.cached,
        "cache_write_tokens": usage.cache_write_5m + usage.cache_write_1h,
        "cache_write_1h_tokens": usage.cache_write_1h,
        "output_tokens": usage.output,
        "output_reasoning_tokens": usage.reasoning,
    }
    price = genai_prices.calc_price(
        genai_prices.Usage(**counts), model_ref=name, provider_id=provider, genai_request_timestamp=at
    )
    return int((price.total_price * 10**9).quantize(Decimal(1), ROUND_HALF_EVEN))


@pytest.mark.parametrize("model", KNOWN)
def test_every_known_model_costs_what_genai_prices_says(settings: Make, model: str) -> None:
    prices = Prices(settings())
    provider, _, name = model.partition("/")
    dice = random.Random(model)
    for day in (datetime.datetime(2025, 11, 1, 3, tzinfo=datetime.UTC), datetime.datetime.now(datetime.UTC)):
        price = prices.of(model, day)
        assert price is not None
        for _ in range(60):
            usage = random_usage(dice)
            assert price.cost(usage) == theirs(usage, provider, name, day), usage
    usage = random_usage(dice)
    assert prices.cost(model, usage) == theirs(usage, provider, name, datetime.datetime.now(datetime.UTC))


@pytest.mark.parametrize("endpoint", HOSTS)
def test_every_model_of_well_known_hosts_costs_what_genai_prices_says(settings: Make, endpoint: str) -> None:
    """The name of an endpoint is the user's; its address says whose prices hold."""
    prices = Prices(settings(PARLEY_ENDPOINTS=f"mine={HOSTS[endpoint]}"))
    provider = next(provider for provider in get_snapshot().providers if provider.id == endpoint)
    dice = random.Random(endpoint)
    priced = 0
    for at in (datetime.datetime(2026, 11, 20, hour, tzinfo=datetime.UTC) for hour in (2, 12)):
        for info in provider.models:
            name = f"accounts/fireworks/models/{info.id}" if endpoint == "fireworks" else info.id
            price = prices.of(f"mine/{name}", at)
            if price is not None:
                priced += 1
                for _ in range(5):
                    usage = random_usage(dice)
                    assert price.cost(usage) == theirs(usage, endpoint, name, at), (name, usage)
    assert priced > 10 or endpoint == "perplexity"
    assert prices.of(f"{endpoint}/{provider.models[0].id}") is None  # there is no endpoint of that name


def test_by_hand(settings: Make) -> None:
    prices = Prices(settings())
    assert prices.cost("openai/gpt-6-luna", Usage(input=1_000_000, output=1_000_000)) == 200_000_000 + 750_000_000
    assert prices.cost("openai/gpt-6-luna", Usage(input=272_000)) == 27_200_000
    assert prices.cost("openai/gpt-6-luna", Usage(input=272_001)) == 54_400_200
    assert (
        prices.cost("anthropic/claude-opus-5-5", Usage(input=1000, cached=900, output=10))
        == 400_000 + 180_000 + 200_000
    )


def test_half_a_nano_dollar_goes_to_the_even_side(settings: Make, tmp_path: object) -> None:
    made = own(settings, "- {models: x/y, input: 0.0005, output: 0.0015}")
    prices = Prices(made)
    assert [prices.cost("x/y", Usage(input=count)) for count in (1, 2, 3, 4, 5)] == [0, 1, 2, 2, 2]
    assert prices.cost("x/y", Usage(input=1, output=1)) == 2


def test_counts_that_contradict_each_other_never_cost_less_than_nothing(settings: Make) -> None:
    cost = Prices(settings()).cost("openai/gpt-6-luna", Usage(input=10, cached=50, output=5, reasoning=9))
    assert cost == 50 * 10 + 5 * 500


@pytest.mark.parametrize(
    "model",
    [
        "openai/gpt-from-the-future",
        "openai/tts-1",
        "openai/text-embedding-3-small",
        "openai/moderation",
        "nobody/model",
        "model",
        "",
        "mine/gpt-6-luna",
        "cascade/cheap",
        "ollama/gpt-oss:120b-cloud",
    ],
)
def test_unknown_is_none_and_never_zero(settings: Make, model: str) -> None:
    prices = Prices(settings(PARLEY_ENDPOINTS="mine=http://localhost:8000/v1"))
    assert prices.of(model) is None
    assert prices.cost(model, Usage(input=1, output=1)) is None


@pytest.mark.parametrize("model", ["embedded/smollm2-135m", "replay/demo", "ollama/qwen3:4b"])
def test_what_runs_here_costs_nothing(settings: Make, model: str) -> None:
    price = Prices(settings()).of(model)
    assert price is not None
    assert (price.source, price.cost(Usage(input=10**9, output=10**9))) == (LOCAL, 0)


@pytest.mark.parametrize("host", ["http://gpu.example.com:11434", "gpu", "https://ollama.com", "10.0.0.7:11434"])
def test_ollama_elsewhere_is_unknown(settings: Make, host: str) -> None:
    assert Prices(settings(OLLAMA_HOST=host)).of("ollama/qwen3:4b") is None


@pytest.mark.parametrize("host", ["http://[::1]:11434", "localhost", "0.0.0.0", "127.0.0.1:1"])
def test_ollama_here_is_free(settings: Make, host: str) -> None:
    assert Prices(settings(OLLAMA_HOST=host)).cost("ollama/qwen3:4b", Usage(input=5)) == 0


def test_another_address_is_another_seller(settings: Make) -> None:
    prices = Prices(settings(OPENAI_BASE_URL="http://localhost:8000/v1", ANTHROPIC_BASE_URL="https://proxy.example"))
    assert prices.of("openai/gpt-6-luna") is None
    assert prices.of("anthropic/claude-opus-5-5") is None


def test_the_table_that_ships(settings: Make) -> None:
    prices = Prices(settings(PARLEY_ENDPOINTS="qwen=https://dashscope-intl.aliyuncs.com/compatible-mode/v1"))
    price = prices.of("qwen/qwen-max")
    assert price is not None
    assert "alibabacloud.com" in price.source
    assert price.cost(Usage(input=1000, cached=500, output=100)) == 500 * 1600 + 500 * 640 + 100 * 6400
    assert prices.of("qwen/qwen-plus") is None
    elsewhere = Prices(settings(PARLEY_ENDPOINTS="qwen=https://dashscope.aliyuncs.com/compatible-mode/v1"))
    assert elsewhere.of("qwen/qwen-max") is None


def own(settings: Make, text: str, **overrides: object) -> Settings:
    made = settings(**overrides)
    made.data_dir.mkdir(exist_ok=True)
    (made.data_dir / "prices.own.yaml").write_text(text, "utf-8")
    return made


OWN = """
# what we agreed with our vendor
- models: [openai/gpt-6-luna, "vllm/*"]
  input: 1
  output: 2.5
  cache_write_5m: 4
  source: contract 17
- models: openai/gpt-6-luna
  input: 3
  output: 5
  cached: 0.3
  from: 2026-10-01
"""


def test_the_users_table_goes_first(settings: Make) -> None:
    prices = Prices(own(settings, OWN, PARLEY_ENDPOINTS="vllm=http://localhost:8000/v1"))
    before = prices.of("openai/gpt-6-luna", datetime.datetime(2026, 9, 30, 23, 59, tzinfo=datetime.UTC))
    after = prices.of("openai/gpt-6-luna", datetime.datetime(2026, 10, 1, tzinfo=datetime.UTC))
    assert before is not None
    assert after is not None
    usage = Usage(input=100, cached=10, cache_write_5m=20, cache_write_1h=30, output=7)
    assert before.source == "contract 17"
    assert before.cost(usage) == 40 * 1000 + 10 * 1000 + 50 * 4000 + 7 * 2500
    assert after.source == "prices.own.yaml"
    assert after.cost(usage) == 90 * 3000 + 10 * 300 + 7 * 5000
    assert prices.cost("vllm/Qwen/Qwen3-8B", Usage(input=1)) == 1000
    free = Prices(own(settings, "- {models: ollama/*, input: 7, output: 7}"))
    assert free.cost("ollama/qwen3:4b", Usage(input=1)) == 7000


def test_an_empty_table_is_none(settings: Make) -> None:
    assert Prices(own(settings, "# nothing yet\n")).of("nobody/x") is None


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("- models: a/b\n  input: cheap\n  output: 1\n", 2, "`input`"),
        ("- models: a/b\n  input: 1\n  output: -1\n", 3, "`output`"),
        ("- models: a/b\n  input: .nan\n  output: 1\n", 2, "`input`"),
        ("- models: a/b\n  input: 1e40\n  output: 1\n", 2, "`input`"),
        ("- models: a/b\n  input: [1]\n  output: 1\n", 2, "`input`"),
        ("# comment\n- models: a/b\n  input: 1\n", 2, "without `output`"),
        ("- input: 1\n  output: 1\n", 1, "without `models`"),
        ("- models: []\n  input: 1\n  output: 1\n", 1, "`models`"),
        ("- models: a/b\n  input: 1\n  output: 1\n  cache: 1\n", 4, "`cache`"),
        ("- models: a/b\n  input: 1\n  input: 2\n  output: 1\n", 3, "twice"),
        ("- models: a/b\n  input: 1\n  output: 1\n  from: soon\n", 4, "`from`"),
        ("models: a/b\n", 1, "list"),
        ("- just text\n", 1, "entry"),
        ("- models: a/b\n  input: 1\n output: 1\n", 3, "YAML"),
        ("- {models: a/b, input: 1, output: 1", 1, "YAML"),
        ("\x07", 1, "YAML"),
    ],
)
def test_a_table_that_makes_no_sense_names_the_line_and_the_field(
    settings: Make, text: str, line: int, what: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        Prices(own(settings, text))
    assert f"prices.own.yaml, line {line}," in caught.value.what
    assert what in caught.value.what
    assert str(settings().data_dir) not in str(caught.value)


def test_a_table_that_is_named_must_be_there(settings: Make, tmp_path: object) -> None:
    with pytest.raises(SettingsError, match="PARLEY_PRICES"):
        Prices(settings(PARLEY_PRICES=f"{tmp_path}/none.yaml"))


def test_a_table_that_is_no_text(settings: Make) -> None:
    made = settings()
    made.data_dir.mkdir()
    (made.data_dir / "prices.own.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match=r"prices\.own\.yaml cannot be read"):
        Prices(made)
