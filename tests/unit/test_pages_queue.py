"""Gradio's queue with our rules: a real Blocks whose events are taken out by hand."""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr
import pytest
from gradio.data_classes import PredictBodyInternal
from gradio.queueing import Event
from gradio.server_messages import HeartbeatMessage
from starlette.requests import Request

from pages.kit import queue as module
from pages.kit.queue import AT_ONCE, OF_A_KIND, PAGES, UNREAD, WAITING, FairQueue


@pytest.fixture
def demo() -> gr.Blocks:
    with gr.Blocks(analytics_enabled=False) as demo:
        box, button = gr.Textbox(), gr.Button()
        for name in ("one", "two", "three", "four", "five"):
            button.click(_answer, box, box, api_name=name)
        button.click(None, None, box, js="() => 1")
    demo.queue(default_concurrency_limit=OF_A_KIND)
    for number, fn in demo.fns.items():
        fn.concurrency_id = str(number)
    return demo


def _answer(text: str) -> str:
    return text


def fair(demo: gr.Blocks, shared: bool = True) -> FairQueue:
    queue = FairQueue.instead_of(demo._queue, shared)
    queue.active_jobs = [None] * AT_ONCE
    return queue


async def push(
    queue: FairQueue, visitor: str, page: str, fn: int = 0, address: str = "203.0.113.1", data: Any = ("a",)
) -> tuple[bool, str]:
    headers = [(b"x-parley-visitor", visitor.encode())]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
    request = Request({**scope, "client": (address, 1), "server": ("a", 80), "scheme": "http"})
    body = PredictBodyInternal(session_hash=page, fn_index=fn, data=list(data), request=request)
    taken, said, _ = await queue.push(body, request, None)  # type: ignore[arg-type]
    return taken, said


def begin(queue: FairQueue) -> Event | None:
    """Let the next event run, as Gradio does; it never ends."""
    found = queue.get_events()
    if found is None:
        return None
    queue.active_jobs[queue.active_jobs.index(None)] = found[0]
    queue.event_queue_per_concurrency_id[found[2]].current_concurrency += 1
    return found[0][0]


def visitor(event: Event | None) -> str | None:
    return event and event.request.headers["x-parley-visitor"]


async def test_who_asks_for_little_does_not_wait_for_who_asks_for_much(demo: gr.Blocks) -> None:
    queue = fair(demo)
    for number in range(WAITING):
        assert (await push(queue, "greedy", f"g{number % 5}"))[0]
    taken, said = await push(queue, "greedy", "g0")
    assert not taken
    assert said == module.TOO_MANY
    for _ in range(3):
        begin(queue)
    assert (await push(queue, "modest", "m"))[0]
    assert visitor(begin(queue)) == "modest"
    began = [begin(queue) for _ in range(WAITING)]
    assert sum(event is not None for event in began) == OF_A_KIND // 2 - 3  # half of the kind's places
    assert (await push(queue, "modest", "m"))[0]
    assert visitor(begin(queue)) == "modest"


async def test_throwing_cookies_away_gains_nothing(demo: gr.Blocks) -> None:
    queue = fair(demo)
    for number in range(WAITING * 10):
        assert (await push(queue, f"fresh-{number}", f"f{number}", number % 5))[0]
    assert not (await push(queue, "fresh", "f"))[0]
    began = [begin(queue) for _ in range(WAITING * 10)]
    assert sum(event is not None for event in began) == AT_ONCE * 3 // 4
    for fn in range(5):
        assert (await push(queue, "modest", f"m{fn}", fn, "198.51.100.7"))[0]
        assert visitor(begin(queue)) == "modest"


async def test_on_ones_own_machine_there_are_no_shares(demo: gr.Blocks) -> None:
    queue = fair(demo, shared=False)
    for number in range(WAITING * 2):
        assert (await push(queue, "local", f"p{number}"))[0]
    assert sum(begin(queue) is not None for _ in range(WAITING * 2)) == OF_A_KIND


async def test_nobody_asks_in_the_name_of_another_visitors_page(demo: gr.Blocks) -> None:
    queue = fair(demo)
    assert (await push(queue, "me", "mine"))[0]
    assert await push(queue, "stranger", "mine") == (False, module.ELSEWHERE)
    assert (await push(queue, "me", "mine"))[0]


async def test_what_nobody_reads_is_forgotten(demo: gr.Blocks, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = fair(demo)
    assert (await push(queue, "me", "read"))[0]
    assert (await push(queue, "stranger", "unread"))[0]
    first, second = (begin(queue) for _ in range(2))
    assert first is not None
    assert second is not None
    for _ in range(UNREAD + 10):
        queue.send_message(second, HeartbeatMessage())
    assert queue.pending_messages_per_session["unread"].qsize() <= UNREAD
    now = module.time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now + module.LIFE + 1)
    reading = asyncio.ensure_future(queue.pending_messages_per_session["read"].get())
    await asyncio.sleep(0)
    assert (await push(queue, "me", "read"))[0]
    await reading
    assert set(queue.pending_messages_per_session) == set(queue.pending_event_ids_session) == {"read"}
    queue.send_message(second, HeartbeatMessage())  # nobody is there any more


async def test_strangers_pages_put_out_nobody_elses(demo: gr.Blocks) -> None:
    queue = fair(demo, shared=True)
    assert (await push(queue, "me", "mine"))[0]
    for number in range(2100):
        queue.event_ids_to_events.clear()  # they have ended
        assert (await push(queue, "stranger", f"s{number}"))[0]
    assert "mine" in queue.pending_messages_per_session
    assert len(queue.pending_messages_per_session) <= PAGES + 1


@pytest.mark.parametrize(("fn", "data"), [(99, ["a"]), (-1, ["a"]), (5, []), (0, []), (0, ["a", "b"]), (0, [[]] * 900)])
async def test_what_is_no_event_of_the_page(demo: gr.Blocks, fn: int, data: list[Any]) -> None:
    taken, said = await push(fair(demo), "me", "mine", fn, data=data)
    assert not taken
    assert "Reload the page" in said
