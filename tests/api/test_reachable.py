"""Every address that Gradio has, and whether it answers. One that a new version of Gradio brings fails the test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from starlette.routing import Mount

from tests.api._server import Api
from tests.api._whole import whole

OPEN = """
GET /  HEAD /  GET /config  GET /theme.css  GET /favicon.ico  GET /robots.txt  GET /manifest.json
GET /assets/{}  GET /static/{}  GET /svelte/{}
GET /gradio_api/info  GET /gradio_api/app_id  GET /gradio_api/heartbeat/{}
GET /gradio_api/queue/data  GET /gradio_api/upload_progress  GET /gradio_api/file={}  HEAD /gradio_api/file={}
POST /gradio_api/queue/join  POST /gradio_api/run/{}  POST /gradio_api/cancel  POST /gradio_api/reset
POST /gradio_api/upload
"""
CLOSED = """
GET /config/  POST /gradio_api/api/{}  POST /gradio_api/api/{}/  GET /gradio_api/app_id/  POST /gradio_api/call/v2/{}
POST /gradio_api/call/v2/{}/  GET /gradio_api/call/v2/{}/{}  POST /gradio_api/call/{}  POST /gradio_api/call/{}/
GET /gradio_api/call/{}/{}  POST /gradio_api/component_server  POST /gradio_api/component_server/
GET /gradio_api/custom_component/{}/{}/{}/{}  GET /gradio_api/deep_link  GET /gradio_api/dev/reload
GET /gradio_api/file/{}  GET /gradio_api/info/  GET /gradio_api/login_check  GET /gradio_api/login_check/
GET /gradio_api/openapi.json  POST /gradio_api/process_recording  HEAD /gradio_api/proxy={}  GET /gradio_api/proxy={}
GET /gradio_api/queue/status  POST /gradio_api/reset/  POST /gradio_api/run/{}/  GET /gradio_api/runs
GET /gradio_api/runs/  POST /gradio_api/stream/{}  POST /gradio_api/stream/{}/close
GET /gradio_api/startup-events  GET /gradio_api/stream/{}/{}/{}/playlist-file
GET /gradio_api/stream/{}/{}/{}/playlist.m3u8
GET /gradio_api/stream/{}/{}/{}/{}.{}  GET /gradio_api/theme.css  GET /gradio_api/token  GET /gradio_api/token/
POST /gradio_api/undo-vibe-edit  POST /gradio_api/undo-vibe-edit/  GET /gradio_api/user  GET /gradio_api/user/
POST /gradio_api/vibe-code  GET /gradio_api/vibe-code  GET /gradio_api/vibe-code/  POST /gradio_api/vibe-code/
POST /gradio_api/vibe-edit  POST /gradio_api/vibe-edit/  POST /gradio_api/vibe-starter-queries
POST /gradio_api/vibe-starter-queries/  POST /login  POST /login/  GET /logout  GET /monitoring
GET /monitoring/summary  GET /monitoring/{}  HEAD /openapi.json  GET /openapi.json  GET /pwa_icon  GET /pwa_icon/{}
"""


async def test_every_address_of_gradio_is_known(tmp_path: Path) -> None:
    with whole(tmp_path, PARLEY_SHARED="on") as api:
        found = set(addresses(api))
        opened, closed = (set(re.findall(r"[A-Z]+ \S+", text)) for text in (OPEN, CLOSED))
        assert found == opened | closed
        for address in sorted(found):
            method, path = address.replace("{}", "a").split()
            # HEAD asks for what GET asks for, and never gets a stream without an end.
            got, headers, body = await api.call("HEAD" if method == "GET" else method, path)
            refused = got == 404 and headers["content-length"] == str(len("There is nothing here.\n"))
            assert refused == (address in closed), (address, got, body)
        assert (await api.call("GET", "/gradio_api/file=https://other.example/a"))[0] == 404


def addresses(api: Api) -> Iterator[str]:
    """METHOD /path/{} of every route of the mounted application."""
    app: Any = api.server.config.app
    while not hasattr(app, "routes"):
        app = app._app
    [mounted] = [route for route in app.routes if isinstance(route, Mount)]
    return _below(mounted.app.routes)


def _below(routes: list[Any]) -> Iterator[str]:
    for route in routes:
        if hasattr(route, "original_router"):  # a router that FastAPI has included
            yield from _below(route.original_router.routes)
            continue
        for method in route.methods:
            yield f"{method} {re.sub('{[^}]*}', '{}', route.path)}"
