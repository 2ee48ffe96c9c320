"""So many at once, and fairly: who asks for much waits for their own, not the others for them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

Group = Callable[[str], str]  # the group of an owner


class Slots:
    """`size` at once, of which one owner holds at most `share` (None: all). For one event loop.

    A freed slot goes to the next owner who waits, in turn (round-robin), and among one owner's to who has waited
    longest; never to one who comes just then. Owners have groups (networks, because a cookie can be thrown away), which
    have their turns before the owners in them.
    """

    def __init__(self, size: int, share: int | None = None, group: Group = lambda owner: "") -> None:
        self.free = size
        self.waiting: dict[str, deque[asyncio.Future[None]]] = {}  # by owner, whose turn is next first
        self._share = share
        self._group = group
        self._served: dict[str, int] = {}  # by group, when it last got a slot that was waited for
        self._turn = 0
        self._held: dict[str, int] = {}  # by owner; kept only where there are shares

    @classmethod
    def fair(cls, size: int, shared: bool, network_of: Group = lambda owner: "") -> Slots:
        """At most half of them, and at least one, for each visitor of a shared server; turns go by networks first."""
        return cls(size, fair_share(size) if shared else None, network_of)

    async def acquire(self, owner: str = "") -> None:
        if self.free > 0 and self._may(owner):
            self._take(owner)
            return
        turn = asyncio.get_running_loop().create_future()
        self.waiting.setdefault(owner, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._leave(owner, turn)
            else:
                self.release(owner)  # it was handed over at the very moment of the cancellation
            raise

    def release(self, owner: str = "") -> None:
        self.free += 1
        if self._share is not None:
            left = self._held[owner] - 1
            if left:
                self._held[owner] = left
            else:
                del self._held[owner]
        if self.waiting:
            self._hand_over()
        else:
            self._served.clear()

    def _may(self, owner: str) -> bool:
        return self._share is None or self._held.get(owner, 0) < self._share

    def _take(self, owner: str) -> None:
        self.free -= 1
        if self._share is not None:
            self._held[owner] = self._held.get(owner, 0) + 1

    def _hand_over(self) -> None:
        for owner in sorted(self.waiting, key=lambda one: self._served.get(self._group(one), 0)):
            if self._may(owner):
                self._turn += 1
                self._served[self._group(owner)] = self._turn
                turns = self.waiting.pop(owner)
                while turns and turns[0].done():  # cancelled, and not yet aware of it
                    turns.popleft()
                if turns:
                    self._take(owner)
                    turns.popleft().set_result(None)
                    if turns:
                        self.waiting[owner] = turns  # behind all others
                    return

    def _leave(self, owner: str, turn: asyncio.Future[None]) -> None:
        turns = self.waiting.get(owner)
        if turns is not None and turn in turns:
            turns.remove(turn)
            if not turns:
                del self.waiting[owner]


def fair_share(amount: int) -> int:
    """What one visitor of a shared server may have of `amount`: half of it, and at least one."""
    return max(1, amount // 2)
