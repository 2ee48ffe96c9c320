"""Connections that ask for nothing are ended: uvicorn waits for a request's head as long as a client likes."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

PATIENCE = 15.0  # seconds


class Connection(AutoHTTPProtocol):  # type: ignore[valid-type, misc]
    """One connection, for uvicorn's `http` option. Bodies have limits of their own (`core.api.bodies`)."""

    patience = PATIENCE
    _timer: asyncio.TimerHandle | None = None
    _before: Any = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _watch(self) -> None:
        self._timer = self.loop.call_later(self.patience, self._look)

    def _look(self) -> None:
        """End it if no request has begun since the last look, and none is being answered."""
        cycle: Any = self.cycle
        if cycle is self._before and (cycle is None or cycle.response_complete):
            self.transport.close()
            return
        self._before = cycle
        self._watch()
