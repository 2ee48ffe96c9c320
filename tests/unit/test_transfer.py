"""Conversations out and in again: nothing is lost, nothing is overwritten, nothing that is wrong comes in."""

from __future__ import annotations

import base64
import datetime
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from core.conversations import Conversation, Conversations, File, Meter, Pane, PromptChoice, Turn, Whole
from core.conversations.clean import clean, one_line, title
from core.errors import BadRequest, NotFound
from core.messages import Parameters, Usage
from core.providers._recording import parse
from core.settings import Settings
from core.transfer import as_json as as_json_module
from core.transfer import export_html, export_json, export_markdown, import_json, recording
from core.transfer.as_html import rendered
from tests.unit.test_conversations import ME, OTHER, House, talk

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, settings: Callable[..., Settings]) -> Iterator[House]:
    own = {}
    if request.param == "postgresql":
        own["PARLEY_DATABASE_URL"] = request.getfixturevalue("postgres_database")
    opened = House(settings(**own))
    yield opened
    opened.close()


@pytest.fixture
def book(house: House) -> Conversations:
    return house.book


def rich(book: Conversations) -> Conversation:
    """A conversation with branches, panes, files, reasoning, meters, ratings and parameters."""
    parameters = Parameters(
        max_tokens=9, temperature=0.1, stop=("END",), effort="low", response_schema={"type": "object"}
    )
    id = book.create(ME, title="Rich", system="Be <b>brief</b>.", model="m/a", parameters=parameters).id
    image = book.store_file(ME, id, 'a "picture".png', "image/png", PNG)
    notes = book.store_file(ME, id, "notes.txt", "text/plain", b"\x00\xff notes")
    asked = book.add(ME, id, parent=None, role="user", text="Look & <tell>", files=[image, notes])
    a = book.add(ME, id, parent=asked.id, role="assistant", text="", model="m/a", status="streaming")
    meter = Meter(2**62, Usage(100, 50, 3, 2, 40, 10, False), 1_234_567, 0.123456789, 2.5, "length", "why")
    book.save(a.id, text="**A** says\n\n|x|y|\n|-|-|\n|1|2|", thinking="hm <i>", status="complete", meter=meter)
    book.rate(ME, a.id, -1)
    b = book.add(ME, id, parent=asked.id, role="assistant", text="B says", model="m/b")
    book.add(ME, id, parent=b.id, role="user", text="go on")
    failed = book.add(ME, id, parent=a.id, role="assistant", text="", model="m/a", status="streaming")
    book.save(failed.id, text="", status="failed", error="It <broke>.")
    book.add(ME, id, parent=None, role="user", text="another beginning")
    return book.update(ME, id, leaf=a.id, panes=(Pane("m/a", a.id), Pane("m/b", b.id)))


def shape(whole: Whole) -> Any:
    """A conversation without its ids: everything else, with the place of each turn and file instead."""
    places = {turn.id: number for number, turn in enumerate(whole.turns)}
    files = {file.id: number for number, file in enumerate(f for turn in whole.turns for f in turn.files)}
    own = whole.conversation
    return (
        replace(own, id="", leaf=None, panes=()),
        own.leaf and places[own.leaf],
        [(pane.model, pane.leaf and places[pane.leaf]) for pane in own.panes],
        [
            (
                replace(turn, id="", conversation="", parent=None, files=(), siblings=()),
                turn.parent and places[turn.parent],
                [(files[file.id], replace(file, id=""), whole.contents[file.id]) for file in turn.files],
                [places[sibling] for sibling in turn.siblings],
            )
            for turn in whole.turns
        ],
    )


def ids_of(whole: Whole) -> set[str]:
    return {whole.conversation.id, *(turn.id for turn in whole.turns), *whole.contents}


def test_nothing_is_lost(book: Conversations) -> None:
    original = book.whole(ME, rich(book).id)
    assert len(original.turns) == 6
    exported = export_json(book, ME, [original.conversation.id])
    [copy] = import_json(book, OTHER, exported)
    copied = book.whole(OTHER, copy.id)
    assert shape(copied) == shape(original)
    assert not ids_of(copied) & ids_of(original)
    assert book.whole(ME, original.conversation.id) == original


def test_on_another_machine_the_ids_stay(book: Conversations) -> None:
    original = book.whole(ME, rich(book).id)
    exported = export_json(book, ME, [original.conversation.id])
    book.delete(ME, original.conversation.id)
    import_json(book, ME, exported.encode())
    assert book.whole(ME, original.conversation.id) == original


def test_imported_twice_are_two_copies(book: Conversations) -> None:
    id = rich(book).id
    exported = export_json(book, ME, [id, id])
    copies = import_json(book, ME, exported) + import_json(book, ME, "\ufeff" + exported)
    assert len({id, *(copy.id for copy in copies)}) == 5
    assert len(book.list(ME)) == 5
    book.delete(ME, copies[0].id)
    assert len({str(shape(book.whole(ME, c.id))) for c in book.list(ME)}) == 1


def test_what_was_imported_is_found(house: House) -> None:
    exported = export_json(house.book, ME, [rich(house.book).id])
    [copy] = import_json(house.book, OTHER, exported)
    assert house.vectors.wait()
    assert [hit.conversation_id for hit in house.book.search(OTHER, "another beginning")] == [copy.id]


def test_an_answer_in_the_making_comes_in_as_interrupted(book: Conversations) -> None:
    id = book.create(ME).id
    book.add(ME, id, parent=None, role="assistant", text="so far", status="streaming")
    [copy] = import_json(book, ME, export_json(book, ME, [id]))
    [turn] = book.path(ME, copy.id)
    assert (turn.status, turn.text) == ("interrupted", "so far")


def test_a_missing_file_does_not_stop_an_export(house: House) -> None:
    conversation = rich(house.book)
    for path in (house.settings.data_dir / "files").iterdir():
        path.unlink()
    [copy] = import_json(house.book, ME, export_json(house.book, ME, [conversation.id]))
    assert [turn.files for turn in house.book.whole(ME, copy.id).turns] == [()] * 6
    assert "notes.txt" in export_html(house.book, ME, [conversation.id])


def test_only_the_visitors_own_is_exported(book: Conversations) -> None:
    mine = rich(book).id
    theirs = book.create(OTHER).id
    exports: list[Callable[[str], object]] = [
        lambda id: export_json(book, OTHER, [theirs, id]),
        lambda id: export_markdown(book, OTHER, [theirs, id]),
        lambda id: export_html(book, OTHER, [theirs, id]),
        lambda id: recording(book, OTHER, id),
    ]
    for export in exports:
        for id in (mine, "0" * 32, "../x"):
            with pytest.raises(NotFound):
                export(id)


# What is done to a good file, and the place that is complained of.
Spoil = Callable[[dict[str, Any]], object]
WRONG: list[tuple[Spoil, str]] = [
    (lambda c: c.pop("id"), "conversations[1].id is missing"),
    (lambda c: c.update(id="../../etc"), "conversations[1].id is not an id"),
    (lambda c: c.update(title=5), "conversations[1].title is not a text"),
    (lambda c: c.update(created="yesterday"), "conversations[1].created is not a time"),
    (lambda c: c.update(updated="2026-01-01T00:00:00"), "conversations[1].updated is not a time"),
    (lambda c: c.update(turns={}), "conversations[1].turns is not a list"),
    (lambda c: c.update(leaf="0" * 32), "conversations[1].leaf is not the id of a turn"),
    (lambda c: c.update(panes=[{"model": "m/a", "leaf": "0" * 32}]), "conversations[1].panes[0].leaf is not the id"),
    (lambda c: c.update(parameters=[]), "conversations[1].parameters is not an object"),
    (lambda c: c.update(parameters={"temperature": "hot"}), "conversations[1].parameters.temperature is not a number"),
    (lambda c: c.update(parameters={"effort": "huge"}), "conversations[1].parameters.effort is none of"),
    (lambda c: c.update(parameters={"stop": [1]}), "conversations[1].parameters.stop[0] is not a text"),
    (lambda c: c["turns"].__setitem__(0, 7), "conversations[1].turns[0] is not an object"),
    (lambda c: c["turns"][0].update(role="wizard"), "conversations[1].turns[0].role is none of user, assistant"),
    (lambda c: c["turns"][2].update(status=None), "conversations[1].turns[2].status is none of"),
    (lambda c: c["turns"][0].update(text=None), "conversations[1].turns[0].text is missing"),
    (
        lambda c: c["turns"][2].update(parent="0" * 32),
        "turns[2].parent is not the id of an earlier turn",
    ),
    (lambda c: c["turns"][1].update(parent=c["turns"][1]["id"]), "conversations[1].turns[1].parent is not the id"),
    (lambda c: c["turns"][0].update(parent=c["turns"][3]["id"]), "conversations[1].turns[0].parent is not the id"),
    (lambda c: c["turns"][1].update(id=c["turns"][0]["id"]), "conversations[1].turns[1].id is there twice"),
    (lambda c: c["turns"][0].update(rating=True), "conversations[1].turns[0].rating is none of"),
    (lambda c: c["turns"][0].update(files=["f" * 32]), "conversations[1].turns[0].files[0] is not among"),
    (lambda c: c["turns"][1]["meter"].update(cost=1.5), "conversations[1].turns[1].meter.cost is not a whole number"),
    (lambda c: c["turns"][1]["meter"].update(cost=2**80), "conversations[1].turns[1].meter.cost is not a whole number"),
    (lambda c: c["turns"][1]["meter"].update(duration=float("nan")), "turns[1].meter.duration is not a number"),
    (lambda c: c["turns"][1]["meter"]["usage"].update(input=-1), "turns[1].meter.usage.input is not a whole number"),
    (lambda c: c["turns"][1]["meter"].update(usage=3), "conversations[1].turns[1].meter.usage is not an object"),
    (lambda c: c["files"][0].update(data="???"), "conversations[1].files[0].data is not base64"),
    (lambda c: c["files"][0].pop("data"), "conversations[1].files[0].data is missing"),
    (lambda c: c["files"][0].update(id="x"), "conversations[1].files[0].id is not an id"),
    (lambda c: c["files"].append(c["files"][0]), "conversations[1].files[2].id is there twice"),
]


@pytest.mark.parametrize(("spoil", "complaint"), WRONG, ids=[complaint for _, complaint in WRONG])
def test_a_wrong_file_is_refused_by_its_place(settings: Callable[..., Settings], spoil: Spoil, complaint: str) -> None:
    house = House(settings())
    try:
        id = rich(house.book).id
        data = json.loads(export_json(house.book, ME, [id, id]))
        spoil(data["conversations"][1])
        files = house.stored_files
        with pytest.raises(BadRequest) as caught:
            import_json(house.book, ME, json.dumps(data))
        assert complaint in caught.value.what
        assert "Nothing was imported" in caught.value.fix
        assert [c.id for c in house.book.list(ME)] == [id], "nothing is half imported"
        assert house.stored_files == files
    finally:
        house.close()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        (b"\xff\xfe{}", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("9" * 5000, "is not JSON"),
        ("[]", "is not an export"),
        ("null", "is not an export"),
        ('{"format": "chatgpt"}', "is not an export"),
        ('{"format": "parley-conversations"}', "version is missing"),
        ('{"format": "parley-conversations", "version": 2}', "newer Parley"),
        ('{"format": "parley-conversations", "version": 1, "conversations": 5}', "conversations is not a list"),
        ('{"format": "parley-conversations", "version": 1, "conversations": [5]}', "conversations[0] is not an object"),
    ],
)
def test_what_is_no_export_is_refused(settings: Callable[..., Settings], text: str | bytes, complaint: str) -> None:
    house = House(settings())
    try:
        with pytest.raises(BadRequest) as caught:
            import_json(house.book, ME, text)
        assert complaint in caught.value.what
    finally:
        house.close()


def test_too_large_a_file_is_refused(book: Conversations, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(as_json_module, "LARGEST", 1024 * 1024)
    with pytest.raises(BadRequest, match="larger than 1 MB"):
        import_json(book, ME, " " * (1024 * 1024 + 1))


def test_a_full_disk_in_the_middle_leaves_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    exported = export_json(house.book, ME, [rich(house.book).id])
    before = (house.book.list(ME), house.stored_files)
    monkeypatch.setattr("core.conversations.archive.insert_whole", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        import_json(house.book, ME, exported)
    assert (house.book.list(ME), house.stored_files) == before


def test_what_comes_in_is_cleaned(book: Conversations) -> None:
    data = json.loads(export_json(book, ME, [rich(book).id]))
    own = data["conversations"][0]
    own["title"] = "a\x00\nb" + "x" * 500
    own["turns"][0]["text"] = "a\x00b\ud800c"
    own["files"][0]["name"] = "../../evil.sh"
    own["unknown"] = {"field": 1}
    [copy] = import_json(book, ME, json.dumps(data))
    whole = book.whole(ME, copy.id)
    assert (whole.turns[0].text, whole.turns[0].files[0].name) == ("a\ufffdb\ufffdc", "evil.sh")
    assert whole.conversation.title.startswith("a\ufffd b")
    assert len(whole.conversation.title) == 200


TEXT = st.text(st.characters(), max_size=40).map(clean)
MOMENTS = st.datetimes(datetime.datetime(1971, 1, 1), datetime.datetime(2200, 1, 1), timezones=st.just(datetime.UTC))
COUNTS = st.integers(0, 2**40)
USAGE = st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, st.booleans())
SECONDS = st.floats(0, 1e6)
LINE = TEXT.map(one_line)
METERS = st.builds(
    Meter,
    st.none() | COUNTS,
    USAGE,
    st.none() | COUNTS,
    st.none() | SECONDS,
    SECONDS,
    LINE,
    st.none() | TEXT,
    st.none() | LINE,
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(-1e9, 1e9) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
PROMPTS = st.builds(
    PromptChoice, st.sampled_from(["a@1", "support/reply@production"]), st.dictionaries(TEXT, VALUES, max_size=3)
)
PARAMETERS = st.builds(
    Parameters,
    max_tokens=st.none() | st.integers(1, 10**6),
    temperature=st.none() | st.floats(0, 2),
    seed=st.none() | st.integers(-(2**40), 2**40),
    stop=st.lists(TEXT, max_size=3).map(tuple),
    thinking=st.none() | st.booleans(),
    json_object=st.booleans(),
    logprobs=st.none() | st.integers(0, 20),
)


@st.composite
def wholes(draw: st.DrawFn) -> Whole:
    """Any tree of up to eight turns, with any contents."""
    id = uuid.uuid4().hex
    turns: list[Turn] = []
    contents: dict[str, bytes] = {}
    for _ in range(draw(st.integers(0, 8))):
        files = []
        for data in draw(st.lists(st.binary(max_size=20), max_size=2)):
            file = File(uuid.uuid4().hex, draw(st.sampled_from(["a.txt", "ü.pdf"])), "text/plain", len(data))
            contents[file.id] = data
            files.append(file)
        parent = draw(st.none() | st.sampled_from(turns)) if turns else None
        turns.append(
            Turn(
                id=uuid.uuid4().hex,
                conversation=id,
                parent=parent.id if parent else None,
                role=draw(st.sampled_from(["user", "assistant"])),
                text=draw(TEXT),
                thinking=draw(TEXT),
                files=tuple(files),
                model=draw(LINE),
                status=draw(st.sampled_from(["complete", "stopped", "interrupted", "failed"])),
                error=draw(TEXT),
                meter=draw(st.none() | METERS),
                rating=draw(st.sampled_from([-1, 0, 1])),
                created=draw(MOMENTS),
                siblings=(),
            )
        )
    turns = [replace(t, siblings=tuple(s.id for s in turns if s.parent == t.parent)) for t in turns]
    leaves = st.none() | st.sampled_from([turn.id for turn in turns]) if turns else st.none()
    conversation = Conversation(
        id,
        draw(TEXT.map(title)),
        draw(TEXT),
        draw(LINE),
        draw(PARAMETERS),
        draw(leaves),
        draw(st.lists(st.builds(Pane, LINE, leaves), max_size=3).map(tuple)),
        draw(MOMENTS),
        draw(MOMENTS),
        draw(st.none() | PROMPTS),
    )
    return Whole(conversation, tuple(turns), contents)


@pytest.fixture(scope="module")
def shared_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("shared") / "data"
    opened = House(Settings.of({"PARLEY_DATA_DIR": str(folder)}, env_file=None))
    yield opened
    opened.close()


@hypothesis_settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(wholes(), max_size=2))
def test_any_conversations_go_out_and_come_in_the_same(shared_house: House, given_ones: list[Whole]) -> None:
    book = shared_house.book
    stored = [c.id for c in book.restore(ME, given_ones)]
    assert [book.whole(ME, id) for id in stored] == given_ones
    exported = export_json(book, ME, stored)
    copies = import_json(book, ME, exported)
    assert [shape(book.whole(ME, copy.id)) for copy in copies] == [shape(whole) for whole in given_ones]
    book.delete(ME, *stored)
    import_json(book, ME, exported)
    assert [book.whole(ME, id) for id in stored] == given_ones
    for id in stored:
        export_markdown(book, ME, [id])
        export_html(book, ME, [id])
        recording(book, ME, id)
    book.delete(ME, *stored, *(copy.id for copy in copies))
    assert shared_house.stored_files == set()


def test_markdown_shows_the_panes_side_by_side(book: Conversations) -> None:
    text = export_markdown(book, ME, [rich(book).id])
    assert text.startswith("# Rich\n")
    order = [
        "> Be <b>brief</b>.",
        "## You",
        "*File: notes.txt*",
        "Look & <tell>",
        "## With m/a",
        "**A** says",
        "## With m/b",
    ]
    places = [text.index(part) for part in [*order, "B says"]]
    assert places == sorted(places)
    assert "*m/a · 100 in, 40 out · $0.001235 · 2.5 s*" in text
    assert "another beginning" not in text
    assert "go on" not in text


def test_markdown_shows_the_branch_that_is_shown(book: Conversations) -> None:
    id = book.create(ME).id
    turns = talk(book, id, "one", "two")
    book.add(ME, id, parent=turns[0].id, role="assistant", text="two again")
    text = export_markdown(book, ME, [id, id])
    assert text.count("# one") == 2
    assert "two again" not in text
    book.update(ME, id, leaf=None)
    assert export_markdown(book, ME, [id])


class Page(HTMLParser):
    """What a browser would make of it: the tags, and every address that it would load or follow."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name in ("src", "srcset", "data", "poster", "background", "action"):
                self.loads.append(value or "")
            elif name == "href":
                (self.links if tag == "a" else self.loads).append(value or "")


EVIL = """
<script>alert(1)</script><img src=x onerror=alert(2)> <svg onload=alert(3)> <iframe src="https://evil.example"></iframe>
[a](javascript:alert(4)) [b](data:text/html,x) ![pixel](https://evil.example/p.png) [ok](https://good.example)
<style>@import url(https://evil.example)</style> <a href="javascript:alert(5)">x</a> &lt;script&gt;

```html
</code></pre><script>alert(6)</script>
```
"""


def test_html_is_one_harmless_file(book: Conversations) -> None:
    id = rich(book).id
    leaf = book.get(ME, id).leaf
    for role in ("user", "assistant"):
        turn = book.add(ME, id, parent=leaf, role=role, text=EVIL, model="<script>alert(7)</script>")
        book.save(turn.id, text=EVIL, thinking=EVIL, status="interrupted", error=EVIL)
        leaf = turn.id
    book.update(ME, id, leaf=leaf, panes=(), title="</title><script>alert(8)</script>", system=EVIL)
    text = export_html(book, ME, [id])
    page = Page(text)
    assert not {"script", "iframe", "svg", "link", "object", "form", "base"} & set(page.tags)
    assert not [name for name in page.attributes if name.startswith("on") or name == "style"]
    assert [load[:22] for load in page.loads] == ["data:image/png;base64,"]
    assert set(page.links) == {"https://evil.example/p.png", "https://good.example"}
    assert page.tags.count("style") == 1
    assert "url(" not in text.split("</style>")[0]
    assert "default-src &#x27;none&#x27;" in text
    assert "prefers-color-scheme: dark" in text
    assert {"table", "details", "pre", "code", "strong"} <= set(page.tags)
    assert "notes.txt" in text


def test_code_and_tables_survive_the_sanitiser() -> None:
    made = rendered("```python\nif a < b: print('&')\n```\n\n|a|b|\n|:-|-:|\n|1|**2**|\n\n3. three\n\n~~gone~~ `x<y>`")
    assert "<code class=\"language-python\">if a &lt; b: print('&amp;')" in made
    assert "<td>1</td>" in made
    assert "<strong>2</strong>" in made
    assert '<ol start="3">' in made
    assert "<s>gone</s>" in made
    assert "<code>x&lt;y&gt;</code>" in made


def test_a_page_of_several(book: Conversations) -> None:
    text = export_html(book, ME, [rich(book).id, book.create(ME).id])
    assert "<title>2 conversations</title>" in text
    assert text.count("<article>") == 2
    assert "With m/b" in text


def test_a_recording_can_be_replayed(book: Conversations) -> None:
    id = rich(book).id
    _, entries = parse(recording(book, ME, id).encode().splitlines())
    assert [(entry.model, entry.answer[:5]) for entry in entries] == [("m/a", "**A**")], "one answer to one question"
    [entry] = entries
    assert [(message.role, message.text) for message in entry.messages] == [
        ("system", "Be <b>brief</b>."),
        ("user", "Look & <tell>"),
    ]
    assert entry.usage == Usage(100, 50, 3, 2, 40, 10, False)
    assert (entry.thinking, entry.first_token, entry.duration, entry.stop_reason) == (
        "hm <i>",
        0.123456789,
        2.5,
        "length",
    )
    book.update(ME, id, panes=())
    assert recording(book, ME, id).count('"answer"') == 1
    long = book.create(ME).id
    talk(book, long, "one", "two\nlines", "three", "four")
    _, entries = parse(recording(book, ME, long).encode().splitlines())
    assert [(len(entry.messages), entry.answer) for entry in entries] == [(1, "two\nlines"), (3, "four")]
    assert parse(recording(book, ME, book.create(ME).id).encode().splitlines())[1] == []
