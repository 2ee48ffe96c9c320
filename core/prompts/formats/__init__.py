"""Prompts out of the registry and into it, in the formats of others. One file a format, found by its presence.

`export` says what the other side cannot hold, `read` what we cannot; nothing is dropped without a word. A format is a
module with `FORMATS`; modules whose names begin with _ are what the formats share.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import replace

from core.errors import BadRequest
from core.names import Ref
from core.prompts.formats._apply import apply
from core.prompts.formats._given import Given
from core.prompts.formats._includes import resolved
from core.prompts.formats._model import Exported, ExportFile, Format, Imported, ImportedVersion, Loss, Packed, Plan
from core.prompts.formats._verify import untold
from core.prompts.version import Version

__all__ = [
    "ExportFile",
    "Exported",
    "Format",
    "Imported",
    "ImportedVersion",
    "Loss",
    "Packed",
    "Plan",
    "apply",
    "export",
    "formats",
    "read",
]


@functools.cache
def formats() -> tuple[Format, ...]:
    """All formats, those of the whole registry first."""
    names = [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]
    found: list[Format] = [one for name in names for one in importlib.import_module(f"{__name__}.{name}").FORMATS]
    return tuple(sorted(found, key=lambda one: (one.id not in ("json", "yaml"), one.label.casefold())))


def _format(id: str) -> Format:
    for one in formats():
        if one.id == id:
            return one
    raise BadRequest(f"There is no format {id[:40]!r}.", f"Choose one of {', '.join(one.id for one in formats())}.")


def export(entries: Sequence[Exported], format_id: str, *, includes: Callable[[Ref], Version] | None = None) -> Packed:
    """The files, and what they cannot hold. With `includes`, included prompts are put in as text.

    BadRequest: no such format, or nothing to export. NotFound, BadRequest: an include that cannot be resolved.
    """
    one = _format(format_id)
    if not entries:
        raise BadRequest("There is nothing to export.", "Choose a prompt.")
    if includes is not None:
        entries = [resolved(entry, includes) for entry in entries]
    packed = one.export(entries)
    return Packed(packed.files, (*packed.losses, *untold(entries, packed, one)))


def read(data: bytes, filename: str, format_id: str | None = None) -> Plan:
    """What a file would bring in, with what of it has no place here. Nothing is written.

    Without a format it is recognised by what the file says and how it is called. BadRequest names line and field.
    """
    given = Given(data, filename)
    if not given.text.strip():
        raise BadRequest(f"{given.filename} is empty.", "Choose another file.")
    if format_id is not None:
        one = _format(format_id)
    else:
        scores = [(one.fits(given), one) for one in formats()]
        score, one = max(scores, key=lambda pair: pair[0])
        if not score:
            known = ", ".join(one.label for one in formats())
            raise BadRequest(f"{given.filename} is in no format that is known here.", f"These can be read: {known}.")
    plan = one.read(given)
    if not plan.drafts:
        raise BadRequest(f"{given.filename} holds no prompts.", "Choose another file.")
    return replace(plan, format=one.id, source=given.filename)
