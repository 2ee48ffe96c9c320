"""What streams in the Chat tab: sending, trying again, going on, and coming back to an answer that is still written."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from core.chat import Keys
from core.conversations import Conversation
from core.errors import BadRequest, NotFound
from core.runs import Snapshot
from core.services import Services
from pages import _chat_view
from pages._chat_options import Updates, Values
from pages._chat_parts import Parts
from pages._chat_screen import Screen, Talk
from pages._shared import guarded, sent, session_of, visitor_of

PACE = 0.05  # seconds between two updates of a page
SLOW_PACE = 0.1  # of a page with a long conversation, which costs the browser more to draw
LONG = 60  # messages
IDLE = 1.0  # seconds until an update without news, by which a closed page is noticed


class Answers:
    """Handlers that are async generators of updates."""

    def __init__(self, services: Services, parts: Parts, screen: Screen) -> None:
        self._services = services
        self._parts = p = parts
        self._screen = screen
        self.fields = {p.box, p.here, p.leaf, p.editing, p.comparing, p.model, p.models, *p.options.all}
        self.outputs = [
            *(p.box, p.here, p.leaf, p.editing, p.editbar, p.history, p.banner, p.foot, p.comparing, p.model),
            *(p.models, p.compare),
            *(*p.columns, *p.heads, *p.chats, *p.options.all, p.options.cannot),
        ]

    @guarded
    async def send(self, values: Values, request: gr.Request) -> AsyncIterator[Updates]:
        """What is in the box goes to the chosen model or models."""
        message = values[self._parts.box] or {}
        async for update in self._ask(values, request, message.get("text") or "", message.get("files") or ()):
            yield update

    @guarded
    async def starter(self, event: gr.EventData, values: Values, request: gr.Request) -> AsyncIterator[Updates]:
        """One of the questions that an empty chat offers."""
        chosen = getattr(event, "value", None)
        text = chosen.get("text", "") if isinstance(chosen, Mapping) else ""
        async for update in self._ask(values, request, str(text), ()):
            yield update

    @guarded
    async def retry(self, event: gr.EventData, values: Values, request: gr.Request) -> AsyncIterator[Updates]:
        """Another answer to the same question, from the model that is chosen now."""
        visitor, keys = self._who(request)
        here = values[self._parts.here]
        conversation = await self._keep(visitor, here, values)
        model = None if conversation.panes else values[self._parts.model]
        fallbacks = self._fallbacks(values)
        await self._services.chat.retry(visitor, sent(event, "turn"), model=model, keys=keys, fallbacks=fallbacks)
        async for update in self._follow(visitor, here):
            yield update

    @guarded
    async def proceed(self, event: gr.EventData, values: Values, request: gr.Request) -> AsyncIterator[Updates]:
        """Go on with an answer that ended too early."""
        visitor, keys = self._who(request)
        here = values[self._parts.here]
        await self._keep(visitor, here, values)
        await self._services.chat.proceed(visitor, sent(event, "turn"), keys=keys)
        async for update in self._follow(visitor, here):
            yield update

    @guarded
    async def open(self, event: gr.EventData, request: gr.Request) -> AsyncIterator[Updates]:
        """A conversation of the list; of a search's result the branch with the passage that was found."""
        visitor, _ = self._who(request)
        here, turn = sent(event, "id"), sent(event, "turn")
        if turn:
            with contextlib.suppress(NotFound):
                await asyncio.to_thread(self._services.conversations.select, visitor, here, turn)
        async for update in self._show(visitor, here, listing=not turn):
            yield update

    @guarded
    async def arrive(self, wanted: str, request: gr.Request) -> AsyncIterator[Updates]:
        """The page was opened or loaded anew, at the address of a conversation or without one."""
        visitor, _ = self._who(request)
        yield await asyncio.to_thread(self._screen.history, visitor, wanted) | self._screen.banner()
        if wanted:
            try:
                async for update in self._show(visitor, wanted, listing=False):
                    yield update
            except NotFound:
                gr.Info("That conversation does not exist any more.")
                yield {self._parts.here: "", **self._screen.box(busy=False)}

    def _who(self, request: gr.Request) -> tuple[str, Keys]:
        return visitor_of(request), self._services.visitors.keys(session_of(request))

    def _fallbacks(self, values: Values) -> Sequence[str]:
        return list(values[self._parts.options.fallbacks] or ())

    async def _ask(
        self, values: Values, request: gr.Request, text: str, paths: Sequence[str]
    ) -> AsyncIterator[Updates]:
        if not text.strip() and not paths:
            yield self._screen.box(busy=False)
            return
        p, chat = self._parts, self._services.chat
        visitor, keys = self._who(request)
        models = list(values[p.models] or ()) if values[p.comparing] else [values[p.model]]
        if values[p.comparing] and len(models) < 2:
            raise BadRequest("A comparison needs at least two models.", "Choose them at the top.")
        if not models[0]:
            raise BadRequest("No model is chosen.", "Choose one at the top.")
        fallbacks = self._fallbacks(values)
        if editing := values[p.editing]:
            here = values[p.here]
            await self._keep(visitor, here, values)
            await chat.edit(visitor, editing, text, keys=keys, fallbacks=fallbacks)
        else:
            files = [(Path(path).name, await asyncio.to_thread(Path(path).read_bytes)) for path in paths]
            here = values[p.here] or await self._create(visitor, values, models[0])
            try:
                if values[p.here]:
                    await self._keep(visitor, here, values)
                await chat.ask(visitor, here, text, files, models=models, keys=keys, fallbacks=fallbacks)
            except BaseException:
                if not values[p.here]:
                    await asyncio.to_thread(self._services.conversations.delete, visitor, here)
                raise
        async for update in self._follow(visitor, here, asked=True):
            yield update

    async def _create(self, visitor: str, values: Values, model: str) -> str:
        options = self._parts.options
        parameters = options.parameters(values)
        made = await asyncio.to_thread(
            self._services.conversations.create,
            visitor,
            system=values[options.system] or "",
            model=model,
            parameters=parameters,
        )
        return made.id

    async def _keep(self, visitor: str, here: str, values: Values) -> Conversation:
        """Keep the options as they are now, and the branch that this page shows, should another page show another."""
        options, store = self._parts.options, self._services.conversations
        parameters, system = options.parameters(values), values[options.system] or ""

        def work() -> Conversation:
            conversation = store.get(visitor, here)
            if (conversation.system, conversation.parameters) != (system, parameters):
                conversation = store.update(visitor, here, system=system, parameters=parameters)
            leaf = values[self._parts.leaf]
            if leaf and leaf != conversation.leaf and not conversation.panes:
                with contextlib.suppress(NotFound):
                    store.select(visitor, here, leaf)
            return conversation

        return await asyncio.to_thread(work)

    async def _show(self, visitor: str, here: str, listing: bool) -> AsyncIterator[Updates]:
        """A conversation as it is, and what is still being written in it."""
        talk = await asyncio.to_thread(self._screen.talk, visitor, here)
        models = [model for model, _ in talk.panes]
        p, conversation, several = self._parts, talk.conversation, len(models) > 1
        infos = [self._screen.info(model) for model in models]
        chosen: Updates = {
            **self._screen.choosing(several),
            p.model: gr.update(visible=not several, value=models[0]),
            p.models: gr.update(visible=several, value=models if several else []),
            **self._screen.not_editing(),
            **p.options.shown(conversation.system, conversation.parameters, infos),
        }
        if listing:
            chosen |= await asyncio.to_thread(self._screen.history, visitor, here)
        if self._services.chat.running(visitor, here):
            async for update in self._follow(visitor, here, chosen):
                yield update
        else:
            drawn = await asyncio.to_thread(self._screen.conversation, visitor, talk)
            yield drawn | chosen | self._screen.box(busy=False)

    async def _follow(
        self, visitor: str, here: str, first: Updates | None = None, asked: bool = False
    ) -> AsyncIterator[Updates]:
        """Show what is being written until it has ended, then the conversation at rest."""
        p, screen, chat = self._parts, self._screen, self._services.chat
        running = chat.running(visitor, here)
        talk = await asyncio.to_thread(screen.talk, visitor, here)
        look = screen.look(visitor, len(talk.panes))
        before: dict[str, tuple[int, list[Any]]] = {}
        update = await asyncio.to_thread(screen.frame, talk)
        for number, (_, branch) in enumerate(talk.panes):
            end = branch[-1] if branch and branch[-1].id in running else None
            done = await asyncio.to_thread(_chat_view.messages, branch[:-1] if end else branch, look)
            if end:
                before[end.id] = (number, done)
            update[p.chats[number]] = done + (_chat_view.answer(Snapshot.of(end), look) if end else [])
        update |= (first or {}) | screen.box(busy=True, clear=asked) | screen.not_editing()
        if asked:
            update |= await asyncio.to_thread(screen.history, visitor, here)
        yield update

        notices: dict[str, tuple[str, ...]] = {}
        pace = SLOW_PACE if any(len(branch) > LONG for _, branch in talk.panes) else PACE
        async with contextlib.aclosing(chat.watch(visitor, list(before), every=pace, idle=IDLE)) as seen:  # type: ignore[type-var]
            async for changed in seen:
                update = {}
                for turn, snapshot in changed.items():
                    notices[turn] = snapshot.notices
                    number, done = before[turn]
                    update[p.chats[number]] = done + _chat_view.answer(snapshot, look)
                yield update or {p.foot: gr.skip()}
        yield await self._rest(visitor, here, notices)

    async def _rest(self, visitor: str, here: str, notices: Mapping[str, tuple[str, ...]]) -> Updates:
        try:
            talk: Talk = await asyncio.to_thread(self._screen.talk, visitor, here)
        except NotFound:  # deleted meanwhile, here or in another tab
            blank = self._screen.blank("")
            return blank | self._screen.box(busy=False)
        drawn = await asyncio.to_thread(self._screen.conversation, visitor, talk, notices)
        return drawn | self._screen.box(busy=False) | self._screen.banner()
