"""Reading prompts by HTTP holds up nobody else: the event loop never waits for a prompt."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from core.prompts.content import parse_content
from core.prompts.registry.registry import Registry
from tests.api._server import Api, MakeSettings, Puppet, serving
from tests.prompt_files import age, empty_root

READ = "/api/v1/prompts/hello"


@pytest.fixture
async def api(settings: MakeSettings, tmp_path: Path) -> AsyncIterator[Api]:
    empty_root(tmp_path / "prompts")
    async with serving(settings(PARLEY_RETRIES=0), {"puppet": Puppet()}) as running:
        running.services.registry.save("hello", says("One."))
        yield running


def says(text: str) -> Any:
    return parse_content({"messages": [{"role": "user", "content": text}]})


async def read(api: Api, path: str = READ) -> dict[str, Any]:
    status, _, body = await api.call("GET", path)
    assert status == 200, body
    found: dict[str, Any] = orjson.loads(body)
    return found


def settle(api: Api) -> None:
    """All files look as if they had been written a while ago."""
    root = api.services.registry.root
    age(*root.glob("hello/*"), root / "hello")


@pytest.mark.parametrize("path", [READ, f"{READ}?version=1", "/api/v1/prompts"])
async def test_a_prompt_that_is_locked_holds_up_nobody(api: Api, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    await read(api, path)
    free, asked = threading.Event(), threading.Event()
    here = threading.current_thread()

    def slow(ask: Any) -> Any:
        def waits(self: Registry, *args: Any, **more: Any) -> Any:
            assert threading.current_thread() is not here, "not on the event loop"
            asked.set()
            assert free.wait(10)
            return ask(self, *args, **more)

        return waits

    monkeypatch.setattr(Registry, "version", slow(Registry.version))
    monkeypatch.setattr(Registry, "list", slow(Registry.list))
    waiting = asyncio.create_task(read(api, path))
    assert await asyncio.to_thread(asked.wait, 5)
    assert (await api.call("GET", "/api/v1/nothing"))[0] == 404  # is answered meanwhile
    free.set()
    await waiting


async def test_what_has_not_changed_is_not_asked_for_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(api)
    first = await read(api)

    def asked(*args: Any) -> None:
        raise AssertionError("asked")

    with monkeypatch.context() as patched:
        patched.setattr(Registry, "version", asked)
        assert await read(api) == first
    registry = api.services.registry
    registry.save("hello", says("Two."))
    assert (await read(api))["version"] == 2
    settle(api)
    assert (await read(api))["labels"] == (await read(api))["labels"] == ["latest"]
    registry.move("hello", "live", 2, by="ada")
    assert "live" in (await read(api))["labels"]
    settle(api)
    await read(api, f"{READ}?label=live")
    registry.move("hello", "live", 1, by="ada")
    assert (await read(api, f"{READ}?label=live"))["version"] == 1
    settle(api)
    await read(api)
    (registry.root / "hello" / "v2.yaml").unlink()
    assert (await read(api))["version"] == 1


async def test_a_file_that_was_written_a_moment_ago_is_not_trusted(api: Api) -> None:
    assert (await read(api))["version"] == 1
    path = api.services.registry.root / "hello" / "v1.yaml"
    age(path.parent)
    await read(api)
    text = path.read_text()
    path.write_text(text.replace("One.", "Two."))
    age(path.parent)
    assert (await read(api))["messages"] == [{"role": "user", "content": "One."}], "what was saved, not what was edited"


async def test_no_more_is_kept_than_fits(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.api.prompts.MOST_KEPT", 5000)
    for number in range(2, 10):
        api.services.registry.save("hello", says(f"{number}"))
    settle(api)
    for _ in range(2):
        for number in range(1, 10):
            assert (await read(api, f"{READ}?version={number}"))["version"] == number
