"""No visitor reads a file through an event that they have not uploaded themselves, and uploads have their limits.

The whole application on a real uvicorn, driven by HTTP as any program could.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
import uvicorn

from app import create
from core.services import Services
from core.settings import Settings
from pages.kit import uploads as uploads_module
from tests.scripted import Scripted
from tests.waiting import wait_until

MARK = "never-to-be-seen-5e9a"
REFUSED = "none of your uploads"


class House:
    """A running workbench whose visitors are told apart."""

    def __init__(self, folder: Path, **own: str) -> None:
        environ = {
            "PARLEY_DATA_DIR": str(folder / "data"),
            "PARLEY_PROMPTS_DIR": str(folder / "prompts"),
            "PARLEY_SHARED": "on",
            "PARLEY_MAX_UPLOAD_MB": "2",
            "PARLEY_VISITOR_UPLOADS_MB": "4",
            "PARLEY_UPLOADS_MB": "7",
            **own,
        }
        self.services = Services.open(Settings.of(environ, env_file=None), {"scripted": Scripted()})
        app = create(self.services)
        inner: Any = app
        while not hasattr(inner, "routes"):  # the perimeter around the application
            inner = getattr(inner, "_app", None) or inner.app
        self.demo: gr.Blocks = next(r.app.get_blocks() for r in inner.routes if hasattr(getattr(r, "app", 0), "blocks"))
        self.server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1))
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        wait_until(lambda: self.server.started or not self.thread.is_alive())
        assert self.server.started
        self.port = int(self.server.servers[0].sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def folder(self) -> Path:
        return self.services.uploads.folder

    @contextlib.contextmanager
    def visitor(self) -> Iterator[httpx.Client]:
        with httpx.Client(base_url=self.url, timeout=30) as client:
            client.get("/").raise_for_status()
            yield client

    def files(self) -> list[Path]:
        return [Path(at, name) for at, _, names in os.walk(self.folder) for name in names]

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)


@contextlib.contextmanager
def running(folder: Path, **own: str) -> Iterator[House]:
    before = os.environ.get("GRADIO_TEMP_DIR")
    house = House(folder, **own)
    try:
        yield house
    finally:
        house.stop()
        os.environ.pop("GRADIO_TEMP_DIR")
        if before is not None:
            os.environ["GRADIO_TEMP_DIR"] = before


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running(tmp_path_factory.mktemp("uploads")) as house:
        yield house


@pytest.fixture(autouse=True)
def empty(house: House) -> Iterator[None]:
    yield
    house.services.uploads.start()


def upload(client: httpx.Client, content: bytes, name: str = "notes.txt", **more: Any) -> httpx.Response:
    return client.post("/gradio_api/upload", files={"files": (name, content)}, **more)


def file_of(path: Any) -> dict[str, Any]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def send(client: httpx.Client, calls: list[tuple[int, list[Any]]]) -> list[dict[str, Any]]:
    """Call events by their numbers, and give back what each ended with, in no order."""
    session = os.urandom(6).hex()
    for number, data in calls:
        body = {"fn_index": number, "data": data, "session_hash": session, "event_data": None, "trigger_id": None}
        client.post("/gradio_api/queue/join", json=body).raise_for_status()
    ended: list[dict[str, Any]] = []
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as answer:
        for line in answer.iter_lines():
            if line.startswith("data:"):
                message = json.loads(line[5:])
                if message["msg"] == "process_completed":
                    ended.append(message)
                if len(ended) == len(calls):
                    break
    return ended


def events(house: House) -> list[Any]:
    """Every event that Python answers."""
    return [fn for fn in house.demo.fns.values() if fn.fn is not None]


def takes_files(component: Any) -> bool:
    return "FileData" in json.dumps(component.data_model.model_json_schema()) if component.data_model else False


@pytest.fixture
def me(house: House) -> Iterator[httpx.Client]:
    with house.visitor() as client:
        yield client


@pytest.fixture
def hostile(house: House, me: httpx.Client, tmp_path: Path) -> Iterator[list[Any]]:
    """Paths that `me` has no business with, though they lead to something. `leaks` knows what must not be seen."""
    uploads = house.folder
    secret = tmp_path / ".env"
    secret.write_text(f"ANTHROPIC_API_KEY={MARK}")
    inside = uploads / "planted"
    inside.mkdir()
    (inside / "plain.txt").write_text(MARK)
    with house.visitor() as stranger:
        (theirs,) = upload(stranger, MARK.encode()).json()
    (mine,) = upload(me, b"mine").json()
    own = Path(mine).parent
    (own / "link").symlink_to(secret)
    (own / "hard").hardlink_to(secret)
    (own.parent / "folder").symlink_to(tmp_path)
    os.mkfifo(own / "fifo")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(MARK.encode())

    asked: list[str] = []
    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    yield [
        "/etc/passwd", str(house.folder.parent / "secret"), str(secret), "/proc/self/environ", "/dev/zero",
        str(own / "link"), str(own / "hard"), str(own.parent / "folder" / ".env"), str(own), str(own / "fifo"),
        str(inside / "plain.txt"), theirs, f"{own}/../../../../secret", f"{own}/../../{Path(theirs).parent.name}",
        f"{mine}/../link", f"{mine}\x00.txt", mine + "/", "", "notes.txt", "~/x", f"file://{secret}",
        f"http://127.0.0.1:{other.server_port}/x", None, 7, ["x"],
    ]  # fmt: skip
    other.shutdown()
    other.server_close()
    assert asked == []


def leaks(house: House, answers: str) -> list[str]:
    secret = (house.folder.parent / "secret").read_text()
    return [mark for mark in (MARK, secret, "root:x:0", "PATH=/") if mark in answers]


def test_no_event_reads_what_its_visitor_has_not_uploaded(house: House, me: httpx.Client, hostile: list[Any]) -> None:
    before = len(house.files())
    found = events(house)
    assert len(found) > 30
    calls: list[tuple[int, list[Any]]] = []
    for fn in found:
        for place, component in enumerate(fn.inputs):
            taking = takes_files(component)
            for path in hostile if taking else hostile[1:2]:
                file = file_of(path)
                shapes: list[Any] = [file, [file], {"text": "hi", "files": [file]}, {"a": [{"b": {"value": [file]}}]}]
                for value in shapes[:3] if taking else shapes[3:]:
                    data: list[Any] = [None] * len(fn.inputs)
                    data[place] = value
                    calls.append((fn._id, data))
    kinds = {type(c).__name__ for fn in found for c in fn.inputs if takes_files(c)}
    assert {"MultimodalTextbox", "UploadButton"} <= kinds
    for start in range(0, len(calls), 200):
        for end in send(me, calls[start : start + 200]):
            assert not end["success"], end
            assert REFUSED in end["output"]["error"]
            assert not leaks(house, json.dumps(end))
    assert len(house.files()) == before  # nothing was copied
    for path in house.folder.rglob("*"):
        assert path.is_dir() or path.name in ("notes.txt", "plain.txt", "link", "hard", "folder", "fifo")


@pytest.mark.parametrize(
    "how", ["run/predict", "api/predict", "call/predict", "call/v2/predict", "run/send", "call/send"]
)
def test_nor_does_any_other_way_of_calling(house: House, me: httpx.Client, hostile: list[Any], how: str) -> None:
    box = next(fn for fn in events(house) if any(type(c).__name__ == "MultimodalTextbox" for c in fn.inputs))
    for path in hostile[:4]:
        data = [{"text": "hi", "files": [file_of(path)]}] * len(box.inputs)
        try:
            answer = me.post(f"/gradio_api/{how}", json={"fn_index": box._id, "data": data, "session_hash": "a1"})
        except httpx.TransportError:  # Gradio fails at a name that it does not know
            continue
        text = answer.text
        if answer.is_success:
            text = me.get(f"/gradio_api/{how}/{answer.json()['event_id']}").text
            assert "event: error" in text
            assert "event: complete" not in text
        assert not leaks(house, text)


def test_gradio_refuses_by_itself_too(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attribute that a mounted application must set still is the one that Gradio asks."""
    monkeypatch.setattr(uploads_module, "_files", lambda inputs: [])
    button = next(fn for fn in events(house) if [type(c).__name__ for c in fn.inputs] == ["UploadButton"])
    with house.visitor() as me:
        (end,) = send(me, [(button._id, [[file_of("/etc/passwd")]])])
        assert not end["success"]
        assert "root:x:0" not in json.dumps(end)
        assert not any(path.name == "passwd" for path in house.files())


def test_a_file_of_ones_own_is_taken_and_gone_when_used(house: House) -> None:
    button = next(fn for fn in events(house) if [type(c).__name__ for c in fn.inputs] == ["UploadButton"])
    with house.visitor() as me, house.visitor() as other:
        (path,) = upload(me, b"name: hello\ntext: Hello\n", "hello.yaml").json()
        assert Path(path).is_relative_to(house.folder)
        (refused,) = send(other, [(button._id, [[file_of(path)]])])
        assert REFUSED in refused["output"]["error"]
        (taken,) = send(me, [(button._id, [[{**file_of(path), "url": "http://127.0.0.1:9/", "is_stream": True}]])])
        assert taken["success"], taken
        assert "hello.yaml" in json.dumps(taken)
        assert not Path(path).exists()


def test_a_file_is_served_to_its_visitor_only(house: House, me: httpx.Client, hostile: list[Any]) -> None:
    with house.visitor() as other:
        (path,) = upload(me, b"<script>alert(1)</script>", "page.html").json()
        for spelled in (f"file={path}", f"file/{path}"):
            answer = me.get(f"/gradio_api/{spelled}")
            if spelled.startswith("file="):
                assert answer.content == b"<script>alert(1)</script>"
                assert answer.headers["content-disposition"].startswith("attachment")
                assert answer.headers["content-type"] == "application/octet-stream"
            for client in (other, httpx.Client(base_url=house.url)):
                for method in ("GET", "HEAD"):
                    refused = client.request(method, f"/gradio_api/{spelled}", headers={"Range": "bytes=0-5"})
                    assert refused.status_code in (403, 404), (method, spelled)
        for wrong in hostile:
            if isinstance(wrong, str) and "\0" not in wrong:
                for spelled in (f"file={wrong}", f"file/{wrong}", f"file/{wrong.lstrip('/')}"):
                    answer = me.get(f"/gradio_api/{spelled}")
                    assert answer.status_code in (403, 404)
                    assert not leaks(house, answer.text)


def test_a_file_that_is_too_large_is_refused_and_leaves_nothing(house: House) -> None:
    with house.visitor() as me:
        for more in ({}, {"params": {"upload_id": "abc"}}):
            answer = upload(me, b"x" * (2 * 1024 * 1024 + 1), **more)
            assert answer.status_code == 413
            assert answer.text.startswith("The file is larger than 2 MB.")
        assert house.files() == []
        assert upload(me, b"x" * 2 * 1024 * 1024).status_code == 200


def test_shares_and_the_total_hold_and_are_given_back(house: House) -> None:
    big = b"x" * 1_900_000
    with house.visitor() as me, house.visitor() as other, house.visitor() as third:
        assert [upload(me, big).status_code for _ in range(3)] == [200, 200, 429]
        refused = upload(me, big)
        assert refused.text.startswith("Your uploads that wait to be used would take more than 4 MB.")
        assert int(refused.headers["retry-after"]) > 0
        (path,) = upload(other, big).json()
        refused = upload(third, big)
        assert refused.status_code == 429
        assert refused.text.startswith("All uploads on this server together would take more than 7 MB.")
        with contextlib.suppress(httpx.HTTPError):
            assert third.get(f"/gradio_api/file={path}").status_code == 403
        uploads = house.services.uploads
        visitor = next(batch for batch in uploads._batches if str(batch.folder) in path)
        uploads._forget(visitor)
        assert upload(third, big).status_code == 200


def test_a_network_has_half_of_the_total_whatever_its_cookies(tmp_path: Path) -> None:
    big = b"x" * 1_900_000
    with running(tmp_path, PARLEY_TRUSTED_PROXIES="127.0.0.1") as house:
        got = []
        for number in range(3):
            with house.visitor() as fresh:  # of one IPv6 network
                got.append(upload(fresh, big, headers={"x-forwarded-for": f"2001:db8::{number}"}))
        assert [answer.status_code for answer in got] == [200, 429, 429]
        assert got[1].text.startswith("All uploads from your network together would take more than 3 MB.")
        with house.visitor() as other:
            assert upload(other, big, headers={"x-forwarded-for": "2001:db8:0:1::1"}).status_code == 200


def test_many_small_files_take_room_too_and_are_not_too_many(house: House) -> None:
    with house.visitor() as me:
        many = [("files", (f"{number}.txt", str(number))) for number in range(201)]
        refused = me.post("/gradio_api/upload", files=many)
        assert refused.status_code == 400
        assert refused.text.startswith("These are more than 200 files.")
        assert house.files() == []
        assert me.post("/gradio_api/upload", files=many[:200]).status_code == 200
        assert me.post("/gradio_api/upload", files=many[:200]).status_code == 429


@pytest.mark.parametrize("name", ["..", ".", "/", "../../a", "..\\..\\a", "ä" * 300, "a\x00b", "\U0001f600" * 200])
def test_a_name_leads_nowhere_else(house: House, name: str) -> None:
    with house.visitor() as me:
        (path,) = upload(me, b"content", name).json()
        assert house.files() == [Path(path)]
        assert house.services.uploads.read(house_visitor(house), path) == (Path(path).name, b"content")


def house_visitor(house: House) -> str:
    """Whoever asked last."""
    return list(house.services.visitors._networks)[-1]


def chunks(total: int) -> Iterator[bytes]:
    """A multipart body that does not say how long it is."""
    yield b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
    for number in range(total // 65536):
        if number % 24 == 23:
            yield b'\r\n--b\r\nContent-Disposition: form-data; name="files"; filename="a%d"\r\n\r\n' % number
        yield b"x" * 65536
    yield b"\r\n--b--\r\n"


def test_a_share_is_counted_while_the_body_comes_in(house: House) -> None:
    kind = {"content-type": "multipart/form-data; boundary=b"}
    with house.visitor() as me:
        answer = me.post("/gradio_api/upload", content=chunks(5_000_000), headers=kind)
        assert answer.status_code == 429
        assert house.files() == []
        assert me.post("/gradio_api/upload", content=chunks(3_000_000), headers=kind).status_code == 200


@pytest.mark.parametrize("body", [b"", b"--b\r\n", b"--b\r\nX: y\r\n\r\nz\r\n--b--\r\n", b"rubbish" * 100])
def test_a_damaged_upload_is_refused_and_leaves_nothing(house: House, body: bytes) -> None:
    with house.visitor() as me:
        for kind in ("multipart/form-data; boundary=b", "multipart/form-data", "text/plain"):
            answer = me.post("/gradio_api/upload?upload_id=q", content=body, headers={"content-type": kind})
            assert answer.status_code in (200, 400)
            assert answer.status_code == 400 or answer.json() == []
    assert house.files() == []


def test_an_upload_that_breaks_off_leaves_nothing(house: House) -> None:
    with socket.create_connection(("127.0.0.1", house.port)) as wire:
        wire.sendall(
            b"POST /gradio_api/upload HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\n"
            b"content-length: 1000000\r\n\r\n--b\r\n"
            b'Content-Disposition: form-data; name="files"; filename="a"\r\n\r\n' + b"x" * 300_000
        )
        wait_until(lambda: len(house.files()) == 1)
    wait_until(lambda: house.files() == [] and not house.services.uploads._batches)


def test_a_full_disk_is_told_and_leaves_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_room(self: Any, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gradio.route_utils.GradioUploadFile.write", no_room)
    with house.visitor() as me:
        answer = upload(me, b"x" * 1000)
        assert answer.status_code == 507
        assert answer.text.startswith("The file could not be kept on the server's disk.")
    assert house.files() == []
    assert not house.services.uploads._batches


def test_the_folder_is_private_and_swept(house: House) -> None:
    assert house.folder.stat().st_mode & 0o777 == 0o700
    uploads = house.services.uploads
    with house.visitor() as me:
        (old,) = upload(me, b"old").json()
        stray = house.folder / "tmpabc"
        stray.write_bytes(b"")
        os.utime(stray, (1, 1))
        for batch in uploads._batches:
            batch.began -= 3601
        (fresh,) = upload(me, b"fresh").json()
        uploads.sweep()
        assert not Path(old).exists()
        assert not stray.exists()
        assert Path(fresh).exists()
    uploads.start()
    assert house.files() == []


def test_there_is_one_page(me: httpx.Client) -> None:
    assert me.get("/?page=other").status_code == 404
    assert me.get("/?tab=prompts").status_code == 200


def test_nobody_reads_another_visitors_page(house: House, me: httpx.Client) -> None:
    body = {"fn_index": events(house)[0]._id, "data": [None] * len(events(house)[0].inputs), "session_hash": "known"}
    assert me.post("/gradio_api/queue/join", json=body).status_code == 200
    with house.visitor() as stranger:
        assert stranger.get("/gradio_api/queue/data", params={"session_hash": "known"}).status_code == 403
        assert stranger.get("/gradio_api/heartbeat/known").status_code == 403
        assert stranger.post("/gradio_api/queue/join", json=body).status_code == 400
    with me.stream("GET", "/gradio_api/queue/data", params={"session_hash": "known"}) as answer:
        assert answer.status_code == 200
        assert next(answer.iter_lines()).startswith("data: ")
