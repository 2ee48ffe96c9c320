"""The editor of a prompt: what is written at the left, what it is tried with at the right, saving below.

The fields are drawn by the page's script, because their number changes with every message and variable. A field's
text goes to the server only when something is asked of it: what a draft says (`look`), an answer (`run`), saving.
"""

from __future__ import annotations

import datetime
import json
import secrets
from dataclasses import dataclass
from typing import Any

import gradio as gr

from core.prompts.editing.drafts import Draft
from core.prompts.version import Version
from core.services import Services
from pages.kit import model_picker
from pages.kit.handlers import PRIVATE, QUICK, Updates, guarded, session_of, visitor_of
from pages.kit.markdown import DELIMITERS
from pages.prompts.editor.looks import DraftChecks
from pages.prompts.editor.run import Running
from pages.prompts.editor.save import Saving

ANSWER: dict[str, Any] = {**PRIVATE, "concurrency_limit": None}
# What happens inside of the fields is called; the page's script fires them at the bridge.
CLICKS = (
    "editor_arrived",
    "editor_typed",
    "editor_model",
    "editor_run",
    "editor_stop",
    "editor_review",
    "editor_save",
    "editor_file",
)
READ = "() => [parley.editor.read()]"


@dataclass(frozen=True)
class Editor:
    """The editor's components."""

    services: Services
    looks: DraftChecks
    saving: Saving
    here: gr.Textbox  # the page's: the version shown as name@3, "" for a new prompt
    saved: gr.Textbox  # "<ref> <random>" after a save
    packet: gr.HTML  # what is to be edited, for the script
    sheet: gr.Textbox  # what is written, from the script
    seen: gr.HTML  # what the server says of it, for the script
    review: gr.HTML  # the window before saving, for the script
    file: gr.Textbox
    model: gr.Dropdown
    answer: gr.Chatbot

    @property
    def outputs(self) -> list[Any]:
        """What `fill` may update."""
        return [self.packet]

    def fill(self, version: Version | None, draft: Version | None = None, *, done: bool = False) -> Updates:
        """Show a version; None is a new prompt, which begins with an example that runs.

        `draft` is unsaved work to begin with instead: it is shown as changes to `version`. `done`: what was written is
        saved, and need not be kept any longer.
        """
        base = Draft.of(version) if version else Draft.sample()
        shown = base
        if draft is not None:
            shown = Draft.of(draft).model_copy(update={"name": base.name or draft.name, "made_from": base.made_from})
        report = {
            "shown": shown.model_dump(),
            "base": base.model_dump() if version or draft is None else Draft().model_dump(),
            "draft": draft is not None,
            "done": done,
            "locked": self.saving.locked(),
            "nonce": secrets.token_hex(4),
        }
        return {self.packet: json.dumps(report, ensure_ascii=False)}

    @guarded
    async def ask(self, source: str, request: gr.Request) -> Updates:
        """Before saving: what changes. What is there already is gone to instead."""
        window, same = await self.saving.review(source, request)
        return {self.review: window, **(self._went(same) if same else {})}

    @guarded
    async def keep(self, source: str, event: gr.EventData, request: gr.Request) -> Updates:
        """Save, and go on with the new version."""
        window, version = await self.saving.save(source, event, request)
        return {self.review: window, **(self._went(version) if version else {})}

    def _went(self, version: Version) -> Updates:
        token = f"{version.ref} {secrets.token_hex(4)}"  # news to the page, even if it was here before
        return {self.saved: token, **self.fill(version, done=True)}

    @guarded
    async def arrive(self, source: str, request: gr.Request) -> Updates:
        """Fill the list of models for what is shown, and say what there is to say of it."""
        draft = Draft.read(source)
        groups = await self.services.catalog.list(self.services.visitors.keys(session_of(request)))
        today = datetime.datetime.now().astimezone().date()
        entries = model_picker.choices(groups, today, self.services.prices.of)
        chosen = draft.model or draft.run_model
        entries = model_picker.with_kept(entries, [chosen], {chosen: model_picker.label(self._info(chosen))})
        chosen = chosen or model_picker.default(entries, [self.services.settings["PARLEY_DEFAULT_MODEL"]])
        model = draft.model_copy(update={"run_model": chosen})
        report = await self._looked(model, request)
        return {
            self.model: gr.update(choices=entries, value=chosen or None),
            self.seen: json.dumps({**report, "run_model": chosen}, ensure_ascii=False),
        }

    @guarded
    async def look(self, source: str, request: gr.Request) -> str:
        """What there is to say of what is written now."""
        return json.dumps(await self._looked(Draft.read(source), request), ensure_ascii=False)

    async def _looked(self, draft: Draft, request: gr.Request) -> dict[str, Any]:
        return await self.services.threads.previews.run_for(visitor_of(request), self.looks.look, draft)

    def _info(self, model: str) -> Any:
        return self.services.catalog.info(model)


def build(services: Services, here: gr.Textbox) -> Editor:
    """Lay the editor out where this is called, and connect it."""
    looks = DraftChecks(services)
    running, saving = Running(services, looks), Saving(services, looks)
    saved, sheet, file = (gr.Textbox(visible=False) for _ in range(3))
    names = ", ".join(f"'{name}'" for name in CLICKS)
    bridge = _hidden(f"parley.listen([{names}], trigger);", "editor-bridge")
    packet, seen, review = (_hidden(_told(name), f"editor-{name}") for name in ("packet", "tell", "review"))
    with gr.Row(elem_id="editor"):
        with gr.Column(elem_id="editor-write", min_width=0):
            _part("fields")
        with gr.Column(elem_id="editor-try", min_width=0):
            model = gr.Dropdown([], value=None, label="Model", elem_id="editor-model", min_width=120)
            _part("run")
            answer = gr.Chatbot(
                label="Answer",
                show_label=False,
                container=False,
                layout="panel",
                height=None,
                buttons=[],
                feedback_options=None,
                latex_delimiters=DELIMITERS,
                sanitize_html=True,
                allow_tags=False,
                placeholder="The answer comes here.",
                elem_classes="talk",
                elem_id="editor-answer",
            )
            _part("values")
    _part("foot")
    editor = Editor(services, looks, saving, here, saved, packet, sheet, seen, review, file, model, answer)

    bridge.editor_arrived(editor.arrive, sheet, [model, seen], js=READ, **PRIVATE)
    bridge.editor_typed(editor.look, sheet, seen, js=READ, trigger_mode="always_last", **QUICK)
    model.input(None, model, None, js="(model) => { parley.editor.choose(model); }", **QUICK)
    bridge.editor_model(None, None, model, js="() => [parley.editor.model()]", **QUICK)
    _ended(bridge.editor_run(running.run, sheet, answer, js=READ, **ANSWER), "rest")
    bridge.editor_stop(running.stop, None, None, **QUICK)
    for event, handler in ((bridge.editor_review, editor.ask), (bridge.editor_save, editor.keep)):
        _ended(event(handler, sheet, [review, saved, packet], js=READ, **PRIVATE), "answered")
    bridge.editor_file(saving.download, sheet, file, js=READ, **PRIVATE).then(
        None, file, None, js="(packed) => { parley.save(packed); }", **QUICK
    )
    return editor


def _part(name: str) -> None:
    """A place that the page's script fills."""
    script = f"parley.editor.mount('{name}', element);"
    gr.HTML("", elem_id=f"editor-{name}", apply_default_css=False, js_on_load=script)


def _ended(event: Any, name: str) -> None:
    """Tells the page's script. After a failure `then` alone would not."""
    for after in (event.then, event.failure):
        after(None, None, None, js=f"() => {{ parley.editor.{name}(); }}", **QUICK)


def _hidden(script: str, id: str) -> gr.HTML:
    return gr.HTML("", elem_id=id, visible="hidden", apply_default_css=False, html_template="", js_on_load=script)


def _told(name: str) -> str:
    """Hands each new value to the page's script."""
    return f"const tell = () => parley.editor.{name}(props.value); tell(); watch('value', tell);"
