"""A version: a content with its history. One YAML file each, never changed once it is written."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from core.errors import BadRequest
from core.prompts import yamltext
from core.prompts.content import LARGEST, MOST_TAGS, Clean, Content, Plain, checked, digest, kept

TAG = r"^[^\s,]([^,\n]{0,38}[^\s,])?$"
TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z$"


class PromptFile(Content):
    """The fields of a file. Its JSON Schema is published beside the prompts."""

    format: Literal[1] = 1
    description: Clean = Field("", max_length=2000, description="What it is for, in a sentence or two.")
    tags: Annotated[
        tuple[Annotated[str, Field(pattern=TAG), AfterValidator(kept)], ...], Field(strict=False, max_length=MOST_TAGS)
    ] = ()
    change: Clean = Field("", max_length=2000, description="What is different from the version before, and why.")
    author: Clean = Field("", max_length=200)
    time: Plain = Field(
        "", description="When it was saved, in UTC: 2026-11-20T12:00:00Z.", json_schema_extra={"pattern": TIME}
    )
    parent: Annotated[int, Field(ge=1)] | None = Field(None, description="The version that it was made from.")
    hash: Plain = Field("", description="SHA-256 of all that shapes a call.")
    seal: Plain = Field(
        "",
        description="SHA-256 of all other fields, the prompt's name and the version's number; shows whether the file "
        "was changed, or put in another's place, afterwards.",
    )


SCHEMA_FILE = "prompt.schema.json"  # in the registry's root
_FIRST = ("format", "description", "tags")
_CONTENT = tuple(info.alias or name for name, info in Content.model_fields.items())
_LAST = ("change", "author", "time", "parent", "hash", "seal")


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a prompt. `hash` covers `content` alone, so two versions may share it and differ in their tags."""

    name: str
    number: int
    content: Content
    description: str = ""
    tags: tuple[str, ...] = ()
    change: str = ""  # what is different from the version before, and why
    author: str = ""
    time: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(datetime.UTC))
    parent: int | None = None

    @property
    def ref(self) -> str:
        return f"{self.name}@{self.number}"

    @property
    def hash(self) -> str:
        return self.content.digest()

    def as_dict(self) -> dict[str, Any]:
        """The fields of its file, in their order, without the empty ones."""
        about = {
            "format": 1,
            "description": self.description,
            "tags": list(self.tags),
            "change": self.change,
            "author": self.author,
            "time": self.time.astimezone(datetime.UTC).replace(tzinfo=None).isoformat() + "Z",
            "parent": self.parent,
            "hash": self.hash,
        }
        fields = {
            name: value for name, value in (self.content.as_dict() | about).items() if value not in ("", [], None)
        }
        fields["seal"] = _seal(fields, self.name, self.number)
        return {name: fields[name] for name in _FIRST + _CONTENT + _LAST if name in fields}


def to_text(version: Version) -> str:
    """The YAML of its file."""
    return yamltext.dump(version.as_dict(), schema="../" * (version.name.count("/") + 1) + SCHEMA_FILE)


@dataclass(frozen=True, slots=True)
class Read:
    """What a file says. Not `intact`: it was written or changed by hand, and is not the version that was saved."""

    version: Version
    intact: bool


def from_text(text: str, name: str, number: int, where: str = "") -> Read:
    """Raises BadRequest with line and field; `where` is what it calls the text, without it the file's place."""
    where = where or f"{name}/v{number}.yaml"
    if len(text.encode("utf-8", "surrogatepass")) > LARGEST:
        raise BadRequest(f"{where} is larger than {LARGEST // 1_000_000} MB.", "Shorten it.")
    values = yamltext.load(text, where)
    version = from_values(values, name, number, where)
    seal = values.pop("seal", None)
    return Read(version, intact=values.get("hash") == version.hash and seal == _seal(values, name, number))


def from_values(values: dict[str, Any], name: str, number: int, where: str) -> Version:
    """The version that the fields of a file describe. Raises BadRequest that names the field."""
    file = checked(PromptFile, values, where)
    time = datetime.datetime.fromtimestamp(0, datetime.UTC)
    if file.time:
        try:
            time = datetime.datetime.fromisoformat(file.time if re.fullmatch(TIME, file.time) else "")
        except ValueError:
            fix = "Write it as 2026-11-20T12:00:00Z."
            raise BadRequest(f"{where} cannot be read: time is no time.", fix) from None
    return Version(
        name,
        number,
        content_of(file),
        file.description,
        file.tags,
        file.change,
        file.author,
        time,
        file.parent,
    )


def published_schema() -> dict[str, Any]:
    """The format as JSON Schema (draft 2020-12), for editors and for programs that write prompts."""
    schema = PromptFile.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "A version of a prompt"}


def _seal(fields: Mapping[str, Any], name: str, number: int) -> str:
    return digest({**fields, "name": name, "number": number})


def content_of(file: PromptFile) -> Content:
    """What of a file shapes a call."""
    return Content.model_construct(**{name: getattr(file, name) for name in Content.model_fields})
