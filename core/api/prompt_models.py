"""Prompts where a model is named: `prompt/<name>@<label or version>` runs that prompt with its own model.

`prompt/<name>` alone is `@production` where that label is set, else `@latest`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.api.fields import Fields
from core.api.wire import BadField
from core.errors import BadRequest, ModelNotFound, NotFound, ParleyError
from core.models.info import ModelInfo
from core.names import Ref
from core.prompts.registry.registry import Registry
from core.prompts.templates.render import MissingVariables, Rendered
from core.prompts.templates.templates import Templates
from core.prompts.version import Version
from core.threads import FairPool

PREFIX = "prompt/"
LIVE = "production"


def filled_in(templates: Templates, version: Version, values: Mapping[str, Any], question: str | None) -> Rendered:
    """The version with these values. BadField names all variables that are missing."""
    try:
        return templates.render(version, values, question=question)
    except MissingVariables as error:
        raise BadField("variables", error.what, error.fix) from None


@dataclass(frozen=True, slots=True)
class Resolved:
    """The version that was asked for, with the request's variables put in."""

    version: Version
    rendered: Rendered
    model: str  # what answers

    @property
    def asks(self) -> bool:
        """Whether the prompt itself asks, or begins the answer. A question that these values leave empty is none."""
        last, written = self.rendered.messages[-1], self.version.content.messages[-1]
        return last.role == "user" or (last.role == written.role == "assistant")


class PromptModels:
    """Finds prompts by the names of models."""

    def __init__(self, registry: Registry, templates: Templates, threads: FairPool) -> None:
        self._registry = registry
        self._templates = templates
        self._threads = threads

    async def resolve(self, visitor: str, model: str, body: Fields, question: str | None) -> Resolved:
        """Raises ModelNotFound, or BadRequest for what cannot be run as it stands."""
        values, wanted = body.mapping("variables"), body.text("prompt_model") or ""
        return await self._threads.run_for(visitor, self._resolve, model, wanted, values, question)

    def _resolve(self, model: str, wanted: str, values: Mapping[str, Any], question: str | None) -> Resolved:
        version = self._version(model)
        answers = wanted or version.content.model
        if not answers:
            raise BadField(
                "prompt_model",
                f"The prompt {version.ref} names no model.",
                'Say which one is to answer with "prompt_model": "maker/model", or save a version that names one.',
            )
        if answers.startswith(PREFIX) or "/" not in answers:
            raise BadField("prompt_model", "prompt_model must be the maker/model that is to answer.", None)
        return Resolved(version, filled_in(self._templates, version, values, question), answers)

    def _version(self, model: str) -> Version:
        try:
            ref = Ref.parse(model.removeprefix(PREFIX))
            if "@" not in model and LIVE in self._registry.labels(ref.name):
                ref = Ref(ref.name, None, LIVE)
            return self._registry.version(ref)
        except NotFound as error:
            raise ModelNotFound(error.what, error.fix) from None
        except BadRequest as error:
            raise BadField("model", error.what, error.fix) from None

    def one(self, model: str, usable: Mapping[str, ModelInfo]) -> tuple[str, Version, ModelInfo]:
        """What there is to say of one such model. Raises ModelNotFound, also if its own model cannot be used."""
        version = self._version(model)
        info = usable.get(version.content.model)
        if info is None:
            raise ModelNotFound(
                f"The model of {version.ref} cannot be used now.", "GET /v1/models lists those that can."
            )
        return model, version, info

    def live(self, usable: Mapping[str, ModelInfo]) -> list[tuple[str, Version, ModelInfo]]:
        """Every prompt in production whose model is among the usable ones, by name."""
        found = []
        for entry in self._registry.list(label=LIVE):
            try:
                found.append(self.one(f"{PREFIX}{entry.name}@{LIVE}", usable))
            except ParleyError:
                continue
        return found
