"""The image's recipe, as far as it can be checked without an engine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
STEPS = [line.split(maxsplit=1) for line in TEXT.splitlines() if line and not line.startswith("#")]
FINAL = STEPS[max(number for number, step in enumerate(STEPS) if step[0] == "FROM") :]


def final(instruction: str) -> str:
    return next(rest for name, rest in FINAL if name == instruction)


def test_the_image_is_built_in_stages_and_runs_as_an_ordinary_user() -> None:
    images = [rest.split()[0] for name, rest in STEPS if name == "FROM"]
    assert len(images) == 2
    assert len(set(images)) == 1
    assert re.fullmatch(r"python:3\.11-slim@sha256:[0-9a-f]{64}", images[0])
    assert final("USER") == "1000"
    assert "useradd --uid 1000" in final("RUN")


def test_only_packages_with_a_known_hash_are_installed() -> None:
    installs = [rest for name, rest in STEPS if name == "RUN" and "pip install" in rest]
    assert len(installs) == 1
    assert installs[0].endswith("pip install --require-hashes -r requirements.lock")


def test_it_starts_without_a_shell() -> None:
    assert json.loads(final("CMD")) == ["python", "app.py", "serve"]


def test_what_is_copied_is_there_and_not_ignored() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line and line[0] != "#"]
    kept = [line.removeprefix("!") for line in lines if line.startswith("!")]
    copied = [rest.split()[0] for name, rest in STEPS if name == "COPY" and not rest.startswith("--from")]
    assert lines[0] == "*"
    assert copied
    for source in copied:
        path = ROOT / source
        assert path.is_file() or any(found.is_file() for found in path.rglob("*")), (
            f"{source}: git keeps no empty folder"
        )
        assert any(name == source or name.startswith(f"{source}/") for name in kept), f"{source} is ignored"


@pytest.mark.parametrize("name", [".env", "data/parley.db", "data/secret", "data/prices.own.yaml", ".git/config"])
def test_what_is_private_is_ignored(name: str) -> None:
    ignored = False
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        pattern = line.removeprefix("!")
        if line and line[0] != "#" and (fnmatchcase(name, pattern) or name.startswith(f"{pattern}/")):
            ignored = not line.startswith("!")
    assert ignored


class Health(BaseHTTPRequestHandler):
    code = 200

    def do_GET(self) -> None:
        self.send_response(self.code if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def health() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("code", "healthy"), [(200, True), (503, False)])
def test_the_health_check(health: int, code: int, healthy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Health, "code", code)
    match = re.search(r"CMD (\[.*\])", final("HEALTHCHECK"))
    assert match
    command = json.loads(match.group(1))
    done = subprocess.run([sys.executable, *command[1:]], env={"PORT": str(health)}, capture_output=True, timeout=30)
    assert (done.returncode == 0) is healthy


def test_the_health_check_of_nothing_fails() -> None:
    match = re.search(r"CMD (\[.*\])", final("HEALTHCHECK"))
    assert match
    command = json.loads(match.group(1))
    done = subprocess.run([sys.executable, *command[1:]], env={"PORT": "9"}, capture_output=True, timeout=30)
    assert done.returncode != 0
