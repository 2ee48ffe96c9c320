"""The commands of `python app.py prompts`, run in this process on a registry of the test's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core import cli
from tests.prompt_files import empty_root

VERSION = """\
description: Answers about refunds
tags: [support]
messages:
- role: system
  content: |-
    You answer for {{ shop }}.
- role: user
  content: |-
    {{ question }}
variables:
  shop:
    description: Who we are
    default: Northwind
  question:
    example: Where is it?
model: openai/gpt-6-luna
parameters:
  temperature: 0.2
change: the first one
"""


class Prompts:
    """Call it with the words after `prompts`: exit code, standard output, standard error."""

    def __init__(self, captured: pytest.CaptureFixture[bytes]) -> None:
        self._captured = captured

    def __call__(self, *argv: str) -> tuple[int, str, str]:
        try:
            code = cli.main(["prompts", *argv], lambda _: 0)
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        out, err = self._captured.readouterr()
        return code, out.decode(), err.decode()

    def fill(self) -> None:
        """support/refund with two versions, the first of them in production."""
        Path("refund.yaml").write_text(VERSION)
        assert self("new", "support/refund", "--file", "refund.yaml") == (0, "Saved support/refund@1.\n", "")
        Path("second.yaml").write_text(VERSION.replace("0.2", "0.7").replace("You answer", "You speak"))
        assert self("new", "support/refund", "--file", "second.yaml", "--message", "warmer")[0] == 0
        assert self("promote", "support/refund@1", "production", "--why", "tested")[0] == 0


def at_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything in this folder, an empty registry among it, and no .env of the developer's."""
    empty_root(folder / "prompts")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PARLEY_DATA_DIR", str(folder / "data"))
    monkeypatch.setenv("PARLEY_PROMPTS_DIR", str(folder / "prompts"))
    monkeypatch.setenv("LOGNAME", "ada")


def as_json(found: tuple[int, str, str]) -> Any:
    assert found[0] == 0, found
    return json.loads(found[1])
