"""Work that is slow in one place makes nobody wait in another."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from core.prompts.editing.drafts import Draft
from core.services import Services
from core.threads import FairPool, Pool
from pages.prompts.editor import Editor
from pages.prompts.editor.looks import DraftChecks
from pages.prompts.editor.save import Saving
from tests.scripted import Scripted

PATIENCE = 20.0  # seconds until a test gives up


class Gate:
    """Work that waits until the gate is opened; counts how many are inside."""

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.most = 0
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._changed = threading.Condition(self._lock)

    def work(self, name: str = "", *_: Any, **__: Any) -> str:
        with self._lock:
            self.inside.append(name)
            self.most = max(self.most, len(self.inside))
            self._changed.notify_all()
        assert self._open.wait(PATIENCE)
        with self._lock:
            self.inside.remove(name)
        return name

    def open(self) -> None:
        self._open.set()

    async def holds(self, count: int) -> None:
        def wait() -> bool:
            with self._lock:
                return self._changed.wait_for(lambda: len(self.inside) >= count, PATIENCE)

        waiting = Pool("test", 1)
        assert await waiting.run(wait)
        waiting.close()


@contextmanager
def gate() -> Iterator[Gate]:
    made = Gate()
    try:
        yield made
    finally:
        made.open()


async def test_visitors_share_a_pool() -> None:
    pool = FairPool("test", 4, shared=True)
    with gate() as it:
        greedy = [asyncio.create_task(pool.run_for("greedy", it.work, "greedy")) for _ in range(12)]
        await it.holds(2)
        modest = asyncio.create_task(pool.run_for("modest", it.work, "modest"))
        await it.holds(3)
        assert sorted(it.inside) == ["greedy", "greedy", "modest"]
        it.open()
        assert await asyncio.wait_for(asyncio.gather(*greedy, modest), PATIENCE) == ["greedy"] * 12 + ["modest"]
        assert it.most <= 4
    pool.close()


async def test_who_is_alone_has_the_whole_pool() -> None:
    pool = FairPool("test", 3, shared=False)
    with gate() as it:
        tasks = [asyncio.create_task(pool.run_for("local", it.work)) for _ in range(5)]
        await it.holds(3)
        it.open()
        await asyncio.gather(*tasks)
    pool.close()


async def test_what_runs_keeps_its_place_when_its_caller_is_gone() -> None:
    pool = FairPool("test", 1, shared=False)
    with gate() as it:
        gone, waiting = (asyncio.create_task(pool.run_for("a", it.work, name)) for name in ("gone", "waiting"))
        next_ = asyncio.create_task(pool.run_for("a", str.upper, "next"))
        await it.holds(1)
        gone.cancel()
        waiting.cancel()
        await asyncio.gather(gone, waiting, return_exceptions=True)
        assert not next_.done() and it.inside == ["gone"]
        it.open()
        assert await asyncio.wait_for(next_, PATIENCE) == "NEXT"
    pool.close()


async def test_errors_come_through() -> None:
    pool = FairPool("test", 1, shared=True)
    for _ in range(3):
        with pytest.raises(ValueError, match="invalid literal"):
            await pool.run_for("a", int, "x")
    assert await pool.run_for("a", int, "7") == 7
    pool.close()


@asynccontextmanager
async def opened(settings: Callable[..., Any]) -> AsyncIterator[Services]:
    services = Services.open(settings(PARLEY_SHARED="on"), {"scripted": Scripted()})
    try:
        yield services
    finally:
        await services.close()


async def chat(services: Services) -> str:
    """A new conversation with one question; the answer."""
    conversation = await services.threads.database.run(services.conversations.create, "modest")
    (turn,) = await services.chat.ask("modest", conversation.id, "Hello", models=["scripted/echo"])
    last = {}
    async for changed in services.chat.watch("modest", [turn]):
        last |= changed
    return last[turn].text


async def preview(services: Services, looks: DraftChecks, visitor: str) -> str:
    """What the editor asks at every pause in writing."""
    editor: Any = SimpleNamespace(services=services, looks=looks)
    editor._looked = lambda *given: Editor._looked(editor, *given)
    request: Any = SimpleNamespace(headers={"x-parley-visitor": visitor})
    told: str = await Editor.look(editor, json.dumps(Draft.sample().model_dump()), request)
    return told


async def test_a_chat_does_not_wait_for_previews(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(settings) as services:
        looks = DraftChecks(services)
        with gate() as it:
            monkeypatch.setattr(looks, "look", lambda draft: {"told": it.work()})
            previews = [asyncio.create_task(preview(services, looks, f"v{n % 3}")) for n in range(40)]
            await it.holds(2)
            assert await asyncio.wait_for(chat(services), PATIENCE) == "Hello"
            assert len(it.inside) == 2
            it.open()
            await asyncio.gather(*previews)
            assert it.most == 2


async def test_one_visitors_previews_leave_room_for_anothers(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(settings) as services:
        looks = DraftChecks(services)
        with gate() as it:
            monkeypatch.setattr(looks, "look", lambda draft: {"told": it.work()})
            previews = [asyncio.create_task(preview(services, looks, "greedy")) for _ in range(12)]
            await it.holds(1)
            quick = DraftChecks(services)
            assert "error" in await asyncio.wait_for(preview(services, quick, "modest"), PATIENCE)
            assert len(it.inside) == 1
            it.open()
            await asyncio.gather(*previews)


async def test_who_saves_much_leaves_room_for_others(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(settings) as services:
        looks = DraftChecks(services)
        saving, checked = Saving(services, looks), looks.content
        source = json.dumps(Draft.sample().model_dump())
        greedy: Any = SimpleNamespace(headers={"x-parley-visitor": "greedy"})
        with gate() as it:
            monkeypatch.setattr(looks, "content", lambda draft: it.work() or checked(draft))
            files = [asyncio.create_task(saving.download(source, greedy)) for _ in range(12)]
            await it.holds(2)
            assert await asyncio.wait_for(chat(services), PATIENCE) == "Hello"
            it.open()
            await asyncio.gather(*files)
            assert it.most == 2


async def test_a_chat_does_not_wait_for_a_search(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(settings) as services:
        with gate() as it:

            def query(*_: Any, **__: Any) -> list[Any]:
                it.work()
                return []

            monkeypatch.setattr(services.vectors, "query", query)
            run = services.threads.index.run
            searches = [asyncio.create_task(run(services.conversations.search, "v", "words")) for _ in range(12)]
            await it.holds(4)
            assert await asyncio.wait_for(chat(services), PATIENCE) == "Hello"
            it.open()
            await asyncio.gather(*searches)


async def test_a_chat_does_not_wait_for_the_event_loops_own_threads(settings) -> None:
    async with opened(settings) as services:
        with gate() as it:
            others = [asyncio.create_task(asyncio.to_thread(it.work)) for _ in range(64)]
            await asyncio.sleep(0)
            assert await asyncio.wait_for(chat(services), PATIENCE) == "Hello"
            it.open()
            await asyncio.gather(*others)
