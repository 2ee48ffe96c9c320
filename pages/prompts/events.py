"""What the Prompts tab's clicks do. Reading the registry runs in threads."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from core.errors import BadRequest, ParleyError
from core.prompts.authors import author_of
from core.prompts.content import parse_content
from core.prompts.version import Version
from core.services import Services
from pages.kit.handlers import guarded, sent, visitor_of
from pages.prompts.label_window import GONE
from pages.prompts.parts import Parts
from pages.prompts.screen import Screen, Updates


class Events:
    """Handlers that return their updates."""

    def __init__(self, services: Services, parts: Parts, screen: Screen) -> None:
        self._services = services
        self._threads = services.threads
        self._parts = p = parts
        self._screen = screen
        self.opened = screen.room_parts
        self.everything = [p.list, *self.opened]
        self.looked = [p.list, p.head, p.views]

    @guarded
    async def arrive(self, wanted: str, here: str, query: str, chip: str) -> Updates:
        """The tab was opened: the first time with what the address or another tab asks for, later the list alone."""
        wanted_view = _json(wanted)
        if not wanted_view.get("first"):
            return await self._redrawn(here, query, chip)
        ref, source = str(wanted_view.get("ref") or ""), str(wanted_view.get("draft") or "")
        if source:
            updates = await self._threads.prompts.run(self._screen.blank, _draft(source))
        elif ref:
            updates = await self._threads.prompts.run(self._screen.opened, ref)
        else:
            updates = await self._threads.prompts.run(self._screen.arrived)
        return updates | await self._threads.index.run(self._screen.listing, updates[self._parts.here] or ref)

    @guarded
    async def open(self, event: gr.EventData) -> Updates:
        return await self._threads.prompts.run(self._screen.opened, sent(event, "ref"))

    @guarded
    async def new(self) -> Updates:
        return await self._threads.prompts.run(self._screen.blank)

    @guarded
    async def open_draft(self, event: gr.EventData) -> Updates:
        """What another tab wants to have kept as a prompt."""
        return await self._threads.prompts.run(self._screen.blank, _draft(sent(event, "content")))

    @guarded
    async def look(self, event: gr.EventData, here: str, query: str, chip: str) -> Any:
        """Nothing, unless the folder has changed since the page was drawn."""
        seen = sent(event, "seen")
        if seen == str(self._screen.generation):
            return gr.skip()
        if self._screen.changed(here.partition("@")[0], seen):
            return await self._redrawn(here, query, chip)
        return await self._threads.index.run(self._screen.listing, here, query, chip)

    @guarded
    async def after_save(self, saved: str, query: str, chip: str) -> Any:
        """A version was saved in the editor: `saved` is its reference and something new."""
        ref = saved.partition(" ")[0]
        if not ref:
            return gr.skip()
        room = await self._threads.prompts.run(self._screen.opened, ref)
        kept = {part: value for part, value in room.items() if part not in self._parts.editor.outputs}
        return kept | await self._threads.index.run(self._screen.listing, ref, query, chip)

    @guarded
    async def search(self, query: str, here: str, chip: str) -> Updates:
        return await self._threads.index.run(self._screen.listing, here, query, chip)

    @guarded
    async def narrow(self, event: gr.EventData, here: str, query: str) -> Updates:
        """Only prompts with this tag or label, or all again."""
        chip = sent(event, "chip")
        listed = await self._threads.index.run(self._screen.listing, here, query, chip)
        return listed | {self._parts.chip: chip}

    @guarded
    async def draft_problem(self, event: gr.EventData) -> Updates:
        """What was written into a file by hand, as a draft of the next version."""
        name, number = sent(event, "name"), _number(sent(event, "number"))
        problems = await self._threads.prompts.run(self._services.registry.problems)
        found = [one.draft for one in problems if one.name == name and one.number == number and one.draft]
        if not found:
            raise BadRequest("That file was changed again in the meantime.", "Look at the list once more.")
        entry = await self._threads.prompts.run(self._services.registry.entry, name)
        if entry.latest is None:
            return await self._threads.prompts.run(self._screen.blank, found[0])
        return await self._threads.prompts.run(self._screen.opened, name, found[0])

    @guarded
    async def restore(self, event: gr.EventData, here: str, query: str, chip: str) -> Updates:
        """Write a file back as it was saved."""
        self._screen.must_write()
        name, number = sent(event, "name"), _number(sent(event, "number"))
        await self._threads.prompts.run(self._services.registry.restore, name, number)
        gr.Info(f"v{number} of {name} is again what was saved.", duration=3)
        return await self._redrawn(here, query, chip)

    @guarded
    async def compare(self, event: gr.EventData) -> Updates:
        """Two versions side by side."""
        name, old, new = sent(event, "name"), _number(sent(event, "old")), _number(sent(event, "new"))
        return {self._parts.diff: await self._threads.prompts.run(self._screen.compared, name, old, new)}

    @guarded
    async def all_versions(self, here: str) -> Updates:
        return await self._threads.prompts.run(self._screen.all_versions, here)

    @guarded
    async def ask(self, event: gr.EventData) -> str:
        """The window in which a label is moved, as it has to be for what is chosen in it so far."""
        name, label, to = sent(event, "name"), sent(event, "label"), _number(sent(event, "to"))
        return await self._threads.prompts.run(self._screen.window, name, label, to, sent(event, "why"))

    @guarded
    async def move(self, event: gr.EventData, here: str, query: str, chip: str, request: gr.Request) -> Updates:
        """Move a label. When that cannot be, the window stays with what was written and says why."""
        p, name, label = self._parts, sent(event, "name"), sent(event, "label")
        to, expect, why = _number(sent(event, "to")), _number(sent(event, "expect")), sent(event, "why")
        by = author_of(visitor_of(request), self._services.settings)
        registry = self._services.registry

        def work() -> None:
            self._screen.must_write()
            registry.move(name, label, to or None, by=by, why=why.strip(), expect=expect or None)

        try:
            await self._threads.prompts.run(work)
        except ParleyError as error:
            return {
                p.label_window: await self._threads.prompts.run(self._screen.window, name, label, to, why, str(error))
            }
        said = f"{label} of {name} is removed." if to == GONE else f"{label} of {name} stands at v{to} now."
        gr.Info(said, duration=3)
        return {p.label_window: ""} | await self._redrawn(here, query, chip)

    async def _redrawn(self, here: str, query: str, chip: str) -> Updates:
        listed = await self._threads.index.run(self._screen.listing, here, query, chip)
        return listed | await self._threads.prompts.run(self._screen.refreshed, here)


def _json(source: str) -> dict[str, Any]:
    try:
        value = json.loads(source or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _number(source: str) -> int:
    """A version's number as the page writes it; 0 for none."""
    return int(source) if source.isascii() and source.isdigit() and len(source) < 10 else GONE


def _draft(source: str) -> Version:
    """A prompt's content as JSON, that has no name yet."""
    return Version("", 0, parse_content(_json(source), "What was handed over"))
