"""What comes in at POST /v1/chat/completions, as a ChatRequest. Written by hand: it stands in front of every answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

import orjson

from core.api.content import RawMessage, read_messages
from core.api.fields import Fields
from core.api.prompt_models import PREFIX, PromptModels, Resolved
from core.api.wire import BadField
from core.errors import BadRequest, ModelNotFound
from core.files.attachments import ExtractedText, prepare
from core.files.child import Child
from core.messages import Attachment, ChatRequest, Effort, Message, Parameters
from core.models.catalog import Catalog
from core.models.info import Abilities
from core.prompts.run import request_for
from core.settings import Settings
from core.threads import FairPool

EFFORTS: tuple[str, ...] = get_args(Effort)
FORMATS = ("text", "json_object", "json_schema")
MOST_FALLBACKS = 8
MOST_STOPS = 16
MOST_LOGPROBS = 20  # OpenAI's limit
LARGEST = 2**31 - 1
# Fields that would change the answer to something that is not built yet.
UNSUPPORTED = ("tools", "functions", "audio", "web_search_options")
# Fields that not every model takes.
DEPENDENT = ("temperature", "top_p", "seed", "stop", "reasoning_effort", "response_format", "logprobs")
# Fields that shape the answer a little; they are left out and `parley.ignored` of the answer says so.
IGNORED = ("frequency_penalty", "presence_penalty", "logit_bias", "verbosity", "service_tier", "prediction")


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request, and what of it concerns the form of the answer only."""

    request: ChatRequest
    include_usage: bool = False
    logprobs: bool = False
    ignored: tuple[str, ...] = ()


class Reader:
    """Turns bodies into requests. Raises BadField, BadRequest and ModelNotFound."""

    def __init__(
        self, catalog: Catalog, settings: Settings, prompts: PromptModels, child: Child, threads: FairPool
    ) -> None:
        self._catalog = catalog
        self._threads = threads
        self._prompts = prompts
        self._child = child
        self._listed = False
        self._largest_file: int = settings["PARLEY_MAX_UPLOAD_MB"] * 1024 * 1024

    async def read(self, raw: bytes, visitor: str) -> ParsedRequest:
        body = parsed(raw)
        model = body.required("model")
        if "/" not in model:
            raise ModelNotFound(
                f"There is no model called {model[:100]!r}.", "Names are maker/model; GET /v1/models lists them."
            )
        _refuse_unsupported(body)
        fallbacks = body.texts("fallbacks", MOST_FALLBACKS)
        if any(name.startswith(PREFIX) for name in fallbacks):
            raise body.error("fallbacks", "can only hold models, not prompts.")
        prompt: Resolved | None = None
        if model.startswith(PREFIX):
            found = read_messages(body, needed=False)
            prompt = await self._prompts.resolve(visitor, model, body, _question(found))
            if not prompt.asks and all(message.role == "system" for message in found):
                raise body.error("messages", "must hold a question, because the prompt asks none itself.")
            model = prompt.model
        else:
            found = read_messages(body)
            if given := body.given("variables", "prompt_model"):
                raise body.error(given[0], "belongs to a prompt: ask for the model prompt/<name>.")
        files = any(isinstance(message, RawMessage) for message in found)
        if not self._listed and (files or prompt or body.given(*DEPENDENT)):
            self._listed = True  # once: a model that is known from the table only may be able to do more
            await self._catalog.list({})
        messages = await self._messages(visitor, found, model) if files else cast(tuple[Message, ...], tuple(found))
        parameters, ignored = _parameters(body, self._catalog.info(model).abilities)
        request = ChatRequest(model, messages, parameters, feature="api", visitor=visitor)
        if prompt is not None:
            request = _with_prompt(request, prompt, body)
        for name in (model, *fallbacks):
            self._refuse_impossible(name, request.parameters, prompt)
        request = replace(
            request,
            stream=body.flag("stream") or False,
            fallbacks=fallbacks,
            cache=body.flag("cache") or False,
        )
        options = body.object("stream_options")
        usage = options is not None and bool(options.flag("include_usage"))
        return ParsedRequest(request, usage, parameters.logprobs is not None, ignored)

    async def _messages(self, visitor: str, found: list[Message | RawMessage], model: str) -> tuple[Message, ...]:
        info = self._catalog.info(model)

        def look(name: str, data: bytes) -> Attachment | ExtractedText:
            return prepare(name, data, info, self._largest_file, self._child)

        def prepared() -> tuple[Message, ...]:
            return tuple(message.message(look) if isinstance(message, RawMessage) else message for message in found)

        return await self._threads.run_for(visitor, prepared)

    def _refuse_impossible(self, model: str, parameters: Parameters, prompt: Resolved | None) -> None:
        """What changes the form of the answer is refused; a fallback must be able to keep the form, too."""
        abilities = self._catalog.info(model).abilities
        own = None if prompt is None else prompt.version.content.answer_schema
        if own is not None and parameters.response_schema == own and not abilities.json_schema:
            raise BadField(
                "model",
                f"The answer to this prompt must fit a JSON schema, and {model} cannot be held to one.",
                'Send response_format {"type": "text"} to do without it, or choose another model.',
            )
        if (parameters.response_schema is not None or parameters.json_object) and not abilities.json_schema:
            raise BadField("response_format", f"{model} cannot be held to a response_format.", _OTHER)
        if parameters.logprobs is not None and not abilities.logprobs:
            raise BadField("logprobs", f"{model} gives no log-probabilities.", _OTHER)
        if parameters.stop and not abilities.stop:
            raise BadField("stop", f"{model} takes no stop sequences.", _OTHER)


_OTHER = "Leave it out, or choose a model that can: GET /v1/models shows the abilities of each."


def largest_body(settings: Settings) -> int:
    """Bytes that the body of a request may have: base64 takes a third more than the file, and there are texts."""
    largest_file: int = settings["PARLEY_MAX_UPLOAD_MB"] * 1024 * 1024
    return largest_file * 3 // 2 + 4 * 1024 * 1024


def parsed(raw: bytes) -> Fields:
    """The body, a JSON object. BadRequest if it is none."""
    try:
        body: Any = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The body is not valid JSON: {error}.", "Send a JSON object in UTF-8.") from None
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object.", "")
    return Fields(body)


def _question(found: Sequence[Message | RawMessage]) -> str | None:
    """What the request itself asks: its last message of a user."""
    return next((message.text for message in reversed(found) if message.role == "user"), None)


def _with_prompt(request: ChatRequest, prompt: Resolved, body: Fields) -> ChatRequest:
    """The prompt's messages before the request's, and its parameters where the request has none of its own."""
    own, visitor = request.parameters, request.visitor
    prompted = request_for(
        prompt.version, prompt.rendered, model=request.model, visitor=visitor, keys={}, feature="api", parameters=own
    )
    parameters = prompted.parameters
    if body.given("response_format"):  # also one that wants plain text
        parameters = replace(parameters, response_schema=own.response_schema)
    if body.given("reasoning_effort"):
        parameters = replace(parameters, effort=own.effort, thinking=own.thinking)
    return replace(prompted, messages=prompted.messages + request.messages, parameters=parameters)


def _refuse_unsupported(body: Fields) -> None:
    for name in UNSUPPORTED:
        if body.any(name):
            raise body.error(name, "is not supported yet.", "Leave it out.")
    if body.integer("n", 1, 128) not in (None, 1):
        raise body.error("n", "must be 1: one request gives one answer.", "Send the request several times.")
    modalities = body.texts("modalities", 8)
    if any(modality != "text" for modality in modalities):
        raise body.error("modalities", "can only be text.")


def _parameters(body: Fields, abilities: Abilities) -> tuple[Parameters, tuple[str, ...]]:
    """The parameters that the model takes, and the names of the fields that were left out."""
    ignored = body.given(*IGNORED)
    longest = body.integer("max_completion_tokens", 1, LARGEST)
    fallback = body.integer("max_tokens", 1, LARGEST)
    temperature, top_p = body.number("temperature", 0, 2), body.number("top_p", 0, 1)
    if not abilities.temperature:
        ignored += body.given("temperature", "top_p")
        temperature = top_p = None
    seed = body.integer("seed", -(2**63), 2**63 - 1)
    if seed is not None and not abilities.seed:
        ignored.append("seed")
        seed = None
    found = Parameters(
        max_tokens=fallback if longest is None else longest,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        stop=(body.required("stop"),) if isinstance(body.any("stop"), str) else body.texts("stop", MOST_STOPS),
        logprobs=_logprobs(body),
    )
    effort = body.choice("reasoning_effort", EFFORTS)
    if effort is not None:
        if effort in abilities.efforts:
            found = replace(found, effort=cast(Effort, effort))
        elif effort == "none" and abilities.thinking and abilities.thinking_off:
            found = replace(found, thinking=False)
        elif abilities.efforts:
            raise body.error("reasoning_effort", f"must be one of {', '.join(abilities.efforts)} for this model.")
        elif effort != "none":
            ignored.append("reasoning_effort")
    return _with_format(body, found), tuple(ignored)


def _logprobs(body: Fields) -> int | None:
    wanted, best = body.flag("logprobs"), body.integer("top_logprobs", 0, MOST_LOGPROBS)
    if best is not None and not wanted:
        raise body.error("top_logprobs", "needs logprobs to be true.")
    return (best or 0) if wanted else None


def _with_format(body: Fields, parameters: Parameters) -> Parameters:
    wanted = body.object("response_format")
    if wanted is None:
        return parameters
    wanted.required("type")
    kind = cast(Literal["text", "json_object", "json_schema"], wanted.choice("type", FORMATS))
    if kind == "json_object":
        return replace(parameters, json_object=True)
    if kind == "text":
        return parameters
    holder = wanted.object("json_schema")
    schema = None if holder is None else holder.object("schema")
    if holder is None or schema is None:
        raise wanted.error("json_schema", "must hold the schema: {name, schema}.")
    return replace(parameters, response_schema=cast(dict[str, Any], holder.any("schema")))
