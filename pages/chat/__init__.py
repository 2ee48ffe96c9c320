"""The Chat tab: a conversation with one model, or with up to four side by side."""

from __future__ import annotations

from typing import Any

import gradio as gr

from core.services import Services
from pages import Page
from pages.chat import parts as chat_parts
from pages.chat.answers import Answers
from pages.chat.events import Events
from pages.chat.prompt_events import PromptEvents
from pages.chat.screen import Screen
from pages.kit.handlers import PRIVATE, QUICK

# Answers wait for models, not for each other.
ANSWER: dict[str, Any] = {**PRIVATE, "concurrency_limit": None}


def build(services: Services) -> None:
    """Lay the tab out and connect it."""
    default = services.settings["PARLEY_DEFAULT_MODEL"]
    parts = chat_parts.build(default, default)
    screen = Screen(services, parts)
    answers, events = Answers(services, parts, screen), Events(services, parts, screen)
    prompts = PromptEvents(services, parts, screen, events.screenful)
    p, fields = parts, answers.fields
    demo = gr.context.Context.root_block
    assert demo is not None, "a page is built inside of gr.Blocks"

    # Asking. Leaving a conversation ends the following, not the answer.
    wanted = gr.Textbox(visible=False)
    p.box.submit(answers.send, fields, answers.ask_outputs, **ANSWER)
    p.chats[0].example_select(answers.starter, fields, answers.ask_outputs, **ANSWER)
    p.bridge.retry_turn(answers.retry, fields, answers.ask_outputs, **ANSWER)
    p.bridge.continue_turn(answers.proceed, fields, answers.ask_outputs, **ANSWER)
    following = [
        p.watch_one.change(answers.one, p.watch_one, p.chats[0], trigger_mode="multiple", **ANSWER),
        p.watch_many.change(answers.many, p.watch_many, list(p.chats), trigger_mode="multiple", **ANSWER),
    ]
    for event in following:
        event.then(answers.rest, p.here, answers.rested, **PRIVATE)
    demo.load(answers.arrive, wanted, answers.shown, js="() => parley.chat", **ANSWER)
    p.bridge.open_chat(answers.open, None, answers.shown, cancels=following, **ANSWER)
    p.box.stop(events.stop, p.here, None, **QUICK)

    # What is done at once.
    demo.load(events.offer, wanted, events.offered, js="() => parley.chat", **PRIVATE)
    p.bridge.new_chat(events.new, p.model, events.screenful, cancels=following, **PRIVATE).then(
        None, None, None, js="() => { parley.focusBox(); }", **QUICK
    )
    p.bridge.delete_chat(events.delete, [p.here, p.model], events.screenful, **PRIVATE)
    p.bridge.rename_chat(events.rename, p.here, p.history, **PRIVATE)
    p.bridge.show_branch(events.branch, p.here, events.screenful, **PRIVATE)
    p.bridge.pick_pane(events.pick, p.here, events.screenful, **PRIVATE)
    p.bridge.rate_turn(events.rate, None, None, **PRIVATE)
    p.bridge.edit_turn(events.edit, None, [p.editing, p.editbar, p.box], **PRIVATE).then(
        None, None, None, js="() => { parley.focusBox(); }", **QUICK
    )
    p.bridge.cancel_edit(events.cancel_edit, None, [p.editing, p.editbar, p.box], **PRIVATE)
    p.bridge.want_text(events.text_of, None, p.clip, **PRIVATE).then(
        None, p.clip, None, js="(value) => { parley.copied(value); }", **QUICK
    )
    p.bridge.export_chat(events.export, None, p.saved, **PRIVATE).then(
        None, p.saved, None, js="(value) => { parley.save(value); }", **QUICK
    )
    p.import_button.upload(events.import_file, [p.import_button, p.here], p.history, **PRIVATE)
    p.bridge.refresh_models(events.refill, [p.model, p.models], [p.model, p.models, p.options.fallbacks], **PRIVATE)
    p.search.change(events.search, [p.search, p.here], p.history, trigger_mode="always_last", **PRIVATE)
    p.compare.click(events.compare, [p.comparing, p.model, p.models], events.picked, **PRIVATE)
    p.model.select(events.choose, [p.model, p.here, p.options.effort], events.fitted, **PRIVATE)
    p.models.change(events.choose_several, [p.models, p.options.effort], events.fitted, **PRIVATE)
    p.options.system.blur(events.keep, fields, None, **PRIVATE)
    # Prompts of the registry.
    pick = p.options.prompt
    demo.load(prompts.refresh, pick.ref, pick.ref, **PRIVATE)
    p.bridge.refresh_prompts(prompts.refresh, pick.ref, pick.ref, **PRIVATE)
    pick.ref.input(prompts.choose, fields, prompts.picked, **PRIVATE)
    p.bridge.prompt_question(prompts.question, fields, p.box, **PRIVATE).then(
        None, None, None, js="() => { parley.focusBox(); }", **QUICK
    )
    p.bridge.use_prompt(prompts.use, None, prompts.used, cancels=following, **PRIVATE).then(
        None, None, None, js="() => { parley.focusBox(); }", **QUICK
    )
    p.bridge.save_system(prompts.hand_system, fields, p.handed, **PRIVATE).then(
        None, p.handed, None, js="(content) => { parley.draftPrompt(content); }", **QUICK
    )
    p.here.change(None, p.here, None, js="(id) => { parley.setChat(id); }", **QUICK)


PAGE = Page("chat", "Chat", 10, build)
