"""Trying a prompt out: what it is going to cost, the answer, and whether it fits the schema."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from core.chat.prompt_runs import PromptRuns
from core.errors import BadRequest
from core.files.child import Child
from core.ledger.store import Filter
from core.messages import ChatRequest, Message, Parameters
from core.models.info import ModelInfo
from core.models.prices import Prices
from core.prompts.editing import schema_check
from core.prompts.editing.estimates import ASSUMED, PER_MESSAGE, estimate
from core.services import Services
from core.settings import Settings
from tests.scripted import Scripted
from tests.waiting import LONG, until

ASK = (Message("user", "x" * 400),)  # about 100 tokens
IN = 100 + PER_MESSAGE
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
CHILD = Child()


@pytest.fixture(scope="module", autouse=True)
def _end() -> Iterator[None]:
    yield
    CHILD.close()


def misfit(answer: str, schema: dict[str, Any]) -> str:
    return schema_check.misfit(CHILD, answer, schema)


def check_schema(schema: dict[str, Any]) -> None:
    schema_check.check_schema(CHILD, schema)


@pytest.fixture
def prices(settings: Callable[..., Settings], tmp_path: object) -> Prices:
    table = f"{tmp_path}/prices.yaml"
    with open(table, "w") as file:
        file.write("- {models: [lab/dear], input: 2, output: 10}\n")
    return Prices(settings(PARLEY_PRICES=table))


@pytest.mark.parametrize(
    ("asked", "limit", "window", "output", "reason"),
    [
        (50, 800, 8192, 50, "asked"),
        (5000, 800, 8192, 800, "model"),
        (None, 800, 8192, 800, "model"),
        (None, None, 8192, 8192 - IN, "window"),
        (None, 8192, 500, 500 - IN, "window"),
        (None, None, None, ASSUMED, "assumed"),
    ],
)
def test_the_longest_answer(
    prices: Prices, asked: int | None, limit: int | None, window: int | None, output: int, reason: str
) -> None:
    info = ModelInfo("lab/dear", context=window, max_output=limit)
    guess = estimate(ASK, Parameters(max_tokens=asked), info, prices)
    assert (guess.input, guess.output, guess.reason, guess.fits) == (IN, output, reason, True)
    assert guess.least == IN * 2000  # nano-dollars at $2 a million
    assert guess.most == IN * 2000 + output * 10_000


def test_a_prompt_that_does_not_fit_says_so(prices: Prices) -> None:
    guess = estimate(ASK, Parameters(), ModelInfo("lab/dear", context=50), prices)
    assert not guess.fits
    assert guess.output == 1


def test_a_schema_is_sent_along_and_counted(prices: Prices) -> None:
    plain = estimate(ASK, Parameters(), ModelInfo("lab/dear"), prices)
    with_schema = estimate(ASK, Parameters(response_schema=SCHEMA), ModelInfo("lab/dear"), prices)
    assert with_schema.input == plain.input + (len(json.dumps(SCHEMA)) + 3) // 4


def test_an_unknown_price_is_not_zero(prices: Prices) -> None:
    guess = estimate(ASK, Parameters(), ModelInfo("lab/unheard-of"), prices)
    assert guess.least is None and guess.most is None
    assert estimate(ASK, Parameters(), ModelInfo("embedded/any"), prices).most == 0


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        ('{"n": 3}', ""),
        ('```json\n{"n": 3}\n```', ""),
        (' {"n": 3, "more": []}\n', ""),
        ('{"n": "3"}', "The answer does not fit the JSON schema at n: '3' is not of type 'integer'."),
        ("{}", "The answer does not fit the JSON schema: 'n' is a required property."),
        ("Sure! 3", "The answer is not JSON (line 1: expecting value)."),
        ("", "The answer is not JSON (line 1: expecting value)."),
        ("[" * 100_000, "The answer is not JSON."),
    ],
)
def test_an_answer_and_its_schema(answer: str, wrong: str) -> None:
    assert misfit(answer, SCHEMA) == wrong


def test_expressions_are_looked_at() -> None:
    schema = {"type": "object", "patternProperties": {"^n": {"type": "string", "pattern": "^[a-z]+$"}}}
    assert misfit('{"n": "abc", "m": 1}', schema) == ""
    assert "at n: 'ABC' does not match" in misfit('{"n": "ABC"}', schema)
    assert "a regular expression that cannot be read here" in misfit('"a"', {"pattern": r"\p{L}"})


CHAIN = {
    "$defs": {f"a{n}": {"anyOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(40)} | {"a40": {"type": "string"}},
    "$ref": "#/$defs/a0",
}
MANY = [{"a": n} for n in range(3000)]


@pytest.mark.parametrize(
    ("answer", "schema"),
    [
        ("a" * 40 + "!", {"type": "string", "pattern": "^(a+)+$"}),
        (MANY, {"uniqueItems": True}),
        (1, CHAIN),
    ],
    ids=["pattern", "uniqueItems", "anyOf"],
)
def test_what_takes_too_long_to_check_is_no_misfit(answer: Any, schema: dict[str, Any]) -> None:
    said = misfit(json.dumps(answer), schema)
    assert said == "The answer could not be checked against the JSON schema: that takes longer than 2 seconds."
    assert misfit('{"n": 3}', SCHEMA) == ""


def test_a_schema_that_takes_too_long_to_check_is_refused() -> None:
    with pytest.raises(BadRequest, match="could not be checked: it takes longer than 2 seconds"):
        check_schema({"$schema": "http://json-schema.org/draft-04/schema#", "enum": MANY})
    check_schema(SCHEMA)


@pytest.mark.parametrize("depth", [500, 5000])
def test_a_schema_that_is_nested_too_deep(depth: int) -> None:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"not": schema}
    with pytest.raises(BadRequest, match="nested too deep"):
        check_schema(schema)
    assert "nested too deep" in misfit("1", schema)


def test_nothing_is_fetched_for_a_reference() -> None:
    assert "refers to something outside" in misfit("{}", {"$ref": "http://127.0.0.1:9/schema.json"})


def test_a_reference_inside_of_the_schema_is_followed() -> None:
    schema = {"$defs": {"n": {"type": "integer"}}, "properties": {"n": {"$ref": "#/$defs/n"}}}
    assert misfit('{"n": 1}', schema) == ""
    assert "at n" in misfit('{"n": 1.5}', schema)


def test_what_is_no_schema_is_refused() -> None:
    check_schema(SCHEMA)
    with pytest.raises(BadRequest, match="The JSON schema is wrong at properties/n/type"):
        check_schema({"properties": {"n": {"type": "whole"}}})


@pytest.fixture
async def services(settings: Callable[..., Settings]) -> AsyncIterator[Services]:
    made = Services.open(settings(PARLEY_RETRIES=0), {"scripted": Scripted(pace=0.01, words=6)})
    try:
        yield made
    finally:
        await made.close()


def asking(model: str) -> ChatRequest:
    return ChatRequest(
        f"scripted/{model}", ASK, feature="prompt", prompt_name="a/b", prompt_version=2, prompt_hash="h" * 64
    )


async def test_a_run_streams_and_is_recorded(services: Services) -> None:
    runs = PromptRuns(services.gateway, services.ledger, services.threads.database)
    async with aclosing(runs.run("page", asking("words"), every=0.01)) as snapshots:
        seen = [snapshot async for snapshot in snapshots]
    assert seen[0].status == "streaming"
    assert len({snapshot.text for snapshot in seen}) > 2
    last = seen[-1]
    assert (last.status, last.text.split()) == ("complete", [f"word{n}" for n in range(6)])
    assert last.meter is not None and last.meter.usage.output == 6
    (row,) = services.ledger.calls(Filter(feature="prompt"))
    assert (row.status, row.prompt_name, row.prompt_version, row.prompt_hash) == ("ok", "a/b", 2, "h" * 64)


async def test_an_error_is_told_and_not_raised(services: Services) -> None:
    runs = PromptRuns(services.gateway, services.ledger, services.threads.database)
    async with aclosing(runs.run("page", asking("fails"))) as snapshots:
        last = [snapshot async for snapshot in snapshots][-1]
    assert (last.status, last.error) == (
        "failed",
        "Scripted is out of order. Try again in a moment, or choose another model.",
    )


async def test_stop_ends_it_at_once_and_keeps_what_had_come(services: Services) -> None:
    services.providers["scripted"].words = 5000  # type: ignore[attr-defined]
    runs = PromptRuns(services.gateway, services.ledger, services.threads.database)
    async with aclosing(runs.run("page", asking("words"), every=0.01)) as snapshots:
        async for snapshot in snapshots:
            last = snapshot
            if "word2" in snapshot.text:
                runs.stop("another page")  # which is none of its business
                runs.stop("page")
    assert last.status == "stopped"
    assert last.text.startswith("word0 word1 word2")
    assert last.meter is not None and last.meter.usage.estimated


async def test_a_page_that_goes_away_ends_the_call_and_it_is_recorded(services: Services) -> None:
    runs = PromptRuns(services.gateway, services.ledger, services.threads.database)
    provider = services.providers["scripted"]
    async with aclosing(runs.run("page", asking("silent"), idle=0.01)) as snapshots:
        async for _ in snapshots:
            if provider.requests:  # type: ignore[attr-defined]
                break
    await until(
        lambda: services.ledger.calls(Filter(feature="prompt")), lambda rows: rows and rows[0].status == "cancelled"
    )
    assert provider.closed == 1  # type: ignore[attr-defined]


async def test_a_second_run_of_a_page_stops_the_first(services: Services) -> None:
    runs = PromptRuns(services.gateway, services.ledger, services.threads.database)

    async def first() -> str:
        async with aclosing(runs.run("page", asking("silent"), idle=0.01)) as snapshots:
            return [snapshot async for snapshot in snapshots][-1].status

    task = asyncio.create_task(first())
    await until(lambda: services.providers["scripted"].requests)  # type: ignore[attr-defined]
    async with aclosing(runs.run("page", asking("echo"))) as snapshots:
        assert [snapshot async for snapshot in snapshots][-1].status == "complete"
    assert await asyncio.wait_for(task, LONG) == "stopped"
