"""What a version of a prompt says. The same definition reads the files, and is published as their JSON Schema."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from core.errors import BadRequest
from core.messages import Effort, Message, Parameters
from core.prompts.yamltext import DEEPEST

LARGEST = 2_000_000  # bytes of one version's file
MOST_DIGITS = 1000  # of a whole number; Python writes at most 4300
MOST_TAGS = 20
LONGEST_KEY = 80  # characters of a field's name in a complaint
_UNKEPT = re.compile("[\x00\ud800-\udfff]")  # characters that no file holds
_UNKEPT_TOLD = "holds a character that no file can hold"
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Words that mean something else inside of a template.
RESERVED = frozenset(
    re.findall(
        r"\w+",
        "and as block call caller context cycler dict do else elif endfor endif filter for from if import in include "
        "is joiner lipsum loop macro namespace none not or range recursive self set super true false varargs kwargs "
        "True False None with without",
    )
)

Model = TypeVar("Model", bound=BaseModel)


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def kept(value: Any, levels: int = DEEPEST) -> Any:
    """The JSON value or text itself. ValueError when a file could not hold it, or nobody could read it back."""
    if isinstance(value, str):
        if _UNKEPT.search(value):
            raise ValueError(_UNKEPT_TOLD)
    elif isinstance(value, (list, tuple, dict)):
        if not levels:
            raise ValueError(f"has more than {DEEPEST} levels")
        for one in value:  # the keys of a mapping
            kept(one, levels - 1)
        if isinstance(value, dict):
            for one in value.values():
                kept(one, levels - 1)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("holds a number that is infinite or none at all")
    elif isinstance(value, int) and abs(value) >= 10**MOST_DIGITS:
        raise ValueError(f"holds a number of more than {MOST_DIGITS} digits")
    return value


def _clean(text: str) -> str:
    """One kind of line end, so that the same text has the same hash everywhere."""
    return str(kept(text)).replace("\r\n", "\n").replace("\r", "\n")


Clean = Annotated[str, AfterValidator(_clean)]
Plain = Annotated[str, AfterValidator(kept)]
Json = Annotated[JsonValue, AfterValidator(kept)]


class PromptMessage(Strict):
    """One message; its content is a template."""

    role: Literal["system", "user", "assistant"]
    content: Clean


class Variable(Strict):
    """A value that whoever runs the prompt gives."""

    description: Clean = ""
    default: Json = Field(None, description="Used when no value is given; null means that there is none.")
    required: bool = Field(
        True, description="Whether a value must be given when there is no default. If not, it is empty text."
    )
    example: Json = Field(None, description="A typical value, for previews and tests.")


class Example(Strict):
    """One few-shot example: what could be asked, and what the answer should be. Plain text, not templates."""

    input: Clean
    output: Clean


class PromptParameters(Strict):
    """What shapes the answer. What is not set is left to the model."""

    max_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: Annotated[tuple[Plain, ...], Field(strict=False, max_length=16)] = ()
    effort: Effort | None = None
    thinking: bool | None = None


class Content(Strict):
    """All that shapes a call, and so all that a version's hash covers."""

    messages: Annotated[tuple[PromptMessage, ...], Field(strict=False, min_length=1, max_length=200)]
    variables: dict[str, Variable] = {}
    examples: Annotated[
        tuple[Example, ...],
        Field(strict=False, description="Few-shot examples, sent between the system message and the rest."),
    ] = ()
    nearest: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None, description="Send only so many of the examples: those whose input is nearest to the question in meaning."
    )
    model: Plain = Field("", max_length=300, description="maker/model that it is made for")
    parameters: PromptParameters = PromptParameters()
    answer_schema: Annotated[dict[str, JsonValue], AfterValidator(kept)] | None = Field(
        None, alias="schema", description="A JSON Schema that the answer must fit."
    )

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_by_alias=True, validate_by_name=True)

    @field_validator("messages")
    @classmethod
    def _system_first(cls, messages: tuple[PromptMessage, ...]) -> tuple[PromptMessage, ...]:
        if any(message.role == "system" for message in messages[1:]):
            raise ValueError("a system message can only be the first one")
        return messages

    @field_validator("variables")
    @classmethod
    def _names(cls, variables: dict[str, Variable]) -> dict[str, Variable]:
        for name in variables:
            if not IDENTIFIER.fullmatch(name) or name in RESERVED or len(name) > 60:
                raise ValueError(f"{name[:80]!r} cannot be the name of a variable; use letters, digits and _")
        return variables

    @model_validator(mode="after")
    def _nearest_of_something(self) -> Content:
        if self.nearest is not None and not self.examples:
            raise ValueError("nearest needs examples to choose from")
        return self

    def digest(self) -> str:
        """SHA-256 of the content as JSON with sorted keys and without what is not set, in hexadecimal.

        Only in the answer's schema the order of the keys counts: models write the fields in that order.
        """
        fields = self.as_dict()
        if "schema" in fields:
            fields["schema"] = json.dumps(fields["schema"], ensure_ascii=False, separators=(",", ":"))
        return digest(fields)

    def as_dict(self) -> dict[str, Any]:
        """JSON values only, in the order of the file format, without what is not set."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)

    def as_messages(self) -> tuple[Message, ...]:
        """The templates, not rendered."""
        return tuple(Message(message.role, message.content) for message in self.messages)

    def as_parameters(self) -> Parameters:
        """In the vocabulary of the gateway."""
        return Parameters(**self.parameters.model_dump(), response_schema=self.answer_schema)


def digest(value: Any) -> str:
    """SHA-256 of a JSON value written in one way only: sorted keys, no spaces, UTF-8."""
    written = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(written.encode("utf-8", "surrogatepass")).hexdigest()


def parse_content(value: Mapping[str, Any], where: str = "The prompt") -> Content:
    """BadRequest names every field that does not fit."""
    return checked(Content, value, where)


def checked(model: type[Model], value: Any, where: str) -> Model:
    """`value` as the model. BadRequest names the first fields that do not fit, as `messages[0].content`."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise BadRequest(f"{where} cannot be read: {complaints(error)}.", "Correct it and try again.") from None


def complaints(error: ValidationError, most: int = 5) -> str:
    """What does not fit, a field after the other."""
    found = []
    errors = error.errors(include_url=False, include_input=False)
    places = {one["loc"][:-1] for one in errors}
    for one in errors:
        if one["type"] == "too_short" and any(place[: len(one["loc"])] == one["loc"] for place in places):
            continue  # what is in it is wrong, so nothing is left of it
        parts = (f"[{part}]" if isinstance(part, int) else f".{part[:LONGEST_KEY]}" for part in one["loc"])
        place = "".join(parts).lstrip(".").encode("utf-8", "backslashreplace").decode()
        what = one["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        if one["type"] == "extra_forbidden":
            what = "is not a field of this format"
        elif one["type"] == "string_unicode":
            what = _UNKEPT_TOLD
        elif one["type"] == "missing":
            what = "is missing"
        elif one["type"] == "too_short":
            what = "is empty"
        elif one["msg"].startswith("Input should be "):
            what = f"must be {what}"
        found.append(f"{place} {what}".strip())
    more = f"; and {len(found) - most} more" if len(found) > most else ""
    return "; ".join(found[:most]) + more
