"""What is believed of a proxy: through a real nginx, at a domain and under a path, and without one."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from tests.api._server import Api
from tests.api._whole import whole
from tests.waiting import wait_until

JOIN = "/gradio_api/queue/join"
RECIPES = (Path(__file__).resolve().parents[2] / "docs" / "deploy.md").read_text("utf-8")
CONFIGURATION = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{
        listen 127.0.0.1:{port};
        location {location} {{ proxy_pass http://127.0.0.1:{upstream}/; {more} }}
    }}
}}
"""
SAYS = """
    proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Proto https;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
"""


@pytest.fixture(scope="module")
def nginx() -> str:
    path = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    return path or pytest.skip("nginx is missing: apt-get install nginx")


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def before(nginx: str, tmp_path: Path) -> Iterator[object]:
    """`before(api, location, more)` puts an nginx in front of it: the same, to be called through nginx."""
    running: list[subprocess.Popen[bytes]] = []

    def make(api: Api, location: str = "/", more: str = "") -> Api:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        file = tmp_path / "nginx.conf"
        file.write_text(
            CONFIGURATION.format(folder=tmp_path, port=port, location=location, upstream=api.port, more=more)
        )
        running.append(subprocess.Popen([nginx, "-p", tmp_path, "-c", file, "-e", tmp_path / "error.log"]))
        wait_until(lambda: answers(port))
        return Api(port, api.services, [], api.server)

    yield make
    for process in running:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize("location", ["/", "/parley/"])
async def test_through_a_trusted_nginx(tmp_path: Path, before, location: str) -> None:  # type: ignore[no-untyped-def]
    root = location.rstrip("/")
    values = {"PARLEY_SHARED": "on", "PARLEY_ROOT_PATH": root, "PARLEY_TRUSTED_PROXIES": "127.0.0.1"}
    with whole(tmp_path, **values) as api:
        door = before(api, location, SAYS)
        got, headers, page = await door.call("GET", f"{root}/", host="parley.example")
        assert got == 200 and "samesite=none; secure" in headers["set-cookie"]
        assert f"path={location.rstrip('/') or '/'}" in headers["set-cookie"]
        assert f'"root":"https://parley.example{root}"'.encode() in page.replace(b" ", b"")
        # Browsers that send no Sec-Fetch-Site are told apart by Origin alone.
        for origin, expected in (
            ("https://parley.example", 422),
            ("http://parley.example", 403),
            ("https://evil.example", 403),
        ):
            answer = await door.call("POST", root + JOIN, b"{}", host="parley.example", origin=origin)
            assert answer[0] == expected, origin
        assert (await door.call("GET", f"{root}/theme.css", host="parley.example"))[0] == 200


@pytest.mark.parametrize("location", ["/", "/parley/"])
async def test_the_recipe_of_the_document(tmp_path: Path, before, location: str) -> None:  # type: ignore[no-untyped-def]
    root = location.rstrip("/")
    block = re.search(rf"^location {location} {{\n(.*?)^}}", RECIPES, re.M | re.S)
    assert block
    passed, *more = re.sub(r" +#.*", "", block[1]).split(";\n")
    assert passed.strip() == f"proxy_pass http://127.0.0.1:7860{'/' if root else ''}"
    values = {"PARLEY_SHARED": "on", "PARLEY_ROOT_PATH": root, "PARLEY_TRUSTED_PROXIES": "127.0.0.1"}
    with whole(tmp_path, **values) as api:
        door = before(api, location, ";\n".join(more))
        host = f"127.0.0.1:{door.port}"
        assert (await door.call("GET", f"{root}/", host=host))[0] == 200
        for origin, expected in ((f"http://{host}", 422), ("http://127.0.0.1", 403), ("http://evil.example", 403)):
            assert (await door.call("POST", root + JOIN, b"{}", host=host, origin=origin))[0] == expected, origin


async def test_a_stranger_is_not_believed(tmp_path: Path) -> None:
    said = {"x_forwarded_host": "evil.example", "x_forwarded_proto": "https", "x_forwarded_for": "203.0.113.5"}
    for trusted in ("", "10.0.0.0/8 ::1"):
        with whole(tmp_path / str(len(trusted)), PARLEY_SHARED="on", PARLEY_TRUSTED_PROXIES=trusted) as api:
            _, headers, page = await api.call("GET", "/", x_gradio_server="https://evil.example", **said)  # type: ignore[arg-type]
            assert "secure" not in headers["set-cookie"] and b"evil.example" not in page
            assert (await api.call("POST", JOIN, b"{}", origin="https://evil.example", **said))[0] == 403  # type: ignore[arg-type]


async def test_a_proxy_that_hides_the_address(tmp_path: Path, before) -> None:  # type: ignore[no-untyped-def]
    """A plain proxy_pass: on https, and wherever browsers say so, the page works all the same."""
    with whole(tmp_path, PARLEY_SHARED="on") as api:
        door = before(api)
        own = {"host": "parley.example", "origin": "https://parley.example"}
        assert (await door.call("POST", JOIN, b"{}", sec_fetch_site="same-origin", **own))[0] == 422
        got, _, answer = await door.call("POST", JOIN, b"{}", **own)
        assert got == 403 and b"PARLEY_TRUSTED_PROXIES" in answer


@pytest.mark.parametrize("more", ["", "proxy_set_header Host localhost;", "proxy_http_version 1.1;" + SAYS])
async def test_without_keys_the_api_is_not_open_through_nginx(tmp_path: Path, before, more: str) -> None:  # type: ignore[no-untyped-def]
    with whole(tmp_path) as api:
        door = before(api, "/", more)
        got, _, answer = await door.call("GET", "/v1/models")
        assert got == 403 and "proxy" in orjson.loads(answer)["error"]["message"]
        assert (await api.call("GET", "/v1/models"))[0] == 200


@pytest.mark.parametrize(
    "name",
    ["X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "Forwarded", "Via", "X-Real-IP",
     "CF-Connecting-IP", "x-forwarded-server"],
)  # fmt: skip
async def test_every_sign_of_a_proxy_counts(tmp_path: Path, name: str) -> None:
    with whole(tmp_path, PARLEY_TRUSTED_PROXIES="127.0.0.1") as api:
        assert (await api.call("GET", "/v1/models", **{name: "127.0.0.1"}))[0] == 403  # type: ignore[arg-type]


async def test_on_a_space(tmp_path: Path) -> None:
    """Its proxy comes from a private network, which loopback is not: the layer alone is asked."""
    from core.api.proxies import Proxies
    from core.settings import Settings

    seen: list[dict[str, object]] = []

    async def inner(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        seen.append(scope)

    settings = Settings.of({"SPACE_ID": "someone/parley", "PARLEY_DATA_DIR": str(tmp_path)}, env_file=None)
    for address in ("10.20.1.7", "::ffff:10.20.1.7", "203.0.113.9"):
        headers = [
            (b"host", b"10.20.1.2:7860"),
            (b"x-forwarded-host", b"someone-parley.hf.space"),
            (b"x-forwarded-proto", b"https,http"),
            (b"x-forwarded-for", b"1.1.1.1, 198.51.100.4, 10.1.1.1"),
        ]
        scope = {"type": "http", "scheme": "http", "client": (address, 5), "headers": headers, "path": "/"}
        await Proxies(inner, settings)(scope, None, None)  # type: ignore[arg-type]
        believed = (seen[-1]["scheme"], seen[-1]["client"][0], dict(seen[-1]["headers"])[b"host"])  # type: ignore[index,call-overload]
        if address.endswith("10.20.1.7"):
            assert believed == ("https", "198.51.100.4", b"someone-parley.hf.space")
        else:
            assert believed == ("http", address, b"10.20.1.2:7860")
        assert not [name for name, _ in seen[-1]["headers"] if re.match(b"x-forwarded-(host|proto)", name)]  # type: ignore[attr-defined]
