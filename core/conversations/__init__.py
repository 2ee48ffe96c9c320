"""Conversations: trees of turns that belong to a visitor, kept in SQL and found by words and by meaning."""

from core.conversations.book import Conversations
from core.conversations.choice import PromptChoice
from core.conversations.records import Conversation, File, Hit, Meter, Pane, Turn, Whole
from core.store.words import MARK_BEGIN, MARK_END

__all__ = [
    "MARK_BEGIN",
    "MARK_END",
    "Conversation",
    "Conversations",
    "File",
    "Hit",
    "Meter",
    "Pane",
    "PromptChoice",
    "Turn",
    "Whole",
]
