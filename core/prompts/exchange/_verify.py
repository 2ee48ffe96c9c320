"""The last look at an export: what was written is read again, and whatever is different and was not told is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.errors import BadRequest, ParleyError
from core.prompts.content import Content
from core.prompts.exchange import _jinja
from core.prompts.exchange._given import Given
from core.prompts.exchange._model import Draft, Exported, Format, Loss, Packed
from core.prompts.exchange._nodes import spaced
from core.prompts.version import Version

WHY = "does not come back from the file as it is here"


def untold(entries: Sequence[Exported], packed: Packed, format: Format) -> list[Loss]:
    """The losses that the format did not tell of."""
    found: list[Loss] = []
    for number, entry in enumerate(entries):
        name = entry.chosen.name
        told = [loss.field for loss in packed.losses if loss.place == name]
        file = packed.files[number if format.one_file_per_prompt else 0]
        try:
            plan = format.read(Given(file.data, file.name))
        except ParleyError as error:
            found += [] if told else [Loss(name, "file", f"cannot be read again: {error.what}")]
            continue
        for version in entry.versions[:1] if format.one_file_per_prompt else entry.versions:
            draft = _draft_of(version, plan.drafts, format.one_file_per_prompt)
            fields = differences(version, draft) if draft else ["file"]
            found += [Loss(name, field, WHY) for field in fields if not any(_covers(one, field) for one in told)]
    return list(dict.fromkeys(found))


def _draft_of(version: Version, drafts: Sequence[Draft], alone: bool) -> Draft | None:
    fitting = (draft for draft in drafts if (draft.name, draft.number) == (version.name, version.number))
    return drafts[-1] if alone else next(fitting, None)


def _covers(told: str, field: str) -> bool:
    return field == told or field.startswith((f"{told}.", f"{told}["))


def differences(version: Version, draft: Draft) -> list[str]:
    """The fields in which a draft is not what the version is; templates are equal when they say the same."""
    was, now = flat(version.content), flat(draft.content)
    found = [field for field in {**was, **now} if was.get(field) != now.get(field)]
    about = ("name", "description", "tags")
    return found + [field for field in about if getattr(version, field) != getattr(draft, field)]


def flat(content: Content) -> dict[str, Any]:
    """What a content says, by field: `messages[0].content`, `variables.tone.default`."""
    found: dict[str, Any] = {}
    for number, message in enumerate(content.messages):
        found[f"messages[{number}].role"] = message.role
        found[f"messages[{number}].content"] = canonical(message.content)
    used = {name for message in content.messages for name in _jinja.names_in(message.content)}
    for name, variable in content.variables.items():
        said = variable.model_dump(exclude_defaults=True)
        found |= {f"variables.{name}.{field}": value for field, value in said.items()}
        if not said and name not in used:
            found[f"variables.{name}"] = "declared"
    for field, value in content.parameters.model_dump(exclude_defaults=True).items():
        found[f"parameters.{field}"] = value
    rest = content.as_dict()
    return found | {field: rest.get(field) for field in ("examples", "nearest", "model", "schema") if field in rest}


def canonical(text: str) -> Any:
    """A template in one way of writing."""
    try:
        return spaced(_jinja.parse(text))
    except BadRequest:
        return text
