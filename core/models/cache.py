"""The lists of models that providers gave last, in `<data>/models-cache.json`, for starts without a network."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import structlog

from core.models.info import Abilities, ModelInfo

FILE = "models-cache.json"
VERSION = 1

log = structlog.get_logger()


class ModelCache:
    """Holds what the server's own keys and addresses can see; no keys, nothing of a visitor's."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def load(self) -> dict[str, tuple[ModelInfo, ...]]:
        """By provider. A file that is missing, damaged or of another version is no error; it is as if it were empty."""
        try:
            found = orjson.loads(self._path.read_bytes())
            if found["version"] != VERSION:
                return {}
            return {name: tuple(map(_model, models)) for name, models in found["providers"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("models.cache.unreadable", file=FILE, error=type(error).__name__)
            return {}

    def save(self, lists: Mapping[str, tuple[ModelInfo, ...]]) -> None:
        """Replaces the file as a whole. Blocks. A folder that cannot be written is no error."""
        fresh = self._path.with_suffix(f".{os.getpid()}.tmp")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_bytes(orjson.dumps({"version": VERSION, "providers": lists}, option=orjson.OPT_INDENT_2))
            fresh.replace(self._path)
        except OSError as error:
            log.debug("models.cache.unwritable", file=FILE, error=error.strerror)


def _model(found: dict[str, Any]) -> ModelInfo:
    abilities = dict(found.pop("abilities"))
    abilities["efforts"] = tuple(abilities["efforts"])
    retires = found.pop("retires")
    return ModelInfo(
        **found,
        abilities=Abilities(**abilities),
        retires=None if retires is None else datetime.date.fromisoformat(retires),
    )
