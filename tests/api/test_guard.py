"""Foreign web pages reach neither the interface nor what it can spend: the whole workbench over loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api._server import Api
from tests.api._whole import whole

JOIN = "/gradio_api/queue/join"
EVIL = "https://evil.example"
PLACES: tuple[dict[str, str], ...] = ({}, {"PARLEY_SHARED": "on"}, {"PARLEY_ROOT_PATH": "/parley"})


@pytest.fixture(scope="module", params=PLACES, ids=["local", "shared", "under a path"])
def api(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Api]:
    with whole(tmp_path_factory.mktemp("whole"), PARLEY_API_KEYS="a-key", **request.param) as running:
        yield running


async def status(api: Api, method: str, path: str, **headers: str) -> int:
    return (await api.call(method, path, b"{}" if method == "POST" else b"", **headers))[0]  # type: ignore[arg-type]


@pytest.mark.parametrize("path", [JOIN, "/gradio_api/upload", "/v1/chat/completions", "/api/v1/prompts/a/render", "/x"])
async def test_nobody_elses_page_writes(api: Api, path: str) -> None:
    own = f"http://127.0.0.1:{api.port}"
    for headers in (
        {"origin": EVIL},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9"},
        {"origin": own.replace("http:", "https:")},
        {"origin": f"{own}.evil.example"},
        {"origin": ""},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "surprise"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "origin": own},
        {"sec_fetch_site": "none", "origin": EVIL},
    ):
        for method in ("POST", "PUT", "DELETE", "PATCH", "ODD"):
            got = await status(api, method, path, authorization="Bearer a-key", **headers)
            # The server's parser may refuse a method that it does not know before anybody else is asked.
            assert got == 403 or (method == "ODD" and got == 400), (method, headers, got)
        overridden = await api.call("GET", path, x_http_method_override="POST", authorization="Bearer a-key", **headers)  # type: ignore[arg-type]
        assert overridden[0] in (403, 404, 405)


async def test_the_own_page_and_programs_write(api: Api) -> None:
    own = f"http://127.0.0.1:{api.port}"
    for headers in (
        {},
        {"origin": own},
        {"origin": own.upper(), "sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "same-origin", "origin": "https://behind-a-proxy.example"},
        {"sec_fetch_site": "none"},
    ):
        assert await status(api, "POST", JOIN, **headers) == 422, headers  # FastAPI misses fields: it was let in
        assert await status(api, "POST", "/v1/chat/completions", authorization="Bearer a-key", **headers) == 400


async def test_what_reads_is_for_the_own_page_and_for_links(api: Api) -> None:
    for path in ("/", "/config", "/gradio_api/queue/data?session_hash=a", "/gradio_api/info"):
        for site in ("cross-site", "same-site"):
            assert await status(api, "GET", path, sec_fetch_site=site, sec_fetch_mode="cors") == 403
            assert await status(api, "GET", path, sec_fetch_site=site, sec_fetch_mode="no-cors") == 403
            assert await status(api, "HEAD", path, sec_fetch_site=site) == 403
    assert await status(api, "GET", "/", sec_fetch_site="cross-site", sec_fetch_mode="navigate") == 200
    assert await status(api, "GET", "/config", sec_fetch_site="same-origin", sec_fetch_mode="cors") == 200


async def test_no_site_is_told_that_it_may_read(api: Api) -> None:
    for origin in (EVIL, "null", f"http://127.0.0.1:{api.port}"):
        for method, path in (
            ("GET", "/"),
            ("GET", "/config"),
            ("OPTIONS", JOIN),
            ("OPTIONS", "/"),
            ("OPTIONS", "/v1/models"),
            ("GET", "/v1/models"),
        ):
            _, headers, _ = await api.call(
                method, path, origin=origin, access_control_request_method="POST", access_control_request_headers="a"
            )
            assert not [name for name in headers if name.startswith("access-control")], (method, path, origin)


async def test_websockets_are_refused(api: Api) -> None:
    upgrade = {
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec_websocket_version": "13",
    }
    for path in ("/", "/gradio_api/queue/join", "/v1/models"):
        for origin in (EVIL, "null", f"http://127.0.0.1:{api.port}"):  # nothing here speaks it
            assert await status(api, "GET", path, origin=origin, **upgrade) == 403


@pytest.mark.parametrize("name", ["host", "origin", "content-length", "sec-fetch-site", "authorization"])
async def test_headers_that_are_there_twice(api: Api, name: str) -> None:
    own = {"host": f"127.0.0.1:{api.port}", "content-length": "0", "sec-fetch-site": "same-origin"}
    value = own.get(name, "http://own")
    lines = [f"POST {JOIN} HTTP/1.1", "connection: close"]
    lines += [f"{key}: {text}" for key, text in own.items() if key != name]
    lines += [f"{name}: {value}", f"{name}: {value}"]
    reader, writer = await api.raw("\r\n".join([*lines, "", ""]).encode())
    assert b" 400 " in (await reader.readline())
    writer.close()


@pytest.mark.parametrize(
    "path",
    ["//v1/chat/completions", "/%76%31/chat/completions", "/./v1/chat/completions", "/V1/chat/completions",
     "/x/../v1/chat/completions", "/gradio_api//queue/join", "/gradio_api/%71ueue/join",
     "/healthz/../gradio_api/queue/join",
     "/v1/../gradio_api/queue/join", "/v1/%2e%2e/gradio_api/queue/join", "/parley/v1/chat/completions",
     "http://evil.example/v1/chat/completions", "/healthz%2f..%2fgradio_api%2fqueue%2fjoin"],
)  # fmt: skip
async def test_other_spellings_of_a_path_open_nothing(api: Api, path: str) -> None:
    assert await status(api, "POST", path, origin=EVIL) == 403
    assert await status(api, "POST", path, sec_fetch_site="same-site") == 403
    assert await status(api, "POST", path) in (401, 404, 422)  # no key, nothing there, or the plain address


async def test_on_its_own_machine_only_own_names_are_answered(tmp_path: Path) -> None:
    with whole(tmp_path) as api:
        for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "[", ""):
            reader, writer = await api.raw(f"GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
            answer = (await reader.read()).decode()
            writer.close()
            assert " 403 " in answer.split("\r\n")[0] and "PARLEY_SHARED" in answer
            for own in ("localhost", f"LOCALHOST:{api.port}", "[::1]:80"):
                assert (await api.call("GET", "/", host=own))[0] == 200
            for path, expected in (("/healthz", 200), ("/v1/models", 403), ("/v1x", 403), ("/api/x", 403)):
                assert (await api.call("GET", path, host="evil.example"))[0] == expected


async def test_sites_that_the_operator_lists(tmp_path: Path) -> None:
    listed = "https://app.example"
    with whole(tmp_path, PARLEY_SHARED="on", PARLEY_API_KEYS="a-key", PARLEY_ALLOWED_ORIGINS=listed) as api:
        body = json.dumps({"model": "puppet/able", "messages": [{"role": "user", "content": "Hi"}]}).encode()
        asked = {"access_control_request_method": "POST", "access_control_request_headers": "authorization"}
        got, headers, _ = await api.call("OPTIONS", "/v1/chat/completions", origin=listed, **asked)  # type: ignore[arg-type]
        assert got == 200 and headers["access-control-allow-origin"] == listed
        assert "authorization" in headers["access-control-allow-headers"]
        site = {"origin": listed, "sec_fetch_site": "cross-site", "sec_fetch_mode": "cors"}
        got, headers, _ = await api.call(
            "POST",
            "/v1/chat/completions",
            body,
            authorization="Bearer a-key",
            **site,  # type: ignore[arg-type]
        )
        assert got == 200 and headers["access-control-allow-origin"] == listed
        assert "access-control-allow-credentials" not in headers
        assert await status(api, "POST", "/v1/chat/completions", **site) == 401
        # Neither the interface is theirs, nor the API another site's.
        assert await status(api, "POST", JOIN, **site) == 403
        got, headers, _ = await api.call("OPTIONS", JOIN, origin=listed, **asked)  # type: ignore[arg-type]
        assert "access-control-allow-origin" not in headers
        got, headers, _ = await api.call("OPTIONS", "/v1/chat/completions", origin=EVIL, **asked)  # type: ignore[arg-type]
        assert "access-control-allow-origin" not in headers
