"""What `models list` prints: every provider, its state, its models with their prices."""

from __future__ import annotations

import asyncio
import datetime
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from core.models.catalog import Catalog, ProviderModels
from core.models.info import ModelInfo
from core.models.prices import Price, Prices
from core.providers import discover
from core.settings import Settings

HEADS = ("MODEL", "CONTEXT", "IN", "OUT", "NOTE")
LEGEND = "CONTEXT in tokens, IN and OUT in dollars per million tokens, - where it is not known."


def provider_models(settings: Settings) -> list[ProviderModels]:
    """Ask every provider for its models; those that do not answer within seconds say so in their status."""

    async def ask() -> list[ProviderModels]:
        providers = discover(settings)
        try:
            return await Catalog(providers, settings).list()
        finally:
            await asyncio.gather(*(provider.close() for provider in providers.values()), return_exceptions=True)

    return asyncio.run(ask())


def as_text(found: Sequence[ProviderModels], prices: Prices, today: datetime.date) -> str:
    """A block for every provider: its state and what to do, then a table of its models."""
    rows = {group.provider: [_row(model, prices, today) for model in group.models] for group in found}
    widths = [
        max(map(len, column)) for column in zip(HEADS, *(row for some in rows.values() for row in some), strict=True)
    ]
    blocks = []
    for group in found:
        lines = [f"{group.label} ({group.provider}): {_state(group)}"]
        if rows[group.provider]:
            lines += [_line(row, widths) for row in (HEADS, *rows[group.provider])]
        blocks.append("\n".join(lines))
    return "\n\n".join([*blocks, LEGEND])


def as_json(found: Sequence[ProviderModels], prices: Prices) -> str:
    """The same for programs. `prices` is null where unknown, else dollars per million tokens, by prompt length."""
    return json.dumps(list(_plain(found, prices)), indent=2, ensure_ascii=False)


def _state(group: ProviderModels) -> str:
    said = " ".join(text for text in (group.status.what, group.status.fix) if text)
    return said or group.status.state.replace("_", " ")


def _row(model: ModelInfo, prices: Prices, today: datetime.date) -> tuple[str, ...]:
    price = prices.of(model.id)
    rates = price.rates().dollars if price else {}
    notes = (model.note, model.lifecycle(today))
    return (
        model.id,
        "-" if model.context is None else f"{model.context:,}",
        _dollars(rates.get("input")),
        _dollars(rates.get("output")),
        "; ".join(note for note in notes if note),
    )


def _dollars(rate: Decimal | None) -> str:
    return "-" if rate is None else f"{rate.normalize():f}"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    model, context, cost_in, cost_out, note = row
    numbers = "  ".join(
        text.rjust(width) for text, width in zip((context, cost_in, cost_out), widths[1:4], strict=True)
    )
    return f"  {model.ljust(widths[0])}  {numbers}  {note}".rstrip()


def _plain(found: Sequence[ProviderModels], prices: Prices) -> Iterator[dict[str, Any]]:
    for group in found:
        yield {
            "provider": group.provider,
            "label": group.label,
            **asdict(group.status),
            "models": [
                {
                    **asdict(model),
                    "retires": model.retires and model.retires.isoformat(),
                    "prices": _levels(prices.of(model.id)),
                }
                for model in group.models
            ],
        }


def _levels(price: Price | None) -> list[dict[str, Any]] | None:
    return None if price is None else [json.loads(level.json) for level in price.levels]
