"""model="prompt/<name>@<label or version>" in /v1/chat/completions, with the official SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import orjson
import pytest

from core.messages import Message, Parameters
from core.prompts.content import parse_content
from core.prompts.version import Version
from core.providers import Status
from tests.api._server import Api, MakeSettings, Puppet, serving
from tests.prompt_files import empty_root

ASK: list[Any] = [{"role": "user", "content": "And abroad?"}]
REFUND: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "You answer for {{ shop }}. {% include 'tone' %}"},
        {"role": "user", "content": "{{ question }}"},
    ],
    "model": "puppet/able",
    "parameters": {"temperature": 0.2, "max_tokens": 99, "stop": ["END"], "effort": "high"},
}
VALUES = {"shop": "Northwind", "question": "Where is my order?"}
SYSTEM = Message("system", "You answer for Northwind. Be kind.")


def save(api: Api, name: str, value: dict[str, Any]) -> Version:
    return api.services.registry.save(name, api.services.templates.check(parse_content(value))).version


def says(role: str, text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text}], **more}


@pytest.fixture
def puppet() -> Puppet:
    return Puppet()


@pytest.fixture
async def api(settings: MakeSettings, puppet: Puppet, tmp_path: Path) -> AsyncIterator[Api]:
    empty_root(tmp_path / "prompts")
    async with serving(settings(PARLEY_RETRIES=0), {"puppet": puppet}) as running:
        save(running, "tone", says("system", "Be kind."))
        save(running, "refund", REFUND)
        save(running, "refund", {**REFUND, "parameters": {}})
        running.services.registry.move("refund", "production", 1, by="ada", why="good")
        yield running


@pytest.fixture
async def client(api: Api) -> AsyncIterator[openai.AsyncOpenAI]:
    async with api.client() as made:
        yield made


async def post(api: Api, **body: Any) -> tuple[int, dict[str, Any]]:
    filled = {"model": "prompt/refund@production", "messages": [], "variables": VALUES, **body}
    status, _, answer = await api.call("POST", "/v1/chat/completions", orjson.dumps(filled))
    return status, orjson.loads(answer)


async def test_a_prompt_answers_with_its_own_model(api: Api, client: openai.AsyncOpenAI, puppet: Puppet) -> None:
    answer = await client.chat.completions.create(
        model="prompt/refund@production", messages=ASK, extra_body={"variables": VALUES}
    )
    assert answer.choices[0].message.content == "Hello there."
    [request] = puppet.requests
    assert request.messages == (SYSTEM, Message("user", VALUES["question"]), Message("user", "And abroad?"))
    assert request.parameters == Parameters(max_tokens=99, temperature=0.2, stop=("END",), effort="high")
    assert answer.model == "puppet/able", "the model that answered, as OpenAI says the snapshot behind an alias"
    version = api.services.registry.version("refund@1")
    extra = answer.model_extra or {}
    assert extra["prompt"] == {"name": "refund", "version": 1, "hash": version.hash}
    row = api.services.ledger.call(int(extra["parley"]["call"]))
    assert row is not None
    assert (row.feature, row.prompt_name, row.prompt_version, row.prompt_hash) == ("api", "refund", 1, version.hash)
    assert row.prompt_parts == (("tone", 1),)
    assert row.model == "puppet/able"


async def test_the_request_may_have_no_messages(client: openai.AsyncOpenAI, puppet: Puppet) -> None:
    await client.chat.completions.create(model="prompt/refund@1", messages=[], extra_body={"variables": VALUES})
    assert puppet.requests[0].messages == (SYSTEM, Message("user", VALUES["question"]))


async def test_messages_may_be_left_out(api: Api, puppet: Puppet) -> None:
    assert (await post(api, messages=None))[0] == 200
    assert len(puppet.requests[0].messages) == 2


async def test_a_stream(api: Api, client: openai.AsyncOpenAI, puppet: Puppet) -> None:
    stream = await client.chat.completions.create(
        model="prompt/refund@production", messages=[], stream=True, extra_body={"variables": VALUES}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == "Hello there."
    assert {chunk.model for chunk in chunks} == {"puppet/able"}
    extra = chunks[-1].model_extra or {}
    assert extra["prompt"]["name"] == "refund" and extra["prompt"]["version"] == 1
    row = api.services.ledger.call(int(extra["parley"]["call"]))
    assert row is not None and row.prompt_name == "refund" and row.prompt_parts == (("tone", 1),)
    assert all("prompt" not in (chunk.model_extra or {}) for chunk in chunks[:-1])
    assert puppet.requests[0].stream


@pytest.mark.parametrize(
    ("model", "number"),
    [
        ("prompt/refund", 1),
        ("prompt/refund@production", 1),
        ("prompt/refund@latest", 2),
        ("prompt/refund@2", 2),
        ("prompt/refund@v1", 1),
        ("prompt/other", 2),
    ],
)
async def test_which_version_is_meant(api: Api, model: str, number: int) -> None:
    save(api, "other", says("user", "One.", model="puppet/able"))
    save(api, "other", says("user", "Two.", model="puppet/able"))
    values = {} if "other" in model else VALUES
    status, answer = await post(api, model=model, variables=values)
    assert (status, answer["prompt"]["version"]) == (200, number), "without a selector production, else the latest"


async def test_the_requests_own_parameters_go_first(api: Api, puppet: Puppet) -> None:
    save(api, "shaped", {**REFUND, "schema": {"type": "object"}})
    await post(api, model="prompt/shaped", temperature=0, stop=["X"], reasoning_effort="low")
    await post(api, model="prompt/shaped", reasoning_effort="none", response_format={"type": "text"})
    await post(api, model="prompt/shaped", response_format={"type": "json_object"})
    first, second, third = (request.parameters for request in puppet.requests)
    schema = {"type": "object"}
    assert first == Parameters(max_tokens=99, temperature=0, stop=("X",), effort="low", response_schema=schema)
    assert (second.effort, second.thinking, second.response_schema) == (None, False, None)
    assert (third.json_object, third.response_schema, third.temperature) == (True, None, 0.2)


async def test_a_plain_request_is_as_before(api: Api, puppet: Puppet) -> None:
    status, answer = await post(api, model="puppet/able", messages=ASK, variables=None)
    assert status == 200 and "prompt" not in answer
    assert puppet.requests[0].prompt_name is None


async def test_a_prompt_without_a_model_runs_with_the_one_that_is_given(api: Api, puppet: Puppet) -> None:
    save(api, "bare", says("user", "Hi"))
    found, answer = await post(api, model="prompt/bare", variables={}, prompt_model="puppet/able")
    assert found == 200, answer
    assert puppet.requests[0].model == "puppet/able"
    assert puppet.requests[0].prompt_name == "bare"


async def test_variables_are_text_and_missing_ones_are_named(
    api: Api, client: openai.AsyncOpenAI, puppet: Puppet
) -> None:
    await post(api, variables={**VALUES, "question": "{{ 7 * 7 }}{% include 'tone' %}"})
    assert puppet.requests[0].messages[1].text == "{{ 7 * 7 }}{% include 'tone' %}"
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="prompt/refund", messages=ASK)
    assert caught.value.param == "variables"
    assert "shop and question" in caught.value.message


@pytest.mark.parametrize(
    ("body", "status", "param", "says_"),
    [
        ({"model": "prompt/refnud"}, 404, "model", "refund"),
        ({"model": "prompt/refund@staging"}, 404, "model", "production"),
        ({"model": "prompt/refund@9"}, 404, "model", "v2"),
        ({"model": "prompt/"}, 400, "model", "no name"),
        ({"model": "prompt/../../etc"}, 400, "model", "cannot be the name"),
        ({"model": "prompt/refund@"}, 400, "model", "cannot be a label"),
        ({"model": "prompt/bare"}, 400, "prompt_model", "names no model"),
        ({"model": "prompt/bare", "prompt_model": "nonsense"}, 400, "prompt_model", "maker/model"),
        ({"model": "prompt/bare", "prompt_model": "prompt/bare"}, 400, "prompt_model", "maker/model"),
        (
            {"model": "puppet/able", "messages": ASK, "variables": None, "prompt_model": "a/b"},
            400,
            "prompt_model",
            "prompt/<name>",
        ),
        ({"model": "prompt/quiet"}, 400, "messages", "question"),
        ({"model": "prompt/quiet", "messages": [{"role": "system", "content": "x"}]}, 400, "messages", "question"),
        ({"model": "prompt/shots"}, 400, "messages", "question"),
        ({"model": "prompt/lost"}, 404, "model", "nobody/there"),
        ({"model": "prompt/formed", "variables": {}}, 400, "model", "JSON schema"),
        ({"variables": {"shop": "x"}}, 400, "variables", "question"),
        ({"variables": {**VALUES, "shopp": "x"}}, 400, None, "shopp"),
        ({"variables": ["x"]}, 400, "variables", "an object"),
        ({"messages": "x"}, 400, "messages", "a list"),
        ({"fallbacks": ["prompt/refund"]}, 400, "fallbacks", "not prompts"),
        ({"model": "puppet/able", "messages": ASK}, 400, "variables", "prompt/<name>"),
        ({"model": "puppet/able", "variables": None}, 400, "messages", "at least one"),
    ],
)
async def test_what_cannot_be(
    api: Api, puppet: Puppet, body: dict[str, Any], status: int, param: str | None, says_: str
) -> None:
    save(api, "bare", says("user", "Hi"))
    save(api, "quiet", says("system", "Hi", model="puppet/able"))
    save(api, "shots", says("system", "Hi", model="puppet/able", examples=[{"input": "a", "output": "b"}]))
    save(api, "lost", says("user", "Hi", model="nobody/there"))
    save(api, "formed", says("user", "Hi", model="puppet/unable", schema={"type": "object"}))
    if body.get("model") in ("prompt/bare", "prompt/quiet", "prompt/shots", "prompt/lost"):
        body = {"variables": {}, **body}
    found, answer = await post(api, **body)
    assert (found, answer["error"]["param"]) == (status, param), answer
    assert says_ in answer["error"]["message"], answer
    assert not puppet.requests


async def test_a_prompt_with_examples(api: Api, puppet: Puppet) -> None:
    shots = {**says("system", "Classify."), "model": "puppet/able", "examples": [{"input": "a", "output": "b"}]}
    save(api, "shots", shots)
    status, _ = await post(api, model="prompt/shots", variables=None, messages=ASK)
    assert status == 200
    assert [message.role for message in puppet.requests[0].messages] == ["system", "user", "assistant", "user"]


async def test_a_question_that_is_left_out_is_none(api: Api, puppet: Puppet) -> None:
    messages = [{"role": "system", "content": "Hi"}, {"role": "user", "content": "{{ question }}"}]
    variables = {"question": {"required": False}}
    save(api, "open", {"messages": messages, "variables": variables, "model": "puppet/able"})
    status, answer = await post(api, model="prompt/open", variables={})
    assert (status, answer["error"]["param"]) == (400, "messages")
    assert (await post(api, model="prompt/open", variables={}, messages=ASK))[0] == 200
    assert (await post(api, model="prompt/open", variables={"question": "Why?"}))[0] == 200
    begun = [{"role": "user", "content": "A list, please."}, {"role": "assistant", "content": "1."}]
    save(api, "begun", {"messages": begun, "model": "puppet/able"})
    assert (await post(api, model="prompt/begun", variables={}))[0] == 200


async def test_a_model_that_takes_less_still_answers(api: Api, puppet: Puppet) -> None:
    save(api, "warm", says("user", "Hi", model="puppet/unable", parameters={"temperature": 0.5}))
    assert (await post(api, model="prompt/warm", variables={}))[0] == 200


async def test_prompts_in_production_are_listed_as_models(api: Api, client: openai.AsyncOpenAI) -> None:
    registry = api.services.registry
    for name, model in (("lost", "nobody/there"), ("bare", "")):
        save(api, name, says("user", "Hi", model=model))
        registry.move(name, "production", 1, by="ada", why="x")
    models = [model async for model in client.models.list()]
    assert [model.id for model in models] == ["puppet/able", "puppet/unable", "prompt/refund@production"]
    prompt = models[-1]
    assert (prompt.object, prompt.owned_by) == ("model", "prompt")
    assert prompt.created == int(registry.version("refund@1").time.timestamp())
    extra = prompt.model_extra or {}
    assert extra["context_window"] == 8192 and extra["prompt"]["version"] == 1
    for name, number in (("prompt/refund@production", 1), ("prompt/refund", 1), ("prompt/refund@2", 2)):
        found = await client.models.retrieve(name)
        assert (found.id, (found.model_extra or {})["prompt"]["version"]) == (name, number)
    for name in ("prompt/nobody", "prompt/lost", "prompt/refund@staging"):
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve(name)


async def test_prompts_of_a_provider_that_is_away_are_not_listed(settings: MakeSettings, tmp_path: Path) -> None:
    empty_root(tmp_path / "prompts")
    puppet = Puppet(state=Status("no_key", "No key.", "Add one."))
    async with serving(settings(), {"puppet": puppet}) as api, api.client() as client:
        save(api, "hi", says("user", "Hi", model="puppet/able"))
        api.services.registry.move("hi", "production", 1, by="ada", why="x")
        assert [model async for model in client.models.list()] == []


async def test_the_prompts_text_is_read_anew_when_the_label_moves(api: Api, puppet: Puppet) -> None:
    assert (await post(api))[1]["prompt"]["version"] == 1
    api.services.registry.move("refund", "production", 2, by="bob", why="cheaper")
    assert (await post(api))[1]["prompt"]["version"] == 2
    assert puppet.requests[-1].parameters == Parameters()
