"""Remembers, outside of the registry, which numbers were given: a number never means two versions."""

from __future__ import annotations

import os
import re
from pathlib import Path

import structlog

from core.prompts.registry import files
from core.prompts.registry.cache import Cache

log = structlog.get_logger()
LARGEST = 64_000_000  # bytes of a prompt's numbers


class Numbers:
    """One small file for each prompt, to which a line is added with each version that is saved here. Thread-safe, and
    several processes may use one folder. Versions that were only read here are known from `cache`."""

    def __init__(self, folder: Path, cache: Cache) -> None:
        self._folder = folder
        self._cache = cache

    def after(self, name: str, number: int) -> int:
        """The first number above `number` and above all that were given, as far as that is known."""
        number = max(number, self._highest(name)) + 1
        while self._cache.facts(name, number):
            number += 1
        return number

    def took(self, name: str, number: int) -> None:
        """A version was saved under this number."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
            file = os.open(self._path(name), flags, 0o600)
            try:
                os.write(file, b"%d\n" % number)
            finally:
                os.close(file)
        except OSError as error:
            log.warning(
                "prompts.numbers", what="The number of a version could not be kept.", error=type(error).__name__
            )

    def _highest(self, name: str) -> int:
        try:
            data, _ = files.read(self._path(name), LARGEST)
        except OSError:
            return 0
        return max((int(found) for found in re.findall(rb"^[0-9]{1,9}$", data, re.MULTILINE)), default=0)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name.replace('/', '%2F')}.txt"
