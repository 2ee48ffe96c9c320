"""What asks models in the Chat tab, and what shows the answers while they are written.

Asking and showing are two events. The first returns at once and changes what is around the conversation; it leaves a
token in `watch_one` or `watch_many`, and the change of that starts the second, which has the conversation as its only
output: for each output of an event Gradio does work at every update, whether it has news or not.
"""

from __future__ import annotations

import contextlib
import datetime
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import gradio as gr

from core.chat.chat import Keys
from core.chat.runs import Snapshot
from core.conversations import Conversation, PromptChoice
from core.errors import BadRequest, NotFound
from core.services import Services
from pages.chat import view
from pages.chat.options import Values
from pages.chat.parts import PANES, Parts
from pages.chat.prompt import ChatPrompts
from pages.chat.screen import Screen
from pages.kit import model_picker, uploads
from pages.kit.handlers import Updates, guarded, sent, session_of, visitor_of

PACE = 0.05  # seconds between two updates of a page
SLOW_PACE = 0.1  # of a page with a long conversation, which costs the browser more to draw
LONG = 60  # messages
IDLE = 1.0  # seconds until an update without news, by which a closed page is noticed
Drawn = list[list[Any]]  # the messages of each pane


class Answers:
    """Handlers of events; `asked`, `shown` and `rested` are the outputs that they may change."""

    def __init__(self, services: Services, parts: Parts, screen: Screen) -> None:
        self._services = services
        self._parts = p = parts
        self._screen = screen
        self._prompts = ChatPrompts(services, p.options.prompt)
        self.fields = {p.box, p.here, p.leaf, p.editing, p.comparing, p.model, p.models, *p.options.all}
        around = [p.box, p.busy, p.here, p.leaf, p.editing, p.editbar, p.history, p.banner, p.watch_one, p.watch_many]
        self.ask_outputs = [*around, *p.heads]
        drawer = [*p.options.all, p.options.cannot, p.options.prompt.fields]
        chosen = [p.comparing, p.model, p.models, p.compare, *drawer]
        self.shown = [*self.ask_outputs, *p.chats, p.foot, *chosen]
        self.rested = [p.busy, p.here, p.leaf, p.banner, p.foot]

    @guarded
    async def send(self, values: Values, request: gr.Request) -> Updates:
        """What is in the box goes to the chosen model or models."""
        message = values[self._parts.box] or {}
        return await self._ask(values, request, message.get("text") or "", message.get("files") or ())

    @guarded
    async def starter(self, event: gr.EventData, values: Values, request: gr.Request) -> Updates:
        """One of the questions that an empty chat offers."""
        chosen = getattr(event, "value", None)
        text = chosen.get("text", "") if isinstance(chosen, Mapping) else ""
        return await self._ask(values, request, str(text), ())

    @guarded
    async def retry(self, event: gr.EventData, values: Values, request: gr.Request) -> Updates:
        """Another answer to the same question, from the model that is chosen now."""
        visitor, keys = self._who(request)
        here = values[self._parts.here]
        conversation = await self._keep(visitor, here, values)
        model = None if conversation.panes else values[self._parts.model]
        fallbacks = self._fallbacks(values)
        await self._services.chat.retry(visitor, sent(event, "turn"), model=model, keys=keys, fallbacks=fallbacks)
        return await self._services.threads.database.run(self._begun, visitor, here)

    @guarded
    async def proceed(self, event: gr.EventData, values: Values, request: gr.Request) -> Updates:
        """Go on with an answer that ended too early."""
        visitor, keys = self._who(request)
        here = values[self._parts.here]
        await self._keep(visitor, here, values)
        await self._services.chat.proceed(visitor, sent(event, "turn"), keys=keys)
        return await self._services.threads.database.run(self._begun, visitor, here)

    @guarded
    async def open(self, event: gr.EventData, request: gr.Request) -> Updates:
        """A conversation of the list; of a search's result the branch with the passage that was found."""
        visitor, _ = self._who(request)
        here, turn = sent(event, "id"), sent(event, "turn")
        if turn:
            with contextlib.suppress(NotFound):
                await self._services.threads.database.run(self._services.conversations.select, visitor, here, turn)
        return await self._services.threads.database.run(self._show, visitor, here, not turn)

    @guarded
    async def arrive(self, wanted: str, request: gr.Request) -> Updates:
        """The page was opened or loaded anew, at the address of a conversation or without one."""
        visitor, _ = self._who(request)
        updates: Updates = (
            await self._services.threads.database.run(self._screen.history, visitor, wanted) | self._screen.banner()
        )
        if wanted:
            try:
                updates |= await self._services.threads.database.run(self._show, visitor, wanted, False)
            except NotFound:
                gr.Info("That conversation does not exist any more.")
                updates |= {self._parts.here: "", **self._screen.box(busy=False)}
        return updates

    @guarded
    async def one(self, token: str, request: gr.Request) -> AsyncIterator[Any]:
        """The conversation while its answer is written."""
        async with contextlib.aclosing(self._follow(token, request)) as drawn:  # type: ignore[type-var]
            async for panes in drawn:
                yield panes[0]

    @guarded
    async def many(self, token: str, request: gr.Request) -> AsyncIterator[Drawn]:
        """All panes while their answers are written."""
        async with contextlib.aclosing(self._follow(token, request)) as drawn:  # type: ignore[type-var]
            async for panes in drawn:
                yield panes + [[]] * (PANES - len(panes))

    @guarded
    async def rest(self, here: str, request: gr.Request) -> Updates:
        """What is around a conversation whose answer has ended."""
        visitor, _ = self._who(request)
        return await self._services.threads.database.run(self._rest, visitor, here)

    def _who(self, request: gr.Request) -> tuple[str, Keys]:
        return visitor_of(request), self._services.visitors.keys(session_of(request))

    def _fallbacks(self, values: Values) -> Sequence[str]:
        return list(values[self._parts.options.fallbacks] or ())

    async def _ask(self, values: Values, request: gr.Request, text: str, paths: Sequence[str]) -> Updates:
        if not text.strip() and not paths:
            return self._screen.box(busy=False)
        p, chat = self._parts, self._services.chat
        visitor, keys = self._who(request)
        models = list(values[p.models] or ()) if values[p.comparing] else [values[p.model] or await self._first(keys)]
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
            files = await uploads.read(self._services.uploads, request, paths)
            here = values[p.here] or await self._create(visitor, values, models[0])
            try:
                if values[p.here]:
                    await self._keep(visitor, here, values)
                await chat.ask(visitor, here, text, files, models=models, keys=keys, fallbacks=fallbacks)
            except BaseException:
                if not values[p.here]:
                    await self._services.threads.database.run(self._services.conversations.delete, visitor, here)
                raise
            await uploads.drop(self._services.uploads, request, paths)
        return await self._services.threads.database.run(self._begun, visitor, here, True)

    async def _first(self, keys: Keys) -> str:
        """The model that the picker is going to begin with, for who asks before its list has come."""
        groups = await self._services.catalog.list(keys)
        today = datetime.datetime.now().astimezone().date()
        entries = model_picker.choices(groups, today, self._services.prices.of)
        return model_picker.default(entries, [self._services.settings["PARLEY_DEFAULT_MODEL"]])

    async def _create(self, visitor: str, values: Values, model: str) -> str:
        options = self._parts.options
        made = await self._services.threads.database.run(
            self._services.conversations.create,
            visitor,
            system=values[options.system] or "",
            model=model,
            parameters=options.parameters(values),
            prompt=await self._prompt(values),
        )
        return made.id

    async def _keep(self, visitor: str, here: str, values: Values) -> Conversation:
        """Keep the options as they are now, and the branch that this page shows, should another page show another."""
        options, store = self._parts.options, self._services.conversations
        parameters, system = options.parameters(values), values[options.system] or ""
        prompt = await self._prompt(values)

        def work() -> Conversation:
            conversation = store.get(visitor, here)
            if (conversation.system, conversation.parameters, conversation.prompt) != (system, parameters, prompt):
                conversation = store.update(visitor, here, system=system, parameters=parameters, prompt=prompt)
            leaf = values[self._parts.leaf]
            if leaf and leaf != conversation.leaf and not conversation.panes:
                with contextlib.suppress(NotFound):
                    store.select(visitor, here, leaf)
            return conversation

        return await self._services.threads.database.run(work)

    async def _prompt(self, values: Values) -> PromptChoice | None:
        """The prompt that is picked, with what stands in its fields."""
        pick = self._parts.options.prompt
        return await self._services.threads.database.run(self._prompts.chosen, values[pick.ref], values[pick.values])

    def _show(self, visitor: str, here: str, listing: bool) -> Updates:
        """A conversation as it is, with its options; what is still being written in it goes on being shown."""
        talk = self._screen.talk(visitor, here)
        models = [model for model, _ in talk.panes]
        p, conversation, several = self._parts, talk.conversation, len(models) > 1
        infos = [self._screen.info(model) for model in models]
        updates: Updates = {
            **self._screen.conversation(visitor, talk),
            **self._screen.choosing(several),
            p.model: gr.update(visible=not several, value=models[0]),
            p.models: gr.update(visible=several, value=models if several else []),
            **self._screen.not_editing(),
            **p.options.shown(conversation.system, conversation.parameters, infos),
            **self._prompts.shown(conversation.prompt),
            **self._screen.box(busy=False),
        }
        if listing:
            updates |= self._screen.history(visitor, here)
        if self._services.chat.running(visitor, here):
            updates |= self._begun(visitor, here)
        return updates

    def _begun(self, visitor: str, here: str, sent_now: bool = False) -> Updates:
        """What changes when answers begin. The token makes the page follow them."""
        screen, p = self._screen, self._parts
        talk = screen.talk(visitor, here)
        watch = p.watch_many if len(talk.panes) > 1 else p.watch_one
        updates = screen.columns(talk) | screen.box(busy=True, clear=sent_now) | screen.not_editing() | screen.banner()
        if sent_now:
            updates |= screen.history(visitor, here)
        return updates | {watch: f"{here} {secrets.token_hex(4)}"}

    async def _follow(self, token: str, request: gr.Request) -> AsyncIterator[Drawn]:
        """Yield what each pane shows until all has been written; last, the conversation at rest."""
        visitor, _ = self._who(request)
        here = token.partition(" ")[0]
        screen, chat = self._screen, self._services.chat
        running = chat.running(visitor, here)
        talk = await self._services.threads.database.run(screen.talk, visitor, here)
        look = screen.look(visitor, len(talk.panes))
        before: dict[str, tuple[int, list[Any]]] = {}
        drawn: Drawn = []
        for number, (_, branch) in enumerate(talk.panes):
            end = branch[-1] if branch and branch[-1].id in running else None
            done = await self._services.threads.database.run(view.messages, branch[:-1] if end else branch, look)
            if end:
                before[end.id] = (number, done)
            drawn.append(done + (view.answer(Snapshot.of(end), look) if end else []))
        yield drawn

        notices: dict[str, tuple[str, ...]] = {}
        pace = SLOW_PACE if any(len(branch) > LONG for _, branch in talk.panes) else PACE
        try:
            async with contextlib.aclosing(chat.watch(visitor, list(before), every=pace, idle=IDLE)) as seen:  # type: ignore[type-var]
                async for changed in seen:
                    for turn, snapshot in changed.items():
                        notices[turn] = snapshot.notices
                        number, done = before[turn]
                        drawn[number] = done + view.answer(snapshot, look)
                    yield drawn
            yield await self._services.threads.database.run(screen.panes, visitor, here, notices)
        except NotFound:  # deleted meanwhile, here or in another tab
            yield [[]]

    def _rest(self, visitor: str, here: str) -> Updates:
        screen, p = self._screen, self._parts
        busy = bool(here) and bool(self._services.chat.running(visitor, here))
        updates = screen.box(busy) | screen.banner()
        try:
            talk = screen.talk(visitor, here)
        except NotFound:
            return updates | {p.here: "", p.leaf: ""}
        return updates | {p.here: here, p.leaf: talk.conversation.leaf or ""} | screen.foot(talk)
