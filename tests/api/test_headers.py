"""What every answer carries: the whole workbench over loopback."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.api._whole import whole


@pytest.mark.parametrize(
    ("values", "frames"),
    [
        ({}, "'self'"),
        ({"SPACE_ID": "someone/parley"}, "'self' https://huggingface.co"),
        ({"PARLEY_FRAME_ANCESTORS": "https://a.example https://b.example:8443"}, "'self' https://a.example https://b.example:8443"),
    ],
)  # fmt: skip
async def test_frames_kinds_referrers_and_caches(tmp_path: Path, values: dict[str, str], frames: str) -> None:
    with whole(tmp_path, PARLEY_SHARED="on", **values) as api:
        page = (await api.call("GET", "/"))[2].decode()
        asset = "/assets/" + page.split("/assets/")[1].split('"')[0]
        visitors = api.services.visitors
        made = [visitors.cookie(kind, "somebody", https=False) for kind in ("visitor", "session")]
        cookies = "; ".join(cookie.decode().split(";")[0] for cookie in made)
        for path in (
            "/",
            "/config",
            "/gradio_api/info",
            "/gradio_api/file=/etc/passwd",
            "/nothing",
            "/v1/models",
            asset,
        ):
            for cookie in ("", cookies):
                _, headers, _ = await api.call("GET", path, **({"cookie": cookie} if cookie else {}))  # type: ignore[arg-type]
                assert headers["content-security-policy"] == f"frame-ancestors {frames}"
                assert headers["x-content-type-options"] == "nosniff"
                assert headers["referrer-policy"] == "no-referrer"
                if "set-cookie" in headers:
                    assert not cookie and headers["cache-control"] == "no-store"
                elif path == asset:
                    assert headers.get("cache-control") != "no-store"
                else:
                    assert headers["cache-control"] in ("no-store", "private")
        got, headers, _ = await api.call(
            "GET", "/", host="x", origin="https://evil.example", sec_fetch_site="cross-site"
        )
        assert got == 403 and headers["content-security-policy"] == f"frame-ancestors {frames}"


async def test_a_request_does_not_come_back_in_the_headers(tmp_path: Path) -> None:
    """Gradio answers a request for a part of a file with the request's own headers."""
    with whole(tmp_path, PARLEY_SHARED="on") as api:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{api.port}") as client:
            [path] = (await client.post("/gradio_api/upload", files={"files": ("a.txt", b"abcdef")})).json()
            client.cookies.set("secret", "1")
            more = {"range": "bytes=1-3", "authorization": "Bearer secret"}
            answer = await client.get(f"/gradio_api/file={path}", headers=more)
    assert answer.status_code in (200, 206) and answer.content in (b"abcdef", b"bcd")
    assert not {"cookie", "authorization", "x-parley-visitor", "x-parley-session"} & set(answer.headers)
