"""Conversations out and in again: nothing is lost, nothing is overwritten."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from core.conversations import Conversation, Conversations, Meter, Pane, PromptChoice, StoredFile, Turn, Whole
from core.conversations.clean import title
from core.conversations.formats.html import export_html
from core.conversations.formats.json import export_json, import_json
from core.conversations.formats.markdown import export_markdown
from core.conversations.formats.recording import recording
from core.errors import NotFound
from core.messages import Parameters, Usage
from core.settings import Settings
from core.text import clean, one_line
from tests.unit._transfer import house, rich, store
from tests.unit.test_conversations import ME, OTHER, House

__all__ = ["house", "store"]


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


def test_nothing_is_lost(store: Conversations) -> None:
    original = store.whole(ME, rich(store).id)
    assert len(original.turns) == 6
    exported = export_json(store, ME, [original.conversation.id])
    [copy] = import_json(store, OTHER, exported)
    copied = store.whole(OTHER, copy.id)
    assert shape(copied) == shape(original)
    assert not ids_of(copied) & ids_of(original)
    assert store.whole(ME, original.conversation.id) == original


def test_on_another_machine_the_ids_stay(store: Conversations) -> None:
    original = store.whole(ME, rich(store).id)
    exported = export_json(store, ME, [original.conversation.id])
    store.delete(ME, original.conversation.id)
    import_json(store, ME, exported.encode())
    assert store.whole(ME, original.conversation.id) == original


def test_imported_twice_are_two_copies(store: Conversations) -> None:
    id = rich(store).id
    exported = export_json(store, ME, [id, id])
    copies = import_json(store, ME, exported) + import_json(store, ME, "\ufeff" + exported)
    assert len({id, *(copy.id for copy in copies)}) == 5
    assert len(store.list(ME)) == 5
    store.delete(ME, copies[0].id)
    assert len({str(shape(store.whole(ME, c.id))) for c in store.list(ME)}) == 1


def test_what_was_imported_is_found(house: House) -> None:
    exported = export_json(house.store, ME, [rich(house.store).id])
    [copy] = import_json(house.store, OTHER, exported)
    assert house.vectors.wait()
    assert [hit.conversation_id for hit in house.store.search(OTHER, "another beginning")] == [copy.id]


def test_an_answer_in_the_making_comes_in_as_interrupted(store: Conversations) -> None:
    id = store.create(ME).id
    store.add(ME, id, parent=None, role="assistant", text="so far", status="streaming")
    [copy] = import_json(store, ME, export_json(store, ME, [id]))
    [turn] = store.path(ME, copy.id)
    assert (turn.status, turn.text) == ("interrupted", "so far")


def test_a_missing_file_does_not_stop_an_export(house: House) -> None:
    conversation = rich(house.store)
    for path in (house.settings.data_dir / "files").iterdir():
        path.unlink()
    [copy] = import_json(house.store, ME, export_json(house.store, ME, [conversation.id]))
    assert [turn.files for turn in house.store.whole(ME, copy.id).turns] == [()] * 6
    assert "notes.txt" in export_html(house.store, ME, [conversation.id])


def test_only_the_visitors_own_is_exported(store: Conversations) -> None:
    mine = rich(store).id
    theirs = store.create(OTHER).id
    exports: list[Callable[[str], object]] = [
        lambda id: export_json(store, OTHER, [theirs, id]),
        lambda id: export_markdown(store, OTHER, [theirs, id]),
        lambda id: export_html(store, OTHER, [theirs, id]),
        lambda id: recording(store, OTHER, [id]),
    ]
    for export in exports:
        for id in (mine, "0" * 32, "../x"):
            with pytest.raises(NotFound):
                export(id)


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
            file = StoredFile(uuid.uuid4().hex, draw(st.sampled_from(["a.txt", "ü.pdf"])), "text/plain", len(data))
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
    store = shared_house.store
    stored = [c.id for c in store.restore(ME, given_ones)]
    assert [store.whole(ME, id) for id in stored] == given_ones
    exported = export_json(store, ME, stored)
    copies = import_json(store, ME, exported)
    assert [shape(store.whole(ME, copy.id)) for copy in copies] == [shape(whole) for whole in given_ones]
    store.delete(ME, *stored)
    import_json(store, ME, exported)
    assert [store.whole(ME, id) for id in stored] == given_ones
    for id in stored:
        export_markdown(store, ME, [id])
        export_html(store, ME, [id])
        recording(store, ME, [id])
    store.delete(ME, *stored, *(copy.id for copy in copies))
    assert shared_house.stored_files == set()
