"""So many at once, and fairly: on their own, and in the gateway of a shared server."""

from __future__ import annotations

import asyncio
import random

import pytest

from core.messages import Begun, Done, TextDelta, Usage
from core.slots import Slots, fair_share
from tests.puppet import ANSWER, Puppet, ask, bench
from tests.waiting import until

SHARED = {"PARLEY_SHARED": "on"}


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_owners_have_their_turns_one_after_the_other() -> None:
    slots = Slots(1)
    order: list[str] = []

    async def one(name: str) -> None:
        await slots.acquire(name[0])
        order.append(name)
        await asyncio.sleep(0)
        slots.release(name[0])

    await slots.acquire("z")
    tasks = [asyncio.create_task(one(name)) for name in ("a1", "a2", "a3", "a4", "b1", "b2", "c1")]
    await settle()
    slots.release("z")
    await asyncio.gather(*tasks)
    assert order == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]
    assert (slots.free, slots.waiting, slots._held) == (1, {}, {})


async def test_one_owner_never_holds_more_than_the_share() -> None:
    slots = Slots(4, 2)
    held = [asyncio.create_task(slots.acquire("a")) for _ in range(5)]
    await settle()
    assert sum(task.done() for task in held) == 2 and slots.free == 2
    await asyncio.wait_for(slots.acquire("b"), 1)
    slots.release("a")
    await settle()
    assert sum(task.done() for task in held) == 3
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)
    assert slots.waiting == {}


@pytest.mark.parametrize("seed", range(5))
async def test_nothing_leaks_whatever_is_cancelled(seed: int) -> None:
    chance = random.Random(seed)
    slots = Slots(3, 2)
    running: dict[str, int] = {}

    async def one(owner: str) -> None:
        await slots.acquire(owner)
        running[owner] = running.get(owner, 0) + 1
        assert running[owner] <= 2 and sum(running.values()) <= 3
        try:
            await asyncio.sleep(chance.random() * 0.001)
        finally:
            running[owner] -= 1
            slots.release(owner)

    tasks = [asyncio.create_task(one(chance.choice("abcd"))) for _ in range(80)]
    for _ in range(60):
        chance.choice(tasks).cancel()
        await asyncio.sleep(0 if chance.random() < 0.5 else 0.0005)
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
    assert (slots.free, slots.waiting, slots._held) == (3, {}, {})


def test_the_share_is_half_and_at_least_one() -> None:
    assert [fair_share(size) for size in (1, 2, 3, 4, 64)] == [1, 1, 1, 2, 32]


async def test_a_visitor_with_many_calls_leaves_room_for_the_next(settings) -> None:
    puppet = Puppet(plan=[(Begun(), 3600.0)] * 2 + [ANSWER])
    with bench(settings(PARLEY_CONCURRENCY="*=4", **SHARED), puppet) as it:
        greedy = [asyncio.create_task(it.gateway.complete(ask(visitor="greedy"))) for _ in range(10)]
        await until(lambda: puppet.open >= 2)
        reply = await asyncio.wait_for(it.gateway.complete(ask(visitor="modest")), 5)
        assert reply.text == "Hello there" and len(puppet.requests) == 3
        for task in greedy:
            task.cancel()
        await asyncio.gather(*greedy, return_exceptions=True)


async def test_who_waits_behind_many_of_one_visitor_is_next(settings) -> None:
    """With a single slot there is no share to keep free: the turns make it fair."""
    puppet = Puppet(plan=[(3600.0,), (TextDelta("a"), Done(Usage()))])
    with bench(settings(PARLEY_CONCURRENCY="*=1", **SHARED), puppet) as it:
        first = asyncio.create_task(it.gateway.complete(ask(visitor="greedy")))
        await until(lambda: puppet.waiting)
        greedy = [asyncio.create_task(it.gateway.complete(ask(visitor="greedy"))) for _ in range(9)]
        await until(lambda: len(it.rows()) == 10)
        modest = asyncio.create_task(it.gateway.complete(ask(visitor="modest")))
        await until(lambda: len(it.rows()) == 11)
        first.cancel()
        await asyncio.gather(modest, *greedy)
        assert [request.visitor for request in puppet.requests].index("modest") <= 2


async def test_alone_on_ones_own_machine_all_slots_are_ones_own(settings) -> None:
    puppet = Puppet(plan=[(0.05, *ANSWER)])
    with bench(settings(PARLEY_CONCURRENCY="*=4"), puppet) as it:
        await asyncio.gather(*(it.gateway.complete(ask()) for _ in range(8)))
    assert puppet.most == 4


@pytest.mark.parametrize(
    "limit", [{"PARLEY_REQUESTS_PER_MINUTE": "*=4"}, {"PARLEY_TOKENS_PER_MINUTE": "*=4800"}], ids=["requests", "tokens"]
)
async def test_no_visitor_has_more_than_half_of_a_minute(settings, limit: dict[str, str]) -> None:
    puppet = Puppet(plan=[(Begun(), TextDelta("a"), Done(Usage(1000, output=200)))])
    with bench(settings(**SHARED, **limit), puppet) as it:
        greedy = [asyncio.create_task(it.gateway.complete(ask(visitor="greedy"))) for _ in range(5)]
        await until(lambda: len(puppet.requests) >= 2)
        await asyncio.sleep(0.05)
        assert len(puppet.requests) == 2
        for _ in range(2):
            await asyncio.wait_for(it.gateway.complete(ask(visitor="modest")), 5)
        for task in greedy:
            task.cancel()
        await asyncio.gather(*greedy, return_exceptions=True)


async def test_networks_have_their_turns_before_visitors() -> None:
    slots = Slots(1, 1, lambda owner: owner.partition(" ")[0])
    order: list[str] = []

    async def use(owner: str) -> None:
        await slots.acquire(owner)
        order.append(owner)
        await asyncio.sleep(0)
        slots.release(owner)

    names = [*(f"a {number}" for number in range(20)), "b 1", "b 2"]
    await asyncio.gather(*map(use, names))
    assert order[:6] == ["a 0", "a 1", "b 1", "a 2", "b 2", "a 3"]
    assert len(order) == len(names)
