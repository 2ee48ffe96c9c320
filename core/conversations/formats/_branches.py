"""What of a conversation is shown: its current branch, or one branch for each pane of a comparison."""

from __future__ import annotations

from core.conversations import Conversation, Conversations, Turn


def branches(conversations: Conversations, visitor: str, conversation: Conversation) -> list[list[Turn]]:
    """One path from the first turn to its leaf, or one for each pane."""
    leaves: list[str | None] = [pane.leaf for pane in conversation.panes if pane.leaf]
    leaves = leaves or [None]
    return [conversations.path(visitor, conversation.id, leaf) for leaf in leaves]


def parted(paths: list[list[Turn]]) -> tuple[list[Turn], list[list[Turn]]]:
    """What all paths begin with, and what each goes on with. One path is common from end to end."""
    shared = 0
    while all(len(path) > shared for path in paths) and len({path[shared].id for path in paths}) == 1:
        shared += 1
    rests = [path[shared:] for path in paths] if len(paths) > 1 else []
    return paths[0][:shared], rests


def meter_line(turn: Turn) -> str:
    """Who answered and what it took, on one line: "openai/gpt-6-luna · reply@3 · 12 in, 80 out · $0.0012 · 1.3 s"."""
    parts = [turn.model] if turn.model else []
    if turn.meter is not None:
        if turn.meter.prompt:
            parts.append(turn.meter.prompt)
        about = "~" if turn.meter.usage.estimated else ""
        parts.append(f"{about}{turn.meter.usage.input:,} in, {about}{turn.meter.usage.output:,} out")
        if turn.meter.cost is not None:
            parts.append(f"${turn.meter.cost / 1e9:.4g}")
        parts.append(f"{turn.meter.duration:.1f} s")
    if turn.status != "complete":
        parts.append(turn.status)
    return " · ".join(parts)
