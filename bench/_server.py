"""Parley as its users start it: `python app.py serve` on a fresh data folder and a free port."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Running:
    """A server that has served its first page."""

    url: str
    pid: int
    first_page: float  # seconds from the start of the process to the whole of GET /


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(*command: str, patience: float = 120, **environ: str) -> Iterator[Running]:
    """Start Python with `command`, wait for the first page, and end it with its data folder.

    Without a command it is Parley; another one must listen on PORT. RuntimeError with the log when it dies.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    foreign = ("PARLEY_", "ANTHROPIC_", "OPENAI_", "OLLAMA_", "GRADIO_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    models = os.environ.get("PARLEY_MODELS_DIR") or str(ROOT / "data" / "models")
    with tempfile.TemporaryDirectory(prefix="parley-bench-") as folder, tempfile.TemporaryFile() as log:
        settings = {"PORT": str(port), "PARLEY_DATA_DIR": folder, "PARLEY_MODELS_DIR": models, **environ}
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *(command or ("app.py", "serve"))],
            cwd=ROOT,
            env={**clean, **settings},
            stdout=log,
            stderr=log,
        )
        try:
            while True:
                with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                    urllib.request.urlopen(url, timeout=30).read()
                    break
                if process.poll() is not None or time.perf_counter() - began > patience:
                    log.seek(0)
                    raise RuntimeError(f"the server did not start:\n{log.read().decode(errors='replace')}")
                time.sleep(0.01)
            yield Running(url, process.pid, time.perf_counter() - began)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
