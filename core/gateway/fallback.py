"""Goes on with another model when the chosen one is unavailable, as long as nothing of an answer has been seen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing

from core.errors import (
    AuthenticationFailed,
    BudgetExceeded,
    ModelNotFound,
    ParleyError,
    PermissionDenied,
    ProviderUnavailable,
    RateLimited,
    TimedOut,
)
from core.gateway._call import ANSWER, Call, Events, Handler, Layer, LayerContext
from core.messages import ChatRequest, Notice

ORDER = 10

UNAVAILABLE = (ProviderUnavailable, RateLimited, TimedOut, ModelNotFound)
# A fallback that was never set up is passed over; a chosen model that was not is the user's to know.
UNUSABLE = (*UNAVAILABLE, AuthenticationFailed, PermissionDenied, BudgetExceeded)
# Where PARLEY_FALLBACKS holds. A comparison or an experiment wants the answer of the model it names, or none.
FEATURES = ("chat", "api")


def make(context: LayerContext) -> Layer:
    general: tuple[str, ...] = context.settings["PARLEY_FALLBACKS"]

    def layer(call: Call, inner: Handler) -> Events:
        request = call.request
        names = request.fallbacks or (general if request.feature in FEATURES else ())
        return _first_that_answers(call, inner, _calls(context, request, names)) if names else inner(call)

    return layer


async def _first_that_answers(call: Call, inner: Handler, others: Iterator[Call]) -> Events:
    answered = False
    first: ParleyError | None = None
    while True:
        try:
            async with aclosing(inner(call)) as events:
                async for event in events:
                    if not answered and type(event) in ANSWER:
                        answered = True
                    yield event
            return
        except ParleyError as caught:
            if answered or not isinstance(caught, UNAVAILABLE if first is None else UNUSABLE):
                raise
            error = caught
        first = first or error
        other = next(others, None)
        if other is None:
            raise first
        call = other
        text = f"{error.what} Going on with {call.model.label or call.model.id}."
        yield Notice("fallback", text, model=call.model.id)


def _calls(context: LayerContext, request: ChatRequest, names: tuple[str, ...]) -> Iterator[Call]:
    tried = {request.model}
    for name in names:
        if name not in tried:
            tried.add(name)
            try:
                yield context.call(request, name)
            except ModelNotFound:
                continue
