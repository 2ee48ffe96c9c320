"""Conversations brought in: nothing that is wrong comes in, nor half of anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from core.conversations import Conversations
from core.conversations.formats import json as as_json_module
from core.conversations.formats.json import export_json, import_json
from core.errors import BadRequest
from core.settings import Settings
from tests.unit._transfer import house, rich, store
from tests.unit.test_conversations import ME, House

__all__ = ["house", "store"]

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
        id = rich(house.store).id
        data = json.loads(export_json(house.store, ME, [id, id]))
        spoil(data["conversations"][1])
        files = house.stored_files
        with pytest.raises(BadRequest) as caught:
            import_json(house.store, ME, json.dumps(data))
        assert complaint in caught.value.what
        assert "Nothing was imported" in caught.value.fix
        assert [c.id for c in house.store.list(ME)] == [id], "nothing is half imported"
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
            import_json(house.store, ME, text)
        assert complaint in caught.value.what
    finally:
        house.close()


def test_too_large_a_file_is_refused(store: Conversations, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(as_json_module, "LARGEST", 1024 * 1024)
    with pytest.raises(BadRequest, match="larger than 1 MB"):
        import_json(store, ME, " " * (1024 * 1024 + 1))


def test_a_full_disk_in_the_middle_leaves_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    exported = export_json(house.store, ME, [rich(house.store).id])
    before = (house.store.list(ME), house.stored_files)
    monkeypatch.setattr("core.conversations.archive.insert_whole", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        import_json(house.store, ME, exported)
    assert (house.store.list(ME), house.stored_files) == before


def test_what_comes_in_is_cleaned(store: Conversations) -> None:
    data = json.loads(export_json(store, ME, [rich(store).id]))
    own = data["conversations"][0]
    own["title"] = "a\x00\nb" + "x" * 500
    own["turns"][0]["text"] = "a\x00b\ud800c"
    own["files"][0]["name"] = "../../evil.sh"
    own["unknown"] = {"field": 1}
    [copy] = import_json(store, ME, json.dumps(data))
    whole = store.whole(ME, copy.id)
    assert (whole.turns[0].text, whole.turns[0].files[0].name) == ("a\ufffdb\ufffdc", "evil.sh")
    assert whole.conversation.title.startswith("a\ufffd b")
    assert len(whole.conversation.title) == 200
