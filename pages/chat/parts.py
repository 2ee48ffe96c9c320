"""The Chat tab's components, laid out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import gradio as gr

from core.conversations.formats import formats
from pages.chat.options import Options
from pages.kit.markdown import DELIMITERS

PANES = 4
EMPTY_BOX: dict[str, Any] = {"text": "", "files": []}
TITLE = "What would you like to try?"
STARTERS = (
    "Why is the sky blue?",
    "Write a Python function that checks whether a word is a palindrome.",
    "Explain what a token is to somebody who has never programmed.",
    "Write a short, polite reply to a customer who asks for a refund after 40 days.",
)
# What clicks inside of messages and lists are called; the page's script fires them at the bridge.
CLICKS = (
    "open_chat",
    "new_chat",
    "rename_chat",
    "delete_chat",
    "export_chat",
    "edit_turn",
    "cancel_edit",
    "retry_turn",
    "continue_turn",
    "show_branch",
    "rate_turn",
    "want_text",
    "pick_pane",
    "refresh_models",
    "refresh_prompts",
    "use_prompt",
    "prompt_question",
    "save_system",
)


@dataclass(frozen=True)
class Parts:
    """Every component that a handler reads or writes."""

    bridge: gr.HTML
    here: gr.Textbox  # the id of the conversation in view, "" for a new one
    leaf: gr.State  # the id of the last turn in view
    watch_one: gr.Textbox  # what the page is to follow: a conversation's id and something new
    watch_many: gr.Textbox  # the same for a comparison
    editing: gr.Textbox  # the id of the turn that is being edited, "" for none
    comparing: gr.State
    clip: gr.Textbox
    handed: gr.Textbox  # what is handed on to the Prompts tab, as JSON
    saved: gr.Textbox
    search: gr.Textbox
    history: gr.HTML
    import_button: gr.UploadButton
    model: gr.Dropdown
    models: gr.Dropdown
    compare: gr.Button
    banner: gr.HTML
    heads: tuple[gr.HTML, ...]
    chats: tuple[gr.Chatbot, ...]
    editbar: gr.HTML
    box: gr.MultimodalTextbox
    busy: gr.HTML  # not empty while an answer is written
    foot: gr.HTML
    options: Options


def build(default_model: str, default_label: str) -> Parts:
    """Lay the tab out: history at the left, the conversation in the middle, options at the right."""
    here = gr.Textbox(visible=False)
    editing = gr.Textbox(visible=False)
    clip = gr.Textbox(visible=False)
    handed = gr.Textbox(visible=False)
    saved = gr.Textbox(visible=False)
    leaf = gr.State("")
    watch_one = gr.Textbox(visible=False)
    watch_many = gr.Textbox(visible=False)
    comparing = gr.State(False)
    clicks = ", ".join(f"'{name}'" for name in CLICKS)
    offered = [(format.name, format.label) for format in formats().values()]
    bridge = gr.HTML(
        "",
        elem_id="bridge",
        visible="hidden",
        apply_default_css=False,
        js_on_load=f"parley.listen([{clicks}], trigger); parley.formats = {json.dumps(offered)};",
    )
    with gr.Row(elem_id="chat-page"):
        with gr.Column(elem_id="side", min_width=0):
            search, history, import_button = _side()
        with gr.Column(elem_id="room", min_width=0):
            with gr.Row(elem_id="top"):
                gr.HTML(
                    '<button class="icon bars" data-do="drawer" data-name="side" aria-label="History" '
                    'title="History"></button>',
                    elem_id="open-side",
                    apply_default_css=False,
                )
                choice = [(default_label, default_model)] if default_model else []
                model = gr.Dropdown(
                    choice, value=default_model or None, label="Model", elem_id="model", container=False, min_width=120
                )
                models = gr.Dropdown(
                    choice,
                    value=[],
                    multiselect=True,
                    max_choices=PANES,
                    label="Models to compare",
                    elem_id="models",
                    container=False,
                    min_width=120,
                    visible=False,
                )
                compare = gr.Button("Compare", size="sm", elem_id="compare", min_width=0)
                gr.HTML(
                    '<button class="plain" data-do="drawer" data-name="options">Options</button>',
                    elem_id="open-options",
                    apply_default_css=False,
                )
            banner = gr.HTML("", elem_id="banner", apply_default_css=False)
            heads, chats = _panes()
            editbar = gr.HTML("", elem_id="editing", apply_default_css=False)
            box = gr.MultimodalTextbox(
                value=EMPTY_BOX,
                label="Message",
                show_label=False,
                container=False,
                placeholder="Message   (Enter sends, Shift+Enter for a new line)",
                file_count="multiple",
                sources=["upload"],
                submit_btn=True,
                stop_btn=True,
                lines=1,
                max_lines=12,
                max_plain_text_length=8000,
                autofocus=True,
                elem_id="box",
                html_attributes=gr.InputHTMLAttributes(autocorrect="on", spellcheck=True),
            )
            busy = gr.HTML("", elem_id="busy", apply_default_css=False)
            foot = gr.HTML("", elem_id="foot", apply_default_css=False)
        with gr.Column(elem_id="options", min_width=0):
            options = Options.build()
    return Parts(
        bridge, here, leaf, watch_one, watch_many, editing, comparing, clip, handed, saved, search, history,
        import_button, model, models, compare,
        banner, heads, chats, editbar, box, busy, foot, options,
    )  # fmt: skip


def _side() -> tuple[gr.Textbox, gr.HTML, gr.UploadButton]:
    gr.HTML(
        '<div class="across"><button class="new" data-do="new_chat">New chat</button><button class="icon close" '
        'data-do="drawer" data-name="side" aria-label="Close history" title="Close"></button></div>',
        elem_id="side-head",
        apply_default_css=False,
    )
    search = gr.Textbox(
        label="Search conversations",
        show_label=False,
        container=False,
        placeholder="Search by words or meaning",
        max_lines=1,
        elem_id="search",
        html_attributes=gr.InputHTMLAttributes(autocomplete="off"),
    )
    history = gr.HTML("", elem_id="history", apply_default_css=False)
    import_button = gr.UploadButton(
        "Import conversations", file_types=[".json"], size="sm", elem_id="import", min_width=0
    )
    return search, history, import_button


def _panes() -> tuple[tuple[gr.HTML, ...], tuple[gr.Chatbot, ...]]:
    heads, chats = [], []
    with gr.Row(elem_id="panes"):
        for number in range(PANES):
            first = number == 0
            with gr.Column(elem_id=f"pane-{number}", elem_classes="pane", min_width=0):
                heads.append(gr.HTML("", elem_classes="pane-head", apply_default_css=False))
                chats.append(
                    gr.Chatbot(
                        label="Conversation" if first else f"Conversation with model {number + 1}",
                        show_label=False,
                        container=False,
                        layout="panel",
                        height=None,
                        buttons=[],
                        feedback_options=None,
                        latex_delimiters=DELIMITERS,
                        sanitize_html=True,
                        allow_tags=False,
                        group_consecutive_messages=True,
                        placeholder=f"## {TITLE}",
                        examples=[{"text": starter} for starter in STARTERS] if first else None,
                        elem_classes="talk",
                    )
                )
    return tuple(heads), tuple(chats)
