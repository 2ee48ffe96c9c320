"""Conversations, messages, files, calls, and the index of words."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
WORDS_SQLITE = (
    """
    CREATE VIRTUAL TABLE messages_words USING fts5(
        text, content='messages', content_rowid='number', tokenize='unicode61 remove_diacritics 2')
    """,
    """
    CREATE TRIGGER messages_words_insert AFTER INSERT ON messages WHEN new.status <> 'streaming' BEGIN
        INSERT INTO messages_words(rowid, text) VALUES (new.number, new.text);
    END
    """,
    """
    CREATE TRIGGER messages_words_delete AFTER DELETE ON messages WHEN old.status <> 'streaming' BEGIN
        INSERT INTO messages_words(messages_words, rowid, text) VALUES ('delete', old.number, old.text);
    END
    """,
    """
    CREATE TRIGGER messages_words_update AFTER UPDATE OF text, status ON messages
    WHEN old.text <> new.text OR (old.status = 'streaming') <> (new.status = 'streaming') BEGIN
        INSERT INTO messages_words(messages_words, rowid, text)
            SELECT 'delete', old.number, old.text WHERE old.status <> 'streaming';
        INSERT INTO messages_words(rowid, text)
            SELECT new.number, new.text WHERE new.status <> 'streaming';
    END
    """,
)
# A tsvector holds at most 1 MB; 200,000 characters cannot exceed it.
WORDS_POSTGRESQL = (
    """
    ALTER TABLE messages ADD COLUMN words tsvector GENERATED ALWAYS AS (
        CASE WHEN status = 'streaming' THEN NULL ELSE to_tsvector('simple', left(text, 200000)) END) STORED
    """,
    "CREATE INDEX messages_by_word ON messages USING gin (words)",
)


def upgrade() -> None:
    op.create_table(
        "conversations",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("visitor", sa.String, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("system", sa.Text, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("parameters", sa.JSON, nullable=False),
        sa.Column("leaf", sa.String),
        sa.Column("panes", sa.JSON, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
    )
    op.create_index("conversations_by_visitor", "conversations", ["visitor", "updated"])
    op.create_table(
        "messages",
        sa.Column("number", KEY, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String, nullable=False, unique=True),
        sa.Column("conversation", sa.String, sa.ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
        sa.Column("parent", sa.String),
        sa.Column("role", sa.String, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("thinking", sa.Text, nullable=False),
        sa.Column("files", sa.JSON, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("meter", sa.JSON),
        sa.Column("rating", sa.Integer, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("messages_by_conversation", "messages", ["conversation", "number"])
    op.create_index("messages_by_parent", "messages", ["parent"])
    op.create_table(
        "files",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("conversation", sa.String, sa.ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("media_type", sa.String, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
    )
    op.create_index("files_by_conversation", "files", ["conversation"])
    op.create_table(
        "calls",
        sa.Column("id", KEY, primary_key=True, autoincrement=False),
        sa.Column("instance", sa.String, nullable=False),
        sa.Column("started", sa.BigInteger, nullable=False),
        sa.Column("feature", sa.String, nullable=False),
        sa.Column("provider", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("model_answered", sa.String),
        sa.Column("conversation", sa.String),
        sa.Column("visitor", sa.String, nullable=False),
        sa.Column("prompt_name", sa.String),
        sa.Column("prompt_version", sa.Integer),
        sa.Column("prompt_hash", sa.String),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("key_source", sa.String, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("error_code", sa.String),
        sa.Column("error", sa.Text),
        sa.Column("stop_reason", sa.String),
        sa.Column("request_id", sa.String),
        sa.Column("input", sa.BigInteger),
        sa.Column("cached", sa.BigInteger),
        sa.Column("cache_write_5m", sa.BigInteger),
        sa.Column("cache_write_1h", sa.BigInteger),
        sa.Column("reasoning", sa.BigInteger),
        sa.Column("output", sa.BigInteger),
        sa.Column("usage_estimated", sa.Boolean),
        sa.Column("price", sa.JSON),
        sa.Column("cost", sa.BigInteger),
        sa.Column("queued", sa.Float),
        sa.Column("first_token", sa.Float),
        sa.Column("duration", sa.Float),
        sa.Column("cache_hit", sa.Boolean, nullable=False),
    )
    op.create_index("calls_by_conversation", "calls", ["conversation"])
    op.create_index("calls_by_model", "calls", ["model", "id"])
    running = sa.text("status = 'running'")
    op.create_index("calls_running", "calls", ["instance"], sqlite_where=running, postgresql_where=running)

    sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in WORDS_SQLITE if sqlite else WORDS_POSTGRESQL:
        op.execute(statement)
