"""What is imported is pinned, and what is pinned is used."""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = {"app", "core", "pages", "tests", "bench"}

# Pinned without an import, and why.
UNIMPORTED = {
    "psycopg": "SQLAlchemy loads it for postgresql+psycopg",
    "wordllama": "its wheel carries the weights of the embeddings",
    "pytest-asyncio": "a plugin of pytest",
    "pytest-timeout": "a plugin of pytest",
    "pytest-xdist": "a plugin of pytest",
    "types-cachetools": "types for mypy",
    "ruff": "a program",
    "mypy": "a program",
    "uv": "a program",
}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(path: Path) -> dict[str, str]:
    """Distribution -> version, from the lines of a requirements file; every line must be an exact pin."""
    found = {}
    for line in path.read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            match = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?==([A-Za-z0-9.]+)(?:; .+)?", line)
            assert match, f"{line!r} is no exact pin"
            found[normal(match.group(1))] = match.group(2)
    return found


@functools.cache
def homes() -> Mapping[str, list[str]]:
    """Module -> the distributions that have it."""
    return importlib.metadata.packages_distributions()


def imported(files: Iterable[Path]) -> dict[str, Path]:
    """Distribution -> a file that imports something of it. Foreign packages only."""
    found: dict[str, Path] = {}
    for path in files:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for top in {name.partition(".")[0] for name in names} - OURS - set(sys.stdlib_module_names):
                for home in homes().get(top, [top]):
                    found[normal(home)] = path
    return found


def run_time() -> list[Path]:
    return [ROOT / "app.py", *(ROOT / "core").rglob("*.py"), *(ROOT / "pages").rglob("*.py")]


def test_what_the_program_imports_is_pinned() -> None:
    pinned = pins(ROOT / "requirements.txt")
    missing = {name: path for name, path in imported(run_time()).items() if name not in pinned}
    assert missing == {}


def test_what_is_pinned_is_imported() -> None:
    unused = set(pins(ROOT / "requirements.txt")) - set(imported(run_time())) - set(UNIMPORTED)
    assert unused == set()


def test_what_the_tests_import_is_pinned() -> None:
    pinned = {**pins(ROOT / "requirements.txt"), **pins(ROOT / "requirements-dev.txt")}
    files = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "bench").rglob("*.py")]
    assert {name: path for name, path in imported(files).items() if name not in pinned} == {}


def test_the_development_pins_are_used() -> None:
    files = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "bench").rglob("*.py")]
    assert set(pins(ROOT / "requirements-dev.txt")) - set(imported(files)) - set(UNIMPORTED) == set()


def test_what_is_installed_is_what_is_pinned() -> None:
    pinned = {**pins(ROOT / "requirements.txt"), **pins(ROOT / "requirements-dev.txt")}
    assert {name: importlib.metadata.version(name) for name in pinned} == pinned


def test_an_import_inside_a_function_counts(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import os\nfrom core import x\ndef f():\n    import yaml\n    from docx.text import y\n"
    )
    assert set(imported([tmp_path / "a.py"])) == {"pyyaml", "python-docx"}
