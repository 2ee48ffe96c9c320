"""The vocabulary that every part of Parley speaks. It imports nothing of core.

A `ChatRequest` goes in; a stream of events comes out:

    Begun?  (TextDelta | ThinkingDelta | ToolUse | Notice)*  Done

A stream that ends without `Done` raises one of `core.errors`. Through the gateway a `Notice` may come first, and after
one that tells of a retry or a fallback another `Begun`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]

# Why an answer ended. "stop" is the normal end; the rest is worth showing.
StopReason = Literal["stop", "length", "stop_sequence", "tool_use", "refusal", "context", "other"]


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a message as itself: an image or a PDF. Text-like files become text before."""

    name: str
    media_type: str  # image/png, image/jpeg, image/webp, image/gif, application/pdf
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `text` may be empty only if there are attachments."""

    role: Role
    text: str
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class Parameters:
    """What shapes an answer. None means: not sent, the model's own default holds."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    effort: Effort | None = None
    thinking: bool | None = None
    response_schema: Mapping[str, Any] | None = None  # a JSON schema that the answer must fit
    json_object: bool = False  # any JSON object ({"type": "json_object"})
    logprobs: int | None = None  # 0 = the chosen tokens only, n = and the n best at each place


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One question to one model, with all that the gateway and the ledger must know of it."""

    model: str  # maker/model
    messages: tuple[Message, ...]
    parameters: Parameters = Parameters()
    stream: bool = True  # False lets a provider answer in one piece, which costs less CPU
    fallbacks: tuple[str, ...] = ()  # models to try in order when this one is unavailable
    cache: bool = False  # an identical earlier answer may be used (temperature 0 only)
    feature: str = "chat"  # chat, compare, api, experiment, ...
    conversation: str | None = None
    visitor: str = "local"
    prompt_name: str | None = None
    prompt_version: int | None = None
    prompt_hash: str | None = None
    prompt_parts: tuple[tuple[str, int], ...] = ()  # the included prompts with the versions that were used
    # A visitor's own keys by provider name; used for this request only, never stored or logged.
    keys: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def prompt(self) -> str | None:
        """The prompt as people write it, see `prompt_ref`."""
        return prompt_ref(self.prompt_name, self.prompt_version)

    @property
    def provider(self) -> str:
        """The maker, the part of the model's name before the first slash."""
        return self.model.partition("/")[0]

    @property
    def model_name(self) -> str:
        """The provider's own name of the model, the part after the first slash."""
        return self.model.partition("/")[2]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call. `input` includes the cached and the cache-writing ones; `output` includes reasoning."""

    input: int = 0
    cached: int = 0  # read from the provider's cache
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0
    estimated: bool = False  # counted by us, because the provider did not say (stopped or broken off)


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token with its natural-log probability, and the best alternatives if they were asked for."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Begun:
    """The provider has accepted the request. Carries what it already said of usage (Anthropic: the input).

    The gateway sends one of its own before, with `call` alone, so that a stopped answer can be found in the ledger.
    """

    model: str = ""  # the provider's own name, often more exact than what was asked for
    request_id: str | None = None
    usage: Usage | None = None
    call: int | None = None  # the ledger's id


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer; one or more tokens."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """A piece of the model's reasoning, or of the provider's summary of it."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolUse:
    """The model wants a tool called; `arguments` is JSON as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that the user should know and that is not the answer: a retry, a fallback, a cache hit."""

    kind: Literal["retry", "fallback", "cache", "parameter", "storage"]
    text: str
    model: str | None = None  # the model that goes on, after a fallback


@dataclass(frozen=True, slots=True)
class Done:
    """The end of an answer. The gateway fills the second half; providers leave it alone."""

    usage: Usage
    stop_reason: StopReason = "stop"
    detail: str | None = None  # e.g. why the model refused
    provider_cost: int | None = None  # nano-dollars, where the provider itself says what it charged

    model: str = ""  # maker/model that answered, after fallbacks
    call: int | None = None  # the ledger's id
    cost: int | None = None  # nano-dollars; None = the price is not known
    first_token: float | None = None  # seconds from the start of this attempt to the first text or thinking
    duration: float = 0.0  # seconds
    cache_hit: bool = False
    prompt: str | None = None  # the version that was asked with, as ChatRequest.prompt


Event = Begun | TextDelta | ThinkingDelta | ToolUse | Notice | Done


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer, for callers that do not stream."""

    text: str
    done: Done
    thinking: str = ""
    tools: tuple[ToolUse, ...] = ()
    notices: tuple[Notice, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()


def prompt_ref(name: str | None, version: int | None) -> str | None:
    """`name@3`; the name alone for a draft that is no version yet, None without a name."""
    return name if name is None or version is None else f"{name}@{version}"


async def collect(events: AsyncIterator[Event]) -> Reply:
    """Drain a stream into a Reply. Errors of the stream pass through."""
    text: list[str] = []
    thinking: list[str] = []
    tools: list[ToolUse] = []
    notices: list[Notice] = []
    logprobs: list[TokenLogprob] = []
    done: Done | None = None
    async for event in events:
        match event:
            case TextDelta():
                text.append(event.text)
                logprobs.extend(event.logprobs)
            case ThinkingDelta():
                thinking.append(event.text)
            case ToolUse():
                tools.append(event)
            case Notice():
                notices.append(event)
            case Done():
                done = event
    assert done is not None, "a stream that ends without Done must raise"
    return Reply("".join(text), done, "".join(thinking), tuple(tools), tuple(notices), tuple(logprobs))
