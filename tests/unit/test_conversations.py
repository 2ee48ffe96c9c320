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
        self.store = Conversations(self.database, self.vectors, self.settings)

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
def store(house: House) -> Conversations:
    return house.store


def talk(store: Conversations, id: str, *texts: str, parent: str | None = None) -> list[Turn]:
    """Add a question, an answer, a question …"""
    turns: list[Turn] = []
    for number, text in enumerate(texts):
        role = "assistant" if number % 2 else "user"
        turns.append(store.add(ME, id, parent=turns[-1].id if turns else parent, role=role, text=text))
    return turns


def texts(turns: list[Turn]) -> list[str]:
    return [turn.text for turn in turns]


def test_what_was_created_is_found_again(store: Conversations) -> None:
    parameters = Parameters(
        max_tokens=50, temperature=0.5, stop=("END", "\n"), thinking=True, response_schema={"type": "object"}
    )
    made = store.create(ME, title="Tea", system="Be brief.", model="embedded/x", parameters=parameters)
    assert store.get(ME, made.id) == made
    assert (made.parameters, made.leaf, made.panes) == (parameters, None, ())
    assert store.list(ME) == [made]
    assert store.path(ME, made.id) == []


def test_the_list_begins_with_the_one_written_in_last(store: Conversations) -> None:
    first, second = store.create(ME), store.create(ME)
    store.create(OTHER)
    assert [c.id for c in store.list(ME)] == [second.id, first.id]
    talk(store, first.id, "hello")
    assert [c.id for c in store.list(ME)] == [first.id, second.id]
    store.update(ME, second.id, title="renamed")
    assert [c.id for c in store.list(ME)] == [first.id, second.id]
    assert len(store.list(ME, limit=1)) == 1


def test_the_current_branch_grows_with_what_is_added(store: Conversations) -> None:
    id = store.create(ME).id
    turns = talk(store, id, "one", "two", "three")
    assert store.get(ME, id).leaf == turns[-1].id
    assert texts(store.path(ME, id)) == ["one", "two", "three"]
    assert [turn.siblings for turn in store.path(ME, id)] == [(turn.id,) for turn in turns]
    assert store.path(ME, id) == turns
    assert store.turn(ME, turns[1].id) == turns[1]


def test_an_edit_and_a_retry_make_branches_and_none_is_lost(store: Conversations) -> None:
    id = store.create(ME).id
    question, answer, more = talk(store, id, "one", "two", "three")
    retry = store.add(ME, id, parent=question.id, role="assistant", text="two again")
    assert retry.siblings == (answer.id, retry.id)
    assert store.get(ME, id).leaf == more.id, "a branch elsewhere does not move what is shown"
    edited = store.add(ME, id, parent=None, role="user", text="one, in other words")
    assert store.select(ME, id, retry.id) == retry.id
    assert texts(store.path(ME, id)) == ["one", "two again"]
    assert [turn.siblings for turn in store.path(ME, id)] == [(question.id, edited.id), (answer.id, retry.id)]
    assert store.select(ME, id, question.id) == retry.id, "the newest end below the question"
    assert store.select(ME, id, answer.id) == more.id
    assert texts(store.path(ME, id)) == ["one", "two", "three"]
    assert texts(store.path(ME, id, edited.id)) == ["one, in other words"]


def test_panes_each_show_a_branch_of_their_own(store: Conversations) -> None:
    id = store.create(ME).id
    [question] = talk(store, id, "which?")
    a = store.add(ME, id, parent=question.id, role="assistant", text="A", model="m/a")
    b = store.add(ME, id, parent=question.id, role="assistant", text="B", model="m/b")
    panes = (Pane("m/a", a.id), Pane("m/b", b.id))
    assert store.update(ME, id, leaf=a.id, panes=panes).panes == panes
    assert [texts(store.path(ME, id, pane.leaf)) for pane in panes] == [["which?", "A"], ["which?", "B"]]
    again = store.add(ME, id, parent=question.id, role="assistant", text="B again", model="m/b")
    assert store.select(ME, id, again.id, pane=1) == again.id
    now = store.get(ME, id)
    assert (now.leaf, now.panes) == (a.id, (panes[0], Pane("m/b", again.id)))
    assert store.update(ME, id, leaf=again.id, panes=()).panes == ()
    assert texts(store.path(ME, id)) == ["which?", "B again"]
    with pytest.raises(NotFound):
        store.select(ME, id, a.id, pane=7)


def test_an_answer_is_saved_as_it_grows(store: Conversations) -> None:
    id = store.create(ME).id
    [question] = talk(store, id, "why?")
    answer = store.add(ME, id, parent=question.id, role="assistant", text="", model="m/a", status="streaming")
    store.save(answer.id, text="Beca", thinking="hm", status="streaming")
    assert store.turn(ME, answer.id) == replace(answer, text="Beca", thinking="hm")
    meter = Meter(7, Usage(10, 3, 0, 0, 20, 5, True), 1_200_000, 0.25, 1.5, "length", None)
    store.save(answer.id, text="Because.", thinking="hm", status="complete", meter=meter)
    assert store.turn(ME, answer.id) == replace(answer, text="Because.", thinking="hm", status="complete", meter=meter)
    store.save(answer.id, text="Because.", status="complete", meter=meter, model="m/fallback")
    assert (store.turn(ME, answer.id).model, store.turn(ME, answer.id).meter) == ("m/fallback", meter)
    store.rate(ME, answer.id, 1)
    assert store.turn(ME, answer.id).rating == 1
    store.save(answer.id, text="Because. And", status="failed", error="It broke.", meter=None)
    stored = store.turn(ME, answer.id)
    assert (stored.status, stored.error, stored.meter, stored.rating) == ("failed", "It broke.", None, 1)


def test_a_deleted_answer_stays_deleted_while_it_is_saved(house: House) -> None:
    store = house.store
    id = store.create(ME).id
    [question] = talk(store, id, "why?")
    answer = store.add(ME, id, parent=question.id, role="assistant", text="", status="streaming")
    others = [store.create(ME, title=f"c{n}").id for n in range(300)]
    for other in others:
        talk(store, other, "a question about whales")
    stop = threading.Event()
    problems: list[BaseException] = []

    def stream() -> None:
        text = ""
        try:
            while not stop.is_set():
                text += "word "
                store.save(answer.id, text=text, status="streaming")
            store.save(answer.id, text=text, status="complete")
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=stream)
    thread.start()
    for start in range(0, 300, 100):
        store.delete(ME, *others[start : start + 100])
    assert [c.id for c in store.list(ME)] == [id]
    store.delete(ME, id)
    stop.set()
    thread.join()
    assert problems == []
    assert store.list(ME) == []
    with house.database.read() as connection:
        assert connection.execute(select(tables.messages.c.id)).all() == []
    assert house.vectors.wait()
    assert store.search(ME, "word") == store.search(ME, "whales") == []
    assert house.vectors.query("messages", "whales", {}, 10) == []


def test_deleting_takes_everything_along(house: House) -> None:
    store = house.store
    gone, kept = store.create(ME), store.create(ME)
    for conversation in (gone, kept):
        file = store.store_file(ME, conversation.id, "a.txt", "text/plain", b"bytes")
        store.add(ME, conversation.id, parent=None, role="user", text="about penguins", files=[file])
    assert house.vectors.wait()
    assert len(house.stored_files) == 2
    assert len(house.vectors.query("messages", "penguins", {"visitor": ME}, 10)) == 2
    store.delete(ME, gone.id)
    assert house.vectors.wait()
    assert len(house.stored_files) == 1
    assert len(house.vectors.query("messages", "penguins", {"visitor": ME}, 10)) == 1
    assert [hit.conversation_id for hit in store.search(ME, "penguins")] == [kept.id]
    with pytest.raises(NotFound):
        store.get(ME, gone.id)
    with pytest.raises(NotFound):
        store.delete(ME, kept.id, gone.id)
    assert [c.id for c in store.list(ME)] == [kept.id], "none is deleted when one of them is not there"


def test_what_a_dead_process_left_is_tidied_up(house: House) -> None:
    store = house.store
    id = store.create(ME).id
    [question] = talk(store, id, "tell me of volcanoes")
    answer = store.add(ME, id, parent=question.id, role="assistant", text="", status="streaming")
    store.save(answer.id, text="Lava is", status="streaming")
    file = store.store_file(ME, id, "a.txt", "", b"kept")
    folder = house.settings.data_dir / "files"
    for orphan in ("a" * 32, "b" * 32 + ".part"):
        (folder / orphan).write_bytes(b"orphan")
    (folder / "notes.txt").write_bytes(b"not ours")
    house.reopen()
    assert house.store.close_open_turns() == 1
    left = house.store.turn(ME, answer.id)
    assert (left.status, left.text) == ("interrupted", "Lava is")
    assert "Continue" in left.error
    assert house.stored_files == {file.id, "notes.txt"}
    assert house.store.file_data(ME, file.id) == b"kept"
    assert house.store.close_open_turns() == 0
    assert [hit.turn_id for hit in house.store.search(ME, "lava")] == [answer.id]


def test_nobody_reaches_what_is_not_theirs(store: Conversations) -> None:
    mine = store.create(ME, title="secret")
    [turn] = talk(store, mine.id, "my secret question")
    file = store.store_file(ME, mine.id, "a.txt", "", b"secret")
    theirs = store.create(OTHER)
    attempts: list[Callable[[], object]] = [
        lambda: store.get(OTHER, mine.id),
        lambda: store.update(OTHER, mine.id, title="x"),
        lambda: store.delete(OTHER, mine.id),
        lambda: store.delete(OTHER, theirs.id, mine.id),
        lambda: store.path(OTHER, mine.id),
        lambda: store.turn(OTHER, turn.id),
        lambda: store.add(OTHER, mine.id, parent=None, role="user", text="x"),
        lambda: store.add(OTHER, theirs.id, parent=turn.id, role="user", text="x"),
        lambda: store.add(OTHER, theirs.id, parent=None, role="user", text="x", files=[file]),
        lambda: store.update(OTHER, theirs.id, leaf=turn.id),
        lambda: store.update(OTHER, theirs.id, panes=(Pane("m/a", turn.id),)),
        lambda: store.select(OTHER, mine.id, turn.id),
        lambda: store.select(OTHER, theirs.id, turn.id),
        lambda: store.path(OTHER, theirs.id, turn.id),
        lambda: store.rate(OTHER, turn.id, 1),
        lambda: store.store_file(OTHER, mine.id, "x", "", b"x"),
        lambda: store.file_data(OTHER, file.id),
        lambda: store.whole(OTHER, mine.id),
    ]
    for attempt in attempts:
        with pytest.raises(NotFound):
            attempt()
    assert store.search(OTHER, "secret") == []
    assert [c.id for c in store.list(OTHER)] == [theirs.id]
    assert store.get(ME, mine.id).title == "secret"


@pytest.mark.parametrize(
    "id", ["", "../../etc/passwd", "' OR 1=1 --", "%", "A" * 32, "é" * 32, "0" * 33, "0" * 31 + "\n", NOWHERE]
)
def test_an_id_that_is_none_is_not_found(store: Conversations, id: str) -> None:
    real = store.create(ME).id
    attempts: list[Callable[[], object]] = [
        lambda: store.get(ME, id),
        lambda: store.delete(ME, id),
        lambda: store.turn(ME, id),
        lambda: store.file_data(ME, id),
        lambda: store.path(ME, real, id),
        lambda: store.add(ME, real, parent=id, role="user", text="x"),
        lambda: store.update(ME, real, leaf=id),
        lambda: store.select(ME, real, id),
    ]
    for attempt in attempts:
        with pytest.raises(NotFound):
            attempt()
    store.save(id, text="x", status="complete")
    assert [c.id for c in store.list(ME)] == [real]


def test_nonsense_is_refused(store: Conversations) -> None:
    id = store.create(ME).id
    with pytest.raises(BadRequest):
        store.add(ME, id, parent=None, role="wizard", text="x")
    with pytest.raises(BadRequest):
        store.add(ME, id, parent=None, role="user", text="x", status="perhaps")
    with pytest.raises(BadRequest):
        store.update(ME, id, created=0)
    with pytest.raises(BadRequest, match="1 MB"):
        store.store_file(ME, id, "big.bin", "", b"x" * (1024 * 1024 + 1))
    [turn] = talk(store, id, "x")
    with pytest.raises(BadRequest):
        store.rate(ME, turn.id, 5)
    with pytest.raises(BadRequest):
        store.save(turn.id, text="x", status="perhaps")


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
def test_any_text_can_be_kept(store: Conversations, text: str) -> None:
    conversation = store.create(ME, system=text, title=text)
    turn = store.add(ME, conversation.id, parent=None, role="user", text=text)
    answer = store.add(ME, conversation.id, parent=turn.id, role="assistant", text="", status="streaming")
    store.save(answer.id, text=text, thinking=text, status="complete", error=text)
    file = store.store_file(ME, conversation.id, text, text[:100], b"x")
    assert store.turn(ME, turn.id).text == store.turn(ME, answer.id).thinking == clean(text) == turn.text
    assert store.get(ME, conversation.id).system == clean(text)
    assert store.file_data(ME, file.id) == b"x"
    store.search(ME, text[:1000])


def test_two_surrogates_that_belong_together_become_one_character() -> None:
    assert clean("\ud83d\ude00 \ud83d") == "😀 \ufffd"


def test_the_first_question_gives_the_title(store: Conversations) -> None:
    id = store.create(ME).id
    talk(store, id, "\n\n  Why is the sky\tblue?  \nTell me more.", "Because")
    assert store.get(ME, id).title == "Why is the sky blue?"
    talk(store, id, "Another question")
    assert store.get(ME, id).title == "Why is the sky blue?"
    named = store.create(ME, title="Mine").id
    talk(store, named, "Why?")
    assert store.get(ME, named).title == "Mine"
    only_a_file = store.create(ME).id
    file = store.store_file(ME, only_a_file, "C:\\tmp\\plan.pdf", "application/pdf", b"%PDF")
    store.add(ME, only_a_file, parent=None, role="user", text="", files=[file])
    assert store.get(ME, only_a_file).title == "plan.pdf"


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


def test_a_renamed_title_is_one_short_line(store: Conversations) -> None:
    id = store.create(ME).id
    assert store.update(ME, id, title=" a\nb\x07c ").title == "a b c"
    assert len(store.update(ME, id, title="x" * 5000).title) == 200
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
    id = house.store.create(ME).id
    file = house.store.store_file(ME, id, "../../../evil.json", "", b"data")
    assert (file.name, file.media_type, file.size) == ("evil.json", "application/json", 4)
    assert house.stored_files == {file.id}
    turn = house.store.add(ME, id, parent=None, role="user", text="", files=[file])
    assert house.store.turn(ME, turn.id).files == (file,)
    (house.settings.data_dir / "files" / file.id).unlink()
    with pytest.raises(NotFound, match="missing"):
        house.store.file_data(ME, file.id)


def test_many_threads_write_one_conversation(store: Conversations) -> None:
    id = store.create(ME).id
    [question] = talk(store, id, "go")

    def answer(number: int) -> None:
        turn = store.add(ME, id, parent=question.id, role="assistant", text="", status="streaming")
        for step in range(5):
            store.save(turn.id, text=f"{number} " * step, status="streaming")
        store.save(turn.id, text=f"done {number}", status="complete")

    threads = [threading.Thread(target=answer, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    siblings = store.path(ME, id)[1].siblings
    assert len(siblings) == 8
    assert {store.turn(ME, turn).text for turn in siblings} == {f"done {n}" for n in range(8)}
    assert all(store.turn(ME, turn).siblings == siblings for turn in siblings)


def test_everything_is_there_after_a_restart(house: House) -> None:
    conversation = house.store.create(ME, title="kept", parameters=Parameters(effort="low"))
    turns = talk(house.store, conversation.id, "one", "two")
    file = house.store.store_file(ME, conversation.id, "a.txt", "", b"kept")
    before = house.store.get(ME, conversation.id)
    house.reopen()
    assert house.store.get(ME, conversation.id) == before
    assert house.store.path(ME, conversation.id) == turns
    assert house.store.file_data(ME, file.id) == b"kept"


def test_without_a_folder_to_write_it_works_until_the_end(settings: Callable[..., Settings], tmp_path: Path) -> None:
    (tmp_path / "occupied").write_text("a file where the folder should be")
    house = House(settings(PARLEY_DATA_DIR=tmp_path / "occupied" / "data"))
    try:
        assert isinstance(house.database.problem, StorageError)
        id = house.store.create(ME).id
        file = house.store.store_file(ME, id, "a.txt", "", b"bytes")
        house.store.add(ME, id, parent=None, role="user", text="about penguins", files=[file])
        assert house.store.file_data(ME, file.id) == b"bytes"
        assert [hit.conversation_id for hit in house.store.search(ME, "penguins")] == [id]
        assert not house.vectors.wait()
        assert house.vectors.problem is not None
        house.store.delete(ME, id)
        with pytest.raises(NotFound):
            house.store.file_data(ME, file.id)
    finally:
        house.close()


def test_a_long_conversation_has_a_path(store: Conversations) -> None:
    conversation = store.create(ME)
    [first] = talk(store, conversation.id, "start")
    whole = store.whole(ME, conversation.id)
    turns = [first]
    for number in range(1, 1500):
        turns.append(replace(first, id=f"{number:032x}", parent=turns[-1].id, text=str(number)))
    long = replace(whole, conversation=replace(conversation, leaf=turns[-1].id), turns=tuple(turns))
    [restored] = store.restore(ME, [long])
    path = store.path(ME, restored.id)
    assert len(path) == 1500
    assert texts(path)[-2:] == ["1498", "1499"]


def test_restoring_is_all_or_nothing(house: House) -> None:
    store = house.store
    conversation = store.create(ME)
    file = store.store_file(ME, conversation.id, "a.txt", "", b"bytes")
    store.add(ME, conversation.id, parent=None, role="user", text="x", files=[file])
    good = store.whole(ME, conversation.id)
    bad = replace(good, turns=(replace(good.turns[0], files=(replace(file, id="f" * 32),)),))
    with pytest.raises(KeyError):
        store.restore(ME, [good, bad])
    assert [c.id for c in store.list(ME)] == [conversation.id]
    assert house.stored_files == {file.id}


def test_the_newest_end_below_a_turn() -> None:
    tree = Tree([("a", None), ("b", "a"), ("c", "b"), ("d", "a"), ("e", "c"), ("f", None)])
    assert [tree.newest_leaf(id) for id in "abcdef"] == ["e", "e", "e", "d", "e", "f"]
    assert tree.path("e") == ["a", "b", "c", "e"]
    assert tree.siblings("b") == ["b", "d"]
    assert tree.siblings("f") == ["a", "f"]
