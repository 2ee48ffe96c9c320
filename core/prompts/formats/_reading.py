"""From a file's parts to a draft. What does not fit is made to fit and told; what makes no sense is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from core.errors import BadRequest
from core.models.facts import maker_of
from core.names import Ref, check_label, check_name, suggest
from core.prompts.content import IDENTIFIER, MOST_TAGS, RESERVED, Content, PromptParameters, complaints, parse_content
from core.prompts.formats import _jinja
from core.prompts.formats._fields import Fields, Place
from core.prompts.formats._given import NOTHING
from core.prompts.formats._model import ImportedVersion, Loss
from core.prompts.version import TAG

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "model": "assistant"}
RANGES = ("greater_than", "less_than", "too_long", "too_short")
LONGEST_VARIABLE = 60

Convert = Callable[[str, str], str]  # (text of their language, its place) -> text of ours


def model_in(id: str, provider: str = "") -> str:
    """maker/model, from a maker's own name of a model."""
    if provider or "/" in id:
        return f"{provider}/{id}" if provider else id
    maker = maker_of(id)
    return f"{maker}/{id}" if maker else id


def model_out(model: str) -> str:
    """The maker's own name where `model_in` finds the way back; otherwise maker/model."""
    bare = model.partition("/")[2]
    return bare if bare and model_in(bare) == model else model


class Names:
    """Names of a file's prompts, each an allowed one, and no two the same by accident."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}

    def take(self, original: str) -> str:
        """The name to use for `original`; the same each time."""
        if original not in self._given:
            name = original
            try:
                check_name(name)
            except BadRequest:
                name = suggest(original) or "imported"
            number, base = 1, name
            while name in self._given.values():
                number += 1
                name = f"{base[:56]}-{number}"
            self._given[original] = name
        return self._given[original]


class Reading:
    """One prompt while it is read from a value. It collects what is lost, fields that nobody takes among it."""

    def __init__(self, name: str, where: str, value: Any = None, path: str = "") -> None:
        self.name = name
        self.where = where
        self._told: dict[tuple[str, str], None] = {}
        self._variables: dict[str, str] = {}
        self._opened: dict[str, Fields] = {}
        self.place = Place(value, path, where, self._opened)
        self.at = self.place.at  # for values that do not stand in the file as they are

    def call(self, original: str, names: Names) -> None:
        """Gives the prompt its name."""
        self.name = names.take(original)
        if self.name != original:
            self.lose("name", f"was {original[:80]!r}, which is not allowed here")

    def lose(self, field: str, why: str) -> None:
        self._told[field, why] = None

    @property
    def losses(self) -> tuple[Loss, ...]:
        left = {one: None for fields in self._opened.values() for one in fields.left()}
        return tuple(Loss(self.name, field, why) for field, why in self._told | left)

    def variable(self, name: str) -> str:
        """A name that a variable can have here; the same for the same name."""
        if name not in self._variables:
            new = name
            if not IDENTIFIER.fullmatch(name) or name in RESERVED or len(name) > LONGEST_VARIABLE:
                new = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")[: LONGEST_VARIABLE - 3] or "value"
                new = f"v_{new}" if new[0].isdigit() else f"{new}_" if new in RESERVED else new
            number, base = 1, new
            while new in self._variables.values():
                number += 1
                new = f"{base[: LONGEST_VARIABLE - 3]}_{number}"
            if new != name:
                self.lose(f"variables.{name}", f"is called {new} here: names are letters, digits and _")
            self._variables[name] = new
        return self._variables[name]

    def chat(self, items: Sequence[Place], convert: Convert) -> list[dict[str, Any]]:
        """Messages with role and content. Others than texts, and roles that we do not have, are lost."""
        found: list[dict[str, Any]] = []
        for item in items:
            fields = item.fields()
            kind = fields.take("type").text("message")
            if kind not in ("message", "chatmessage"):
                self.lose(item.path, f"a {kind} has no place in a prompt here; it is left out")
                fields.drop()
                continue
            role = fields.take("role").text()
            if role not in ROLES:
                self.lose(f"{item.path}.role", f"a message of {role[:40]!r} has no place here; it is left out")
                fields.drop()
                continue
            if role == "developer":
                self.lose(f"{item.path}.role", "is system here")
            text = self._text(fields.take("content"))
            ours = ROLES[role]
            if ours == "system" and found:
                self.lose(f"{item.path}.role", "only the first message can be system here; it is user now")
                ours = "user"
            found.append({"role": ours, "content": convert(text, f"{item.path}.content")})
        if not found:
            raise BadRequest(f"{self.where}: {self.name} has no messages.", NOTHING)
        return found

    def _text(self, place: Place) -> str:
        """A message's content: a text, or a list of parts of which the texts count."""
        if not isinstance(place.value, list):
            return place.text()
        texts = []
        for part in place.items():
            fields = part.fields()
            kind = fields.take("type").text("text")
            if kind in ("text", "input_text", "output_text"):
                texts.append(fields.take("text").text())
            else:
                self.lose(part.path, f"a part of type {kind[:40]!r} has no place here; it is left out")
                fields.drop()
        return "".join(texts)

    def parameters(self, fields: Fields, names: Mapping[str, str]) -> dict[str, Any]:
        """Ours from theirs, by the table of names. A wrong type is refused, a value out of range is lost."""
        found: dict[str, Any] = {}
        for theirs, ours in names.items():
            if theirs not in fields:
                continue
            place = fields.take(theirs)
            value = [place.value] if ours == "stop" and isinstance(place.value, str) else place.value
            try:
                PromptParameters.model_validate({ours: value})
            except ValidationError as error:
                reason = complaints(error, 1).removeprefix(ours).strip()
                kind = error.errors()[0]["type"]
                if not kind.startswith(RANGES) and not (ours == "effort" and isinstance(value, str)):
                    raise place.wrong(reason) from None
                self.lose(place.path, reason)
                continue
            found[ours] = value
        return found

    def response_format(self, place: Place) -> dict[str, Any] | None:
        """The JSON Schema of OpenAI's response_format."""
        if place.value is None:
            return None
        fields = place.fields()
        kind = fields.take("type").text()
        if kind != "json_schema":
            self.lose(place.path, f"the format {kind[:40]!r} cannot be asked for here; give a JSON schema")
            fields.drop()
            return None
        inner = fields.take("json_schema").fields() if "json_schema" in fields else fields
        if (name := inner.take("name").text("answer")) != "answer":
            self.lose(f"{inner.path}.name", f"the schema's name {name[:60]!r} has no place here")
        schema = inner.take("schema")
        if schema.value is None:
            raise schema.wrong("is no JSON schema")
        return schema.schema()

    def tags(self, texts: Sequence[str], field: str = "tags") -> tuple[str, ...]:
        found: list[str] = []
        for text in texts:
            tag = text if re.search(TAG, text) else " ".join(text.replace(",", " ").split())[:40].strip()
            if tag != text or len(found) == MOST_TAGS:
                self.lose(field, f"{text[:60]!r} " + ("is one tag too many" if tag == text else "cannot be a tag"))
            if tag and tag not in found and len(found) < MOST_TAGS:
                found.append(tag)
        return tuple(found)

    def labels(self, texts: Sequence[str], field: str = "labels") -> tuple[str, ...]:
        """`latest` is automatic here too."""
        found = []
        for text in texts:
            if text == "latest":
                continue
            try:
                found.append(check_label(text))
            except BadRequest:
                self.lose(field, f"{text[:60]!r} cannot be a label here")
        return tuple(dict.fromkeys(found))

    def shortened(self, text: str, most: int, field: str) -> str:
        if len(text) > most:
            self.lose(field, f"has {len(text)} characters; the first {most} are kept")
        return text[:most]

    def draft(
        self,
        messages: list[dict[str, Any]],
        variables: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        model: str = "",
        parameters: Mapping[str, Any] | None = None,
        schema: Mapping[str, Any] | None = None,
        description: str = "",
        tags: Sequence[str] = (),
        **about: Any,
    ) -> ImportedVersion:
        """The draft, with what the file says of its variables. BadRequest names what does not fit."""
        for number, message in enumerate(messages):
            try:
                _jinja.environment().parse(message["content"])
            except Exception as error:
                raise self._bad_template(number, error) from None
        unset: tuple[Any, ...] = (None, "", {}, [], ())
        value = {
            "messages": messages,
            "variables": {name: dict(given) for name, given in (variables or {}).items()},
            "model": model,
            "parameters": dict(parameters or {}),
            "schema": schema,
        }
        content: Content = parse_content(
            {key: one for key, one in value.items() if one not in unset or key == "messages"},
            f"{self.where}: {self.name}",
        )
        if len(about.get("author", "")) > 200:
            about["author"] = self.shortened(about["author"], 200, "author")
        if "change" in about:
            about["change"] = self.shortened(about["change"], 2000, "change")
        return ImportedVersion(
            self.name, content, self.shortened(description, 2000, "description"), self.tags(tags), **about
        )

    def _bad_template(self, number: int, error: Exception) -> BadRequest:
        line = getattr(error, "lineno", None)
        what = getattr(error, "message", None) or "it is nested too deeply"
        place = f", line {line}" if line else ""
        return BadRequest(f"{self.where}: {self.name}: messages[{number}]{place} is no template: {what}.", NOTHING)


def reference(name: str, selector: str, names: Names) -> str | None:
    """A reference to another prompt as we write it; None when it cannot be one."""
    try:
        return str(Ref.parse(f"{names.take(name)}@{selector}"))
    except BadRequest:
        return None
