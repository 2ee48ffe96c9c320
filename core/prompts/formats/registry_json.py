"""The whole registry as one JSON file, without loss."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from core.prompts.formats import _whole
from core.prompts.formats._given import Given
from core.prompts.formats._model import Exported, ExportFile, Format, Packed, Plan


def export(entries: Sequence[Exported]) -> Packed:
    text = json.dumps(_whole.value_of(entries), ensure_ascii=False, indent=1)
    return Packed((ExportFile("prompts.json", f"{text}\n".encode()),))


def read(given: Given) -> Plan:
    return replace(_whole.read(given), format=FORMAT.id)


def fits(given: Given) -> int:
    return _whole.fits(given) if given.kind == "json" else 0


FORMAT = Format("json", "Registry as JSON", (".json",), False, export, read, fits, lossless=True)
