"""Conversations as trees, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from core.conversations import Conversations, Meter, Pane, Turn
from core.conversations.clean import file_name, title, title_from
from core.conversations.tree import Tree
from core.errors import BadRequest, NotFound, StorageError
from core.messages import Parameters, Usage
from core.settings import Settings
from core.store import tables
from core.store.database import Database
from core.store.embeddings import embedder
from core.store.vectors import Vectors
from core.text import clean

ME, OTHER = "local", "somebody-else"
NOWHERE = "0" * 32


class House:
    """A database, vectors and conversations on one folder; `reopen` is a restart of the server."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._open()

    def _open(self) -> None:
        self.database = Database.open(self.settings)
        self.vectors = Vectors(self.settings, embedder(self.settings), delay=0)
        self.book = Conversations(self.database, self.vectors, self.settings)

    def close(self) -> None:
        self.vectors.close()
        self.database.close()

    def reopen(self) -> None:
        self.close()
        self._open()

    @property
    def stored_files(self) -> set[str]:
        folder = self.settings.data_dir / "files"
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, settings: Callable[..., Settings]) -> Iterator[House]:
    own = {}
    if request.param == "postgresql":
        own["PARLEY_DATABASE_URL"] = request.getfixturevalue("postgres_database")
    opened = House(settings(PARLEY_MAX_UPLOAD_MB=1, **own))
    yield opened
    opened.close()


@pytest.fixture
def book(house: House) -> Conversations:
    return house.book


def talk(book: Conversations, id: str, *texts: str, parent: str | None = None) -> list[Turn]:
    """Add a question, an answer, a question …"""
    turns: list[Turn] = []
    for number, text in enumerate(texts):
        role = "assistant" if number % 2 else "user"
        turns.append(book.add(ME, id, parent=turns[-1].id if turns else parent, role=role, text=text))
    return turns


def texts(turns: list[Turn]) -> list[str]:
    return [turn.text for turn in turns]


def test_what_was_created_is_found_again(book: Conversations) -> None:
    parameters = Parameters(
        max_tokens=50, temperature=0.5, stop=("END", "\n"), thinking=True, response_schema={"type": "object"}
    )
    made = book.create(ME, title="Tea", system="Be brief.", model="embedded/x", parameters=parameters)
    assert book.get(ME, made.id) == made
    assert (made.parameters, made.leaf, made.panes) == (parameters, None, ())
    assert book.list(ME) == [made]
    assert book.path(ME, made.id) == []


def test_the_list_begins_with_the_one_written_in_last(book: Conversations) -> None:
    first, second = book.create(ME), book.create(ME)
    book.create(OTHER)
    assert [c.id for c in book.list(ME)] == [second.id, first.id]
    talk(book, first.id, "hello")
    assert [c.id for c in book.list(ME)] == [first.id, second.id]
    book.update(ME, second.id, title="renamed")
    assert [c.id for c in book.list(ME)] == [first.id, second.id]
    assert len(book.list(ME, limit=1)) == 1


def test_the_current_branch_grows_with_what_is_added(book: Conversations) -> None:
    id = book.create(ME).id
    turns = talk(book, id, "one", "two", "three")
    assert book.get(ME, id).leaf == turns[-1].id
    assert texts(book.path(ME, id)) == ["one", "two", "three"]
    assert [turn.siblings for turn in book.path(ME, id)] == [(turn.id,) for turn in turns]
    assert book.path(ME, id) == turns
    assert book.turn(ME, turns[1].id) == turns[1]


def test_an_edit_and_a_retry_make_branches_and_none_is_lost(book: Conversations) -> None:
    id = book.create(ME).id
    question, answer, more = talk(book, id, "one", "two", "three")
    retry = book.add(ME, id, parent=question.id, role="assistant", text="two again")
    assert retry.siblings == (answer.id, retry.id)
    assert book.get(ME, id).leaf == more.id, "a branch elsewhere does not move what is shown"
    edited = book.add(ME, id, parent=None, role="user", text="one, in other words")
    assert book.select(ME, id, retry.id) == retry.id
    assert texts(book.path(ME, id)) == ["one", "two again"]
    assert [turn.siblings for turn in book.path(ME, id)] == [(question.id, edited.id), (answer.id, retry.id)]
    assert book.select(ME, id, question.id) == retry.id, "the newest end below the question"
    assert book.select(ME, id, answer.id) == more.id
    assert texts(book.path(ME, id)) == ["one", "two", "three"]
    assert texts(book.path(ME, id, edited.id)) == ["one, in other words"]


def test_panes_each_show_a_branch_of_their_own(book: Conversations) -> None:
    id = book.create(ME).id
    [question] = talk(book, id, "which?")
    a = book.add(ME, id, parent=question.id, role="assistant", text="A", model="m/a")
    b = book.add(ME, id, parent=question.id, role="assistant", text="B", model="m/b")
    panes = (Pane("m/a", a.id), Pane("m/b", b.id))
    assert book.update(ME, id, leaf=a.id, panes=panes).panes == panes
    assert [texts(book.path(ME, id, pane.leaf)) for pane in panes] == [["which?", "A"], ["which?", "B"]]
    again = book.add(ME, id, parent=question.id, role="assistant", text="B again", model="m/b")
    assert book.select(ME, id, again.id, pane=1) == again.id
    now = book.get(ME, id)
    assert (now.leaf, now.panes) == (a.id, (panes[0], Pane("m/b", again.id)))
    assert book.update(ME, id, leaf=again.id, panes=()).panes == ()
    assert texts(book.path(ME, id)) == ["which?", "B again"]
    with pytest.raises(NotFound):
        book.select(ME, id, a.id, pane=7)


def test_an_answer_is_saved_as_it_grows(book: Conversations) -> None:
    id = book.create(ME).id
    [question] = talk(book, id, "why?")
    answer = book.add(ME, id, parent=question.id, role="assistant", text="", model="m/a", status="streaming")
    book.save(answer.id, text="Beca", thinking="hm", status="streaming")
    assert book.turn(ME, answer.id) == replace(answer, text="Beca", thinking="hm")
    meter = Meter(7, Usage(10, 3, 0, 0, 20, 5, True), 1_200_000, 0.25, 1.5, "length", None)
    book.save(answer.id, text="Because.", thinking="hm", status="complete", meter=meter)
    assert book.turn(ME, answer.id) == replace(answer, text="Because.", thinking="hm", status="complete", meter=meter)
    book.save(answer.id, text="Because.", status="complete", meter=meter, model="m/fallback")
    assert (book.turn(ME, answer.id).model, book.turn(ME, answer.id).meter) == ("m/fallback", meter)
    book.rate(ME, answer.id, 1)
    assert book.turn(ME, answer.id).rating == 1
    book.save(answer.id, text="Because. And", status="failed", error="It broke.", meter=None)
    stored = book.turn(ME, answer.id)
    assert (stored.status, stored.error, stored.meter, stored.rating) == ("failed", "It broke.", None, 1)


def test_a_deleted_answer_stays_deleted_while_it_is_saved(house: House) -> None:
    book = house.book
    id = book.create(ME).id
    [question] = talk(book, id, "why?")
    answer = book.add(ME, id, parent=question.id, role="assistant", text="", status="streaming")
    others = [book.create(ME, title=f"c{n}").id for n in range(300)]
    for other in others:
        talk(book, other, "a question about whales")
    stop = threading.Event()
    problems: list[BaseException] = []

    def stream() -> None:
        text = ""
        try:
            while not stop.is_set():
                text += "word "
                book.save(answer.id, text=text, status="streaming")
            book.save(answer.id, text=text, status="complete")
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=stream)
    thread.start()
    for start in range(0, 300, 100):
        book.delete(ME, *others[start : start + 100])
    assert [c.id for c in book.list(ME)] == [id]
    book.delete(ME, id)
    stop.set()
    thread.join()
    assert problems == []
    assert book.list(ME) == []
    with house.database.read() as connection:
        assert connection.execute(select(tables.messages.c.id)).all() == []
    assert house.vectors.wait()
    assert book.search(ME, "word") == book.search(ME, "whales") == []
    assert house.vectors.query("messages", "whales", {}, 10) == []


def test_deleting_takes_everything_along(house: House) -> None:
    book = house.book
    gone, kept = book.create(ME), book.create(ME)
    for conversation in (gone, kept):
        file = book.store_file(ME, conversation.id, "a.txt", "text/plain", b"bytes")
        book.add(ME, conversation.id, parent=None, role="user", text="about penguins", files=[file])
    assert house.vectors.wait()
    assert len(house.stored_files) == 2
    assert len(house.vectors.query("messages", "penguins", {"visitor": ME}, 10)) == 2
    book.delete(ME, gone.id)
    assert house.vectors.wait()
    assert len(house.stored_files) == 1
    assert len(house.vectors.query("messages", "penguins", {"visitor": ME}, 10)) == 1
    assert [hit.conversation_id for hit in book.search(ME, "penguins")] == [kept.id]
    with pytest.raises(NotFound):
        book.get(ME, gone.id)
    with pytest.raises(NotFound):
        book.delete(ME, kept.id, gone.id)
    assert [c.id for c in book.list(ME)] == [kept.id], "none is deleted when one of them is not there"


def test_what_a_dead_process_left_is_tidied_up(house: House) -> None:
    book = house.book
    id = book.create(ME).id
    [question] = talk(book, id, "tell me of volcanoes")
    answer = book.add(ME, id, parent=question.id, role="assistant", text="", status="streaming")
    book.save(answer.id, text="Lava is", status="streaming")
    file = book.store_file(ME, id, "a.txt", "", b"kept")
    folder = house.settings.data_dir / "files"
    for orphan in ("a" * 32, "b" * 32 + ".part"):
        (folder / orphan).write_bytes(b"orphan")
    (folder / "notes.txt").write_bytes(b"not ours")
    house.reopen()
    assert house.book.close_open_turns() == 1
    left = house.book.turn(ME, answer.id)
    assert (left.status, left.text) == ("interrupted", "Lava is")
    assert "Continue" in left.error
    assert house.stored_files == {file.id, "notes.txt"}
    assert house.book.file_data(ME, file.id) == b"kept"
    assert house.book.close_open_turns() == 0
    assert [hit.turn_id for hit in house.book.search(ME, "lava")] == [answer.id]


def test_nobody_reaches_what_is_not_theirs(book: Conversations) -> None:
    mine = book.create(ME, title="secret")
    [turn] = talk(book, mine.id, "my secret question")
    file = book.store_file(ME, mine.id, "a.txt", "", b"secret")
    theirs = book.create(OTHER)
    attempts: list[Callable[[], object]] = [
        lambda: book.get(OTHER, mine.id),
        lambda: book.update(OTHER, mine.id, title="x"),
        lambda: book.delete(OTHER, mine.id),
        lambda: book.delete(OTHER, theirs.id, mine.id),
        lambda: book.path(OTHER, mine.id),
        lambda: book.turn(OTHER, turn.id),
        lambda: book.add(OTHER, mine.id, parent=None, role="user", text="x"),
        lambda: book.add(OTHER, theirs.id, parent=turn.id, role="user", text="x"),
        lambda: book.add(OTHER, theirs.id, parent=None, role="user", text="x", files=[file]),
        lambda: book.update(OTHER, theirs.id, leaf=turn.id),
        lambda: book.update(OTHER, theirs.id, panes=(Pane("m/a", turn.id),)),
        lambda: book.select(OTHER, mine.id, turn.id),
        lambda: book.select(OTHER, theirs.id, turn.id),
        lambda: book.path(OTHER, theirs.id, turn.id),
        lambda: book.rate(OTHER, turn.id, 1),
        lambda: book.store_file(OTHER, mine.id, "x", "", b"x"),
        lambda: book.file_data(OTHER, file.id),
        lambda: book.whole(OTHER, mine.id),
    ]
    for attempt in attempts:
        with pytest.raises(NotFound):
            attempt()
    assert book.search(OTHER, "secret") == []
    assert [c.id for c in book.list(OTHER)] == [theirs.id]
    assert book.get(ME, mine.id).title == "secret"


@pytest.mark.parametrize(
    "id", ["", "../../etc/passwd", "' OR 1=1 --", "%", "A" * 32, "é" * 32, "0" * 33, "0" * 31 + "\n", NOWHERE]
)
def test_an_id_that_is_none_is_not_found(book: Conversations, id: str) -> None:
    real = book.create(ME).id
    attempts: list[Callable[[], object]] = [
        lambda: book.get(ME, id),
        lambda: book.delete(ME, id),
        lambda: book.turn(ME, id),
        lambda: book.file_data(ME, id),
        lambda: book.path(ME, real, id),
        lambda: book.add(ME, real, parent=id, role="user", text="x"),
        lambda: book.update(ME, real, leaf=id),
        lambda: book.select(ME, real, id),
    ]
    for attempt in attempts:
        with pytest.raises(NotFound):
            attempt()
    book.save(id, text="x", status="complete")
    assert [c.id for c in book.list(ME)] == [real]


def test_nonsense_is_refused(book: Conversations) -> None:
    id = book.create(ME).id
    with pytest.raises(BadRequest):
        book.add(ME, id, parent=None, role="wizard", text="x")
    with pytest.raises(BadRequest):
        book.add(ME, id, parent=None, role="user", text="x", status="perhaps")
    with pytest.raises(BadRequest):
        book.update(ME, id, created=0)
    with pytest.raises(BadRequest, match="1 MB"):
        book.store_file(ME, id, "big.bin", "", b"x" * (1024 * 1024 + 1))
    [turn] = talk(book, id, "x")
    with pytest.raises(BadRequest):
        book.rate(ME, turn.id, 5)
    with pytest.raises(BadRequest):
        book.save(turn.id, text="x", status="perhaps")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n\t ",
        "x" * 1_000_000,
        "a\x00b",
        "a\ud800b",
        "שלום עולם",
        "\U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f\u200d\U0001f308",
        "'; DROP TABLE messages; --",
        "<script>",
    ],
    ids=["empty", "blank", "1 MB", "NUL", "surrogate", "right to left", "emoji", "SQL", "HTML"],
)
def test_any_text_can_be_kept(book: Conversations, text: str) -> None:
    conversation = book.create(ME, system=text, title=text)
    turn = book.add(ME, conversation.id, parent=None, role="user", text=text)
    answer = book.add(ME, conversation.id, parent=turn.id, role="assistant", text="", status="streaming")
    book.save(answer.id, text=text, thinking=text, status="complete", error=text)
    file = book.store_file(ME, conversation.id, text, text[:100], b"x")
    assert book.turn(ME, turn.id).text == book.turn(ME, answer.id).thinking == clean(text) == turn.text
    assert book.get(ME, conversation.id).system == clean(text)
    assert book.file_data(ME, file.id) == b"x"
    book.search(ME, text[:1000])


def test_two_surrogates_that_belong_together_become_one_character() -> None:
    assert clean("\ud83d\ude00 \ud83d") == "😀 \ufffd"


def test_the_first_question_gives_the_title(book: Conversations) -> None:
    id = book.create(ME).id
    talk(book, id, "\n\n  Why is the sky\tblue?  \nTell me more.", "Because")
    assert book.get(ME, id).title == "Why is the sky blue?"
    talk(book, id, "Another question")
    assert book.get(ME, id).title == "Why is the sky blue?"
    named = book.create(ME, title="Mine").id
    talk(book, named, "Why?")
    assert book.get(ME, named).title == "Mine"
    only_a_file = book.create(ME).id
    file = book.store_file(ME, only_a_file, "C:\\tmp\\plan.pdf", "application/pdf", b"%PDF")
    book.add(ME, only_a_file, parent=None, role="user", text="", files=[file])
    assert book.get(ME, only_a_file).title == "plan.pdf"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("word " * 30, "word " * 11 + "word…"),
        ("It begins with a word that is much_too_long_to_stay_on_that_line", "It begins with a word that is…"),
        ("x" * 100, "x" * 59 + "…"),
        ("a" * 60, "a" * 60),
        ("  \n \n", ""),
        ("a\x00b\x1b[31m\u202ec", "a\ufffdb [31m c"),
    ],
)
def test_titles_from_messages(message: str, expected: str) -> None:
    made = title_from(message)
    assert made == expected
    assert len(made) <= 60


def test_a_renamed_title_is_one_short_line(book: Conversations) -> None:
    id = book.create(ME).id
    assert book.update(ME, id, title=" a\nb\x07c ").title == "a b c"
    assert len(book.update(ME, id, title="x" * 5000).title) == 200
    assert title("\u202eevil") == "evil"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\report.pdf", "report.pdf"),
        ("..", "file"),
        ("", "file"),
        ("a\x00b.txt", "a\ufffdb.txt"),
        ("x" * 300 + ".json", "x" * 188 + ".json"),
        ("folder/", "folder"),
    ],
)
def test_file_names_are_only_names(name: str, expected: str) -> None:
    assert file_name(name) == expected


def test_a_file_lies_under_an_id_and_nothing_else(house: House) -> None:
    id = house.book.create(ME).id
    file = house.book.store_file(ME, id, "../../../evil.json", "", b"data")
    assert (file.name, file.media_type, file.size) == ("evil.json", "application/json", 4)
    assert house.stored_files == {file.id}
    turn = house.book.add(ME, id, parent=None, role="user", text="", files=[file])
    assert house.book.turn(ME, turn.id).files == (file,)
    (house.settings.data_dir / "files" / file.id).unlink()
    with pytest.raises(NotFound, match="missing"):
        house.book.file_data(ME, file.id)


def test_many_threads_write_one_conversation(book: Conversations) -> None:
    id = book.create(ME).id
    [question] = talk(book, id, "go")

    def answer(number: int) -> None:
        turn = book.add(ME, id, parent=question.id, role="assistant", text="", status="streaming")
        for step in range(5):
            book.save(turn.id, text=f"{number} " * step, status="streaming")
        book.save(turn.id, text=f"done {number}", status="complete")

    threads = [threading.Thread(target=answer, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    siblings = book.path(ME, id)[1].siblings
    assert len(siblings) == 8
    assert {book.turn(ME, turn).text for turn in siblings} == {f"done {n}" for n in range(8)}
    assert all(book.turn(ME, turn).siblings == siblings for turn in siblings)


def test_everything_is_there_after_a_restart(house: House) -> None:
    conversation = house.book.create(ME, title="kept", parameters=Parameters(effort="low"))
    turns = talk(house.book, conversation.id, "one", "two")
    file = house.book.store_file(ME, conversation.id, "a.txt", "", b"kept")
    before = house.book.get(ME, conversation.id)
    house.reopen()
    assert house.book.get(ME, conversation.id) == before
    assert house.book.path(ME, conversation.id) == turns
    assert house.book.file_data(ME, file.id) == b"kept"


def test_without_a_folder_to_write_it_works_until_the_end(settings: Callable[..., Settings], tmp_path: Path) -> None:
    (tmp_path / "occupied").write_text("a file where the folder should be")
    house = House(settings(PARLEY_DATA_DIR=tmp_path / "occupied" / "data"))
    try:
        assert isinstance(house.database.problem, StorageError)
        id = house.book.create(ME).id
        file = house.book.store_file(ME, id, "a.txt", "", b"bytes")
        house.book.add(ME, id, parent=None, role="user", text="about penguins", files=[file])
        assert house.book.file_data(ME, file.id) == b"bytes"
        assert [hit.conversation_id for hit in house.book.search(ME, "penguins")] == [id]
        assert not house.vectors.wait()
        assert house.vectors.problem is not None
        house.book.delete(ME, id)
        with pytest.raises(NotFound):
            house.book.file_data(ME, file.id)
    finally:
        house.close()


def test_a_long_conversation_has_a_path(book: Conversations) -> None:
    conversation = book.create(ME)
    [first] = talk(book, conversation.id, "start")
    whole = book.whole(ME, conversation.id)
    turns = [first]
    for number in range(1, 1500):
        turns.append(replace(first, id=f"{number:032x}", parent=turns[-1].id, text=str(number)))
    long = replace(whole, conversation=replace(conversation, leaf=turns[-1].id), turns=tuple(turns))
    [restored] = book.restore(ME, [long])
    path = book.path(ME, restored.id)
    assert len(path) == 1500
    assert texts(path)[-2:] == ["1498", "1499"]


def test_restoring_is_all_or_nothing(house: House) -> None:
    book = house.book
    conversation = book.create(ME)
    file = book.store_file(ME, conversation.id, "a.txt", "", b"bytes")
    book.add(ME, conversation.id, parent=None, role="user", text="x", files=[file])
    good = book.whole(ME, conversation.id)
    bad = replace(good, turns=(replace(good.turns[0], files=(replace(file, id="f" * 32),)),))
    with pytest.raises(KeyError):
        book.restore(ME, [good, bad])
    assert [c.id for c in book.list(ME)] == [conversation.id]
    assert house.stored_files == {file.id}


def test_the_newest_end_below_a_turn() -> None:
    tree = Tree([("a", None), ("b", "a"), ("c", "b"), ("d", "a"), ("e", "c"), ("f", None)])
    assert [tree.newest_leaf(id) for id in "abcdef"] == ["e", "e", "e", "d", "e", "f"]
    assert tree.path("e") == ["a", "b", "c", "e"]
    assert tree.siblings("b") == ["b", "d"]
    assert tree.siblings("f") == ["a", "f"]
