"""Conversations as one HTML page that needs nothing else: no script, no request to anywhere, light and dark.

What a model wrote is Markdown with HTML switched off, and passes a sanitiser besides. The page's own policy forbids
scripts and remote content even so.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

import nh3
from markdown_it import MarkdownIt

from core.conversations import Conversation, Conversations, StoredFile, Turn
from core.conversations.choice import choice_text
from core.conversations.formats._branches import branches, meter_line, parted
from core.conversations.formats._format import ConversationFormat
from core.errors import NotFound

# How the images that are shown begin; anything else is only named.
IMAGES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}
LARGEST_IMAGE = 5 * 1024 * 1024  # bytes

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
STYLE = """
:root { color-scheme: light dark; --ink: #1c1f24; --soft: #5c6570; --line: #d8dde3; --back: #fff; --tint: #f4f6f8;
  --accent: #2457c5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7eb; --soft: #9aa4b0; --line: #333a43; --back: #15181c;
  --tint: #1e2329; --accent: #7ea6ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 48rem; padding: 1.5rem 1rem 4rem; background: var(--back); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; border-bottom: 1px solid var(--line); }
.soft { color: var(--soft); font-size: .85rem; }
.turn { margin: 1.25rem 0; }
.who { font-weight: 600; font-size: .85rem; color: var(--soft); }
.user .text, .system { white-space: pre-wrap; background: var(--tint); border-radius: .5rem; padding: .6rem .9rem; }
.error { border-left: 3px solid var(--accent); padding-left: .75rem; }
details { color: var(--soft); white-space: pre-wrap; }
a { color: var(--accent); }
pre { background: var(--tint); border-radius: .5rem; padding: .75rem; overflow-x: auto; }
code { font: .9em/1.5 ui-monospace, monospace; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
td, th { border: 1px solid var(--line); padding: .25rem .6rem; }
blockquote { margin-left: 0; padding-left: 1rem; border-left: 3px solid var(--line); color: var(--soft); }
img { max-width: 100%; border-radius: .5rem; }
hr { border: 0; border-top: 1px solid var(--line); margin: 3rem 0; }
"""
TAGS = frozenset(
    {"a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre"}
    | {"s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"}
)


def export_html(conversations: Conversations, visitor: str, ids: Sequence[str]) -> str:
    """These conversations on one page: the branch that is shown, or all panes. NotFound if one is not the visitor's."""
    own = [conversations.get(visitor, id) for id in ids]
    name = own[0].title or "Conversation" if len(own) == 1 else f"{len(own)} conversations"
    articles = [_conversation(conversations, visitor, conversation) for conversation in own]
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(name)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n<hr>\n".join(articles)
        + "\n</body>\n</html>\n"
    )


def _conversation(conversations: Conversations, visitor: str, conversation: Conversation) -> str:
    parts = [
        f"<article>\n<h1>{escape(conversation.title or 'Conversation')}</h1>",
        f'<p class="soft">{conversation.created:%Y-%m-%d %H:%M} UTC</p>',
    ]
    if conversation.prompt is not None:
        text = escape(choice_text(conversation.prompt))
        parts.append(f'<p class="who">Prompt</p>\n<div class="system">{text}</div>')
    if conversation.system.strip():
        parts.append(f'<p class="who">System prompt</p>\n<div class="system">{escape(conversation.system)}</div>')
    common, rests = parted(branches(conversations, visitor, conversation))
    parts += [_turn(conversations, visitor, turn) for turn in common]
    for pane, rest in zip(conversation.panes, rests, strict=False):
        parts.append(f"<h2>With {escape(pane.model)}</h2>")
        parts += [_turn(conversations, visitor, turn) for turn in rest]
    return "\n".join([*parts, "</article>"])


def _turn(conversations: Conversations, visitor: str, turn: Turn) -> str:
    who = "You" if turn.role == "user" else turn.model or "Assistant"
    parts = [f'<section class="turn {turn.role}">\n<div class="who">{escape(who)}</div>']
    parts += [_file(conversations, visitor, file) for file in turn.files]
    if turn.thinking.strip():
        parts.append(f"<details><summary>Thinking</summary>{escape(turn.thinking.strip())}</details>")
    if turn.text.strip():
        text = escape(turn.text.strip()) if turn.role == "user" else rendered(turn.text)
        parts.append(f'<div class="text">{text}</div>')
    if turn.error:
        parts.append(f'<p class="error">{escape(turn.error)}</p>')
    if turn.role == "assistant" and (line := meter_line(turn)):
        parts.append(f'<div class="soft">{escape(line)}</div>')
    return "\n".join([*parts, "</section>"])


def _file(conversations: Conversations, visitor: str, file: StoredFile) -> str:
    name = escape(file.name)
    try:
        data = conversations.file_data(visitor, file.id) if file.size <= LARGEST_IMAGE else b""
    except NotFound:
        data = b""
    media_type = next((kind for start, kind in IMAGES.items() if data.startswith(start)), None)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        media_type = "image/webp"
    if media_type is None:
        return f'<p class="soft">File: {name}</p>'
    return f'<p><img alt="{name}" src="data:{media_type};base64,{base64.b64encode(data).decode()}"></p>'


def rendered(markdown: str) -> str:
    """A model's Markdown as safe HTML. Images become links, because loading one tells somebody that it was read."""
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")
    return nh3.clean(
        parser.render(markdown),
        tags=set(TAGS),
        attributes={"a": {"href", "title"}, "code": {"class"}, "ol": {"start"}},
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer",
    )


FORMAT = ConversationFormat("html", "HTML page", 30, "html", "text/html", export_html)
