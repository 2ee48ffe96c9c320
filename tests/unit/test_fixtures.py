"""The rules that conftest.py keeps, tried on a small test suite of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).resolve().parents[2]
SUITE = """
import os
import pytest

def test_skips():
    pytest.skip("no such part")

def test_environment(settings):
    assert "OPENAI_API_KEY" not in os.environ and os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert settings()["OPENAI_API_KEY"] == "" and settings(PORT=0)["PORT"] == 0

def test_weights(weights):
    assert weights.is_file()

@pytest.mark.xfail
def test_known():
    assert False

@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_on_both(kind):
    assert kind
"""


def outcome(folder: Path, ci: str, *arguments: str) -> str:
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    (folder / "test_suite.py").write_text(SUITE)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  weights\n  chromium\n  postgres\n")
    environ = {**os.environ, "CI": ci, "OPENAI_API_KEY": "k", "PYTHONPATH": str(ROOT), "PARLEY_MODELS_DIR": str(folder)}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rs",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(folder),
        *arguments,
    ]
    run = subprocess.run([*command, str(folder)], env=environ, cwd=folder, capture_output=True, text=True)
    return run.stdout


def test_a_skip_says_why_and_is_a_failure_in_ci(tmp_path: Path) -> None:
    at_home = outcome(tmp_path, "")
    assert "3 passed, 2 skipped, 1 xfailed" in at_home
    assert "no such part" in at_home and "python app.py models fetch" in at_home
    in_ci = outcome(tmp_path, "true")
    assert "1 failed, 3 passed, 1 xfailed, 1 error" in in_ci and "With CI=true nothing may be skipped" in in_ci


def test_tests_are_marked_by_what_they_use(tmp_path: Path) -> None:
    assert "1 skipped, 5 deselected" in outcome(tmp_path, "", "-m", "weights")
    assert "1 passed, 5 deselected" in outcome(tmp_path, "", "-m", "postgres")


def test_in_parallel_it_is_the_same(tmp_path: Path) -> None:
    found = outcome(tmp_path, "true", "-n", "2", "--dist", "worksteal")
    assert "1 failed, 3 passed, 1 xfailed, 1 error" in found and "With CI=true nothing may be skipped" in found


def test_postgres_is_fresh_for_each_test(postgres_database: str, postgres_url: str) -> None:
    with psycopg.connect(postgres_database) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
    assert postgres_database.rpartition("/")[0] == postgres_url.rpartition("/")[0]


def test_chromium_is_a_program(chromium: str) -> None:
    assert os.access(chromium, os.X_OK)


@pytest.mark.parametrize("name", ["PARLEY_MODELS_DIR", "ANTHROPIC_API_KEY", "OLLAMA_HOST"])
def test_nothing_of_this_machine_gets_in(name: str) -> None:
    assert name not in os.environ
