"""The workbench by HTTP: an OpenAI-compatible /v1, the prompt registry at /api/v1, and two addresses for those who
watch the process.
"""

from __future__ import annotations

from typing import Protocol

from starlette.routing import BaseRoute, Route

from core.api import health, prompts, router
from core.api.access import api_state

__all__ = ["api_state", "routes"]


class Needs(health.Needs, router.Needs, prompts.Needs, Protocol):
    """What of the services the routes are built on."""


def routes(services: Needs) -> list[BaseRoute]:
    """All routes. Mount them before whatever answers at /."""
    return [
        Route("/v1/{path:path}", router.V1(services), include_in_schema=False),
        Route("/api/v1/{path:path}", prompts.Prompts(services), include_in_schema=False),
        Route("/healthz", health.Alive(), include_in_schema=False),
        Route("/readyz", health.Readiness(services), include_in_schema=False),
    ]
