"""What is known of a model: its context window, its abilities, its lifecycle.

Facts come from three places, the first that knows wins: the provider's live list, `data/models.yaml`, and
careful defaults (nothing is assumed to work that is not known to).
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field

RETIRES_SOON = datetime.timedelta(days=60)


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a model takes and gives. A parameter that is not an ability is neither offered nor sent."""

    temperature: bool = True  # temperature and top_p
    seed: bool = False
    stop: bool = True
    vision: bool = False
    pdf: bool = False
    tools: bool = False
    json_schema: bool = False
    logprobs: bool = False
    prefill: bool = False  # can continue an assistant message that is the last of the request
    thinking: bool = False  # can reason visibly
    thinking_off: bool = True  # reasoning can be switched off
    efforts: tuple[str, ...] = ()  # the levels it takes, in rising order; empty = not selectable


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model as the picker, the gateway and the pages see it."""

    id: str  # maker/model
    label: str = ""  # a human name, "" = use the id
    context: int | None = None  # tokens, input and output together
    max_output: int | None = None  # tokens
    abilities: Abilities = field(default_factory=Abilities)
    retires: datetime.date | None = None
    note: str = ""  # e.g. "demonstration model, expect mistakes"
    live: bool = True  # False: from the static table, the provider did not answer

    @property
    def provider(self) -> str:
        return self.id.partition("/")[0]

    @property
    def name(self) -> str:
        return self.id.partition("/")[2]

    def lifecycle(self, today: datetime.date) -> str:
        """A short warning, "retired 2026-10-23" or "retires 2026-12-11", or nothing for a healthy model."""
        if self.retires is None:
            return ""
        if self.retires <= today:
            return f"retired {self.retires}"
        if self.retires - today <= RETIRES_SOON:
            return f"retires {self.retires}"
        return ""
