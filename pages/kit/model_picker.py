"""The model picker: what can be chosen, what cannot and why, and what to begin with."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence

from core.models.catalog import ProviderModels
from core.models.info import ModelInfo
from core.models.prices import Price

BLOCKED = "!"  # before a provider's name: an entry of the list that is a hint and no model
EFFORT_LABELS = {"xhigh": "extra high", "none": "none (no reasoning)"}  # others are called as they are
Choice = tuple[str, str]
PriceOf = Callable[[str], Price | None]


def label(model: ModelInfo) -> str:
    """A model's name for people."""
    return model.label or model.name or model.id


def choices(groups: Iterable[ProviderModels], today: datetime.date, price: PriceOf) -> list[Choice]:
    """The picker's entries: the usable models by provider, then a line for every provider that needs something."""
    usable: list[Choice] = []
    blocked: list[Choice] = []
    for group in groups:
        if group.status.state in ("ready", "unknown") and group.models:
            usable += [(_line(model, group, today, price(model.id)), model.id) for model in group.models]
        elif fix := " ".join(part for part in (group.status.what, group.status.fix) if part):
            blocked.append((f"{group.label}  —  {fix}", BLOCKED + group.provider))
    return usable + blocked


def models_only(entries: Iterable[Choice]) -> list[Choice]:
    """Without the hints and remarks, for lists from which several are chosen."""
    return [(entry.partition("  (")[0], value) for entry, value in entries if not value.startswith(BLOCKED)]


def default(entries: Iterable[Choice], wished: Sequence[str]) -> str:
    """The first of `wished` that can be chosen, else the embedded model, else whatever there is."""
    usable = [value for _, value in models_only(entries)]
    embedded = [value for value in usable if value.startswith("embedded/")]
    return next((value for value in (*wished, *embedded, *usable) if value in usable), "")


def with_kept(entries: list[Choice], ids: Iterable[str], names: Mapping[str, str]) -> list[Choice]:
    """The entries, and in front those that a conversation uses although no provider lists them any more."""
    there = {value for _, value in entries}
    gone = [model for model in dict.fromkeys(ids) if model and model not in there]
    return [(f"{names.get(model, model)} (not available now)", model) for model in gone] + entries


def rates(price: Price | None) -> str:
    """What a model costs, for a short prompt: "$2 in, $10 out per million tokens"."""
    if price is None:
        return "price unknown"
    dollars = price.rates().dollars
    if not any(dollars.values()):
        return "free"
    return f"${dollars['input']:f} in, ${dollars['output']:f} out per million tokens"


def _line(model: ModelInfo, group: ProviderModels, today: datetime.date, price: Price | None) -> str:
    marks = [mark for mark in (model.lifecycle(today), model.note, rates(price)) if mark]
    name = label(model)
    shown = f"{name}  ·  {group.label}" if group.label.lower() not in name.lower() else name
    return f"{shown}  ({'; '.join(marks)})" if marks else shown
