"""The Prompts tab's components, laid out."""

from __future__ import annotations

import json
from dataclasses import dataclass

import gradio as gr

from core.prompts import formats as exchange
from core.services import Services
from pages.kit.format import text
from pages.prompts import editor as prompts_editor
from pages.prompts.editor import Editor

# What clicks inside of the list and the room are called; the page's script fires them at the bridge.
CLICKS = (
    "open_prompt",
    "new_prompt",
    "draft_prompt",
    "look_prompts",
    "filter_prompts",
    "draft_problem",
    "restore_prompt",
    "compare_versions",
    "all_versions",
    "ask_label",
    "move_label",
    "export_prompt",
    "export_prompts",
    "import_prompts",
    "cancel_import",
)


@dataclass(frozen=True)
class Parts:
    """Every component that a handler reads or writes, but for the editor's own."""

    bridge: gr.HTML
    here: gr.Textbox  # the version in view as name@3, "" for a new prompt
    shown: gr.State  # the same on the server, which knows it before the browser has drawn it
    place: gr.Textbox  # what the address says of it: the name alone when it is the newest version
    chip: gr.State  # the tag or label that the list is narrowed to: "tag:support", "label:production" or ""
    label_window: gr.Textbox  # the window about a label, as HTML; "" closes it
    saved: gr.Textbox  # a file to download, packed as JSON
    drafts: gr.State  # what an uploaded file holds, until it is imported
    search: gr.Textbox
    list: gr.HTML
    import_button: gr.UploadButton
    head: gr.HTML
    views: gr.HTML
    diff: gr.HTML
    report: gr.HTML
    editor: Editor


def build(services: Services) -> Parts:
    """Lay the tab out: the list at the left, one prompt in the middle."""
    here, place, label_window, saved = (gr.Textbox(visible=False) for _ in range(4))
    shown, chip, drafts = gr.State(""), gr.State(""), gr.State(None)
    clicks = ", ".join(f"'{name}'" for name in CLICKS)
    bridge = gr.HTML(
        "",
        elem_id="prompts-bridge",
        visible="hidden",
        apply_default_css=False,
        js_on_load=f"parley.listen([{clicks}], trigger);",
    )
    with gr.Row(elem_id="prompts-page"):
        with gr.Column(elem_id="prompt-side", min_width=0):
            search, listing, import_button = _side()
        with gr.Column(elem_id="prompt-room", min_width=0):
            head = gr.HTML("", elem_id="prompt-head", apply_default_css=False)
            with gr.Column(elem_id="prompt-edit", min_width=0):
                editor = prompts_editor.build(services, here)
            views = gr.HTML("", elem_id="prompt-views", apply_default_css=False)
            diff = gr.HTML("", elem_id="prompt-diff", apply_default_css=False)
            report = gr.HTML("", elem_id="prompt-report", apply_default_css=False)
    return Parts(
        bridge, here, shown, place, chip, label_window, saved, drafts, search, listing, import_button,
        head, views, diff, report, editor,
    )  # fmt: skip


def _side() -> tuple[gr.Textbox, gr.HTML, gr.UploadButton]:
    gr.HTML(
        '<div class="across"><button class="new" data-do="new_prompt">New prompt</button><button class="icon close" '
        'data-do="prompt_drawer" aria-label="Close the list" title="Close"></button></div>',
        elem_id="prompt-side-head",
        apply_default_css=False,
    )
    search = gr.Textbox(
        label="Search prompts",
        show_label=False,
        container=False,
        placeholder="Search by words or meaning",
        max_lines=1,
        elem_id="prompt-search",
        html_attributes=gr.InputHTMLAttributes(autocomplete="off"),
    )
    formats = json.dumps([[one.id, one.label, one.one_file_per_prompt] for one in exchange.formats()])
    listing = gr.HTML("", elem_id="prompt-list", apply_default_css=False)
    with gr.Row(elem_id="prompt-side-foot"):
        import_button = gr.UploadButton(
            "Import", file_count="multiple", size="sm", elem_id="prompt-import", min_width=0
        )
        gr.HTML(
            '<button class="quiet" data-do="prompt_export_all" aria-haspopup="menu" aria-expanded="false" '
            f'data-formats="{text(formats)}">Export all</button>',
            elem_id="prompt-export",
            apply_default_css=False,
        )
    return search, listing, import_button
