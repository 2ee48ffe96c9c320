"""Running a prompt from the editor, saved or not, and drawing its answer while it is written."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import gradio as gr
from gradio.components.chatbot import Message as Drawn

from core.chat.runs import Snapshot
from core.errors import BadRequest, NotFound, ParleyError
from core.messages import ChatRequest
from core.prompts.content import Content
from core.prompts.editing.drafts import Draft
from core.prompts.editing.schema_check import misfit
from core.prompts.run import request_for
from core.prompts.version import Version
from core.services import Services
from pages.kit.answer import BROKEN_OFF, drawn_answer, html, live_line, meter_line, notices, trouble
from pages.kit.format import text
from pages.kit.handlers import guarded, session_of, visitor_of
from pages.kit.markdown import shown
from pages.kit.model_picker import label
from pages.prompts.editor.looks import DraftChecks, asks, question_of, row_of

PACE = 0.05  # seconds between two updates of a page
FEATURE = "prompt"  # what the ledger says that a call was for


class Running:
    """Handlers of events. The answer is the only output."""

    def __init__(self, services: Services, looks: DraftChecks) -> None:
        self._services = services
        self._looks = looks
        self._runs = services.prompt_runs

    @guarded
    async def run(self, source: str, request: gr.Request) -> AsyncIterator[list[Any]]:
        """Ask the chosen model with exactly what is on the screen. What is in the way is told in the answer's place."""
        try:
            draft, threads = Draft.read(source), self._services.threads.requests
            chat_request = await threads.run_for(visitor_of(request), self._request, draft, request)
        except ParleyError as error:
            yield [Drawn(role="assistant", content=[html(trouble(str(error)))], metadata={}, options=[])]
            return
        name = label(self._services.catalog.info(chat_request.model))
        schema = chat_request.parameters.response_schema
        page = f"{visitor_of(request)} {request.session_hash}"
        async with contextlib.aclosing(self._runs.run(page, chat_request, every=PACE)) as snapshots:
            async for snapshot in snapshots:
                unfit = None
                if schema is not None and snapshot.status == "complete":
                    unfit = await self._services.threads.requests.run_for(
                        visitor_of(request), misfit, self._services.child, snapshot.text, schema
                    )
                yield drawn(snapshot, name, unfit, as_json=schema is not None)

    @guarded
    async def stop(self, request: gr.Request) -> None:
        self._runs.stop(f"{visitor_of(request)} {request.session_hash}")

    def _request(self, draft: Draft, request: gr.Request) -> ChatRequest:
        """BadRequest says what is missing."""
        templates = self._services.templates
        model = draft.model or draft.run_model
        if not model:
            raise BadRequest("No model is chosen.", "Choose one above.")
        content = self._looks.content(draft)
        values = {}
        for one in templates.variables(content):
            value = draft.value_of(one.name, row_of(one, draft))
            if value is not None:
                values[one.name] = value
        if asks(draft) and not draft.question.strip():
            raise BadRequest("The prompt ends without a question.", "Write the message that it is to answer.")
        rendered = templates.render(content, values, question=draft.question or None)
        prompt = self._version(draft, content)
        chat_request = request_for(
            prompt or content,
            rendered,
            model=model,
            visitor=visitor_of(request),
            keys=self._services.visitors.keys(session_of(request)),
            feature=FEATURE,
            name=draft.name if draft.made_from else None,
        )
        return replace(chat_request, messages=(*chat_request.messages, *question_of(draft)))

    def _version(self, draft: Draft, content: Content) -> Version | None:
        """The version that it was made from, if that is what is on the screen."""
        if not draft.made_from:
            return None
        try:
            version = self._services.registry.version(f"{draft.name}@{draft.made_from}")
        except (BadRequest, NotFound):
            return None
        return version if version.hash == content.digest() else None


def drawn(snapshot: Snapshot, name: str, unfit: str | None, *, as_json: bool) -> list[Any]:
    """An answer with the line of figures below it, laid out if it is to be JSON. `unfit` as in `below`."""
    return drawn_answer(snapshot, below(snapshot, name, unfit), lambda answer: _written(answer, as_json))


def below(snapshot: Snapshot, name: str, unfit: str | None) -> str:
    """The line of figures under an answer, with what went wrong above it.

    `unfit` says why the answer does not fit its JSON schema, "" that it does; None where there is none to fit.
    """
    if snapshot.status == "streaming":
        return f'<div class="below">{notices(snapshot)}{live_line(name, snapshot)}</div>'
    wrong = ""
    if snapshot.status in ("failed", "interrupted"):
        wrong = trouble(snapshot.error or BROKEN_OFF)
    fits = ""
    if unfit is not None:
        fits = "" if unfit else " · fits the JSON schema"
        wrong += trouble(unfit) if unfit else ""
    figures = text(meter_line(name, snapshot.meter, snapshot.status) + fits)
    return f'<div class="below">{notices(snapshot)}{wrong}<div class="meter">{figures}</div></div>'


def _written(answer: str, as_json: bool) -> str:
    """An answer as Markdown; one that is JSON as a block of code."""
    if not as_json or "```" in answer or not answer.lstrip().startswith(("{", "[")):
        return shown(answer)
    with contextlib.suppress(ValueError, RecursionError):
        answer = json.dumps(json.loads(answer), indent=2, ensure_ascii=False)
    return shown(f"```json\n{answer}\n```")
