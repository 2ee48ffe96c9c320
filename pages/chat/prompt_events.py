"""What the Chat tab does with the registry: pick a prompt, ask its question, keep a system prompt as a new one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import gradio as gr

from core.conversations import PromptChoice
from core.errors import BadRequest, ParleyError
from core.names import Ref
from core.services import Services
from pages.chat.options import Values
from pages.chat.parts import EMPTY_BOX, Parts
from pages.chat.prompt import NONE, ChatPrompts, as_text
from pages.chat.screen import Screen
from pages.kit.handlers import Updates, guarded, sent, visitor_of


class PromptEvents:
    """Handlers; `picked` and `used` are the outputs that they may change."""

    def __init__(self, services: Services, parts: Parts, screen: Screen, screenful: Sequence[Any]) -> None:
        self._services = services
        self._parts = p = parts
        self._screen = screen
        self._prompts = ChatPrompts(services, p.options.prompt)
        pick = p.options.prompt
        self.picked = [pick.ref, pick.fields, pick.values, p.model, *p.options.fit([])]
        self.used = list(dict.fromkeys([*screenful, *self.picked]))

    @guarded
    async def refresh(self, ref: str | None) -> Any:
        """The registry may have changed since the list was made."""
        return gr.update(choices=await self._services.threads.database.run(self._prompts.choices, ref or NONE))

    @guarded
    async def choose(self, values: Values, request: gr.Request) -> Updates:
        """Another prompt: its fields; in a new chat also the model that it is made for."""
        p, pick = self._parts, self._parts.options.prompt
        ref = values[pick.ref]
        if not ref:
            return self._without_picker(await self._services.threads.database.run(self._prompts.shown, None))
        choice = PromptChoice(ref, {})
        updates = self._without_picker(await self._services.threads.database.run(self._prompts.shown, choice))
        return updates if values[p.here] or values[p.comparing] else updates | await self._model(ref)

    @guarded
    async def use(self, event: gr.EventData, request: gr.Request) -> Updates:
        """A prompt that the Prompts tab hands over: a new chat with it, its values and its question."""
        p = self._parts
        choice = await self._services.threads.database.run(self._handed, sent(event, "ref"), sent(event, "values"))
        updates = await self._services.threads.database.run(self._prompts.shown, choice)
        model = await self._model(choice.ref)
        question = ""
        try:
            question = await self._question(choice, request)
        except ParleyError:  # something is missing: the fields are there to give it
            gr.Info("Fill in the prompt's fields in Options.")
        listed = await self._services.threads.database.run(self._screen.history, visitor_of(request), NONE)
        blank = self._screen.blank(model[p.model]["value"] if p.model in model else "")
        box = {p.box: EMPTY_BOX | {"text": question}}
        return blank | listed | self._screen.box(busy=False) | updates | model | box

    @guarded
    async def question(self, values: Values, request: gr.Request) -> Any:
        """The prompt's closing question, with the fields' values, into the message box."""
        pick = self._parts.options.prompt
        choice = await self._services.threads.database.run(self._prompts.chosen, values[pick.ref], values[pick.values])
        if choice is None:
            raise BadRequest("No prompt is chosen.", "Choose one first.")
        return EMPTY_BOX | {"text": await self._question(choice, request)}

    async def _question(self, choice: PromptChoice, request: gr.Request) -> str:
        return await self._services.threads.previews.run_for(visitor_of(request), self._prompts.question, choice)

    @guarded
    async def hand_system(self, values: Values) -> str:
        """The system prompt with the model and its parameters, for a new prompt in the Prompts tab."""
        p = self._parts
        system = (values[p.options.system] or "").strip()
        if not system:
            raise BadRequest("The system prompt is empty.", "Write one first.")
        parameters = p.options.parameters(values)
        kept = {
            name: value
            for name in ("max_tokens", "temperature", "top_p", "seed", "stop", "effort", "thinking")
            if (value := getattr(parameters, name)) not in (None, ())
        }
        schema = parameters.response_schema
        content = {
            "messages": [{"role": "system", "content": system}],
            "model": values[p.model] or "",
            "parameters": kept,
        }
        return json.dumps(content | ({"schema": dict(schema)} if schema else {}), ensure_ascii=False)

    def _handed(self, ref: str, source: str) -> PromptChoice:
        """`values` as the Prompts tab knows them; what is not a variable of the prompt is left out."""
        try:
            given = json.loads(source or "{}")
        except ValueError:
            given = {}
        texts = {name: as_text(value) for name, value in given.items()} if isinstance(given, dict) else {}
        return self._prompts.chosen(str(Ref.parse(ref)), json.dumps(texts)) or PromptChoice(ref, {})

    async def _model(self, ref: str) -> Updates:
        """The model that a prompt is made for, when it can be chosen here."""
        p = self._parts
        version = await self._services.threads.database.run(self._prompts.version, ref)
        model = version.content.model
        if not model:
            return {}
        known = {info.id for group in await self._services.catalog.list({}) for info in group.models}
        if model not in known:
            gr.Info(f"The prompt is made for {model}, which cannot be used here. The chosen model stays.")
            return {}
        return {p.model: gr.update(value=model), **p.options.fit([self._screen.info(model)])}

    def _without_picker(self, updates: Updates) -> Updates:
        return {part: value for part, value in updates.items() if part is not self._parts.options.prompt.ref}
