"""Conversations as Markdown, to read or to paste elsewhere: the branch that is shown, or all panes of a comparison."""

from __future__ import annotations

from collections.abc import Sequence

from core.conversations import Conversation, Conversations, Turn
from core.conversations.choice import choice_text
from core.conversations.formats._branches import branches, meter_line, parted
from core.conversations.formats._format import ConversationFormat


def export_markdown(conversations: Conversations, visitor: str, ids: Sequence[str]) -> str:
    """These conversations one after the other. NotFound if one is not the visitor's."""
    parts = []
    for id in ids:
        conversation = conversations.get(visitor, id)
        parts.append(_conversation(conversation, branches(conversations, visitor, conversation)))
    return "\n\n---\n\n".join(parts) + "\n"


def _conversation(conversation: Conversation, paths: list[list[Turn]]) -> str:
    blocks = [f"# {conversation.title or 'Conversation'}", f"*{conversation.created:%Y-%m-%d %H:%M} UTC*"]
    if conversation.prompt is not None:
        blocks += ["## Prompt", _quoted(choice_text(conversation.prompt))]
    if conversation.system.strip():
        blocks += ["## System prompt", _quoted(conversation.system)]
    common, rests = parted(paths)
    blocks += [_turn(turn, 2) for turn in common]
    for pane, rest in zip(conversation.panes, rests, strict=False):
        blocks.append(f"## With {pane.model}")
        blocks += [_turn(turn, 3) for turn in rest]
    return "\n\n".join(blocks)


def _turn(turn: Turn, level: int) -> str:
    blocks = ["#" * level + (" You" if turn.role == "user" else f" {turn.model or 'Assistant'}")]
    blocks += [f"*File: {file.name}*" for file in turn.files]
    if turn.text.strip():
        blocks.append(turn.text.strip())
    if turn.error:
        blocks.append(_quoted(turn.error))
    if turn.role == "assistant" and (line := meter_line(turn)):
        blocks.append(f"*{line}*")
    return "\n\n".join(blocks)


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.strip().splitlines())


FORMAT = ConversationFormat("markdown", "Markdown", 20, "md", "text/markdown", export_markdown)
