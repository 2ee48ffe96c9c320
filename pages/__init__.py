"""The interface: one package a tab. What has a PAGE in this folder is a tab; no list elsewhere names it."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from core.services import Services
from pages.kit.handlers import QUICK
from pages.kit.queue import AT_ONCE, OF_A_KIND, FairQueue
from pages.kit.reachable import reachable
from pages.kit.theme import mount_options
from pages.kit.uploads import Workbench, routes

__all__ = ["Page", "build", "discover", "mount_options", "reachable", "routes"]


@dataclass(frozen=True)
class Page:
    """A tab: its address (?tab=slug), its label, its place from the left, and what fills it."""

    slug: str
    label: str
    order: int
    build: Callable[[Services], None]


def discover() -> list[Page]:
    """All tabs, from left to right."""
    found: list[Page] = []
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            page = getattr(importlib.import_module(f"{__name__}.{module.name}"), "PAGE", None)
            if isinstance(page, Page):
                found.append(page)
    return sorted(found, key=lambda page: (page.order, page.slug))


def build(services: Services) -> gr.Blocks:
    """The whole interface."""
    pages = discover()
    slugs = [page.slug for page in pages]
    demo: Workbench
    with Workbench(services.uploads, title="Parley", fill_width=True, analytics_enabled=False) as demo:
        gr.HTML('<span class="brand">Parley</span>', elem_id="brand", apply_default_css=False)
        wanted = gr.Textbox(visible=False)
        with gr.Tabs(elem_id="main", selected=slugs[0]) as tabs:
            for page in pages:
                with gr.Tab(page.label, id=page.slug, elem_id=f"page-{page.slug}"):
                    page.build(services)

        def choose(slug: str) -> Any:
            return gr.Tabs(selected=slug if slug in slugs else slugs[0])

        demo.load(choose, wanted, tabs, js="() => parley.tab", **QUICK)
        for tab in tabs.children:
            tab.select(None, js=f"() => parley.showTab({json.dumps(tab.id)})", **QUICK)

    # Every open answer is an event of its own: the queue must never be what people wait for.
    demo.queue(default_concurrency_limit=OF_A_KIND)
    demo._queue = FairQueue.instead_of(demo._queue, services.settings.shared)
    demo.max_threads = AT_ONCE
    demo.state_session_capacity = 500
    return demo
