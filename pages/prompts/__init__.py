"""The Prompts tab: a list of prompts, and one of them with its editor, its versions, its labels and its use."""

from __future__ import annotations

import gradio as gr

from core.services import Services
from pages import Page
from pages.kit.handlers import PRIVATE, QUICK
from pages.prompts import parts as prompts_parts
from pages.prompts.events import Events
from pages.prompts.screen import Screen
from pages.prompts.transfer import Transfer

ARRIVE = "(wanted, here, query, chip) => [parley.arriveAtPrompts(), here, query, chip]"
PACKED = "(packed) => { parley.packed(packed); }"
CHAT_PICKER = "() => { parley.fire('refresh_prompts'); }"  # the chat offers prompts by label, too


def build(services: Services) -> None:
    """Lay the tab out and connect it."""
    tab = gr.context.Context.block
    assert isinstance(tab, gr.Tab), "a page is built inside of its tab"
    parts = prompts_parts.build(services)
    screen = Screen(services, parts)
    events, transfer = Events(services, parts, screen), Transfer(services, parts, screen)
    p, b = parts, parts.bridge
    seen = [p.shown, p.search, p.chip]

    # Nothing is asked of the registry before somebody opens the tab.
    wanted = gr.Textbox(visible=False)
    tab.select(events.arrive, [wanted, *seen], events.everything, js=ARRIVE, **PRIVATE).then(
        None, None, None, js="() => { parley.arrivedAtPrompts(); }", **QUICK
    )
    b.look_prompts(events.look, seen, events.looked, **QUICK).then(
        None, p.here, None, js="(here) => { parley.looked(here); }", **QUICK
    )
    p.place.change(None, p.place, None, js="(place) => { parley.setPrompt(place); }", **QUICK)

    b.open_prompt(events.open, None, events.opened, **PRIVATE)
    b.new_prompt(events.new, None, events.opened, **PRIVATE)
    b.draft_prompt(events.open_draft, None, events.opened, **PRIVATE)
    b.draft_problem(events.draft_problem, None, events.opened, **PRIVATE)
    b.restore_prompt(events.restore, seen, events.looked, **PRIVATE)
    p.editor.saved.change(events.after_save, [p.editor.saved, p.search, p.chip], events.everything, **PRIVATE).then(
        None, None, None, js=CHAT_PICKER, **QUICK
    )

    p.search.change(events.search, [p.search, p.shown, p.chip], p.list, trigger_mode="always_last", **PRIVATE)
    b.filter_prompts(events.narrow, [p.shown, p.search], [p.list, p.chip], **PRIVATE)

    b.compare_versions(events.compare, None, p.diff, **PRIVATE)
    b.all_versions(events.all_versions, p.shown, p.views, **PRIVATE)
    b.ask_label(events.ask, None, p.label_window, **PRIVATE).then(
        None, p.label_window, None, js="(html) => { parley.showAsk(html); }", **QUICK
    )
    moved = b.move_label(events.move, seen, [p.label_window, *events.looked], **PRIVATE)
    moved.then(
        None, p.label_window, None, js="(html) => { parley.showAsk(html); parley.fire('refresh_prompts'); }", **QUICK
    )

    b.export_prompt(transfer.one, None, p.saved, **PRIVATE).then(None, p.saved, None, js=PACKED, **QUICK)
    b.export_prompts(transfer.all, None, p.saved, **PRIVATE).then(None, p.saved, None, js=PACKED, **QUICK)
    p.import_button.upload(transfer.read, p.import_button, [p.report, p.drafts], **PRIVATE).then(
        None, None, None, js="() => { parley.showReport(true); }", **QUICK
    )
    b.import_prompts(transfer.take, [p.drafts, *seen], [p.report, p.drafts, *events.looked], **PRIVATE).then(
        None, None, None, js=CHAT_PICKER, **QUICK
    )
    b.cancel_import(transfer.cancel, None, [p.report, p.drafts], **PRIVATE)


PAGE = Page("prompts", "Prompts", 20, build)
