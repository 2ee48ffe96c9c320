"""Answers a request that was answered before: the same in every word, at temperature 0. Off unless asked for.

Kept in memory only. What a visitor's own key has paid for is given to nobody else.
"""

from __future__ import annotations

import hashlib
from contextlib import aclosing
from dataclasses import dataclass, replace

import orjson
from cachetools import LRUCache

from core.gateway._call import Call, Events, Handler, Layer, LayerContext
from core.messages import Done, TextDelta, ThinkingDelta, TokenLogprob, ToolUse

ORDER = 40

CAPACITY = 64 * 2**20  # bytes, roughly
PER_ENTRY = 1000  # bytes of an entry beside its texts
PER_LOGPROB = 150  # bytes of one token's log-probability, and as much for each alternative
WHOLE = frozenset(("stop", "stop_sequence", "length", "tool_use"))  # how an answer may end that is worth keeping


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """A whole answer, as it is given again."""

    thinking: str
    text: str
    logprobs: tuple[TokenLogprob, ...]
    tools: tuple[ToolUse, ...]
    done: Done

    @property
    def size(self) -> int:
        """Bytes, roughly."""
        texts = len(self.thinking.encode()) + len(self.text.encode()) + sum(len(t.arguments) for t in self.tools)
        return PER_ENTRY + texts + PER_LOGPROB * sum(1 + len(token.top) for token in self.logprobs)


class AnswerCache:
    """The answers used last, up to `capacity` bytes."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._kept: LRUCache[bytes, CachedAnswer] = LRUCache(capacity, lambda answer: answer.size)

    @property
    def size(self) -> float:
        """Bytes, roughly."""
        return self._kept.currsize

    def get(self, key: bytes) -> CachedAnswer | None:
        return self._kept.get(key)

    def put(self, key: bytes, answer: CachedAnswer) -> None:
        if answer.size <= self._kept.maxsize // 4:
            self._kept[key] = answer


def make(context: LayerContext) -> Layer:
    always: bool = context.settings["PARLEY_CACHE"]
    answers = AnswerCache()

    def layer(call: Call, inner: Handler) -> Events:
        request = call.request
        if request.parameters.temperature != 0 or not (always or request.cache):
            return inner(call)
        key = cache_key(call)
        answer = answers.get(key)
        return _again(answer) if answer is not None else _remember(answers, key, inner(call))

    return layer


async def _again(answer: CachedAnswer) -> Events:
    if answer.thinking:
        yield ThinkingDelta(answer.thinking)
    if answer.text:
        yield TextDelta(answer.text, answer.logprobs)
    for tool in answer.tools:
        yield tool
    yield answer.done


async def _remember(answers: AnswerCache, key: bytes, inner: Events) -> Events:
    thinking: list[str] = []
    text: list[str] = []
    logprobs: list[TokenLogprob] = []
    tools: list[ToolUse] = []
    async with aclosing(inner) as events:
        async for event in events:
            match event:
                case TextDelta():
                    text.append(event.text)
                    logprobs.extend(event.logprobs)
                case ThinkingDelta():
                    thinking.append(event.text)
                case ToolUse():
                    tools.append(event)
                case Done() if event.stop_reason in WHOLE:
                    done = replace(event, cache_hit=True, cost=0, provider_cost=None)
                    answer = CachedAnswer("".join(thinking), "".join(text), tuple(logprobs), tuple(tools), done)
                    answers.put(key, answer)
            yield event


def cache_key(call: Call) -> bytes:
    """SHA-256 over the model, the messages with their attachments, the parameters and, if there is one, the own key."""
    request = call.request
    parameters = request.parameters
    identity = [
        request.model,
        hashlib.sha256(call.own_key.encode()).hexdigest() if call.own_key else "",
        [
            [m.role, m.text, [[a.media_type, a.name, hashlib.sha256(a.data).hexdigest()] for a in m.attachments]]
            for m in request.messages
        ],
        {name: getattr(parameters, name) for name in parameters.__slots__},
    ]
    options = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    return hashlib.sha256(orjson.dumps(identity, default=dict, option=options)).digest()
