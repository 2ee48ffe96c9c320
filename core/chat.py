"""The conversation with a model, or with several side by side: ask, try again, edit, continue, stop.

Every question and every answer is in the database before anything is sent to a model, and each answer runs as a
task of its own (`core.runs`), so that neither a reload nor a second browser tab loses anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial

from core.catalog import Catalog
from core.context import Context
from core.conversations import Conversation, Conversations, File, Meter, Pane, Turn
from core.errors import BadRequest, ParleyError
from core.gateway import Gateway
from core.ledger import Ledger
from core.messages import ChatRequest
from core.runs import Run, Runs, Snapshot, watch
from core.settings import Settings

PANES = 4  # models side by side, at most
GO_ON = (
    "Continue your last answer exactly where it stopped. Do not repeat any of it and do not comment on this request."
)

Keys = Mapping[str, str]
Upload = tuple[str, bytes]  # a file's name and contents


class Chat:
    """What the Chat tab does. All methods raise `core.errors`; NotFound for what belongs to somebody else."""

    def __init__(
        self, gateway: Gateway, catalog: Catalog, ledger: Ledger, conversations: Conversations, settings: Settings
    ) -> None:
        self._gateway = gateway
        self._ledger = ledger
        self._conversations = conversations
        self._context = Context(conversations, catalog, settings)
        self._unwatched: float = settings["PARLEY_UNWATCHED_SECONDS"]
        self._runs = Runs()

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

        A file that one of the models cannot take is refused before anything is saved or spent.
        """
        if not models or len(models) > PANES:
            raise BadRequest(f"Between 1 and {PANES} models can be asked at once.", "Choose fewer models.")
        if not text.strip() and not files:
            raise BadRequest("The message is empty.", "Write something first.")
        conversation = await asyncio.to_thread(self._conversations.get, visitor, conversation_id)
        self._refuse_while_busy(conversation.id)
        for name, data in files:
            for model in models:
                await asyncio.to_thread(self._context.prepare, name, data, model)
        stored = [
            await asyncio.to_thread(self._conversations.store_file, visitor, conversation.id, name, "", data)
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
        await self._start(visitor, conversation.id, answers, keys, fallbacks)
        return [turn.id for turn in answers]

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
        turn = await asyncio.to_thread(self._conversations.turn, visitor, turn_id)
        conversation = await asyncio.to_thread(self._conversations.get, visitor, turn.conversation)
        self._refuse_while_busy(conversation.id)
        question = turn.id if turn.role == "user" else turn.parent
        if question is None:
            raise BadRequest("There is no question before this answer.", "Write a message instead.")
        chosen = model or turn.model or conversation.model
        answer = await self._add(visitor, conversation.id, parent=question, role="assistant", model=chosen)
        await self._replace(visitor, conversation, turn.id, [answer])
        await self._start(visitor, conversation.id, [answer], keys, fallbacks)
        return [answer.id]

    async def edit(
        self,
        visitor: str,
        turn_id: str,
        text: str,
        *,
        keys: Keys | None = None,
        fallbacks: Sequence[str] = (),
    ) -> list[str]:
        """Ask a question again in other words, as a new branch. In a comparison, of every model that was asked it."""
        turn = await asyncio.to_thread(self._conversations.turn, visitor, turn_id)
        if turn.role != "user":
            raise BadRequest("Only your own messages can be edited.", "Use retry for an answer.")
        if not text.strip() and not turn.files:
            raise BadRequest("The message is empty.", "Write something first.")
        conversation = await asyncio.to_thread(self._conversations.get, visitor, turn.conversation)
        self._refuse_while_busy(conversation.id)
        affected = await self._panes_through(visitor, conversation, turn.id)
        question = await self._add(
            visitor, conversation.id, parent=turn.parent, role="user", text=text, files=turn.files
        )
        answers = [
            await self._add(visitor, conversation.id, parent=question.id, role="assistant", model=model)
            for model in ([pane.model for pane in affected] or [conversation.model])
        ]
        await self._replace(visitor, conversation, turn.id, answers)
        await self._start(visitor, conversation.id, answers, keys, fallbacks)
        return [answer.id for answer in answers]

    async def proceed(self, visitor: str, turn_id: str, *, keys: Keys | None = None) -> list[str]:
        """Go on with an answer that was stopped, broken off or cut at its length. The text grows in place."""
        turn = await asyncio.to_thread(self._conversations.turn, visitor, turn_id)
        if turn.role != "assistant":
            raise BadRequest("Only an answer can be continued.", "Send a message instead.")
        self._refuse_while_busy(turn.conversation)
        if not turn.text:
            return await self.retry(visitor, turn_id, keys=keys)
        await self._start(visitor, turn.conversation, [turn], keys, ())
        return [turn.id]

    async def watch(
        self, visitor: str, turn_ids: Sequence[str], every: float = 0.05, idle: float = 1.0
    ) -> AsyncIterator[dict[str, Snapshot]]:
        """Yield what changed of these answers until all have ended; of ended ones, their last state once.

        `every` and `idle` are in seconds, see `core.runs.watch`.
        """
        live: dict[str, Run] = {}
        ended: dict[str, Snapshot] = {}
        for turn_id in turn_ids:
            run = self._runs.get(turn_id)
            if run is not None and run.visitor == visitor:
                live[turn_id] = run
            else:
                ended[turn_id] = Snapshot.of(await asyncio.to_thread(self._conversations.turn, visitor, turn_id))
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
        await asyncio.to_thread(self._conversations.delete, visitor, *conversation_ids)

    async def close(self) -> None:
        """End all answers and save them; for shutdown."""
        await self._runs.close()

    def _refuse_while_busy(self, conversation_id: str) -> None:
        if self._runs.of(conversation_id):
            raise BadRequest("An answer is still being written in this conversation.", "Wait for it or stop it first.")

    async def _add(
        self,
        visitor: str,
        conversation_id: str,
        *,
        parent: str | None,
        role: str,
        text: str = "",
        files: Sequence[File] = (),
        model: str = "",
    ) -> Turn:
        status = "streaming" if role == "assistant" else "complete"
        return await asyncio.to_thread(
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
        await asyncio.to_thread(
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
            path = await asyncio.to_thread(self._conversations.path, visitor, conversation.id, pane.leaf)
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

    async def _start(
        self,
        visitor: str,
        conversation_id: str,
        answers: Sequence[Turn],
        keys: Keys | None,
        fallbacks: Sequence[str],
    ) -> None:
        conversation = await asyncio.to_thread(self._conversations.get, visitor, conversation_id)
        feature = "compare" if len(conversation.panes) > 1 else "chat"
        for turn in answers:
            request = ChatRequest(
                turn.model,
                await asyncio.to_thread(self._context.messages, visitor, conversation, turn),
                conversation.parameters,
                fallbacks=tuple(fallbacks),
                feature=feature,
                conversation=conversation.id,
                visitor=visitor,
                keys=dict(keys or {}),
            )
            self._runs.start(turn, visitor, self._gateway.stream(request), self._save, self._bill, self._unwatched)

    async def _bill(self, call: int) -> Meter | None:
        """The meter of a call that was stopped or broke off. None if it could not be recorded."""
        try:
            row = await asyncio.to_thread(self._ledger.settled, call)
        except ParleyError:
            return None
        if row.usage is None:
            return None
        return Meter(call, row.usage, row.cost, row.first_token, row.duration or 0.0, row.stop_reason or "")

    async def _save(self, snapshot: Snapshot) -> None:
        await asyncio.to_thread(
            self._conversations.save,
            snapshot.turn,
            text=snapshot.text,
            thinking=snapshot.thinking,
            status=snapshot.status,
            error=snapshot.error,
            meter=snapshot.meter,
        )
