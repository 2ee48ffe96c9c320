"""The conversation with a model, or with several side by side: ask, try again, edit, continue, stop.

Every question and every answer is in the database before anything is sent to a model, and each answer runs as a
task of its own (`core.chat.runs`), so that neither a reload nor a second browser tab loses anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial

from core.chat.request import RequestBuilder, Upload
from core.chat.runs import Run, Runs, Snapshot, watch
from core.conversations import Conversation, Conversations, Pane, StoredFile, Turn
from core.errors import BadRequest
from core.gateway import Gateway
from core.ledger.store import Ledger
from core.messages import Event
from core.settings import Settings
from core.threads import Threads

PANES = 4  # models side by side, at most

Keys = Mapping[str, str]
Put = Callable[[Conversation], Awaitable[list[str]]]  # returns the ids of the answers


class Chat:
    """What the Chat tab does. All methods raise `core.errors`; NotFound for what belongs to somebody else."""

    def __init__(
        self,
        gateway: Gateway,
        ledger: Ledger,
        conversations: Conversations,
        builder: RequestBuilder,
        settings: Settings,
        threads: Threads,
    ) -> None:
        self._gateway = gateway
        self._conversations = conversations
        self._builder = builder
        self._threads = threads
        self._unwatched: float = settings["PARLEY_UNWATCHED_SECONDS"]
        self._runs = Runs(ledger, threads.database)
        self._adding: set[tuple[str, str]] = set()  # conversations, by visitor, that something is being put into

    async def ask(
        self,
        visitor: str,
        conversation_id: str,
        text: str,
        files: Sequence[Upload] = (),
        *,
        models: Sequence[str],
        keys: Keys | None = None,
        fallbacks: Sequence[str] = (),
    ) -> list[str]:
        """Put a question to one model, or the same question to up to four. Returns the ids of the answers, one a model.

        A file that one of the models cannot take, or a prompt of the conversation's that cannot be used, is refused
        before anything is saved or spent.
        """
        if not models or len(models) > PANES:
            raise BadRequest(f"Between 1 and {PANES} models can be asked at once.", "Choose fewer models.")
        if not text.strip() and not files:
            raise BadRequest("The message is empty.", "Write something first.")

        async def put(conversation: Conversation) -> list[str]:
            await self._threads.requests.run_for(visitor, self._builder.check, conversation, text, files, models)
            stored = [
                await self._threads.database.run(
                    self._conversations.store_file, visitor, conversation.id, name, "", data
                )
                for name, data in files
            ]
            add = partial(self._add, visitor, conversation.id, role="user", text=text, files=stored)
            panes = conversation.panes
            if len(panes) > 1 and len(models) == len(panes):
                parents = [(await add(parent=pane.leaf)).id for pane in panes]
            else:
                parents = [(await add(parent=conversation.leaf)).id] * len(models)
            answers = [
                await self._add(visitor, conversation.id, parent=parent, role="assistant", model=model)
                for parent, model in zip(parents, models, strict=True)
            ]
            await self._point(visitor, conversation, [Pane(turn.model, turn.id) for turn in answers])
            return self._start(visitor, answers, keys, fallbacks)

        return await self._alone(visitor, conversation_id, put)

    async def retry(
        self,
        visitor: str,
        turn_id: str,
        *,
        model: str | None = None,
        keys: Keys | None = None,
        fallbacks: Sequence[str] = (),
    ) -> list[str]:
        """Answer the same question once more, as a new branch beside the answer `turn_id` (or below the question)."""
        turn = await self._threads.database.run(self._conversations.turn, visitor, turn_id)
        question = turn.id if turn.role == "user" else turn.parent
        if question is None:
            raise BadRequest("There is no question before this answer.", "Write a message instead.")

        async def put(conversation: Conversation) -> list[str]:
            chosen = model or turn.model or conversation.model
            answer = await self._add(visitor, conversation.id, parent=question, role="assistant", model=chosen)
            await self._replace(visitor, conversation, turn.id, [answer])
            return self._start(visitor, [answer], keys, fallbacks)

        return await self._alone(visitor, turn.conversation, put)

    async def edit(
        self, visitor: str, turn_id: str, text: str, *, keys: Keys | None = None, fallbacks: Sequence[str] = ()
    ) -> list[str]:
        """Ask a question again in other words, as a new branch. In a comparison, of every model that was asked it."""
        turn = await self._threads.database.run(self._conversations.turn, visitor, turn_id)
        if turn.role != "user":
            raise BadRequest("Only your own messages can be edited.", "Use retry for an answer.")
        if not text.strip() and not turn.files:
            raise BadRequest("The message is empty.", "Write something first.")

        async def put(conversation: Conversation) -> list[str]:
            await self._threads.requests.run_for(visitor, self._builder.check, conversation, text)
            affected = await self._panes_through(visitor, conversation, turn.id)
            question = await self._add(
                visitor, conversation.id, parent=turn.parent, role="user", text=text, files=turn.files
            )
            answers = [
                await self._add(visitor, conversation.id, parent=question.id, role="assistant", model=model)
                for model in ([pane.model for pane in affected] or [conversation.model])
            ]
            await self._replace(visitor, conversation, turn.id, answers)
            return self._start(visitor, answers, keys, fallbacks)

        return await self._alone(visitor, turn.conversation, put)

    async def proceed(self, visitor: str, turn_id: str, *, keys: Keys | None = None) -> list[str]:
        """Go on with an answer that was stopped, broken off or cut at its length. The text grows in place."""
        turn = await self._threads.database.run(self._conversations.turn, visitor, turn_id)
        if turn.role != "assistant":
            raise BadRequest("Only an answer can be continued.", "Send a message instead.")
        if not turn.text:
            return await self.retry(visitor, turn_id, keys=keys)

        async def put(_: Conversation) -> list[str]:
            return self._start(visitor, [turn], keys, ())

        return await self._alone(visitor, turn.conversation, put)

    async def watch(
        self, visitor: str, turn_ids: Sequence[str], every: float = 0.05, idle: float = 1.0
    ) -> AsyncIterator[dict[str, Snapshot]]:
        """Yield what changed of these answers until all have ended; of ended ones, their last state once.

        `every` and `idle` are in seconds, see `core.chat.runs.watch`.
        """
        live: dict[str, Run] = {}
        ended: dict[str, Snapshot] = {}
        for turn_id in turn_ids:
            run = self._runs.get(turn_id)
            if run is not None and run.visitor == visitor:
                live[turn_id] = run
            else:
                ended[turn_id] = Snapshot.of(
                    await self._threads.database.run(self._conversations.turn, visitor, turn_id)
                )
        if ended:
            yield ended
        if live:
            async for changed in watch(live, every, idle):
                yield changed

    def stop(self, visitor: str, turn_ids: Sequence[str]) -> None:
        """Stop these answers at once, also before their first token. What had come is kept."""
        mine = [turn for turn in turn_ids if (run := self._runs.get(turn)) and run.visitor == visitor]
        self._runs.stop(mine)

    def running(self, visitor: str, conversation_id: str) -> list[str]:
        """The ids of the answers that are being written now."""
        return [run.turn.id for run in self._runs.of(conversation_id) if run.visitor == visitor]

    async def delete(self, visitor: str, *conversation_ids: str) -> None:
        """Stop what runs in these conversations and delete them."""
        for conversation_id in conversation_ids:
            self.stop(visitor, self.running(visitor, conversation_id))
        await self._threads.database.run(self._conversations.delete, visitor, *conversation_ids)

    async def close(self) -> None:
        """End all answers and save them; for shutdown."""
        await self._runs.close()

    async def _alone(self, visitor: str, conversation_id: str, put: Put) -> list[str]:
        """`put` something into a conversation that is not busy; a page that goes away does not stop it half-way."""
        place = visitor, conversation_id
        if place in self._adding or self.running(*place):
            raise BadRequest("An answer is still being written in this conversation.", "Wait for it or stop it first.")
        self._adding.add(place)

        async def whole() -> list[str]:
            try:
                return await put(await self._threads.database.run(self._conversations.get, *place))
            finally:
                self._adding.discard(place)

        return await asyncio.shield(asyncio.create_task(whole()))

    async def _add(
        self,
        visitor: str,
        conversation_id: str,
        *,
        parent: str | None,
        role: str,
        text: str = "",
        files: Sequence[StoredFile] = (),
        model: str = "",
    ) -> Turn:
        status = "streaming" if role == "assistant" else "complete"
        return await self._threads.database.run(
            self._conversations.add,
            visitor,
            conversation_id,
            parent=parent,
            role=role,
            text=text,
            files=tuple(files),
            model=model,
            status=status,
        )

    async def _point(self, visitor: str, conversation: Conversation, panes: Sequence[Pane]) -> None:
        """Make these the ends of the conversation, so that a reload shows them."""
        await self._threads.database.run(
            self._conversations.update,
            visitor,
            conversation.id,
            leaf=panes[0].leaf,
            model=panes[0].model,
            panes=tuple(panes) if len(panes) > 1 else (),
        )

    async def _panes_through(self, visitor: str, conversation: Conversation, turn_id: str) -> list[Pane]:
        found = []
        for pane in conversation.panes:
            path = await self._threads.database.run(self._conversations.path, visitor, conversation.id, pane.leaf)
            if any(turn.id == turn_id for turn in path):
                found.append(pane)
        return found

    async def _replace(self, visitor: str, conversation: Conversation, turn_id: str, answers: Sequence[Turn]) -> None:
        """Let the panes that run through `turn_id` end in the new answers."""
        affected = await self._panes_through(visitor, conversation, turn_id)
        if not affected:
            await self._point(visitor, conversation, [Pane(answers[0].model, answers[0].id)])
            return
        fresh = dict(zip(affected, answers, strict=False))
        panes = [Pane(fresh[pane].model, fresh[pane].id) if pane in fresh else pane for pane in conversation.panes]
        await self._point(visitor, conversation, panes)

    def _start(self, visitor: str, answers: Sequence[Turn], keys: Keys | None, fallbacks: Sequence[str]) -> list[str]:
        for turn in answers:
            events = self._events(visitor, turn, dict(keys or {}), tuple(fallbacks))
            self._runs.start(turn, visitor, events, self._save, self._unwatched)
        return [turn.id for turn in answers]

    async def _events(
        self, visitor: str, answer: Turn, keys: Keys, fallbacks: tuple[str, ...]
    ) -> AsyncGenerator[Event, None]:
        """What the model says. The request is made here, and what fails in it ends this answer and is told there."""
        request = await self._threads.requests.run_for(visitor, self._builder.request, visitor, answer, keys, fallbacks)
        async with aclosing(self._gateway.stream(request)) as events:
            async for event in events:
                yield event

    async def _save(self, snapshot: Snapshot) -> None:
        await self._threads.database.run(
            self._conversations.save,
            snapshot.turn,
            text=snapshot.text,
            thinking=snapshot.thinking,
            status=snapshot.status,
            error=snapshot.error,
            meter=snapshot.meter,
            model=snapshot.model,
        )
