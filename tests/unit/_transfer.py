"""What the tests of export and import share: a house on either database, and a conversation with everything in it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator

import pytest

from core.conversations import Conversation, Conversations, Meter, Pane
from core.messages import Parameters, Usage
from core.settings import Settings
from tests.unit.test_conversations import ME, House

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
def store(house: House) -> Conversations:
    return house.store


def rich(store: Conversations) -> Conversation:
    """A conversation with branches, panes, files, reasoning, meters, ratings and parameters."""
    parameters = Parameters(
        max_tokens=9, temperature=0.1, stop=("END",), effort="low", response_schema={"type": "object"}
    )
    id = store.create(ME, title="Rich", system="Be <b>brief</b>.", model="m/a", parameters=parameters).id
    image = store.store_file(ME, id, 'a "picture".png', "image/png", PNG)
    notes = store.store_file(ME, id, "notes.txt", "text/plain", b"\x00\xff notes")
    asked = store.add(ME, id, parent=None, role="user", text="Look & <tell>", files=[image, notes])
    a = store.add(ME, id, parent=asked.id, role="assistant", text="", model="m/a", status="streaming")
    meter = Meter(2**62, Usage(100, 50, 3, 2, 40, 10, False), 1_234_567, 0.123456789, 2.5, "length", "why")
    store.save(a.id, text="**A** says\n\n|x|y|\n|-|-|\n|1|2|", thinking="hm <i>", status="complete", meter=meter)
    store.rate(ME, a.id, -1)
    b = store.add(ME, id, parent=asked.id, role="assistant", text="B says", model="m/b")
    store.add(ME, id, parent=b.id, role="user", text="go on")
    failed = store.add(ME, id, parent=a.id, role="assistant", text="", model="m/a", status="streaming")
    store.save(failed.id, text="", status="failed", error="It <broke>.")
    store.add(ME, id, parent=None, role="user", text="another beginning")
    return store.update(ME, id, leaf=a.id, panes=(Pane("m/a", a.id), Pane("m/b", b.id)))
