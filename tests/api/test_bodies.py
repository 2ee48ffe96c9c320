"""How much may come in: the whole workbench over loopback."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator

import pytest

from core.api import bodies
from core.api.connections import Connection
from tests.api._server import Api
from tests.api._whole import whole

MB = 1024 * 1024
_FILE = b'--b\r\ncontent-disposition: form-data; name="files"; filename="%b"\r\n\r\n'


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with whole(tmp_path_factory.mktemp("whole"), PARLEY_SHARED="on", PARLEY_API_KEYS="a-key") as running:
        yield running


async def pour(api: Api, path: str, size: int, length: int | None) -> tuple[bytes, int]:
    """Send `size` bytes, in chunks if there is no `length`: the status line, and how much was taken."""
    sized = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    kind = "multipart/form-data; boundary=b" if path.endswith("/upload") else "application/json"
    lines = (f"POST {path} HTTP/1.1", "host: a", sized, "authorization: Bearer a-key", f"content-type: {kind}")
    reader, writer = await api.raw("\r\n".join([*lines, "", ""]).encode())
    piece = _FILE % b"f" + b" " * MB + b"\r\n" if path.endswith("/upload") else b" " * (MB // 4)
    frame = b"%x\r\n%b\r\n" % (len(piece), piece) if length is None else piece
    status = asyncio.create_task(reader.readline())
    sent = 0
    while sent < size and not status.done():
        writer.write(frame)
        await writer.drain()
        await asyncio.sleep(0)  # let the answer in
        sent += len(piece)
    line = await asyncio.wait_for(status, 10)
    writer.close()
    return line, sent


@pytest.mark.parametrize("length", [None, 500 * MB], ids=["chunked", "announced"])
@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/gradio_api/queue/join", 8),
        ("/gradio_api/run/predict", 8),
        ("/gradio_api/upload", 81),
        ("/gradio_api/cancel", 1),
        ("/v1/chat/completions", 34),
        ("/api/v1/prompts/a/render", 34),
    ],
)
async def test_more_than_an_address_takes(api: Api, path: str, limit: int, length: int | None) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    status, sent = await pour(api, path, 500 * MB, length)
    assert b" 413 " in status
    assert sent < (limit + 24) * MB  # and what the kernel holds
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 4 * limit + 100


async def test_what_fits_comes_in(api: Api) -> None:
    got, _, _ = await api.call("POST", "/gradio_api/queue/join", b" " * (7 * MB))
    assert got == 422
    files = b"".join(_FILE % name + b"x" * (15 * MB) + b"\r\n" for name in (b"one", b"two")) + b"--b--\r\n"
    got, _, answer = await api.call("POST", "/gradio_api/upload", files, content_type="multipart/form-data; boundary=b")
    assert got == 200, answer


EVENT = b'{"session_hash": "a", "fn_index": 0, "data": [%b]}'


@pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/gradio_api/run/a", "/v1/chat/completions"])
@pytest.mark.parametrize(
    "data",
    [
        b",".join([b"[]"] * 200_000),
        b",".join([b'{"a":0}'] * 200_000),
        b"{" + b",".join(b'"%x":0' % number for number in range(200_000)) + b"}",
        b'"\\\\", "\\\\\\"", ' + b",".join([b'"\\\\"'] * 200_000),
        b"[" * 200_000,
    ],
)
async def test_more_values_than_an_address_takes(api: Api, path: str, data: bytes) -> None:
    for body in (EVENT % data, (EVENT % data).decode().encode("utf-16"), (EVENT % data).decode().encode("utf-32-be")):
        got, _, answer = await api.call("POST", path, body, authorization="Bearer a-key")
        assert got == 413
        assert b"more than" in answer


async def test_commas_in_texts_are_no_values(api: Api) -> None:
    text = b'"' + b'[{,\\"\\\\,' * 500_000 + b'"'
    got, _, answer = await api.call("POST", "/gradio_api/run/a", b'{"fn_index": 24, "data": [%b]}' % text)
    assert got != 413, answer


@pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/gradio_api/upload", "/v1/chat/completions"])
async def test_a_body_that_does_not_come_is_not_waited_for(
    api: Api, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "PATIENCE", 0.2)
    monkeypatch.setattr(bodies, "LINGER", 0.1)
    kind = "multipart/form-data; boundary=b"
    head = f"POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer a-key\r\ncontent-type: {kind}"
    reader, writer = await api.raw(f"{head}\r\ntransfer-encoding: chunked\r\n\r\n5\r\n--b\r\n\r\n".encode())
    dripping = asyncio.create_task(_drip(writer))
    answer = await asyncio.wait_for(reader.readline(), 20)
    dripping.cancel()
    assert b" 408 " in answer
    writer.close()


async def _drip(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"1\r\n-\r\n")
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTTP/1.1\r\nhost: a\r\n", b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\nGET"]
)
async def test_a_request_that_does_not_come_is_not_waited_for(
    api: Api, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connection, "patience", 0.3)
    reader, writer = await api.raw(sent)
    answer = await asyncio.wait_for(reader.read(), 4)  # to the end
    assert answer.startswith(b"HTTP/1.1 200") == sent.endswith(b"GET")
    writer.close()


async def test_an_answer_may_take_its_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "patience", 0.1)
    monkeypatch.setattr(bodies, "PATIENCE", 0.1)
    reader, writer = await api.raw(b"GET /gradio_api/heartbeat/abc HTTP/1.1\r\nhost: a\r\n\r\n")
    await reader.readuntil(b"ALIVE")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 1)
    assert not reader.at_eof()
    writer.close()
