"""The history at the side: the list of conversations, and what a search found."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from core.conversations import Conversation, Hit
from core.text import MARK_BEGIN, MARK_END
from pages.kit.format import day, text

HOW = {"words": "words", "meaning": "meaning", "both": "words and meaning"}


def conversations(items: Iterable[Conversation], current: str, now: datetime.datetime) -> str:
    """The list, newest first, under headings by day."""
    rows: list[str] = []
    heading = ""
    for item in items:
        title = item.title or "New conversation"
        if (name := day(item.updated, now)) != heading:
            heading = name
            rows.append(f"<h3>{text(heading)}</h3>")
        here = ' aria-current="true"' if item.id == current else ""
        rows.append(
            f'<div class="row"{here}><button class="open" data-do="open_chat" data-id="{text(item.id)}" '
            f'title="{text(title)}"{here}>{text(title)}</button>'
            f'<button class="icon more" data-do="menu" data-id="{text(item.id)}" data-title="{text(title)}" '
            f'aria-label="More for {text(title)}" aria-haspopup="menu" aria-expanded="false"></button></div>'
        )
    if not rows:
        return '<p class="empty">Your conversations will be listed here.</p>'
    return f'<nav aria-label="Conversations">{"".join(rows)}</nav>'


def found(hits: Iterable[Hit], query: str, current: str) -> str:
    """What a search found, with the passage and whether its words or its meaning fitted."""
    rows = [
        f'<button class="hit" data-do="open_chat" data-id="{text(hit.conversation_id)}" '
        f'data-turn="{text(hit.turn_id or "")}"{" aria-current=true" * (hit.conversation_id == current)}>'
        f"<b>{text(hit.title or 'New conversation')}</b><span>{_marked(hit.snippet)}</span>"
        f"<small>found by {HOW.get(hit.how, text(hit.how))}</small></button>"
        for hit in hits
    ]
    if not rows:
        return f'<p class="empty">Nothing is like “{text(query)}”.</p>'
    return f'<nav aria-label="Search results">{"".join(rows)}</nav>'


def _marked(snippet: str) -> str:
    """The snippet with the words that were looked for."""
    return text(snippet).replace(MARK_BEGIN, "<mark>").replace(MARK_END, "</mark>")
