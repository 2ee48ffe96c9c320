"""Trying a prompt out: one answer at a time for each page, gone with the page, recorded like every call."""

from __future__ import annotations

import datetime
import secrets
from collections.abc import AsyncGenerator

from core.chat.runs import Runs, Snapshot, watch
from core.conversations import Turn
from core.gateway import Gateway
from core.ledger.store import Ledger
from core.messages import ChatRequest
from core.threads import Pool

UNWATCHED = 5.0  # seconds after which an answer that nobody reads is stopped


class PromptRuns:
    """For one event loop."""

    def __init__(self, gateway: Gateway, ledger: Ledger, database: Pool) -> None:
        self._gateway = gateway
        self._runs = Runs(ledger, database)

    async def run(
        self, page: str, request: ChatRequest, every: float = 0.05, idle: float = 1.0
    ) -> AsyncGenerator[Snapshot, None]:
        """Yield what there is of the answer until it has ended; an error is told by the last one, not raised.

        An earlier answer of the same page is stopped. Use it within `contextlib.aclosing`: closing it ends the call.
        `every` and `idle` are in seconds, see `core.chat.runs.watch`.
        """
        self.stop(page)
        turn = _turn(page, request.model)
        run = self._runs.start(turn, request.visitor, self._gateway.stream(request), _keep, UNWATCHED)
        last = run.snapshot
        try:
            async for changed in watch({turn.id: run}, every, idle):
                last = changed.get(turn.id, last)
                yield last
        finally:
            run.stop()

    def stop(self, page: str) -> None:
        """End what this page runs, at once; what had come is kept."""
        self._runs.stop([run.turn.id for run in self._runs.of(page)])

    async def close(self) -> None:
        """End everything; for shutdown."""
        await self._runs.close()


async def _keep(_: Snapshot) -> None:
    """Not saved; the ledger has its figures."""


def _turn(page: str, model: str) -> Turn:
    return Turn(
        id=f"run-{secrets.token_hex(8)}",
        conversation=page,
        parent=None,
        role="assistant",
        text="",
        thinking="",
        files=(),
        model=model,
        status="streaming",
        error="",
        meter=None,
        rating=0,
        created=datetime.datetime.now(datetime.UTC),
        siblings=(),
    )
