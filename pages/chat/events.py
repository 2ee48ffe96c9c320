"""What is done at once in the Chat tab: choosing models, switching branches, keeping the history, export and import."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from typing import Any

import gradio as gr

from core.conversations.formats import formats
from core.conversations.formats.json import import_json
from core.errors import BadRequest
from core.services import Services
from pages.chat.options import Values
from pages.chat.parts import EMPTY_BOX, PANES, Parts
from pages.chat.screen import Screen
from pages.kit import model_picker, uploads
from pages.kit.handlers import Updates, guarded, sent, session_of, visitor_of


class Events:
    """Handlers that return their updates. Database work runs in threads."""

    def __init__(self, services: Services, parts: Parts, screen: Screen) -> None:
        self._services = services
        self._parts = p = parts
        self._screen = screen
        around = [p.here, p.leaf, p.history, p.foot, p.editing, p.editbar, p.box, p.busy]
        self.screenful = [*around, *p.heads, *p.chats, p.comparing, p.model, p.models, p.compare]
        self.fitted = [*p.options.fit([]), p.foot, p.model]
        self.picked = [*self.fitted, p.comparing, p.models, p.compare]
        self.offered = [*self.fitted, p.models, p.options.fallbacks]

    @guarded
    async def offer(self, wanted: str, request: gr.Request) -> Updates:
        """Fill the pickers, and begin with the model of this conversation, or of the last one."""
        p, visitor = self._parts, visitor_of(request)
        entries = await self._entries(request)
        recent = await self._services.threads.database.run(self._services.conversations.list, visitor, 50)
        here = [item for item in recent if item.id == wanted]
        used = [pane.model for item in here for pane in item.panes] + [item.model for item in here]
        entries = model_picker.with_kept(entries, used, {model: self._screen.name(model) for model in used})
        wished = [item.model for item in here] or [self._services.settings["PARLEY_DEFAULT_MODEL"]]
        model = model_picker.default(entries, [*wished, *(item.model for item in recent)])
        plain = model_picker.models_only(entries)
        updates = p.options.fit([self._screen.info(model)]) if not here else {}
        if not wanted:
            updates |= {p.foot: self._screen.blank(model)[p.foot]}
        fallbacks = [
            name for name in self._services.settings["PARLEY_FALLBACKS"] if name in {value for _, value in plain}
        ]
        return updates | {
            p.model: gr.update(choices=entries, value=model or None),
            p.models: gr.update(choices=plain),
            p.options.fallbacks: gr.update(choices=plain, value=fallbacks),
        }

    @guarded
    async def refill(self, model: str | None, models: Sequence[str], request: gr.Request) -> Updates:
        """The lists of models have changed: a key was set or forgotten, or they were asked for again."""
        p = self._parts
        entries = await self._entries(request)
        used = [name for name in (model, *models) if name]
        entries = model_picker.with_kept(entries, used, {name: self._screen.name(name) for name in used})
        plain = model_picker.models_only(entries)
        return {
            p.model: gr.update(choices=entries),
            p.models: gr.update(choices=plain),
            p.options.fallbacks: gr.update(choices=plain),
        }

    @guarded
    async def choose(self, model: str | None, here: str, effort: str, request: gr.Request) -> Updates:
        """Another model: other parameters, another context window."""
        p = self._parts
        if not model or model.startswith(model_picker.BLOCKED):
            gr.Info("Add a key in Settings, or start the server that it needs; then it can be chosen here.")
            recent = await self._services.threads.database.run(
                self._services.conversations.list, visitor_of(request), 50
            )
            entries = await self._entries(request)
            return {p.model: model_picker.default(entries, [item.model for item in recent]) or None}
        updates = p.options.fit([self._screen.info(model)], effort)
        if not here:
            return updates | {p.foot: self._screen.blank(model)[p.foot]}
        return updates

    @guarded
    async def choose_several(self, models: Sequence[str], effort: str) -> Updates:
        return self._parts.options.fit([self._screen.info(model) for model in models], effort)

    @guarded
    async def compare(self, comparing: bool, model: str | None, models: Sequence[str]) -> Updates:
        """Between one model and several."""
        p, several = self._parts, not comparing
        chosen = list(models or ()) or ([model] if model else [])
        infos = [self._screen.info(name) for name in (chosen if several else [model or ""]) if name]
        return {
            **p.options.fit(infos),
            **self._screen.choosing(several),
            p.models: gr.update(visible=several, value=chosen[:PANES]),
        }

    @guarded
    async def new(self, model: str | None, request: gr.Request) -> Updates:
        visitor = visitor_of(request)
        listed = await self._services.threads.database.run(self._screen.history, visitor, "")
        return self._screen.blank(model or "") | listed | self._screen.box(busy=False, clear=True)

    @guarded
    async def branch(self, event: gr.EventData, here: str, request: gr.Request) -> Updates:
        """Another version of a message, with what followed it."""
        visitor, turn = visitor_of(request), sent(event, "turn")
        self._refuse_while_busy(visitor, here)
        await self._services.threads.database.run(self._services.conversations.select, visitor, here, turn)
        return await self._redrawn(visitor, here)

    @guarded
    async def pick(self, event: gr.EventData, here: str, request: gr.Request) -> Updates:
        """Go on with one pane of a comparison; the others stay as branches."""
        visitor, p = visitor_of(request), self._parts
        self._refuse_while_busy(visitor, here)
        conversation = await self._services.threads.database.run(self._services.conversations.get, visitor, here)
        number = sent(event, "pane")
        if not number.isdigit() or int(number) >= len(conversation.panes):
            raise BadRequest("That comparison has ended already.", "Reload the page.")
        pane = conversation.panes[int(number)]
        change: dict[str, Any] = {"leaf": pane.leaf, "model": pane.model, "panes": ()}
        await self._services.threads.database.run(self._services.conversations.update, visitor, here, **change)
        drawn = await self._redrawn(visitor, here)
        return drawn | self._screen.choosing(False) | {p.model: gr.update(value=pane.model, visible=True)}

    @guarded
    async def rate(self, event: gr.EventData, request: gr.Request) -> None:
        value = {"1": 1, "-1": -1}.get(sent(event, "value"), 0)
        await self._services.threads.database.run(
            self._services.conversations.rate, visitor_of(request), sent(event, "turn"), value
        )

    @guarded
    async def edit(self, event: gr.EventData, request: gr.Request) -> Updates:
        turn = await self._services.threads.database.run(
            self._services.conversations.turn, visitor_of(request), sent(event, "turn")
        )
        return self._screen.editing(turn)

    @guarded
    async def cancel_edit(self) -> Updates:
        return self._screen.not_editing() | {self._parts.box: EMPTY_BOX}

    @guarded
    async def text_of(self, event: gr.EventData, request: gr.Request) -> str:
        """A message exactly as it was written, for the clipboard."""
        turn = await self._services.threads.database.run(
            self._services.conversations.turn, visitor_of(request), sent(event, "turn")
        )
        return turn.text

    @guarded
    async def stop(self, here: str, request: gr.Request) -> None:
        visitor, chat = visitor_of(request), self._services.chat
        chat.stop(visitor, chat.running(visitor, here))

    @guarded
    async def rename(self, event: gr.EventData, here: str, request: gr.Request) -> Updates:
        visitor, title = visitor_of(request), sent(event, "title").strip()
        if title:
            await self._services.threads.database.run(
                self._services.conversations.update, visitor, sent(event, "id"), title=title
            )
        return await self._services.threads.database.run(self._screen.history, visitor, here)

    @guarded
    async def delete(self, event: gr.EventData, here: str, model: str | None, request: gr.Request) -> Updates:
        visitor, gone = visitor_of(request), sent(event, "id")
        await self._services.chat.delete(visitor, gone)
        if gone != here:
            return await self._services.threads.database.run(self._screen.history, visitor, here)
        listed = await self._services.threads.database.run(self._screen.history, visitor, "")
        return self._screen.blank(model or "") | listed | self._screen.box(busy=False)

    @guarded
    async def export(self, event: gr.EventData, request: gr.Request) -> str:
        """A conversation as a file, packed for the page's script, which offers it as a download."""
        visitor, id = visitor_of(request), sent(event, "id")
        format = formats().get(sent(event, "format")) or formats()["json"]
        store = self._services.conversations
        conversation = await self._services.threads.database.run(store.get, visitor, id)
        content = await self._services.threads.files.run_for(visitor, format.write, store, visitor, [id])
        stem = "".join(c if c.isalnum() else "-" for c in conversation.title[:60]).strip("-") or "conversation"
        return json.dumps({"name": f"{stem}.{format.ending}", "type": format.media_type, "text": content})

    @guarded
    async def import_file(self, path: str | None, here: str, request: gr.Request) -> Updates:
        """Import what was exported as JSON."""
        visitor = visitor_of(request)
        if not path:
            return {}
        ((_, content),) = await uploads.take(self._services.uploads, request, [path])
        taken = await self._services.threads.files.run_for(
            visitor, import_json, self._services.conversations, visitor, content
        )
        gr.Info(f"{len(taken)} conversation{'s' * (len(taken) != 1)} imported.")
        return await self._services.threads.database.run(self._screen.history, visitor, here)

    @guarded
    async def search(self, query: str, here: str, request: gr.Request) -> Updates:
        return await self._services.threads.index.run(self._screen.history, visitor_of(request), here, query)

    @guarded
    async def keep(self, values: Values, request: gr.Request) -> None:
        """The system prompt as soon as it is written, so that a reload does not lose it."""
        p, visitor = self._parts, visitor_of(request)
        if here := values[p.here]:
            system = values[p.options.system] or ""
            await self._services.threads.database.run(self._services.conversations.update, visitor, here, system=system)

    async def _entries(self, request: gr.Request) -> list[model_picker.Choice]:
        groups = await self._services.catalog.list(self._services.visitors.keys(session_of(request)))
        today = datetime.datetime.now().astimezone().date()
        return model_picker.choices(groups, today, self._services.prices.of)

    async def _redrawn(self, visitor: str, here: str) -> Updates:
        talk = await self._services.threads.database.run(self._screen.talk, visitor, here)
        return await self._services.threads.database.run(self._screen.conversation, visitor, talk)

    def _refuse_while_busy(self, visitor: str, here: str) -> None:
        if self._services.chat.running(visitor, here):
            raise BadRequest("An answer is still being written.", "Wait for it or stop it first.")
