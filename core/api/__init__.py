"""The workbench by HTTP: an OpenAI-compatible /v1, the prompt registry, and two addresses for who watches the process.

A module here with `routes(services)` is a group of routes, found by its presence.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Sequence

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from core.api.bodies import Bodies, Reachable
from core.api.endpoint import ApiEndpoint
from core.api.guard import Guard
from core.api.headers import Headers
from core.api.proxies import Proxies
from core.api.schemas import largest_body
from core.errors import NotFound
from core.services import Services
from core.settings import Settings

__all__ = ["Reachable", "perimeter", "routes"]


def routes(services: Services) -> list[BaseRoute]:
    """All routes. Mount them before whatever answers at /."""
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    groups = [module.routes(services) for module in modules if hasattr(module, "routes")]
    return [*(route for group in groups for route in group), Route("/api/v1/{path:path}", _Nothing(services.settings))]


def perimeter(
    app: ASGIApp, settings: Settings, api: Sequence[BaseRoute], interface: Iterable[Reachable] = ()
) -> ASGIApp:
    """`app` behind what every request passes. `api` are the routes above, `interface` is what can be reached beside."""
    largest = largest_body(settings)
    own = [Reachable("*", route.path_regex.pattern, largest) for route in api if isinstance(route, Route)]
    return Proxies(Headers(Guard(Bodies(app, (*own, *interface)), settings), settings), settings)


class _Nothing(ApiEndpoint):
    """What answers below /api/v1 where no group does."""

    async def respond(self, scope: Scope, receive: Receive, send: Send, visitor: str) -> None:
        raise NotFound(f"There is no {scope['path'][:100]} here.", "There is /api/v1/prompts.")
