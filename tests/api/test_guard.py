"""Foreign web pages reach neither the interface nor what it can spend."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from core.api.guard import Guard
from core.settings import Settings


async def _yes(request: Request) -> PlainTextResponse:
    return PlainTextResponse("yes")


def _client(settings: Settings) -> httpx.AsyncClient:
    inner = Starlette(routes=[Route("/{path:path}", _yes, methods=["GET", "POST"])])
    return httpx.AsyncClient(transport=httpx.ASGITransport(Guard(inner, settings)), base_url="http://127.0.0.1:7860")


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {}, 200),
        ("GET", {"host": "localhost:7860"}, 200),
        ("GET", {"host": "[::1]:7860"}, 200),
        ("GET", {"host": "evil.example"}, 403),
        ("GET", {"host": "127.0.0.1.evil.example"}, 403),
        ("GET", {"host": ""}, 403),
        ("POST", {}, 200),
        ("POST", {"origin": "http://127.0.0.1:7860"}, 200),
        ("POST", {"origin": "http://evil.example"}, 403),
        ("POST", {"origin": "http://127.0.0.1:9999"}, 403),
        ("POST", {"origin": "null"}, 403),
    ],
)
async def test_who_comes_in(
    settings: Callable[..., Settings], method: str, headers: dict[str, str], status: int
) -> None:
    async with _client(settings()) as client:
        answer = await client.request(method, "/gradio_api/queue/join", headers=headers)
    assert answer.status_code == status
    assert ("PARLEY_SHARED" in answer.text) == (status == 403)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/models", 200),
        ("/api/v1/prompts/a", 200),
        ("/healthz", 200),
        ("/v1x", 403),
        ("/api/x", 403),
        ("/apiv1", 403),
    ],
)
async def test_the_api_has_rules_of_its_own(settings: Callable[..., Settings], path: str, status: int) -> None:
    async with _client(settings()) as client:
        assert (await client.get(path, headers={"host": "evil.example"})).status_code == status


@pytest.mark.parametrize(
    "setting", [{"PARLEY_SHARED": "on"}, {"PARLEY_ROOT_PATH": "/parley"}, {"PARLEY_HOST": "0.0.0.0"}]
)
async def test_names_are_the_operators_business_elsewhere(
    settings: Callable[..., Settings], setting: dict[str, str]
) -> None:
    async with _client(settings(**setting)) as client:
        answer = await client.post("/x", headers={"host": "parley.example", "origin": "https://parley.example"})
    assert answer.status_code == 200
