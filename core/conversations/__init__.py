"""Conversations: trees of turns that belong to a visitor, kept in SQL and found by words and by meaning."""

from core.conversations.choice import PromptChoice
from core.conversations.records import Conversation, Hit, Meter, Pane, StoredFile, Turn, Whole
from core.conversations.store import Conversations
from core.text import MARK_BEGIN, MARK_END

__all__ = [
    "MARK_BEGIN",
    "MARK_END",
    "Conversation",
    "Conversations",
    "Hit",
    "Meter",
    "Pane",
    "PromptChoice",
    "StoredFile",
    "Turn",
    "Whole",
]
