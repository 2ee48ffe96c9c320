"""Calls, cost and thumbs by prompt and version, out of the books."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from sqlalchemy import insert, literal, select

from core.conversations import Conversations, Meter, Turn
from core.conversations.formats.json import export_json, import_json
from core.conversations.rows import turn_values
from core.ledger.store import Attempt, Filter, Ledger, Outcome
from core.messages import Usage
from core.models.prices import Prices
from core.prompts.usage import PromptUsage, PromptUse
from core.settings import Settings
from core.store.database import Database
from core.store.embeddings import embedder
from core.store.tables import messages
from core.store.vectors import Vectors

ADA, BOB = "ada", "bob"
ASKED = Attempt(model="openai/gpt-6-luna", prompt_name="support/reply", prompt_version=3, prompt_hash="ab")
DONE = Outcome("ok", Usage(input=1500, output=200), provider_cost=1000)


class Books:
    def __init__(self, settings: Settings) -> None:
        self.database = Database.open(settings)
        self.ledger = Ledger(self.database, Prices(settings))
        self.vectors = Vectors(settings, embedder(settings), delay=3600)
        self.conversations = Conversations(self.database, self.vectors, settings)
        self.usage = PromptUsage(self.database)

    def close(self) -> None:
        self.vectors.close()
        self.database.close()

    def call(self, attempt: Attempt = ASKED, outcome: Outcome = DONE) -> int:
        call = self.ledger.begin_blocking(attempt)
        self.ledger.finish_blocking(call, outcome)
        return call

    def answer(self, visitor: str, rating: int, attempt: Attempt = ASKED) -> Turn:
        """A rated answer in a conversation of its own."""
        made = self.conversations.create(visitor)
        call = self.call(replace(attempt, visitor=visitor, conversation=made.id))
        turn = self.conversations.add(visitor, made.id, parent=None, role="assistant", text="", status="streaming")
        meter = Meter(call, Usage(1, 1), 1, 0.1, 0.2, "stop", None, "support/reply@3")
        self.conversations.save(turn.id, text="Yes", status="complete", meter=meter)
        self.conversations.rate(visitor, turn.id, rating)
        return self.conversations.turn(visitor, turn.id)


@pytest.fixture(params=["sqlite", "postgresql"])
def books(request: pytest.FixtureRequest, settings: Callable[..., Settings]) -> Iterator[Books]:
    url = request.getfixturevalue("postgres_database") if request.param == "postgresql" else ""
    made = Books(settings(PARLEY_DATABASE_URL=url))
    yield made
    made.close()


def test_nothing_was_used_yet(books: Books) -> None:
    books.call(Attempt(model="openai/gpt-6-luna"))
    assert books.usage.uses() == {}
    assert books.usage.by_version("support/reply") == {}


def test_sums_by_prompt_and_by_version(books: Books) -> None:
    began = datetime.datetime.now(datetime.UTC)
    books.call()
    books.call(replace(ASKED, prompt_version=4, visitor=ADA))
    books.call(replace(ASKED, prompt_version=4), replace(DONE, provider_cost=None, usage=Usage(5, output=5)))
    books.call(replace(ASKED, prompt_version=4, model="nobody/x"), Outcome("ok", Usage(input=5)))
    books.call(replace(ASKED, prompt_version=None), Outcome("failed"))
    books.call(replace(ASKED, prompt_name="judge", prompt_version=1), Outcome("cancelled", Usage()))
    known = books.ledger.total(Filter(prompt_name="support/reply", prompt_version=4)).cost
    assert known > 1000, "the second has a price in the table"
    uses = books.usage.uses()
    reply = uses["support/reply"]
    assert sorted(uses) == ["judge", "support/reply"]
    assert reply == PromptUse(5, 1000 + known, 1, reply.last)
    assert reply.last is not None
    assert abs(reply.last - began) < datetime.timedelta(seconds=10)
    assert reply.last.tzinfo is datetime.UTC
    assert uses["judge"].calls == 1
    versions = books.usage.by_version("support/reply")
    assert {number: (use.calls, use.cost, use.unpriced) for number, use in versions.items()} == {
        3: (1, 1000, 0),
        4: (3, known, 1),
        None: (1, 0, 0),
    }
    assert {name: use.calls for name, use in books.usage.uses(ADA).items()} == {"support/reply": 1}
    assert list(books.usage.by_version("support/reply", ADA)) == [4]
    assert books.usage.uses(BOB) == {}


def test_a_call_that_was_made_between_the_two_questions(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    books.call()
    late = select(literal("late"), literal(1), literal(1))
    monkeypatch.setattr("core.prompts.usage._thumbs", lambda *args: late)
    assert list(books.usage.uses()) == ["support/reply"]


def test_the_ledger_tells_which_prompts_were_included(books: Books) -> None:
    parts = (("shared/tone", 3), ("shared/form", 12))
    call = books.call(replace(ASKED, prompt_parts=parts))
    plain = books.call(replace(ASKED, prompt_name="judge"))
    row = books.ledger.call(call)
    assert (row.prompt_parts, row.prompt, row.prompt_hash) == (parts, "support/reply@3", "ab")
    assert books.ledger.call(plain).prompt_parts == ()
    assert [row.id for row in books.ledger.calls(Filter(prompt_name="support/reply"))] == [call]
    assert books.ledger.calls(Filter(prompt_name="support/reply", prompt_version=2)) == []
    with books.database.read() as connection:
        stored = connection.exec_driver_sql("SELECT count(*) FROM calls WHERE prompt_parts IS NULL").scalar()
    assert stored == 1


def test_thumbs_count_for_the_version_that_answered(books: Books) -> None:
    for visitor, rating, version in ((ADA, 1, 3), (ADA, 1, 3), (ADA, -1, 4), (BOB, 1, 4), (BOB, 0, 4)):
        books.answer(visitor, rating, replace(ASKED, prompt_version=version))
    books.answer(ADA, -1, Attempt(model="openai/gpt-6-luna"))
    use = books.usage.uses()["support/reply"]
    assert (use.calls, use.up, use.down) == (5, 3, 1)
    versions = books.usage.by_version("support/reply")
    assert {number: (use.up, use.down) for number, use in versions.items()} == {3: (2, 0), 4: (1, 1)}
    mine = books.usage.by_version("support/reply", BOB)
    assert {number: (use.calls, use.up, use.down) for number, use in mine.items()} == {4: (2, 1, 0)}


def test_a_copy_of_a_conversation_counts_no_second_time(books: Books) -> None:
    turn = books.answer(ADA, 1)
    exported = export_json(books.conversations, ADA, [turn.conversation])
    for visitor in (ADA, BOB):
        import_json(books.conversations, visitor, exported)
    use = books.usage.uses()["support/reply"]
    assert (use.calls, use.up) == (1, 1)
    books.conversations.rate(ADA, turn.id, 0)
    assert books.usage.uses()["support/reply"].up == 0


def test_a_meter_of_nonsense_harms_nothing(books: Books) -> None:
    turn = books.answer(ADA, 1)
    odd = replace(turn, id="0" * 32, meter=None)
    books.database.write(lambda connection: connection.execute(insert(messages).values(turn_values(odd))))
    assert books.usage.uses()["support/reply"].up == 1
