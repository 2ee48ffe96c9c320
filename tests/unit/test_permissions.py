"""What is made at run time is for Parley's own user; prompts outside of the data folder are as open as their folder."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.permissions import private

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no permissions of this kind")


@pytest.fixture(autouse=True)
def usual() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def opened(folder: Path) -> list[str]:
    """What others may read in it."""
    return [str(path.relative_to(folder)) for path in (folder, *folder.rglob("*")) if mode(path) & 0o077]


def serve(tmp_path: Path, **environ: str) -> Iterator[str]:
    """A real server with a umask of 022; its address, then its end."""
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")},
        "PARLEY_DATA_DIR": str(tmp_path / "data"),
        "PARLEY_EMBEDDED": "off",
        "PORT": "0",
        "PARLEY_API_KEYS": "a-key-for-this-test-only",
        "PARLEY_PROMPTS_WRITE": "on",
        **environ,
    }
    process = subprocess.Popen(
        [sys.executable, ROOT / "app.py", "serve"], env=env, stdout=subprocess.PIPE, text=True, umask=0o022
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found
        yield found[0]
    finally:
        process.terminate()
        process.wait(60)
        if process.stdout:
            process.stdout.close()


def ask(address: str) -> None:
    """Have a recording answer, so that the database, its log and the search are written."""
    request = urllib.request.Request(
        f"{address}/v1/chat/completions",
        json.dumps({"model": "replay/hello", "messages": [{"role": "user", "content": "Hello"}]}).encode(),
        {"Authorization": "Bearer a-key-for-this-test-only", "Content-Type": "application/json"},
    )
    try:
        urllib.request.urlopen(request, timeout=60).read()
    except urllib.error.HTTPError as error:
        error.read()  # there may be no such recording; the call is recorded even so


@pytest.mark.parametrize("inside", [True, False])
def test_a_fresh_data_folder_is_closed(tmp_path: Path, inside: bool) -> None:
    tmp_path.chmod(0o755)
    prompts = tmp_path / "data" / "prompts" if inside else tmp_path / "git" / "prompts"
    for address in serve(tmp_path, PARLEY_PROMPTS_DIR=str(prompts)):
        ask(address)
        urllib.request.urlopen(f"{address}/readyz", timeout=60).read()
        assert opened(tmp_path / "data") == []
    names = {path.name for path in (tmp_path / "data").iterdir()}
    assert {"parley.db", "secret", "parley.lock"} <= names
    assert any(prompts.rglob("*.yaml"))
    if inside:
        assert opened(tmp_path / "data") == []
    else:
        assert {mode(path) for path in prompts.rglob("*") if path.is_file()} == {0o644}
        assert {mode(path) for path in (prompts.parent, prompts, *prompts.rglob("*")) if path.is_dir()} == {0o755}


def test_what_an_older_one_left_open_is_closed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "chroma" / "deep").mkdir(parents=True)
    (data / "models").mkdir()
    others = tmp_path / "others"
    others.write_text("not ours")
    (data / "link").symlink_to(others)
    kept = ("parley.db", "parley.db-wal", "parley.db.before-0002", "chroma/deep/x")
    for name in (*kept, "models/a.gguf", "models.yaml"):
        (data / name).write_text("x")
    assert len(opened(data)) > 6
    private(data)
    assert set(opened(data)) == {"models", "models/a.gguf", "models.yaml", "link"}
    assert mode(others) == 0o644


def test_a_home_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    tmp_path.chmod(0o755)
    (tmp_path / "letter").write_text("x")
    private(tmp_path)
    assert (mode(tmp_path), mode(tmp_path / "letter")) == (0o755, 0o644)


def test_a_fresh_folder_is_made_closed(tmp_path: Path) -> None:
    private(tmp_path / "a" / "data")
    assert mode(tmp_path / "a" / "data") == 0o700


def test_an_export_is_as_open_as_its_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    env = {**os.environ, "PARLEY_DATA_DIR": str(tmp_path / "data"), "PARLEY_PROMPTS_DIR": str(tmp_path / "prompts")}
    done = subprocess.run(
        [sys.executable, ROOT / "app.py", "prompts", "list"], env=env, capture_output=True, umask=0o022, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert mode(tmp_path / "data") == 0o700
    assert {mode(path) for path in (tmp_path / "prompts").rglob("*.yaml")} == {0o644}
