"""The registry by HTTP, as programs read it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from core.prompts.content import parse_content
from core.prompts.version import Version, to_text
from tests.api._server import Api, MakeSettings, Puppet, serving
from tests.prompt_files import empty_root

PROMPTS = "/api/v1/prompts"
REPLY: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "You answer for {{ shop }}.\n{% include 'shared/tone@production' %}"},
        {"role": "user", "content": "{{ question }}"},
    ],
    "variables": {"shop": {"description": "Who we are", "default": "Northwind"}, "question": {"example": "Where?"}},
    "model": "puppet/able",
    "parameters": {"temperature": 0.2},
    "schema": {"type": "object"},
}


def save(api: Api, name: str, value: dict[str, Any] | str, **about: Any) -> Version:
    filled = {"messages": [{"role": "system", "content": value}]} if isinstance(value, str) else value
    return api.services.registry.save(name, api.services.templates.check(parse_content(filled)), **about).version


@pytest.fixture
async def api(settings: MakeSettings, tmp_path: Path) -> AsyncIterator[Api]:
    empty_root(tmp_path / "prompts")
    async with serving(settings(PARLEY_RETRIES=0), {"puppet": Puppet()}) as running:
        save(running, "shared/tone", "Be kind.", description="How we sound", tags=["tone"])
        running.services.registry.move("shared/tone", "production", 1, by="ada", why="first")
        about = {"description": "Answers about refunds", "tags": ["support", "live"], "author": "ada"}
        save(running, "support/refund", REPLY, **about)
        save(running, "support/refund", {**REPLY, "parameters": {}}, **about, change="cooler", parent=1)
        running.services.registry.move("support/refund", "production", 1, by="ada", why="good")
        yield running


async def get(api: Api, path: str, **headers: str) -> tuple[int, dict[str, str], Any]:
    status, found, body = await api.call("GET", PROMPTS + path, **headers)
    return status, found, orjson.loads(body) if body else None


async def render(api: Api, path: str, body: Any = None) -> tuple[int, Any]:
    raw = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
    status, _, answer = await api.call("POST", f"{PROMPTS}/{path}", raw)
    return status, orjson.loads(answer)


async def test_the_list(api: Api) -> None:
    status, headers, found = await get(api, "")
    assert status == 200 and headers["cache-control"] == "no-cache"
    assert found["total"] == len(found["data"]) == 2
    assert found["data"][1] == {
        "name": "support/refund",
        "description": "Answers about refunds",
        "tags": ["support", "live"],
        "versions": [1, 2],
        "latest": 2,
        "labels": {"production": 1},
    }
    for question, names in {
        "?query=refunds": ["support/refund"],
        "?tag=tone": ["shared/tone"],
        "?label=production": ["shared/tone", "support/refund"],
        "?label=latest": ["shared/tone", "support/refund"],
        "?label=staging": [],
        "?limit=1": ["shared/tone"],
        "?limit=1&offset=1": ["support/refund"],
        "?offset=9": [],
        "/": ["shared/tone", "support/refund"],
    }.items():
        assert [one["name"] for one in (await get(api, question))[2]["data"]] == names, question
    assert (await get(api, "?limit=1"))[2]["total"] == 2


async def test_a_version_by_label_by_number_and_the_latest(api: Api) -> None:
    status, _, found = await get(api, "/support/refund?label=production")
    version = api.services.registry.version("support/refund@1")
    assert status == 200
    assert found == {
        "name": "support/refund",
        "version": 1,
        "hash": version.hash,
        "labels": ["production"],
        "description": "Answers about refunds",
        "tags": ["support", "live"],
        "messages": REPLY["messages"],
        "variables": {
            "shop": {"description": "Who we are", "default": "Northwind", "required": True, "example": None},
            "question": {"description": "", "default": None, "required": True, "example": "Where?"},
        },
        "examples": [],
        "nearest": None,
        "model": "puppet/able",
        "parameters": {"temperature": 0.2},
        "schema": {"type": "object"},
        "change": "",
        "author": "ada",
        "time": version.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "parent": None,
    }
    for path, number, labels in (
        ("", 2, ["latest"]),
        ("?version=1", 1, ["production"]),
        ("?label=latest", 2, ["latest"]),
        ("@production", 1, ["production"]),
        ("@2", 2, ["latest"]),
    ):
        found = (await get(api, f"/support/refund{path}"))[2]
        assert (found["version"], found["labels"]) == (number, labels), path
    assert found["parent"] == 1 and found["change"] == "cooler"
    assert (await get(api, "/" + quote("support/refund", safe="")))[2]["version"] == 2, "%2F is a slash"


async def test_what_the_client_has_is_not_sent_again(api: Api) -> None:
    _, headers, _ = await get(api, "/support/refund@1")
    tag = headers["etag"]
    assert tag.startswith('"') and headers["cache-control"] == "no-cache"
    for sent in (tag, f'W/{tag}, "x"', "*"):
        status, found, body = await get(api, "/support/refund?version=1", if_none_match=sent)
        assert (status, body, found["etag"]) == (304, None, tag)
    assert (await get(api, "/support/refund@2", if_none_match=tag))[0] == 200
    api.services.registry.move("support/refund", "staging", 1, by="ada")
    status, found, body = await get(api, "/support/refund@1", if_none_match=tag)
    assert status == 200 and body["labels"] == ["production", "staging"], "the labels are part of the answer"


async def test_a_moved_label_shows_at_once(api: Api) -> None:
    assert (await get(api, "/support/refund?label=production"))[2]["version"] == 1
    api.services.registry.move("support/refund", "production", 2, by="bob", why="cheaper")
    assert (await get(api, "/support/refund?label=production"))[2]["version"] == 2


async def test_head_says_what_get_says(api: Api) -> None:
    _, wanted, _ = await get(api, "/support/refund")
    status, found, body = await api.call("HEAD", f"{PROMPTS}/support/refund")
    assert (status, body) == (200, b"")
    assert (found["etag"], found["content-length"]) == (wanted["etag"], wanted["content-length"])


async def test_the_history(api: Api) -> None:
    api.services.registry.move("support/refund", "production", 2, by="bob", why="cheaper")
    _, _, found = await get(api, "/support/refund/versions")
    assert [(one["version"], one["change"], one["labels"]) for one in found["data"]] == [
        (2, "cooler", ["production", "latest"]),
        (1, "", []),
    ]
    assert found["labels"] == {"production": 2}
    [last, first] = found["moves"]
    assert (last["label"], last["from"], last["to"], last["by"], last["why"]) == ("production", 1, 2, "bob", "cheaper")
    assert first["from"] is None


async def test_rendering(api: Api) -> None:
    status, found = await render(
        api, "support/refund/render?label=production", {"variables": {"question": "{{ 7*7 }}"}}
    )
    tone = api.services.registry.version("shared/tone@1")
    assert status == 200
    assert found == {
        "name": "support/refund",
        "version": 1,
        "hash": api.services.registry.version("support/refund@1").hash,
        "parts": [{"name": "shared/tone", "version": 1, "hash": tone.hash}],
        "model": "puppet/able",
        "parameters": {"temperature": 0.2},
        "schema": {"type": "object"},
        "messages": [
            {"role": "system", "content": "You answer for Northwind.\nBe kind."},
            {"role": "user", "content": "{{ 7*7 }}"},
        ],
    }, "what a variable holds stays text"
    assert (await render(api, "shared/tone/render"))[1]["messages"][0]["content"] == "Be kind.", "a body is not needed"


async def test_missing_variables_are_all_named(api: Api) -> None:
    save(api, "three", "{{ one }} {{ two }} {{ three }}")
    status, answer = await render(api, "three/render", {"variables": {"two": "2"}})
    assert status == 400
    assert "one and three" in answer["error"]["message"]
    assert answer["error"]["param"] == "variables"
    status, answer = await render(api, "three/render", {"variables": {"two": 2, "won": 1}})
    assert status == 400 and "won" in answer["error"]["message"]


async def test_a_name_that_ends_like_an_action(api: Api) -> None:
    save(api, "odd/versions", "Version words.")
    save(api, "odd/render", "Render words.")
    save(api, "versions", "Alone.")
    assert (await get(api, "/odd%2Fversions"))[2]["messages"][0]["content"] == "Version words."
    assert (await get(api, "/odd%2Frender"))[2]["messages"][0]["content"] == "Render words."
    assert (await get(api, "/odd%2Fversions/versions"))[2]["name"] == "odd/versions"
    assert (await get(api, "/versions"))[2]["name"] == "versions"
    assert (await render(api, "odd%2Frender/render"))[1]["name"] == "odd/render"


@pytest.mark.parametrize(
    ("method", "path", "status", "says"),
    [
        ("GET", "/support/refnud", 404, "support/refund"),
        ("GET", "/support/refund?version=9", 404, "v2"),
        ("GET", "/support/refund?label=staging", 404, "production"),
        ("GET", "/nobody/versions", 404, "nobody"),
        ("POST", "/nobody/render", 404, "nobody"),
        ("GET", "/../../../etc/passwd", 400, "cannot be the name"),
        ("GET", "/%2e%2e/%2e%2e/etc", 400, "cannot be the name"),
        ("GET", "/support%2F..%2Frefund", 400, "cannot be the name"),
        ("GET", "/support/..%5Crefund", 400, "cannot be the name"),
        ("GET", "/%2Fetc%2Fpasswd", 400, "cannot be the name"),
        ("GET", "//versions", 400, "no name"),
        ("GET", "/Support/Refund", 400, "support/refund"),
        ("GET", "/con", 400, "Windows"),
        ("GET", "/a%00b", 400, "cannot be the name"),
        ("GET", "/%FF", 400, "cannot be the name"),
        ("GET", "/" + "a" * 300, 400, "300"),
        ("GET", "/support/refund?lable=production", 400, "label"),
        ("GET", "/support/refund?label=", 400, "empty"),
        ("GET", "/support/refund?label=3", 400, "cannot be a label"),
        ("GET", "/support/refund?label=a&label=b", 400, "twice"),
        ("GET", "/support/refund?label=production&version=1", 400, "twice"),
        ("GET", "/support/refund@1?version=1", 400, "twice"),
        ("GET", "/support/refund?version=0", 400, "version"),
        ("GET", "/support/refund?version=1.5", 400, "version"),
        ("GET", "/support/refund?version=%D9%A3", 400, "version"),
        ("GET", "?limit=0", 400, "limit"),
        ("GET", "?offset=-1", 400, "offset"),
        ("GET", "?query=%FF", 400, "UTF-8"),
        ("POST", "", 405, "GET"),
        ("DELETE", "/support/refund", 405, "GET"),
        ("PUT", "/support/refund", 405, "GET"),
        ("POST", "/support/refund/versions", 405, "GET"),
        ("GET", "/support/refund/render", 405, "POST"),
    ],
)
async def test_what_cannot_be(api: Api, method: str, path: str, status: int, says: str) -> None:
    found, headers, body = await api.call(method, PROMPTS + path)
    error = orjson.loads(body)["error"]
    assert (found, says in error["message"]) == (status, True), error
    assert set(error) == {"message", "type", "param", "code"}
    assert str(api.services.registry.root) not in error["message"] and "Traceback" not in error["message"]
    if status == 405:
        assert headers["allow"] == ("post" if says == "POST" else "get, head")


async def test_nothing_else_is_there(api: Api) -> None:
    status, _, body = await api.call("GET", "/api/v1/prompt")
    assert status == 404 and b"/api/v1/prompts" in body


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "JSON object"),
        (b"\xff", "not valid JSON"),
        (b'{"variables": []}', "variables must be an object"),
        (b'{"variable": {}}', "variable is not a field"),
        (b'{"question": 3}', "question must be a string"),
    ],
)
async def test_bodies_that_are_none(api: Api, body: bytes, says: str) -> None:
    status, answer = await render(api, "shared/tone/render", body)
    assert status == 400 and says in answer["error"]["message"]


async def test_a_body_that_is_too_large(settings: MakeSettings) -> None:
    async with serving(settings(PARLEY_MAX_UPLOAD_MB=1), {"puppet": Puppet()}) as api:
        head = f"POST {PROMPTS}/x/render HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999\r\n\r\n"
        reader, writer = await api.raw(head.encode())
        assert b" 413 " in await reader.readline()
        writer.close()


async def test_a_file_changed_by_hand_is_not_served(api: Api) -> None:
    path = api.services.registry.root / "support" / "refund" / "v2.yaml"
    path.write_text(path.read_text("utf-8").replace("You answer for", "You lie for"), "utf-8")
    for _ in range(2):
        status, _, found = await get(api, "/support/refund?version=2")
        assert "You lie" not in str(found)
        assert status in (200, 400), "what was saved, where that is known"


async def test_a_version_that_arrives_with_git_shows_up(api: Api, tmp_path: Path) -> None:
    text = to_text(replace(api.services.registry.version("shared/tone@1"), name="arrived"))
    (api.services.registry.root / "arrived").mkdir()
    (api.services.registry.root / "arrived" / "v1.yaml").write_text(text, "utf-8")
    assert (await get(api, "/arrived"))[2]["messages"][0]["content"] == "Be kind."


async def test_a_prompt_that_goes_away_is_gone_at_once(api: Api) -> None:
    save(api, "short", "Hi.")
    for _ in range(2):
        assert (await get(api, "/short"))[0] == 200
    shutil.rmtree(api.services.registry.root / "short")
    for _ in range(2):
        assert (await get(api, "/short"))[0] == 404


async def test_only_those_with_a_key_read_where_keys_are_set(settings: MakeSettings) -> None:
    async with serving(settings(PARLEY_API_KEYS="first-key", PARLEY_HOST="0.0.0.0"), {"puppet": Puppet()}) as api:
        for path in ("", "/x", "/x/versions"):
            assert (await get(api, path))[0] == 401
        assert (await render(api, "x/render"))[0] == 401
        assert (await get(api, "", authorization="Bearer first-key", host="parley.example"))[0] == 200


@pytest.mark.parametrize(
    "headers", [{"host": "evil.example"}, {"origin": "https://evil.example"}, {"x_forwarded_for": "203.0.113.5"}]
)
async def test_without_keys_only_this_machine_reads(api: Api, headers: dict[str, str]) -> None:
    status, _, body = await api.call("GET", f"{PROMPTS}/support/refund", **headers)  # type: ignore[arg-type]
    assert status == 403 and b"PARLEY_API_KEYS" in body and b"Northwind" not in body


async def test_on_an_open_address_without_keys_it_is_off(settings: MakeSettings) -> None:
    async with serving(settings(PARLEY_HOST="0.0.0.0"), {"puppet": Puppet()}) as api:
        assert (await get(api, ""))[0] == 403


async def test_programs_get_no_cookies(api: Api) -> None:
    assert "set-cookie" not in (await get(api, ""))[1]


async def test_many_read_while_one_writes(api: Api) -> None:
    async def reading() -> list[int]:
        return [(await get(api, "/support/refund"))[2]["version"] for _ in range(10)]

    def writing() -> None:
        for number in range(8):
            save(api, "support/refund", f"Take {number}.")

    *found, _ = await asyncio.gather(*(reading() for _ in range(4)), asyncio.to_thread(writing))
    assert all(some == sorted(some) for some in found), "never back"
    assert (await get(api, "/support/refund"))[2]["version"] == 10
