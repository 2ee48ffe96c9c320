"""Asking a model with a prompt, so that the ledger knows which version it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace

from core.messages import ChatRequest, Parameters
from core.prompts.content import Content
from core.prompts.templates.render import Rendered
from core.prompts.version import Version


def request_for(
    prompt: Version | Content,
    rendered: Rendered,
    *,
    model: str,
    visitor: str,
    keys: Mapping[str, str],
    feature: str = "prompt",
    parameters: Parameters | None = None,
    name: str | None = None,
) -> ChatRequest:
    """The request for `rendered`, which was made of `prompt`. `parameters` go before the prompt's own.

    A Content is a draft that is not saved: it has a hash and no version, and counts for the prompt `name` if given.
    """
    content, version = (prompt, None) if isinstance(prompt, Content) else (prompt.content, prompt)
    return ChatRequest(
        model,
        rendered.messages,
        over(parameters or Parameters(), content.as_parameters()),
        feature=feature,
        visitor=visitor,
        prompt_name=version.name if version else name,
        prompt_version=version.number if version else None,
        prompt_hash=content.digest(),
        prompt_parts=tuple((part.name, part.number) for part in rendered.parts),
        keys=keys,
    )


def over(own: Parameters, base: Parameters) -> Parameters:
    """`base`, with all that is set in `own` instead."""
    plain = Parameters()
    set_ = {f.name: value for f in fields(own) if (value := getattr(own, f.name)) != getattr(plain, f.name)}
    return replace(base, **set_)
