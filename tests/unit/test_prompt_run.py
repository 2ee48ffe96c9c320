"""Requests made with a prompt, and what becomes of them on their way through the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from core.messages import ChatRequest, Message, Parameters
from core.prompts.content import parse_content
from core.prompts.run import over, request_for
from core.prompts.templates.render import Part, Rendered
from core.prompts.version import Version
from core.services import Services
from core.settings import Settings
from tests.scripted import Scripted

CONTENT = parse_content(
    {"messages": [{"role": "user", "content": "Say {{ word }}"}], "parameters": {"temperature": 0, "max_tokens": 9}}
)
VERSION = Version("support/reply", 3, CONTENT)
RENDERED = Rendered((Message("user", "Say hello"),), (Part("shared/tone", 2, "ff"),))


@pytest.fixture
async def services(settings: Callable[..., Settings]) -> AsyncIterator[Services]:
    opened = Services.open(settings(PARLEY_RETRIES=1, PARLEY_CACHE="on"), {"scripted": Scripted(pace=0)})
    yield opened
    await opened.close()


def asked(model: str = "scripted/echo", version: Version = VERSION, rendered: Rendered = RENDERED) -> ChatRequest:
    return request_for(version, rendered, model=model, visitor="ada", keys={"scripted": "k"})


def test_a_version_and_a_draft() -> None:
    request = asked()
    assert (request.prompt_name, request.prompt_version, request.prompt_hash) == ("support/reply", 3, VERSION.hash)
    assert (request.prompt, request.prompt_parts) == ("support/reply@3", (("shared/tone", 2),))
    assert (request.feature, request.visitor, request.keys) == ("prompt", "ada", {"scripted": "k"})
    assert request.messages == RENDERED.messages
    assert request.parameters == Parameters(temperature=0, max_tokens=9)
    own = Parameters(max_tokens=5)
    draft = request_for(CONTENT, RENDERED, model="m/a", visitor="a", keys={}, feature="api", parameters=own)
    assert (draft.prompt_name, draft.prompt_version, draft.prompt) == (None, None, None)
    assert draft.prompt_hash == VERSION.hash
    assert (draft.feature, draft.parameters) == ("api", Parameters(temperature=0, max_tokens=5))
    named = request_for(CONTENT, RENDERED, model="m/a", visitor="a", keys={}, name="support/reply")
    assert (named.prompt, named.prompt_version) == ("support/reply", None)


def test_what_is_set_goes_before_what_is_not() -> None:
    base = Parameters(max_tokens=1, temperature=0.5, stop=("A",), response_schema={"type": "object"})
    assert over(Parameters(), base) == base
    own = Parameters(temperature=0.0, stop=("B",), thinking=False, json_object=True)
    assert over(own, base) == Parameters(
        max_tokens=1, temperature=0.0, stop=("B",), thinking=False, json_object=True, response_schema={"type": "object"}
    )


async def test_the_books_and_the_answer_name_the_version(services: Services) -> None:
    done = (await services.gateway.complete(asked())).done
    assert done.prompt == "support/reply@3"
    assert done.call is not None
    row = services.ledger.call(done.call)
    assert (row.prompt, row.prompt_hash, row.prompt_parts) == ("support/reply@3", VERSION.hash, (("shared/tone", 2),))
    plain = ChatRequest("scripted/echo", (Message("user", "plain"),))
    assert (await services.gateway.complete(plain)).done.prompt is None


async def test_an_answer_from_the_cache_counts_for_who_asked(services: Services) -> None:
    """The same words have the same answer; other words never have it, also not those of the same version."""
    first = (await services.gateway.complete(asked())).done
    same = (await services.gateway.complete(asked(version=Version("other", 1, CONTENT)))).done
    assert (first.cache_hit, same.cache_hit, same.cost) == (False, True, 0)
    assert (first.prompt, same.prompt) == ("support/reply@3", "other@1")
    assert same.call is not None
    assert services.ledger.call(same.call).prompt == "other@1"
    bye = await services.gateway.complete(asked(rendered=Rendered((Message("user", "Say bye"),))))
    assert (bye.text, bye.done.cache_hit) == ("Say bye", False)
    cooler = request_for(
        VERSION, RENDERED, model="scripted/echo", visitor="ada", keys={"scripted": "k"}, parameters=Parameters(seed=1)
    )
    assert not (await services.gateway.complete(cooler)).done.cache_hit


async def test_retries_and_fallbacks_carry_it_on(services: Services) -> None:
    request = ChatRequest(
        "scripted/fails",
        RENDERED.messages,
        fallbacks=("scripted/echo",),
        prompt_name="p",
        prompt_version=2,
        prompt_hash="ab",
        prompt_parts=(("shared/tone", 2),),
    )
    done = (await services.gateway.complete(request)).done
    assert (done.model, done.prompt) == ("scripted/echo", "p@2")
    rows = services.ledger.calls()
    assert [row.model for row in rows] == ["scripted/echo", "scripted/fails", "scripted/fails"]
    assert {(row.prompt, row.prompt_hash, row.prompt_parts) for row in rows} == {("p@2", "ab", (("shared/tone", 2),))}
