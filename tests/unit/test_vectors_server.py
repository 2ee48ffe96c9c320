"""The index of vectors on a Chroma server, which may go away."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from core.errors import ProviderUnavailable
from core.store import chroma, vectors
from core.store.embeddings import embedder
from core.store.vectors import Vectors
from tests.unit._vectors import Make, Shelf, Start, found, shelf, start
from tests.waiting import wait_until

__all__ = ["shelf", "start"]


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A real Chroma server."""

    def __init__(self, folder: Path) -> None:
        self.port = _port()
        self.folder = folder

    def __enter__(self) -> Server:
        program = Path(sys.executable).with_name("chroma")
        command = [program, "run", "--path", self.folder, "--host", "127.0.0.1", "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._answers)
        return self

    def _answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/api/v2/heartbeat").is_success
        except httpx.HTTPError:
            return False

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(60)


def test_a_server_serves_and_may_go_away(
    start: Start, shelf: Shelf, settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "RETRY", 0.2)
    server = Server(tmp_path / "server")
    with server:
        url = f"http://127.0.0.1:{server.port}"
        index = start(PARLEY_CHROMA_URL=url)
        assert found(index) == ["whales"]
        assert not (settings().data_dir / "chroma").exists()
        neighbour = Vectors(
            settings(PARLEY_CHROMA_URL=url, PARLEY_DATA_DIR=tmp_path / "other"), embedder(settings()), delay=0
        )
        neighbour.attach("texts", Shelf({"mine": "Whales too."}))
        assert neighbour.wait()
        assert found(neighbour) == ["mine"]
        neighbour.close()
        assert found(index) == ["whales"], "workbenches on one server keep apart"
    shelf.texts["orcas"] = "Orcas are whales that hunt in the sea."
    index.changed("texts", ["orcas"])
    assert not index.wait()
    assert isinstance(index.problem, ProviderUnavailable)
    assert "Chroma server" in index.problem.what
    assert found(index) == []
    with server:
        wait_until(index.wait)
        assert set(found(index)) == {"whales", "orcas"}


def test_a_server_that_never_answers_is_a_problem_and_not_a_wait(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chroma, "TIMEOUT", httpx.Timeout(0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        index = start(wait=False, PARLEY_CHROMA_URL=f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert not index.wait(15)
        assert isinstance(index.problem, ProviderUnavailable)
        index.close()
