"""The Settings tab: keys for this browser session, providers, the search index, the look, and where things are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

import core
from core.errors import ParleyError
from core.services import Services
from pages import Page
from pages.kit.handlers import PRIVATE, QUICK, guarded, session_of
from pages.settings import view

THEMES = [("Like the system", "system"), ("Light", "light"), ("Dark", "dark")]
KEYS_HINT = (
    "For this browser session and for you alone. A key is kept in the server's memory, never stored, never shown "
    "again, and forgotten after 12 hours without use or with a click on Forget."
)
MODELS_CHANGED = "() => { parley.fire('refresh_models'); }"
WHOLE_ADDRESS = (
    "const at = element.querySelector('[data-api]');"
    "if (at) at.textContent = location.origin + location.pathname.replace(/\\/$/, '') + '/v1';"
)
POLL = 0.3  # seconds between two looks at an index that is being built


@dataclass(frozen=True)
class KeyRow:
    """One provider's line."""

    provider: str
    field: gr.Textbox
    state: gr.HTML
    save: gr.Button
    forget: gr.Button


def build(services: Services) -> None:
    """Lay the tab out and connect it."""
    demo = gr.context.Context.root_block
    assert demo is not None, "a page is built inside of gr.Blocks"
    with gr.Column(elem_id="settings"):
        _head("Keys", KEYS_HINT)
        rows = [_key_row(name, provider.label) for name, provider in services.providers.items() if provider.takes_key]
        _head("Providers", "")
        table = gr.HTML("", apply_default_css=False, elem_id="providers")
        with gr.Row(elem_classes="actions"):
            refresh = gr.Button("Refresh lists of models", size="sm", min_width=0)
        _head("Search by meaning", "")
        index = gr.HTML("", apply_default_css=False, elem_id="index")
        with gr.Row(elem_classes="actions"):
            rebuild = gr.Button("Rebuild the index", size="sm", min_width=0)
        _head("Appearance", "")
        theme = gr.Radio(THEMES, value="system", label="Theme", show_label=False, container=False, elem_id="theme")
        _head("This workbench", "")
        gr.HTML(
            view.about(services.settings, core.__version__, services.database.problem),
            apply_default_css=False,
            elem_id="about",
            js_on_load=WHOLE_ADDRESS,
        )

    handlers = Handlers(services, [row.provider for row in rows])
    demo.load(handlers.look, None, [table, index, *(row.state for row in rows)], **PRIVATE)
    for row in rows:
        keys = KeyHandlers(services, row.provider, handlers)
        outputs = [row.field, row.state, table]
        saved = gr.on([row.save.click, row.field.submit], keys.save, row.field, outputs, **PRIVATE)
        forgotten = row.forget.click(keys.forget, None, outputs, **PRIVATE)
        for done in (saved, forgotten):
            done.then(None, None, None, js=MODELS_CHANGED, **QUICK)
    refresh.click(handlers.refresh, None, table, **PRIVATE).then(None, None, None, js=MODELS_CHANGED, **QUICK)
    rebuild.click(handlers.rebuild, None, index, **PRIVATE)
    theme.input(None, theme, None, js="(choice) => { parley.setTheme(choice); }", **QUICK)
    demo.load(None, None, theme, js="() => parley.theme()", **QUICK)


class Handlers:
    """What the tab's events do."""

    def __init__(self, services: Services, providers: Sequence[str]) -> None:
        self._services = services
        self._providers = providers

    @guarded
    async def look(self, request: gr.Request) -> list[str]:
        """Everything that the tab shows."""
        keys = self._services.visitors.keys(session_of(request))
        table, index = await asyncio.gather(self.table(request), self._services.threads.index.run(self._index))
        return [table, index, *(view.key_state(provider in keys) for provider in self._providers)]

    @guarded
    async def refresh(self, request: gr.Request) -> str:
        return await self.table(request, refresh=True)

    @guarded
    async def rebuild(self) -> AsyncIterator[str]:
        """Make the index anew and show how far it is."""
        vectors = self._services.vectors
        vectors.rebuild()
        while True:
            await asyncio.sleep(POLL)
            state = await self._services.threads.index.run(vectors.state)
            yield await self._services.threads.index.run(self._index)
            if state.problem is not None or (state.ready and state.indexed >= state.total):
                return

    async def table(self, request: gr.Request, refresh: bool = False) -> str:
        keys = self._services.visitors.keys(session_of(request))
        groups = await self._services.catalog.list(keys, refresh=refresh)
        return view.providers(groups, self._services.gateway.breakers())

    def _index(self) -> str:
        embedder = self._services.embedder
        try:
            dimensions: int | None = embedder.dimensions
        except ParleyError:
            dimensions = None
        return view.index(self._services.vectors.state(), embedder.name, dimensions)


class KeyHandlers:
    """What the fields of one provider's key do."""

    def __init__(self, services: Services, provider: str, page: Handlers) -> None:
        self._visitors = services.visitors
        self._provider = provider
        self._page = page

    @guarded
    async def save(self, key: str, request: gr.Request) -> list[Any]:
        """Keep a key for this session. The field is emptied at once, whatever happens."""
        if not key:
            return ["", gr.skip(), gr.skip()]
        try:
            self._visitors.set_key(session_of(request), self._provider, key)
        except ParleyError as error:
            gr.Warning(str(error), title="This key was not kept")
            return ["", gr.skip(), gr.skip()]
        return ["", view.key_state(True), await self._page.table(request)]

    @guarded
    async def forget(self, request: gr.Request) -> list[Any]:
        self._visitors.drop_key(session_of(request), self._provider)
        return ["", view.key_state(False), await self._page.table(request)]


def _head(title: str, hint: str) -> None:
    gr.HTML(f"<h2>{title}</h2>" + (f'<p class="hint">{hint}</p>' if hint else ""), apply_default_css=False)


def _key_row(provider: str, label: str) -> KeyRow:
    with gr.Row(elem_classes="key-row"):
        gr.HTML(f"<b>{label}</b>", apply_default_css=False, min_width=120, scale=0)
        field = gr.Textbox(
            type="password",
            label=f"Key for {label}",
            show_label=False,
            container=False,
            placeholder="Paste a key",
            max_lines=1,
            min_width=140,
            elem_id=f"key-{provider}",
            html_attributes=gr.InputHTMLAttributes(autocomplete="off", spellcheck=False),
        )
        save = gr.Button("Save", size="sm", min_width=0, scale=0, elem_id=f"save-{provider}")
        forget = gr.Button("Forget", size="sm", min_width=0, scale=0, elem_id=f"forget-{provider}")
        state = gr.HTML("", apply_default_css=False, min_width=150, scale=0, elem_id=f"state-{provider}")
    return KeyRow(provider, field, state, save, forget)


PAGE = Page("settings", "Settings", 90, build)
