"""Embedders: the static one for real, the servers' SDKs against a real local server."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import AuthenticationFailed, ModelNotFound, ProviderUnavailable, SettingsError
from core.settings import Settings
from core.store import embeddings
from core.store.embeddings import UNRELATED, Embedder, Lazy, embedder

Make = Callable[..., Settings]


@pytest.fixture
def wordllama(settings: Make) -> Embedder:
    return embedder(settings())


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    tried: list[object] = []

    def refuse(self: socket.socket, address: object) -> None:
        tried.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tried


def test_it_comes_with_the_install_and_asks_nobody(wordllama: Embedder, no_network: list[object]) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    vectors = wordllama.embed(["Why is the sky blue?", "Rayleigh scattering"])
    assert (wordllama.name, wordllama.dimensions, vectors.shape) == ("wordllama", 256, (2, 256))
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert no_network == []
    assert (root.level, list(root.handlers)) == before


def test_nothing_is_loaded_before_it_is_needed(settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "_wordllama", lambda: pytest.fail("loaded too early"))
    embedder(settings())


def test_a_blank_text_is_zeros_and_never_nan(wordllama: Embedder) -> None:
    vectors = wordllama.embed(["", "word", "  \n\t", "\x00", "\u200b"])
    assert np.isfinite(vectors).all()
    assert [bool(row.any()) for row in vectors[:4]] == [False, True, False, False]
    assert wordllama.embed([]).shape == (0, 256)
    assert not wordllama.embed([" "]).any()


@pytest.mark.parametrize("text", ["a\ud800b", "日本語のテスト", "👩‍👩‍👧‍👦", "שלום", "x" * 1_000_000, "word " * 200_000])
def test_any_text_has_a_vector(wordllama: Embedder, text: str) -> None:
    assert np.linalg.norm(wordllama.embed([text])[0]) == pytest.approx(1, abs=1e-5)


def test_what_is_alike_is_nearer(wordllama: Embedder) -> None:
    sky, scattering, bread = wordllama.embed(
        ["why does the sky look blue", "the colour of the atmosphere", "sourdough starter for bread"]
    )
    assert sky @ scattering > wordllama.floor > sky @ bread


def test_a_batch_gives_the_same_as_one_by_one(wordllama: Embedder) -> None:
    together = wordllama.embed(UNRELATED)
    assert np.allclose(together, np.stack([wordllama.embed([text])[0] for text in UNRELATED]), atol=1e-6)


def test_many_threads_load_it_once(settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[int] = []
    load = embeddings._wordllama

    def counted() -> embeddings.Encode:
        loads.append(1)
        return load()

    monkeypatch.setattr(embeddings, "_wordllama", counted)
    shared = embedder(settings())
    results: list[Any] = [None] * 8

    def work(number: int) -> None:
        results[number] = shared.embed([f"text {number % 2}"] * 20)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1
    assert all(np.array_equal(results[n], results[n % 2]) for n in range(8))


def test_the_floor_of_an_unmeasured_embedder_is_found_out(settings: Make) -> None:
    wordllama = embedder(settings())
    unmeasured = Lazy("again", embeddings._wordllama)
    assert unmeasured.floor == pytest.approx(wordllama.floor, abs=0.05)
    alike = Lazy("all alike", lambda: lambda texts: [[1.0, 0.0]] * len(texts))
    assert alike.floor == 0.9


@pytest.mark.parametrize("choice", ["word2vec", "ollama", "ollama/", "openai/", "anthropic/claude"])
def test_an_unknown_embedder_stops_the_start(settings: Make, choice: str) -> None:
    with pytest.raises(SettingsError, match="is not an embedder"):
        embedder(settings(PARLEY_EMBEDDER=choice))


def test_onnx_is_never_downloaded(
    settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: list[object]
) -> None:
    from chromadb.utils.embedding_functions.onnx_mini_lm_l6_v2 import ONNXMiniLM_L6_V2

    monkeypatch.setattr(ONNXMiniLM_L6_V2, "DOWNLOAD_PATH", tmp_path / "onnx_models")
    with pytest.raises(ModelNotFound, match="has not been downloaded"):
        embedder(settings(PARLEY_EMBEDDER="onnx")).embed(["text"])
    assert no_network == []
    assert not (tmp_path / "onnx_models").exists()


class Server(ThreadingHTTPServer):
    """Speaks Ollama's and OpenAI's embeddings: three numbers out of a text's length."""

    status = 200
    width = 3
    seen: list[tuple[str, str | None, dict[str, Any]]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, self.headers.get("Authorization"), body))
        rows = [[float(len(text)), 1.0, 2.0][: self.server.width] for text in body["input"]]
        if self.server.status != 200:
            answer: dict[str, Any] = {"error": "a secret reason"}
        elif self.path == "/api/embed":
            answer = {"model": body["model"], "embeddings": rows}
        else:
            data = [{"object": "embedding", "index": n, "embedding": row} for n, row in enumerate(rows)]
            answer = {"object": "list", "model": body["model"], "data": data, "usage": {}}
        payload = json.dumps(answer).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    served = Server(("127.0.0.1", 0), Handler)
    served.seen = []
    thread = threading.Thread(target=served.serve_forever, args=(0.01,))
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


def of_server(settings: Make, server: Server, maker: str) -> Embedder:
    if maker == "ollama":
        return embedder(settings(PARLEY_EMBEDDER="ollama/nomic", OLLAMA_HOST=server.url, OLLAMA_API_KEY="key-1"))
    own = {"OPENAI_BASE_URL": server.url + "/v1", "OPENAI_API_KEY": "key-1"}
    return embedder(settings(PARLEY_EMBEDDER="openai/text-embedding-3-small", **own))


@pytest.mark.parametrize(("maker", "path"), [("ollama", "/api/embed"), ("openai", "/v1/embeddings")])
def test_a_server_embeds(settings: Make, server: Server, maker: str, path: str) -> None:
    served = of_server(settings, server, maker)
    assert server.seen == []
    assert served.dimensions == 3
    texts = [f"text {number}" for number in range(130)] + [" "]
    vectors = served.embed(texts)
    assert vectors.shape == (131, 3)
    assert np.allclose(np.linalg.norm(vectors[:130], axis=1), 1)
    assert not vectors[130].any(), "a blank text is not sent"
    assert [len(body["input"]) for _, _, body in server.seen] == [1, 128, 2]
    assert {seen[:2] for seen in server.seen} == {(path, "Bearer key-1")}


@pytest.mark.parametrize(
    ("maker", "status", "error"),
    [
        ("ollama", 404, ModelNotFound),
        ("ollama", 500, ProviderUnavailable),
        ("openai", 401, AuthenticationFailed),
        ("openai", 404, ModelNotFound),
        ("openai", 400, ProviderUnavailable),
    ],
)
def test_a_servers_refusal_is_a_clear_error(
    settings: Make, server: Server, maker: str, status: int, error: type[Exception]
) -> None:
    server.status = status
    with pytest.raises(error) as caught:
        of_server(settings, server, maker).embed(["text"])
    assert "secret" not in str(caught.value)
    assert "key-1" not in str(caught.value)


@pytest.mark.parametrize("maker", ["ollama", "openai"])
def test_a_server_that_is_away_is_a_clear_error(settings: Make, server: Server, maker: str) -> None:
    away = of_server(settings, server, maker)
    server.shutdown()
    server.server_close()
    with pytest.raises(ProviderUnavailable):
        away.embed(["text"])


def test_vectors_that_change_their_length_are_refused(settings: Make, server: Server) -> None:
    served = of_server(settings, server, "ollama")
    served.embed(["text"])
    server.width = 2
    with pytest.raises(ProviderUnavailable, match="wrong shape"):
        served.embed(["text"])


def test_openai_without_a_key_says_so(settings: Make) -> None:
    with pytest.raises(AuthenticationFailed, match="No key"):
        embedder(settings(PARLEY_EMBEDDER="openai/text-embedding-3-small")).embed(["text"])
