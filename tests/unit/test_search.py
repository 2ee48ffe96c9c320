"""Search in conversations by words and by meaning, on SQLite and on PostgreSQL, and how well meaning does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from sqlalchemy import delete, event

from core.conversations import Conversations, Hit
from core.settings import Settings
from core.store import tables
from core.store.embeddings import embedder
from core.text import MARK_BEGIN, MARK_END, PIECE, PIECES, fold, pieces, snippet
from tests.unit.test_conversations import ME, OTHER, House

TALKS = [
    ("Why is the sky blue?", "Air scatters the short wavelengths of sunlight; that is Rayleigh scattering."),
    ("Write an email to my landlord about the heating.", "Dear Mr Novak, since Monday the radiators stay cold."),
    ("How can I make my Postgres query faster?", "Create an index on the columns of the WHERE clause."),
    ("Suggest a vegetarian dinner with chickpeas.", "Fry onions, add cumin, chickpeas and spinach; serve with rice."),
    ("Plan a trip to Lisbon with children.", "Day 1: tram 28 and the castle. Day 2: the Oceanarium."),
    ("What are the side effects of ibuprofen?", "Stomach pain and nausea are common; the kidneys may suffer."),
    ("My sourdough bread comes out flat.", "Your starter is probably not active enough. Let it double."),
    ("Was ist der Unterschied zwischen Mutex und Semaphor?", "Ein Mutex lässt einen Thread zu. Größe zählt nicht."),
    ("「今日はいい天気ですね」を英語にしてください", "「It is nice weather today」です。"),
    ("Explain C++ templates & the <vector> header.", "100% of std::vector<T> is a template_class."),
    ("Why do people send 🦄 so often?", "It stands for something rare."),
]
# What people type, and the number of the talk that they look for; no word of it need be in there.
QUESTIONS = {
    "colour of the atmosphere": 0,
    "why does the sunset look red": 0,
    "heating is broken in the apartment": 1,
    "database is slow": 2,
    "SQL performance tuning": 2,
    "vegan recipe with legumes": 3,
    "what to cook tonight": 3,
    "holiday in Portugal with kids": 4,
    "painkiller risks": 5,
    "medicine stomach ache": 5,
    "baking bread that does not rise": 6,
}
ELSEWHERE = [
    "quantum entanglement in superconductors",
    "football world cup results",
    "how to train a puppy",
    "knitting pattern for a scarf",
    "electric guitar amplifier",
    "chess opening theory",
    "photosynthesis in plants",
    "wedding speech for my sister",
    "cryptocurrency wallet",
    "volcano eruption in Iceland",
    "haircut",
    "Please help me",
]


class Library:
    """The talks above as the conversations of one visitor."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.store: Conversations = house.store
        self.ids: list[str] = []
        for question, answer in TALKS:
            id = self.store.create(ME).id
            asked = self.store.add(ME, id, parent=None, role="user", text=question)
            self.store.add(ME, id, parent=asked.id, role="assistant", text=answer)
            self.ids.append(id)
        assert house.vectors.wait()

    def find(self, query: str, visitor: str = ME) -> list[int]:
        """The numbers of the talks found."""
        return [self.ids.index(hit.conversation_id) for hit in self.store.search(visitor, query)]

    def hit(self, query: str) -> Hit:
        return self.store.search(ME, query)[0]


def opened(request: pytest.FixtureRequest, settings: Callable[..., Settings], kind: str) -> Iterator[Library]:
    own = {}
    if kind == "postgresql":
        own["PARLEY_DATABASE_URL"] = request.getfixturevalue("postgres_database")
    house = House(settings(**own))
    yield Library(house)
    house.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def library(request: pytest.FixtureRequest, settings: Callable[..., Settings]) -> Iterator[Library]:
    yield from opened(request, settings, request.param)


@pytest.fixture
def shelf(request: pytest.FixtureRequest, settings: Callable[..., Settings]) -> Iterator[Library]:
    yield from opened(request, settings, "sqlite")


@pytest.mark.parametrize(
    ("query", "talk"),
    [
        ("landlord", 1),
        ("LANDLORD heating", 1),
        ("rayl", 0),
        ("Rayleigh scatt", 0),
        ("größe", 7),
        ("天気", 8),
        ("いい", 8),
        ("🦄", 10),
        ("C++", 9),
        ("std::vector<T>", 9),
        ("100%", 9),
        ("template_class", 9),
        ("adiator", 1),
    ],
)
def test_words_are_found(library: Library, query: str, talk: int) -> None:
    hits = library.store.search(ME, query)
    assert library.ids.index(hits[0].conversation_id) == talk
    assert hits[0].how in ("words", "both")
    assert MARK_BEGIN in hits[0].snippet
    assert MARK_END in hits[0].snippet


def test_wildcards_of_like_are_letters(library: Library) -> None:
    for pattern in ("e_plate", "empl%class", "_", "\\"):
        by_words = [hit for hit in library.store.search(ME, pattern) if hit.how != "meaning"]
        assert [library.ids.index(hit.conversation_id) for hit in by_words] == ([9] if pattern == "_" else []), pattern
    assert library.find("%") == [9]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "   ",
        '"',
        "'",
        '"unbalanced',
        "AND",
        "OR OR",
        "NOT sky",
        "NEAR(sky blue)",
        "text:sky",
        "sky*",
        "*",
        "(",
        "sky ) (",
        "^sky",
        "-sky",
        "sky & | ! :*",
        "'; DROP TABLE messages; --",
        "\x00",
        "a\x00b",
        "\ud800",
        "%",
        "_",
        "\\",
        "{sky}",
        "+",
        "日",
        "\u200f\u202e",
        "x" * 100_000,
        "word " * 10_000,
    ],
)
def test_nothing_in_a_query_is_syntax(library: Library, query: str) -> None:
    for hit in library.store.search(ME, query):
        assert hit.conversation_id in library.ids
    assert len(library.store.list(ME)) == len(TALKS)


def test_operators_are_words_or_nothing(library: Library) -> None:
    assert 0 in library.find('"sky"')
    assert 0 in library.find("sky* (blue)")
    assert library.hit("text:sky").how == "meaning", "there is no such text"


def test_meaning_is_found_without_the_words(shelf: Library) -> None:
    missed = [question for question, talk in QUESTIONS.items() if talk not in shelf.find(question)[:2]]
    assert len(missed) <= len(QUESTIONS) // 5, missed
    assert shelf.hit("colour of the atmosphere").how == "meaning"


def test_what_has_nothing_to_do_with_it_is_not_shown(shelf: Library) -> None:
    wrong = [query for query in ELSEWHERE if shelf.find(query)]
    assert len(wrong) <= 1, wrong


def test_the_floor_stands_where_it_was_measured(settings: Callable[..., Settings]) -> None:
    model = embedder(settings())
    texts = model.embed([text for talk in TALKS for text in talk])
    asked = model.embed(list(QUESTIONS))
    best = (asked @ texts.T).reshape(len(QUESTIONS), -1, 2).max(axis=2)
    right = [best[row, talk] for row, talk in enumerate(QUESTIONS.values())]
    unrelated = model.embed(ELSEWHERE) @ texts.T
    assert np.mean(np.array(right) >= model.floor) >= 0.8
    assert np.mean(unrelated >= model.floor) <= 0.01


def test_both_ways_together_rank_first(shelf: Library) -> None:
    hits = shelf.store.search(ME, "sourdough bread")
    assert (shelf.ids.index(hits[0].conversation_id), hits[0].how) == (6, "both")
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    meant = shelf.hit("painkiller risks")
    assert meant.how == "meaning"
    assert MARK_BEGIN not in meant.snippet
    assert meant.turn_id is not None
    assert meant.snippet in {text for talk in TALKS for text in talk}


def test_each_conversation_comes_once_and_no_more_than_asked_for(library: Library) -> None:
    for _ in range(5):
        library.store.add(ME, library.ids[0], parent=None, role="user", text="the sky again")
    found = library.find("sky")
    assert len(found) == len(set(found))
    assert len(library.store.search(ME, "the", limit=2)) == 2
    assert library.store.search(ME, "the", limit=0) == []


def test_a_title_is_found_too(library: Library) -> None:
    library.store.update(ME, library.ids[3], title="Zürich: zesty PLANS")
    hit = library.hit("zurich plans")
    assert (hit.conversation_id, hit.turn_id, hit.how) == (library.ids[3], None, "words")
    assert hit.snippet == f"{MARK_BEGIN}Zürich{MARK_END}: zesty {MARK_BEGIN}PLANS{MARK_END}"


def test_only_the_visitors_own_is_found(library: Library) -> None:
    for query in ("sky", "天気", "🦄", "colour of the atmosphere"):
        assert library.find(query)
        assert library.store.search(OTHER, query) == []


def test_what_chroma_still_has_is_looked_up_in_sql(library: Library) -> None:
    """Another visitor's, and deleted, vectors: as if Chroma had not caught up, or been tampered with."""
    texts = tables.messages.c.conversation == library.ids[0]
    library.house.database.write(lambda c: c.execute(delete(tables.messages).where(texts)))
    assert library.house.vectors.query("messages", "colour of the atmosphere", {"visitor": ME}, 5)
    assert library.find("colour of the atmosphere") == []
    owner = tables.conversations.update().where(tables.conversations.c.id == library.ids[6]).values(visitor=OTHER)
    library.house.database.write(lambda c: c.execute(owner))
    assert library.find("baking bread that does not rise") == []


def test_an_answer_is_found_when_it_is_finished(library: Library) -> None:
    store, id = library.store, library.ids[0]
    leaf = store.get(ME, id).leaf
    answer = store.add(ME, id, parent=leaf, role="assistant", text="", status="streaming")
    store.save(answer.id, text="Marmots whistle.", status="streaming")
    assert library.find("marmots") == []
    store.save(answer.id, text="Marmots whistle in the Alps.", status="stopped")
    assert library.hit("marmots").turn_id == answer.id
    assert library.house.vectors.wait()
    assert library.hit("marmots").how == "both"
    store.save(answer.id, text="Marmots whistle in the Alps. So do kettles.", status="complete")
    assert library.hit("kettles").turn_id == answer.id


def test_words_are_found_while_meaning_is_not_ready(library: Library) -> None:
    library.house.vectors.close()
    assert library.hit("landlord").how == "words"


def test_a_search_asks_the_database_a_few_times_only(shelf: Library) -> None:
    statements: list[str] = []
    engine = shelf.house.database._reader
    event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    shelf.store.search(ME, "sourdough bread")
    assert len(statements) <= 8


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("a short text", ["short"], "a [short] text"),
        ("Größe", ["größe"], "[Größe]"),
        ("Café CAFE", ["café"], "[Café] [CAFE]"),
        ("one\ntwo\t three", ["two"], "one [two] three"),
        (f"{MARK_BEGIN}one{MARK_END} two", ["two"], "one [two]"),
        ("<b>bold</b> & so", ["bold"], "<b>[bold]</b> & so"),
        ("a.b a+b", ["a+b"], "a.b [a+b]"),
        ("", ["x"], ""),
        ("nothing here", ["elsewhere"], "nothing here"),
        ("scattering", ["scat", "scatter"], "[scatter]ing"),
    ],
)
def test_snippets_mark_what_was_found(text: str, words: list[str], expected: str) -> None:
    assert snippet(text, words).replace(MARK_BEGIN, "[").replace(MARK_END, "]") == expected


def test_a_snippet_is_cut_around_the_first_find() -> None:
    made = snippet("word " * 1000 + "needle " + "more " * 1000, ["needle"])
    assert made.startswith("…word")
    assert made.endswith("…")
    assert f"{MARK_BEGIN}needle{MARK_END}" in made
    assert len(made) < 170


def test_folding_keeps_every_place() -> None:
    text = "Straße ﬁn ÅÉ ½ İ 日本 🦄 ẞ"
    assert len(fold(text)) == len(text)


def test_pieces_cover_the_text_and_end_where_it_pauses() -> None:
    assert pieces("") == pieces("  \n") == ()
    assert pieces("short") == ("short",)
    sentences = " ".join(f"This is sentence number {n}." for n in range(200))
    cut = pieces(sentences)
    assert " ".join(cut) == sentences
    assert all(len(piece) <= PIECE * 5 // 4 and piece.endswith(".") for piece in cut)
    assert len(pieces("x" * 1_000_000)) == PIECES
    assert all(piece.strip() == piece != "" for piece in pieces("a\n\n" * 5000))
