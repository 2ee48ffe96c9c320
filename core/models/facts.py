"""What `data/models.yaml` knows of a model, by name alone: no network, no provider."""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml

from core.models.info import Abilities, ModelInfo

_TABLE = Path(__file__).parents[2] / "data" / "models.yaml"
_OPEN_MODELS = "families"
_ABILITIES = {field.name for field in dataclasses.fields(Abilities)}
_INFO = {field.name for field in dataclasses.fields(ModelInfo)} - {"id", "abilities", "live"}
_WIRE = {"thinking_types", "thinking_default", "thinking_off_up_to", "max_tokens", "thinking_switch"}
_DATE = re.compile(r"[-@](?:\d{8}|\d{4}-\d{2}-\d{2}|[01]\d{3})$")


@lru_cache(maxsize=4096)
def facts_of(model_id: str) -> ModelInfo:
    """The model as the table has it, `live` False. One that no table knows gets the careful defaults of Abilities."""
    facts = _facts(model_id)
    abilities = {name: value for name, value in facts.items() if name in _ABILITIES}
    if "efforts" in abilities:
        abilities["efforts"] = tuple(abilities["efforts"])
    info = {name: value for name, value in facts.items() if name in _INFO}
    return ModelInfo(model_id, **info, abilities=Abilities(**abilities), live=False)


@lru_cache(maxsize=4096)
def wire_facts(model_id: str) -> Mapping[str, Any]:
    """What only the provider needs, to say a parameter as this model wants it: the fields that models.yaml explains."""
    return {name: value for name, value in _facts(model_id).items() if name in _WIRE}


def static_models(provider: str) -> list[ModelInfo]:
    """The provider's models that the table lists and that are not retired, for when the provider does not answer."""
    today = datetime.datetime.now(datetime.UTC).date()
    listed = [facts_of(f"{provider}/{name}") for name in _tables().get(provider, {}).get("models", ())]
    return [info for info in listed if info.retires is None or info.retires > today]


def is_chat(model_id: str) -> bool:
    """False for what a provider lists beside its chat models: embeddings, speech, images."""
    provider, _, name = model_id.partition("/")
    table = _tables().get(provider) or _tables()[_OPEN_MODELS]
    return not any(fnmatchcase(name.lower(), pattern) for pattern in table.get("not_chat", ()))


@dataclass(frozen=True, slots=True)
class Maker:
    """A provider of ours: where it is asked, and what its models are called and cost by nature."""

    setting: str = ""  # the setting that names another address
    address: str = ""
    names: tuple[str, ...] = ()  # patterns of its models' names
    free: Literal["", "always", "on loopback"] = ""
    not_free: tuple[str, ...] = ()  # patterns of models that are paid for all the same

    def is_free(self, model: str, *, loopback: bool) -> bool:
        """Whether a model costs nothing because it runs on this machine."""
        here = self.free == "always" or (self.free == "on loopback" and loopback)
        return here and not any(fnmatchcase(model, pattern) for pattern in self.not_free)


@lru_cache(maxsize=1)
def makers() -> Mapping[str, Maker]:
    """The providers of ours by name; no endpoint can be called so."""
    found: dict[str, Maker] = {}
    for name, fields in _tables()["makers"]["providers"].items():
        known: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()
        }
        found[name] = Maker(**known)
    return found


def maker_of(name: str) -> str:
    """Who made a model of this name, "" if it does not show."""
    return next((maker for maker, one in makers().items() if any(fnmatchcase(name, p) for p in one.names)), "")


def host_facts(host: str) -> Mapping[str, Any]:
    """What a server wants, by its host name or "local"."""
    return _entry(_tables()["hosts"], host) or {}


def _facts(model_id: str) -> Mapping[str, Any]:
    provider, _, name = model_id.partition("/")
    tables = _tables()
    for table in (tables.get(provider), tables[_OPEN_MODELS]):
        if table is not None and (entry := _entry(table, name)) is not None:
            return {**table.get("base", {}), **entry}
    return {}


def _entry(table: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    models = table.get("models", {})
    undated = _DATE.sub("", name)
    if found := models.get(name) or models.get(undated):
        return dict(found)
    for pattern in table.get("patterns", ()):
        if fnmatchcase(name.lower(), pattern["match"]):
            return {key: value for key, value in pattern.items() if key != "match"}
    return None


@lru_cache(maxsize=1)
def _tables() -> dict[str, dict[str, Any]]:
    tables = yaml.load(_TABLE.read_text("utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    for name, table in tables.items():
        known = _ABILITIES | _INFO | _WIRE | {"match"}
        for entry in (table.get("base", {}), *table.get("models", {}).values(), *table.get("patterns", ())):
            if unknown := set(entry) - known:
                raise ValueError(f"data/models.yaml, {name}: unknown field {', '.join(sorted(unknown))}")
    return dict(tables)
