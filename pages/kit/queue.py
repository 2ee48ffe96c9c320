"""Gradio's queue of events, made fair: one visitor's events never keep another's from their turn, and what nobody
reads is forgotten.

Gradio takes events in the order in which they come, 64 of a kind and 200 in all at once, keeps what they answer until
somebody asks for it, and counts neither.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from gradio.queueing import Event, Queue
from gradio.server_messages import EventMessage
from gradio.utils import LRUCache
from starlette.exceptions import HTTPException
from starlette.requests import Request

from core.hosts import network_of
from pages.kit.handlers import visitor_of

AT_ONCE = 200  # events that run; half of them for one visitor, three quarters for one network
OF_A_KIND = 64  # of them, shared out alike
PAGES = 100  # of one visitor
WAITING = 64  # events of one visitor that wait or run; a page has one or two
WAITING_NETWORK = 10 * WAITING
UNREAD = 2000  # messages of one page; an answer that is written brings twenty a second, and is read
LIFE = 60.0  # seconds that answers wait for a page to read them
TOO_MANY = "Too many things are being done for you at once. Wait until some have ended."
ELSEWHERE = "This page belongs to another visitor. Reload it."


class Messages(asyncio.Queue[EventMessage]):
    """What one page has not read yet."""

    def __init__(self, owner: str) -> None:
        super().__init__()
        self.owner = owner
        self.read = time.monotonic()  # when somebody last waited for news

    async def get(self) -> EventMessage:
        self.read = time.monotonic()
        return await super().get()


class FairQueue(Queue):
    """For one event loop. Where visitors are not told apart, there is one, who may have all."""

    shared: bool
    _nothing: tuple[int, int, int] | None = None  # the state in which no event could run

    @classmethod
    def instead_of(cls, queue: Queue, shared: bool) -> FairQueue:
        """The same queue with these rules. Nothing may have been asked of it yet."""
        fair = cls.__new__(cls)
        fair.__dict__.update(queue.__dict__)
        fair.shared = shared
        fair.max_thread_count = AT_ONCE
        fair.pending_messages_per_session = LRUCache(2**31)  # what is read is never put out; `_forget_unread` clears
        fair.ANAYLTICS_CACHE_FREQUENCY = 2**62  # else a table of the last ten thousand events is made after each
        return fair

    async def push(self, body: Any, request: Any, username: str | None) -> Any:
        """Take an event in, or (False, why, "error" or "queue_full")."""
        self._forget_unread()
        visitor = visitor_of(request)
        pages = self.pending_messages_per_session
        page: Any = pages.get(body.session_hash)
        if page is not None and page.owner != visitor:
            return False, ELSEWHERE, "error"
        if problem := unfit(self.blocks.fns.get(body.fn_index), body.data):
            return False, problem, "error"
        if self.shared:
            events = [(_visitor(one), _network(one)) for one in self.event_ids_to_events.values()]
            near = network_of(request.client.host if request.client else "")
            if sum(owner == visitor for owner, _ in events) >= WAITING or (
                sum(network == near for _, network in events) >= WAITING_NETWORK
            ):
                return False, TOO_MANY, "queue_full"
            own = [name for name, one in pages.items() if one.owner == visitor]
            if page is None and len(own) >= PAGES:
                del pages[own[0]]
        if page is None and body.session_hash is not None:
            pages[body.session_hash] = Messages(visitor)
        return await super().push(body, request, username)

    def get_events(self) -> tuple[list[Event], bool, str] | None:
        """The next event: of who has the fewest running, and among one visitor's the one that waits longest."""
        state = (self.active_jobs.count(None), self.events_recorded, len(self))
        if state == self._nothing:  # Gradio asks every millisecond
            return None
        running = [event for job in self.active_jobs if job for event in job]
        visitors = Counter(map(_visitor, running))
        networks = Counter(map(_network, running))
        kinds = Counter((event.concurrency_id, who(event)) for event in running for who in (_visitor, _network))
        best: tuple[int, int, float] | None = None
        found: Event | None = None
        for event in self._waiting():
            visitor, network = _visitor(event), _network(event)
            kind = event.concurrency_id
            if self.shared and (
                visitors[visitor] >= AT_ONCE // 2
                or kinds[kind, visitor] >= OF_A_KIND // 2
                or networks[network] >= AT_ONCE * 3 // 4
                or kinds[kind, network] >= OF_A_KIND * 3 // 4
            ):
                continue
            rank = (networks[network], visitors[visitor], event.enqueue_time)
            if best is None or rank < best:
                best, found = rank, event
        if found is None:
            self._nothing = state
            return None
        self.event_queue_per_concurrency_id[found.concurrency_id].queue.remove(found)
        return [found], False, found.concurrency_id

    def send_message(self, event: Event, event_message: EventMessage) -> None:
        """Nothing is sent to a page that does not read any more."""
        pages = self.pending_messages_per_session
        if event.session_hash in pages and pages[event.session_hash].qsize() < UNREAD:
            super().send_message(event, event_message)

    def _waiting(self) -> Iterator[Event]:
        for kind in self.event_queue_per_concurrency_id.values():
            if kind.concurrency_limit is None or kind.current_concurrency < kind.concurrency_limit:
                yield from kind.queue

    def _forget_unread(self) -> None:
        now = time.monotonic()
        pages = self.pending_messages_per_session
        for name in [name for name, page in pages.items() if now - page.read > LIFE]:
            pages.pop(name, None)
        for name in [name for name in self.pending_event_ids_session if name not in pages]:
            del self.pending_event_ids_session[name]


def refuse_others_pages(request: Request) -> None:
    """403 to who asks for the news of another visitor's page. A dependency of all of Gradio's addresses.

    404 to who asks for one of several pages: there is one, and Gradio fails with a stack trace for each.
    """
    if request.query_params.get("page"):
        raise HTTPException(404, "There is no such page.")
    name = request.query_params.get("session_hash") or request.path_params.get("session_hash")
    page: Any = request.app.get_blocks()._queue.pending_messages_per_session.get(name)
    if page is not None and page.owner != visitor_of(request):
        raise HTTPException(403, ELSEWHERE)


def unfit(fn: Any, inputs: Sequence[Any]) -> str:
    """Why this cannot be an event of the page; "" if it can. Gradio would write a stack trace for each."""
    if fn is None or fn.fn is None:
        return "There is no such event. Reload the page."
    if len(inputs) != len(fn.inputs) and not fn.cancels:
        return "This event does not bring what it should. Reload the page."
    return ""


def _visitor(event: Event) -> str:
    return visitor_of(event.request)


def _network(event: Event) -> str:
    request: Request = event.request
    return network_of(request.client.host if request.client else "")
