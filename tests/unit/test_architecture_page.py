"""docs/architecture.md is true: what it names is there, and what is found by its presence has what it is found by."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
LATER = "core/experiments/"


def defined(path: Path) -> set[str]:
    """The names that a module defines at its top."""
    names = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


def rows() -> list[tuple[str, str, str]]:
    """(task, touched, found by) of the table of tasks."""
    table = PAGE.split("## Which file for which task")[1].split("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines() if line[:2] == "| "]
    return [(row[0], row[1], row[2]) for row in cells if len(row) == 3 and row[0] not in ("Task", "---")]


def test_every_ordinary_task_has_a_row() -> None:
    tasks = " ".join(task for task, _, _ in rows())
    wanted = ("provider", "layer", "tab", "subcommand", "routes", "setting", "format", "ledger", "grader", "embedder")
    assert [word for word in wanted if word not in tasks] == []


def test_every_path_exists() -> None:
    paths = set(re.findall(r"`((?:core|pages|data|docs|tests)/[\w/.*<>]*)`", PAGE))
    assert len(paths) > 25
    places = {re.sub(r"<\w+>.*|\*.*", "", path) for path in paths if not path.startswith(LATER)}
    assert sorted(place for place in places if not (ROOT / place).exists()) == []


@pytest.mark.parametrize("task, touched, found", rows(), ids=[task for task, _, _ in rows()])
def test_what_is_found_by_its_presence(task: str, touched: str, found: str) -> None:
    place = re.search(r"`((?:core|pages)/[\w/]+/)<\w+>(/__init__)?\.py`", touched)
    if place is None or touched.startswith(f"`{LATER}"):
        return
    needed = set(re.findall(r"`(\w+)", found))
    folder = ROOT / place[1]
    pattern = "*/__init__.py" if place[2] else "*.py"
    modules = [path for path in folder.glob(pattern) if not path.name.startswith("_") or place[2]]
    having = [path for path in modules if needed <= defined(path)]
    assert having, f"{task}: no module of {place[1]} has {needed}"
    if not place[2] and place[1] != "core/api/":  # helpers of the API and of the tabs stand beside them
        assert modules == having, f"{task}: {set(modules) - set(having)} lack {needed}"
