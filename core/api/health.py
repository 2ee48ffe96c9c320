"""/healthz: the process answers. /readyz: what it can do now. No secrets, little cost, no key needed."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from sqlalchemy import Connection, text
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from core.api.wire import MethodNotAllowed, send_error, send_json
from core.errors import ParleyError
from core.gateway import BreakerState
from core.services import Services

FRESH = 3.0  # seconds that a finding is good for, however often it is asked
PATIENCE = 5.0  # seconds that each part has to answer


def routes(services: Services) -> list[BaseRoute]:
    return [Route("/healthz", Alive()), Route("/readyz", Readiness(services))]


class Alive:
    """GET /healthz, as an ASGI application."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _answer(scope, send, {"status": "ok"}, 200)


class Readiness:
    """GET /readyz, as an ASGI application. 503 if nothing can be saved; the rest is reported only."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lock = asyncio.Lock()
        self._found: dict[str, Any] = {}
        self._until = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._lock:
            if time.monotonic() >= self._until:
                self._found = await self._look()
                self._until = time.monotonic() + FRESH
        await _answer(scope, send, self._found, 200 if self._found["status"] == "ready" else 503)

    async def _look(self) -> dict[str, Any]:
        database, vectors, providers = await asyncio.gather(self._database(), self._vectors(), self._providers())
        return {
            "status": "ready" if database["usable"] else "unavailable",
            "database": database,
            "vectors": vectors,
            "providers": providers,
        }

    async def _database(self) -> dict[str, Any]:
        database = self._services.database
        found: dict[str, Any] = {"kind": database.dialect, "usable": False}
        if database.problem is not None:
            return {**found, "problem": database.problem.what}
        try:
            await asyncio.wait_for(database.awrite(_touch), PATIENCE)
        except ParleyError as error:
            return {**found, "problem": error.what}
        except TimeoutError:
            return {**found, "problem": f"Nothing could be written within {PATIENCE:g} s."}
        return {**found, "usable": True}

    async def _vectors(self) -> dict[str, Any]:
        try:
            state = await asyncio.wait_for(self._services.threads.index.run(self._services.vectors.state), PATIENCE)
        except ParleyError as error:
            return {"ready": False, "problem": error.what}
        except TimeoutError:
            return {"ready": False, "problem": f"No answer within {PATIENCE:g} s."}
        found: dict[str, Any] = {"ready": state.ready, "indexed": state.indexed, "total": state.total}
        return found if state.problem is None else {**found, "problem": state.problem.what}

    async def _providers(self) -> dict[str, Any]:
        """State and circuit by name. Not the sentences: they may name addresses of the owner's network."""
        groups = await self._services.catalog.list({})
        circuits = self._services.gateway.breakers()
        found = {}
        for group in groups:
            circuit = circuits.get(group.provider, BreakerState("closed"))
            found[group.provider] = {
                "usable": group.status.state == "ready" and circuit.state != "open",
                "state": group.status.state,
                "circuit": circuit.state,
                "models_paused": sum(model.state == "open" for model in circuit.models.values()),
            }
        return found


def _touch(connection: Connection) -> None:
    """Write something that changes nothing: a disk that is full or read-only shows only in a real write."""
    if connection.dialect.name == "sqlite":
        version = connection.execute(text("PRAGMA user_version")).scalar_one()
        connection.execute(text(f"PRAGMA user_version = {int(version)}"))
    else:
        connection.execute(text("SELECT pg_current_xact_id()"))  # refused by a server in recovery


async def _answer(scope: Scope, send: Send, value: dict[str, Any], status: int) -> None:
    if scope["method"] not in ("GET", "HEAD"):
        await send_error(send, MethodNotAllowed(scope["method"], "GET"))
        return
    await send_json(send, value, status, [(b"cache-control", b"no-store")])
