"""What a format of conversations is: how its files are called, and who writes and reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.conversations.records import Conversation
from core.conversations.store import Conversations

Write = Callable[[Conversations, str, Sequence[str]], str]  # (store, visitor, ids) -> the file's text
Read = Callable[[Conversations, str, bytes], list[Conversation]]  # (store, visitor, data) -> what was added


@dataclass(frozen=True, slots=True)
class ConversationFormat:
    """`write` raises NotFound for a conversation that is not the visitor's, `read` BadRequest and then adds nothing."""

    name: str
    label: str  # in the menu, after "Export as"
    order: int  # its place in the menu
    ending: str
    media_type: str
    write: Write
    read: Read | None = None
