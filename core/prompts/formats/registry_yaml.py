"""The whole registry as one YAML file, without loss. A version's own file is read too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from core.prompts import yamltext
from core.prompts.formats import _whole
from core.prompts.formats._given import Given
from core.prompts.formats._model import Exported, ExportFile, Format, Packed, Plan


def export(entries: Sequence[Exported]) -> Packed:
    return Packed((ExportFile("prompts.yaml", yamltext.dump(_whole.value_of(entries)).encode()),))


def read(given: Given) -> Plan:
    return replace(_whole.read(given), format=FORMAT.id)


def fits(given: Given) -> int:
    return _whole.fits(given) if given.kind == "yaml" else 0


FORMAT = Format("yaml", "Registry as YAML", (".yaml", ".yml"), False, export, read, fits, lossless=True)
