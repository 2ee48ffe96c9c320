"""What the tests of the prompt registry share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.prompts import Registry
from core.prompts.content import Content, parse_content
from core.settings import Settings

Make = Callable[..., Settings]


def says(text: str, **fields: Any) -> Content:
    """A content of one system message."""
    return parse_content({"messages": [{"role": "system", "content": text}], **fields})


def age(*paths: Path, seconds: float = 60) -> None:
    """Have files look as if they had last been changed a while ago."""
    for path in paths:
        os.utime(path, (time.time() - seconds,) * 2)


def empty_root(folder: Path) -> Path:
    """A registry without prompts: one in which nothing lies at all would be given those that ship."""
    folder.mkdir()
    (folder / ".gitkeep").write_text("")
    return folder


@pytest.fixture
def registry(settings: Make, tmp_path: Path) -> Iterator[Registry]:
    """An empty one in tmp_path/prompts, not started."""
    empty_root(tmp_path / "prompts")
    made = Registry.open(settings())
    yield made
    made.close()


@pytest.fixture
def again(settings: Make) -> Iterator[Callable[..., Registry]]:
    """`again()` opens the same folder once more, as another process or the next run would."""
    opened: list[Registry] = []

    def make(**overrides: object) -> Registry:
        opened.append(Registry.open(settings(**overrides)))
        return opened[-1]

    yield make
    for one in opened:
        one.close()
