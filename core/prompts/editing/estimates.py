"""What a call is going to cost, before it is made. Tokens are estimated: up to a third off either way."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from core.messages import Message, Parameters, Usage
from core.models.info import ModelInfo
from core.models.prices import Prices
from core.tokens import estimate_tokens

PER_MESSAGE = 4  # tokens that a chat template adds
ASSUMED = 1000  # tokens of the longest answer where neither the prompt nor the model says

Reason = Literal["asked", "model", "window", "assumed"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of one call. Costs are in nano-dollars, None = the price is not known."""

    input: int
    output: int  # the longest answer
    reason: Reason  # why it can be no longer: asked for so, the model's limit, what is left of its window
    least: int | None  # the input alone
    most: int | None  # with the longest answer
    window: int | None  # the model's context window in tokens

    @property
    def fits(self) -> bool:
        return self.window is None or self.input < self.window


def estimate(messages: Iterable[Message], parameters: Parameters, model: ModelInfo, prices: Prices) -> Estimate:
    """Of asking `model` once."""
    input = sum(estimate_tokens(message.text) + PER_MESSAGE for message in messages)
    if parameters.response_schema:
        input += estimate_tokens(json.dumps(dict(parameters.response_schema)))
    limits: list[tuple[int, Reason]] = []
    if parameters.max_tokens:
        limits.append((parameters.max_tokens, "asked"))
    if model.max_output:
        limits.append((model.max_output, "model"))
    if model.context:
        limits.append((max(1, model.context - input), "window"))
    output, reason = min(limits, key=lambda limit: limit[0]) if limits else (ASSUMED, "assumed")
    least = prices.cost(model.id, Usage(input=input))
    most = prices.cost(model.id, Usage(input=input, output=output))
    return Estimate(input, output, reason, least, most, model.context)
