"""requirements.lock has what requirements.txt pins, for every platform, and nothing without a hash."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "requirements.lock").read_text("utf-8")
LINE = re.compile(
    r"([a-z0-9-]+)(?:\[[a-z,]+\])?==([A-Za-z0-9.]+)(?: ; [^\\]+)?((?: \\\n    --hash=sha256:[0-9a-f]{64})*)\n"
)
LOCKED = {name: (version, hashes.count("--hash=")) for name, version, hashes in LINE.findall(TEXT)}
PINS = re.findall(
    r"^([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?==([A-Za-z0-9.]+)", (ROOT / "requirements.txt").read_text("utf-8"), re.M
)


@pytest.mark.parametrize(("name", "version"), PINS)
def test_each_pin_is_locked_at_the_same_version(name: str, version: str) -> None:
    locked = LOCKED.get(re.sub(r"[-_.]+", "-", name).lower())
    assert locked is not None and locked[0] == version, "Run `make lock`."


def test_each_package_has_a_hash_and_nothing_else_stands_there() -> None:
    assert [name for name, (_, hashes) in LOCKED.items() if not hashes] == []
    rest = [line for line in LINE.sub("", TEXT).splitlines() if line and not line.lstrip().startswith("#")]
    assert rest == []
    assert len(LOCKED) > len(PINS)  # what the pins need is locked too


def test_neither_a_host_nor_a_folder_is_named() -> None:
    assert not re.search(r"://|file:|--(index|extra|find|trusted)|/(home|root|tmp|work|usr)/", TEXT)


@pytest.mark.parametrize("name", ["xllamacpp", "numpy", "orjson", "psycopg-binary", "nh3", "tokenizers"])
def test_what_is_compiled_is_there_for_more_than_one_platform(name: str) -> None:
    assert LOCKED[name][1] > 3
