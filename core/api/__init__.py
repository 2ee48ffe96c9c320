"""The workbench by HTTP: an OpenAI-compatible /v1, the prompt registry at /api/v1, and two addresses for those who
watch the process.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from core.api import health, prompts
from core.api import v1 as router
from core.api.access import api_state
from core.api.bodies import Bodies, Reachable
from core.api.guard import Guard
from core.api.headers import Headers
from core.api.proxies import Proxies
from core.api.schemas import largest_body
from core.settings import Settings

__all__ = ["Reachable", "api_state", "perimeter", "routes"]


class ApiServices(health.HealthServices, router.V1Services, prompts.PromptServices, Protocol):
    """What of the services the routes are built on."""


def routes(services: ApiServices) -> list[BaseRoute]:
    """All routes. Mount them before whatever answers at /."""
    v1, registry = _opened(router.V1(services), services), _opened(prompts.PromptRoutes(services), services)
    return [
        Route("/v1/{path:path}", v1, include_in_schema=False),
        Route("/api/v1/{path:path}", registry, include_in_schema=False),
        Route("/healthz", health.Alive(), include_in_schema=False),
        Route("/readyz", health.Readiness(services), include_in_schema=False),
    ]


def perimeter(app: ASGIApp, settings: Settings, interface: Iterable[Reachable] = ()) -> ASGIApp:
    """`app` behind what every request passes. `interface` is what can be reached beside the routes above."""
    api = (
        Reachable("*", r"/v1/.*", largest_body(settings)),
        Reachable("*", r"/api/v1/.*", largest_body(settings)),
        Reachable("*", r"/healthz|/readyz"),
    )
    return Proxies(Headers(Guard(Bodies(app, (*api, *interface)), settings), settings), settings)


def _opened(endpoint: ASGIApp, services: ApiServices) -> ASGIApp:
    """With the headers by which browsers let the pages of PARLEY_ALLOWED_ORIGINS ask."""
    origins = services.settings["PARLEY_ALLOWED_ORIGINS"]
    if not origins:
        return endpoint
    return CORSMiddleware(endpoint, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=["*"])
