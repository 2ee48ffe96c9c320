"""Conversations out of Parley and into it. A module here with a FORMAT is a format; no list elsewhere names it."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from core.conversations.formats._format import ConversationFormat

__all__ = ["ConversationFormat", "formats"]


@functools.cache
def formats() -> dict[str, ConversationFormat]:
    """All formats by name, in the order of the menu."""
    names = [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]
    found: list[ConversationFormat] = [importlib.import_module(f"{__name__}.{name}").FORMAT for name in names]
    return {format.name: format for format in sorted(found, key=lambda format: format.order)}
