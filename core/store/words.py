"""Search in messages by words: FTS5 in SQLite, tsvector in PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from core.text import MARK_BEGIN, MARK_END

WORDS = 20  # of a query that count

SQLITE = """
    SELECT m.id AS message, m.conversation AS conversation,
           snippet(messages_words, 0, :begin, :end, '…', 16) AS snippet, -bm25(messages_words) AS score
    FROM messages_words JOIN messages m ON m.number = messages_words.rowid
    JOIN conversations c ON c.id = m.conversation
    WHERE messages_words MATCH :query AND c.visitor = :visitor
    ORDER BY score DESC, m.number DESC LIMIT :limit
"""
POSTGRESQL = """
    WITH found AS (
        SELECT m.id, m.conversation, m.number, m.text, ts_rank(m.words, q.query) AS score, q.query
        FROM to_tsquery('simple', :query) AS q(query), messages m
        JOIN conversations c ON c.id = m.conversation
        WHERE m.words @@ q.query AND c.visitor = :visitor
        ORDER BY score DESC, m.number DESC LIMIT :limit)
    SELECT id AS message, conversation, score,
           ts_headline('simple', left(text, 200000), query, :options) AS snippet
    FROM found ORDER BY score DESC, number DESC
"""


@dataclass(frozen=True, slots=True)
class WordHit:
    """A message that holds all words of the query. `score` rises with the fit; it compares within one search only."""

    message: str
    conversation: str
    snippet: str  # a few words around the find, with MARK_BEGIN and MARK_END around each word found
    score: float


def search_words(connection: Connection, visitor: str, query: str, limit: int = 30) -> list[WordHit]:
    """The visitor's messages that hold every word of the query, the last one also as the beginning of a word.

    Nothing in the query is syntax: quotes, operators and brackets count as spaces. Streaming answers are not found.
    """
    words = [word for word in query.replace("\0", " ").split()[:WORDS] if any(map(str.isalnum, word))]
    if not words:
        return []
    values: dict[str, object] = {"visitor": visitor, "limit": limit}
    if connection.dialect.name == "sqlite":
        quoted = ['"' + word.replace('"', '""') + '"' for word in words]
        values |= {"begin": MARK_BEGIN, "end": MARK_END, "query": " ".join(quoted) + "*"}
        rows = connection.execute(text(SQLITE), values)
    else:
        options = f"StartSel={MARK_BEGIN}, StopSel={MARK_END}, MaxWords=16, MinWords=8, MaxFragments=1"
        quoted = ["'" + word.replace("\\", "\\\\").replace("'", "''") + "'" for word in words]
        values |= {"options": options, "query": " & ".join(quoted) + ":*"}
        rows = connection.execute(text(POSTGRESQL), values)
    return [WordHit(row.message, row.conversation, row.snippet, float(row.score)) for row in rows]
