"""Search in a visitor's conversations, by words and by meaning at once."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import Connection, select

from core.conversations.index import COLLECTION
from core.conversations.records import Hit
from core.store.database import Database
from core.store.fusion import fused
from core.store.tables import conversations, messages
from core.store.vectors import Match, Vectors
from core.store.words import search_words
from core.text import clean, fold, pieces, snippet

QUERY = 400  # characters of a query that count
DEPTH = 3  # turns looked at for each conversation asked for, because several may be of the same one
SUBSTRING_LIMIT = 300

# Scripts that are written without spaces, or whose words take endings that the index does not know.
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")


@dataclass(frozen=True, slots=True)
class _Find:
    conversation: str
    title: str
    turn: str | None
    text: str


def search(database: Database, vectors: Vectors, visitor: str, query: str, limit: int) -> list[Hit]:
    """The visitor's conversations that fit, best first, each once with its best turn."""
    query = clean(query[:QUERY]).strip()
    words = query.split()
    if not words or limit < 1:
        return []
    matches = {match.id: match for match in vectors.query(COLLECTION, query, {"visitor": visitor}, limit * DEPTH)}
    with database.read() as connection:
        by_words = _best(_by_title(connection, visitor, words) + _by_words(connection, visitor, query, words, limit))
        by_meaning = _best(_turns(connection, visitor, list(matches)))
    hits: list[Hit] = []
    for id, (score, how) in islice(fused(by_words, by_meaning).items(), limit):
        find = by_words.get(id) or by_meaning[id]
        text = _nearest_piece(find, matches) if how == "meaning" else find.text
        hits.append(Hit(id, find.title, find.turn, snippet(text, words), how, score))
    return hits


def _best(finds: Sequence[_Find]) -> dict[str, _Find]:
    """The first find of each conversation, in order. A turn goes before the title, because it can be jumped to."""
    best: dict[str, _Find] = {}
    for find in finds:
        if find.conversation not in best or best[find.conversation].turn is None:
            best[find.conversation] = find
    return best


def _nearest_piece(find: _Find, matches: dict[str, Match]) -> str:
    cut = pieces(find.text)
    number = matches[find.turn].piece if find.turn in matches else 0
    return cut[number] if number < len(cut) else find.text


def _by_title(connection: Connection, visitor: str, words: Sequence[str]) -> list[_Find]:
    mine = select(conversations.c.id, conversations.c.title).where(conversations.c.visitor == visitor)
    wanted = [fold(word) for word in words]
    rows = connection.execute(mine.order_by(conversations.c.updated.desc()))
    return [_Find(row.id, row.title, None, row.title) for row in rows if _holds(fold(row.title), wanted)]


def _holds(text: str, words: Sequence[str]) -> bool:
    return all(word in text for word in words)


def _by_words(connection: Connection, visitor: str, query: str, words: Sequence[str], limit: int) -> list[_Find]:
    """By the index of words, and by plain substrings where that index cannot help: CJK, emoji, C++, inside of words."""
    found = [hit.message for hit in search_words(connection, visitor, query, limit * DEPTH)]
    if not found or not all(_is_indexed(word) for word in words):
        found = _substrings(connection, visitor, words) + found
    return _turns(connection, visitor, list(dict.fromkeys(found)))


def _is_indexed(word: str) -> bool:
    """Whether the index of words knows it as it stands: letters and digits of a script that parts words by spaces."""
    return word.isalnum() and not any(unicodedata.name(c, "").startswith(_UNSPACED) for c in word)


def _substrings(connection: Connection, visitor: str, words: Sequence[str]) -> list[str]:
    wanted = select(messages.c.id).join(conversations).where(conversations.c.visitor == visitor)
    wanted = wanted.where(messages.c.status != "streaming")
    for word in words:
        wanted = wanted.where(messages.c.text.icontains(word, autoescape=True))
    return list(connection.execute(wanted.order_by(messages.c.number.desc()).limit(SUBSTRING_LIMIT)).scalars())


def _turns(connection: Connection, visitor: str, ids: Sequence[str]) -> list[_Find]:
    """These turns in the same order, without those that are gone or somebody else's."""
    # In two steps: with a join, SQLite begins with all the conversations of the visitor.
    wanted = select(messages.c.id, messages.c.text, messages.c.conversation)
    turns = connection.execute(wanted.where(messages.c.id.in_(ids), messages.c.status != "streaming")).all()
    owners = {turn.conversation for turn in turns}
    mine = conversations.c.id.in_(owners) & (conversations.c.visitor == visitor)
    titles = {
        row.id: row.title for row in connection.execute(select(conversations.c.id, conversations.c.title).where(mine))
    }
    finds = {
        t.id: _Find(t.conversation, titles[t.conversation], t.id, t.text) for t in turns if t.conversation in titles
    }
    return [finds[id] for id in ids if id in finds]
