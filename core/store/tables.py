"""All SQL tables. The schema itself is made by `migrations/`; a test keeps the two equal.

Times are UTC. Every `Moment` column takes and gives an aware `datetime` and is stored as integer microseconds since
1970, so that it sorts, subtracts and groups the same way in SQLite and PostgreSQL.

Texts must be clean before they come here: no NUL and no lone surrogates (PostgreSQL and UTF-8 take neither).
"""

from __future__ import annotations

import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
MICROSECOND = datetime.timedelta(microseconds=1)


def microseconds(moment: datetime.datetime) -> int:
    """Whole microseconds from 1970 to an aware datetime."""
    return (moment - EPOCH) // MICROSECOND


class Moment(TypeDecorator[datetime.datetime]):
    """An aware UTC datetime, stored as microseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime.datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else microseconds(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime.datetime | None:
        return None if value is None else EPOCH + int(value) * MICROSECOND


KEY = BigInteger().with_variant(Integer(), "sqlite")  # 64 bits in both; SQLite's rowid must be called INTEGER

metadata = MetaData()

conversations = Table(
    "conversations",
    metadata,
    Column("id", String, primary_key=True),
    Column("visitor", String, nullable=False),
    Column("title", Text, nullable=False),
    Column("system", Text, nullable=False),  # the system prompt
    Column("model", String, nullable=False),  # maker/model, "" = none chosen yet
    Column("parameters", JSON, nullable=False),  # the fields of core.messages.Parameters that are set
    Column("leaf", String),  # the message at the end of the current branch, NULL = no message yet
    Column("panes", JSON, nullable=False),  # comparison: [{"model": …, "leaf": …}, …], [] = an ordinary chat
    Column("created", Moment, nullable=False),
    Column("updated", Moment, nullable=False),
    Column("prompt", JSON(none_as_null=True)),  # {"ref": "name@production", "values": {…}}, NULL = none
    Index("conversations_by_visitor", "visitor", "updated"),
)

RATED = text("rating <> 0")

# A conversation is a tree of messages: `parent` is the id of the message before, NULL for a first one. There is no
# foreign key on it, because SQLite limits how deep a delete may cascade; deleting the conversation deletes them all.
messages = Table(
    "messages",
    metadata,
    # Rising in the order of writing; the key of the word index. Programs outside of the store use `id`.
    Column("number", KEY, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("conversation", String, ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    Column("parent", String),
    Column("role", String, nullable=False),  # user, assistant
    Column("text", Text, nullable=False),
    Column("thinking", Text, nullable=False),
    Column("files", JSON, nullable=False),  # ids of rows in files, in order
    Column("model", String, nullable=False),  # maker/model that answered, "" for the user's
    Column("status", String, nullable=False),  # complete, streaming, stopped, interrupted, failed
    Column("error", Text, nullable=False),  # what the user reads when status is failed
    Column("meter", JSON(none_as_null=True)),  # the fields of conversations.Meter, NULL while it streams
    Column("rating", Integer, nullable=False),  # -1, 0, 1
    Column("created", Moment, nullable=False),
    Index("messages_by_conversation", "conversation", "number"),
    Index("messages_by_parent", "parent"),
    Index("messages_rated", "rating", sqlite_where=RATED, postgresql_where=RATED),
    sqlite_autoincrement=True,  # a number is never used twice, also after a delete
)
# Beside it the migrations make the index of words, kept by the database itself. Use core.store.words.search_words.
#   SQLite:     messages_words(text), FTS5 with content in messages and rowid = messages.number, kept by triggers
#   PostgreSQL: messages.words, a generated tsvector ('simple', the first 200,000 characters) with a GIN index
# An answer enters it when its status is no longer "streaming", so that checkpoints stay cheap.

files = Table(
    "files",
    metadata,
    Column("id", String, primary_key=True),  # the bytes are in <data>/files/<id>
    Column("conversation", String, ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),  # as the visitor named it; never part of a path
    Column("media_type", String, nullable=False),
    Column("size", BigInteger, nullable=False),  # bytes
    Column("sha256", String, nullable=False),
    Column("created", Moment, nullable=False),
    Index("files_by_conversation", "conversation"),
)

RUNNING = text("status = 'running'")
PROMPTED = text("prompt_name IS NOT NULL")


def first_call(since: datetime.datetime) -> int:
    """The least id of a call that starts then or later. Ids rise with time, so `calls` needs no index by time."""
    return microseconds(since) // 1000 << 20


def call_time(call: int) -> datetime.datetime:
    """When the call of this id began, to the millisecond."""
    return EPOCH + (call >> 20) * 1000 * MICROSECOND


# One row for each attempt at a model call, written before it starts and completed after it (core.ledger). It has no
# foreign key: what was spent stays in the ledger when a conversation is deleted.
calls = Table(
    "calls",
    metadata,
    Column("id", KEY, primary_key=True, autoincrement=False),  # 43 bits of milliseconds, 20 that tell calls apart
    Column("instance", String, nullable=False),  # the data folder whose process made the call
    Column("started", Moment, nullable=False),
    Column("feature", String, nullable=False),
    Column("provider", String, nullable=False),
    Column("model", String, nullable=False),  # maker/model as asked
    Column("model_answered", String),  # the provider's own name of what answered
    Column("conversation", String),
    Column("visitor", String, nullable=False),
    Column("prompt_name", String),
    Column("prompt_version", Integer),
    Column("prompt_hash", String),
    Column("prompt_parts", JSON(none_as_null=True)),  # included prompts, [["shared/tone", 3], …], NULL = none
    Column("attempt", Integer, nullable=False),  # 0 = first try, 1 = first retry
    Column("key_source", String, nullable=False),  # server, visitor, none
    Column("status", String, nullable=False),  # running, ok, failed, cancelled, interrupted, lost
    Column("error_code", String),
    Column("error", Text),  # one sentence; no contents, no keys
    Column("stop_reason", String),
    Column("request_id", String),  # the provider's
    Column("input", BigInteger),  # tokens, including cached and cache-writing ones
    Column("cached", BigInteger),
    Column("cache_write_5m", BigInteger),
    Column("cache_write_1h", BigInteger),
    Column("reasoning", BigInteger),  # part of output
    Column("output", BigInteger),
    Column("usage_estimated", Boolean),
    Column("price", JSON(none_as_null=True)),  # dollars per million tokens and their source, as they were then
    Column("cost", BigInteger),  # nano-dollars; NULL = unknown
    Column("queued", Float),  # seconds it waited for its turn
    Column("first_token", Float),  # seconds from the start to the first text or thinking
    Column("duration", Float),  # seconds
    Column("cache_hit", Boolean, nullable=False),  # answered from Parley's own cache
    Index("calls_by_conversation", "conversation"),
    Index("calls_by_model", "model", "id"),
    Index("calls_running", "instance", sqlite_where=RUNNING, postgresql_where=RUNNING),
    # With all that sums by prompt read, so that they need no rows: core.prompts.usage.
    Index(
        "calls_by_prompt",
        *("prompt_name", "prompt_version", "visitor", "cost", "input", "output"),
        sqlite_where=PROMPTED,
        postgresql_where=PROMPTED,
    ),
)
