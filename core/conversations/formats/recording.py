"""Conversations as a recording, which `replay/<name>` then answers from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast, get_args

from core.conversations import Conversations, Turn
from core.conversations.formats._branches import branches
from core.conversations.formats._format import ConversationFormat
from core.files.recordings import Recorded, lines
from core.messages import Message, StopReason


def recording(conversations: Conversations, visitor: str, ids: Sequence[str]) -> str:
    """The answers of the branches that are shown, or of all panes, one a line, each with all that was asked before it.

    Where two answer the same question, the first is kept. Files are not part of a recording.
    """
    entries: dict[tuple[Message, ...], Recorded] = {}
    for id in ids:
        _add(entries, conversations, visitor, id)
    return b"".join(lines(entries.values())).decode()


def _add(entries: dict[tuple[Message, ...], Recorded], conversations: Conversations, visitor: str, id: str) -> None:
    conversation = conversations.get(visitor, id)
    first = (Message("system", conversation.system),) if conversation.system.strip() else ()
    for path in branches(conversations, visitor, conversation):
        history = first
        for turn in path:
            if turn.role == "assistant" and turn.text and turn.status not in ("failed", "streaming") and history:
                entries.setdefault(history, _recorded(history, turn))
            history = (*history, Message(turn.role, turn.text))


def _recorded(history: tuple[Message, ...], turn: Turn) -> Recorded:
    meter = turn.meter
    if meter is None:
        return Recorded(history, turn.text, turn.thinking, model=turn.model)
    known = meter.stop_reason in get_args(StopReason)
    return Recorded(
        history,
        turn.text,
        turn.thinking,
        meter.usage,
        meter.first_token,
        meter.duration,
        cast(StopReason, meter.stop_reason) if known else "other",
        turn.model,
    )


FORMAT = ConversationFormat("recording", "recording", 40, "jsonl", "application/jsonl", recording)
