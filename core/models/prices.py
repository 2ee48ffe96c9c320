"""What a call costs. The first that knows wins: the user's table, genai-prices, data/prices.yaml.

Unknown is None, never 0. Zero is the price of what runs on this machine: embedded/*, replay/* and Ollama on loopback.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, TieredPrices, TimeOfDateConstraint

from core.errors import SettingsError
from core.hosts import is_loopback
from core.messages import Usage
from core.models.facts import makers
from core.models.price_tables import PriceRow, read
from core.settings import Settings

SHIPPED = Path(__file__).parents[2] / "data" / "prices.yaml"
OWN = "prices.own.yaml"
LOCAL = "runs on this machine"
DAY = 86400
# genai-prices' names of our rates. What it prices beside them for text makes a price unknown to us.
THEIRS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached": "cache_read_mtok",
    "cache_write_5m": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "reasoning": "output_reasoning_mtok",
    "request": "requests_kcount",
}
NOT_COUNTED = ("output_citation_mtok",)
HOSTS = {"api.together.ai": "together"}  # that genai-prices does not recognise by itself


@dataclass(frozen=True, slots=True)
class Rates:
    """Dollars per million tokens (`request`: per thousand requests) for prompts of more than `above` tokens.

    What a rate is not given for costs as its parent does: cached and cache_write_5m as input, cache_write_1h as
    cache_write_5m, reasoning as output.
    """

    above: int
    dollars: Mapping[str, Decimal]
    json: str = field(default="", compare=False)  # for the ledger's row
    units: tuple[int, ...] = field(default=(), compare=False)  # the rates below, in 1/scale nano-dollars a token
    scale: int = field(default=1, compare=False)

    @classmethod
    def of(cls, above: int, dollars: Mapping[str, Decimal], source: str) -> Rates:
        write = dollars.get("cache_write_5m", dollars["input"])
        full = (
            dollars["input"],
            dollars.get("cached", dollars["input"]),
            write,
            dollars.get("cache_write_1h", write),
            dollars["output"],
            dollars.get("reasoning", dollars["output"]),
            dollars.get("request", Decimal(0)) * 1000,
        )
        # A dollar per million tokens is 1,000 nano-dollars a token.
        nanos = [rate * 1000 for rate in full]
        digits = max(0, *(-int(nano.normalize().as_tuple().exponent) for nano in nanos))
        scale = 10**digits
        values: dict[str, Any] = {name: float(rate) for name, rate in dollars.items()}
        if above:
            values["above"] = above
        json = orjson.dumps({**values, "source": source}).decode()
        return cls(above, dict(dollars), json, tuple(int(nano * scale) for nano in nanos), scale)

    def cost(self, usage: Usage) -> int:
        """Nano-dollars, rounded half to even. Counts that contradict each other cost nothing less than 0."""
        read, write_5m, write_1h = usage.cached, usage.cache_write_5m, usage.cache_write_1h
        input, cached, cache_write_5m, cache_write_1h, output, reasoning, request = self.units
        total = (
            max(0, usage.input - read - write_5m - write_1h) * input
            + read * cached
            + write_5m * cache_write_5m
            + write_1h * cache_write_1h
            + max(0, usage.output - usage.reasoning) * output
            + min(usage.reasoning, usage.output) * reasoning
            + request
        )
        whole, rest = divmod(total, self.scale)
        return whole + (2 * rest > self.scale or (2 * rest == self.scale and whole & 1))


@dataclass(frozen=True, slots=True)
class Price:
    """The price of one model on one day. `levels` rise by `above`; beyond it all tokens cost that rate."""

    source: str
    levels: tuple[Rates, ...]

    def rates(self, input_tokens: int = 0) -> Rates:
        """The rates that hold for a prompt of this length (cached tokens included)."""
        levels = self.levels
        if len(levels) == 1:
            return levels[0]
        return next((level for level in reversed(levels) if input_tokens > level.above), levels[0])

    def cost(self, usage: Usage) -> int:
        """Nano-dollars (1e-9 dollars), rounded half to even."""
        return self.rates(usage.input).cost(usage)

    def to_json(self, input_tokens: int = 0) -> str:
        """The rates that hold for such a prompt, and their source, as JSON."""
        return self.rates(input_tokens).json


class Prices:
    """Looks prices up and remembers them until they may change. Safe from any thread."""

    def __init__(self, settings: Settings) -> None:
        """SettingsError when the user's table is missing or makes no sense; it names the line and the field."""
        self._own = _own_table(settings)
        self._shipped = read(SHIPPED) if SHIPPED.is_file() else []
        self._addresses = _addresses(settings)
        self._source = f"genai-prices {version('genai-prices')}"
        self._known: dict[str, tuple[float, Price | None]] = {}

    def of(self, model: str, at: datetime.datetime | None = None) -> Price | None:
        """The price of maker/model now, or at an aware time; None when nobody knows it."""
        if at is not None:
            return self._find(model, at)[0]
        now = time.time()
        known = self._known.get(model)
        if known is None or known[0] <= now:
            price, changes = self._find(model, datetime.datetime.fromtimestamp(now, datetime.UTC))
            if len(self._known) > 10_000:
                self._known.clear()
            known = self._known[model] = ((now // 60 + 1) * 60 if changes else (now // DAY + 1) * DAY, price)
        return known[1]

    def cost(self, model: str, usage: Usage) -> int | None:
        """Nano-dollars; None when the price is not known."""
        price = self.of(model)
        return None if price is None else price.cost(usage)

    def _find(self, model: str, at: datetime.datetime) -> tuple[Price | None, bool]:
        """The price, and whether it depends on the time of day."""
        maker, _, name = model.partition("/")
        address = self._addresses.get(maker, "")
        host = (urlsplit(address).hostname or "") if address else ""
        day = at.astimezone(datetime.UTC).date()
        if own := _listed(self._own, model, host, day):
            return own, False
        if (known := makers().get(maker)) and known.is_free(name, loopback=_is_here(host)):
            zero = {"input": Decimal(0), "output": Decimal(0)}
            return Price(LOCAL, (Rates.of(0, zero, LOCAL),)), False
        info = _genai_model(address, host, name)
        if info is not None:
            changes = isinstance(info.prices, list) and any(
                isinstance(price.constraint, TimeOfDateConstraint) for price in info.prices
            )
            if (found := _genai_price(info.get_prices(at), self._source)) is not None:
                return found, changes
        return _listed(self._shipped, model, host, day), False


def _own_table(settings: Settings) -> list[PriceRow]:
    named = settings["PARLEY_PRICES"]
    path = Path(named).expanduser() if named else settings.data_dir / OWN
    if not path.is_file():
        if named:
            raise SettingsError("PARLEY_PRICES names a file that does not exist.", "Correct or remove the setting.")
        return []
    return read(path)


def _addresses(settings: Settings) -> dict[str, str]:
    """Where each maker's models are asked: what decides who charges for them."""
    found = dict(settings["PARLEY_ENDPOINTS"])
    for name, maker in makers().items():
        address = (settings[maker.setting] if maker.setting else "") or maker.address
        found[name] = address if "//" in address or not address else f"http://{address}"
    return found


def _listed(table: list[PriceRow], model: str, host: str, day: datetime.date) -> Price | None:
    for entry in reversed(table):
        if entry.fits(model, host, day):
            return Price(entry.source, (Rates.of(0, entry.rates, entry.source),))
    return None


def _is_here(host: str) -> bool:
    return is_loopback(host) or host in ("0.0.0.0", "::")  # noqa: S104  (as Ollama's server is told)


def _genai_model(address: str, host: str, name: str) -> ModelInfo | None:
    snapshot = get_snapshot()
    try:
        provider = snapshot.find_provider(None, HOSTS.get(host), None if host in HOSTS else address)
    except LookupError:
        return None
    # Google's OpenAI-compatible address says models/gemini-…
    return provider.find_model(name.removeprefix("models/"), all_providers=snapshot.providers)


def _genai_price(price: ModelPrice, source: str) -> Price | None:
    theirs = {ours: value for ours, key in THEIRS.items() if (value := price.__dict__.get(key)) is not None}
    if "input" not in theirs or "output" not in theirs or any(price.__dict__.get(key) for key in NOT_COUNTED):
        return None
    starts = {tier.start for value in theirs.values() if isinstance(value, TieredPrices) for tier in value.tiers}
    return Price(
        source,
        tuple(
            Rates.of(start, {name: _at(value, start) for name, value in theirs.items()}, source)
            for start in sorted({0, *starts})
        ),
    )


def _at(value: Decimal | TieredPrices, start: int) -> Decimal:
    if isinstance(value, Decimal):
        return value
    return next((tier.price for tier in reversed(value.tiers) if tier.start <= start), value.base)
