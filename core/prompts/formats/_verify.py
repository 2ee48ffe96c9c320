"""The last look at an export: what was written is read again, and whatever is different and was not told is told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from core.errors import BadRequest, ParleyError
from core.prompts.content import Content
from core.prompts.formats import _jinja
from core.prompts.formats._given import Given
from core.prompts.formats._model import Exported, Format, ImportedVersion, Loss, Packed
from core.prompts.formats._nodes import spaced
from core.prompts.version import Version

WHY = "does not come back from the file as it is here"


def untold(entries: Sequence[Exported], packed: Packed, format: Format) -> list[Loss]:
    """The losses that the format did not tell of."""
    if format.lossless:
        return []
    told: dict[str, list[str]] = {}
    for loss in packed.losses:
        told.setdefault(loss.place, []).append(loss.field)
    found: list[Loss] = []
    for number, file in enumerate(packed.files):
        single = entries[number].chosen if format.one_file_per_prompt else None
        try:
            drafts = format.read(Given(file.data, file.name)).drafts
        except ParleyError as error:
            name = single.name if single else ""
            found += [] if name in told else [Loss(name, "file", f"cannot be read again: {error.what}")]
            continue
        by_number = {(draft.name, draft.number): draft for draft in drafts}
        for version in [single] if single else [one for entry in entries for one in entry.versions]:
            if draft := drafts[-1] if single else by_number.get((version.name, version.number)):
                known = told.get(version.name, [])
                fields = differences(version, draft)
                found += [Loss(version.name, one, WHY) for one in fields if not any(_covers(k, one) for k in known)]
    return list(dict.fromkeys(found))


def _covers(known: str, field: str) -> bool:
    return field == known or field.startswith((f"{known}.", f"{known}["))


def differences(version: Version, draft: ImportedVersion) -> list[str]:
    """The fields in which a draft is not what the version is; templates are equal when they say the same."""
    was, now = flat(version.content), flat(draft.content)
    found = [field for field in {**was, **now} if not _same(field, was.get(field), now.get(field))]
    about = ("name", "description", "tags")
    return found + [field for field in about if getattr(version, field) != getattr(draft, field)]


def _same(field: str, was: Any, now: Any) -> bool:
    if was == now or not (field.endswith("].content") and isinstance(was, str) and isinstance(now, str)):
        return bool(was == now)
    return bool(canonical(was) == canonical(now))


def flat(content: Content) -> dict[str, Any]:
    """What a content says, by field: `messages[0].content`, `variables.tone.default`."""
    found: dict[str, Any] = {}
    for number, message in enumerate(content.messages):
        found[f"messages[{number}].role"] = message.role
        found[f"messages[{number}].content"] = message.content
    for name, variable in content.variables.items():
        said = variable.model_dump(exclude_defaults=True)
        found |= {f"variables.{name}.{field}": value for field, value in said.items()}
        if not said and not any(re.search(rf"\b{name}\b", message.content) for message in content.messages):
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
