"""/v1: who may ask."""

from __future__ import annotations

import openai
import orjson
import pytest

from core.visitors import api_state
from tests.api._server import Api, MakeSettings, Puppet, serving
from tests.api._v1 import ASK, api, post, puppet

__all__ = ["api", "puppet"]


async def test_with_keys_only_their_holders_get_in(settings: MakeSettings, puppet: Puppet) -> None:
    made = settings(PARLEY_API_KEYS="first-key second-key", PARLEY_HOST="0.0.0.0")
    async with serving(made, {"puppet": puppet}) as api:
        for key in ("first-key", "second-key"):
            async with api.client(key) as client:
                await client.chat.completions.create(model="puppet/able", messages=ASK)
        visitors = {request.visitor for request in puppet.requests}
        assert len(visitors) == 2 and all(name.startswith("api-") for name in visitors)
        for key in ("first-ke", "first-key2", "wrong"):
            async with api.client(key) as client:
                with pytest.raises(openai.AuthenticationError) as caught:
                    await client.models.list()
                assert caught.value.code == "invalid_api_key"
                assert key not in str(caught.value).replace("wrong.", "")
        for headers in (
            {},
            {"authorization": "first-key"},
            {"authorization": "Basic first-key"},
            {"authorization": "Bearer"},
        ):
            status, answer_headers, _ = await api.call("GET", "/v1/models", **headers)
            assert (status, answer_headers["www-authenticate"]) == (401, "bearer")
        # A key opens the door from everywhere.
        status, _, _ = await api.call(
            "GET", "/v1/models", host="parley.example", authorization="bearer first-key", origin="https://x.example"
        )
        assert status == 200


async def test_other_machines_need_keys(settings: MakeSettings, puppet: Puppet) -> None:
    made = settings(PARLEY_HOST="0.0.0.0")
    enabled, sentence = api_state(made)
    assert not enabled and "PARLEY_API_KEYS" in sentence
    async with serving(made, {"puppet": puppet}) as api:
        status, answer = await post(api)
        assert status == 403 and "PARLEY_API_KEYS" in answer["error"]["message"]
    assert not puppet.requests


@pytest.mark.parametrize("where", [{"PARLEY_SHARED": "on"}, {"PARLEY_ROOT_PATH": "/parley"}])
async def test_visitors_and_proxies_need_keys(settings: MakeSettings, puppet: Puppet, where: dict[str, str]) -> None:
    made = settings(**where)
    enabled, sentence = api_state(made)
    assert not enabled and "PARLEY_API_KEYS" in sentence
    async with serving(made, {"puppet": puppet}) as api:
        for path in ("/v1/models", "/api/v1/prompts"):
            assert (await api.call("GET", path))[0] == 403


async def test_who_speaks_http_1_0_may_be_a_proxy(api: Api) -> None:
    reader, writer = await api.raw(f"GET /v1/models HTTP/1.0\r\nhost: 127.0.0.1:{api.port}\r\n\r\n".encode())
    assert b" 403 " in await reader.readline()
    writer.close()


def test_what_the_start_says_of_the_api(settings: MakeSettings) -> None:
    assert api_state(settings())[0]
    enabled, sentence = api_state(settings(PARLEY_HOST="0.0.0.0", PARLEY_API_KEYS="very-secret"))
    assert enabled and "very-secret" not in sentence


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example:7860"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "localhost.evil.example"},
        {"host": "192.168.1.5:7860"},
        {"host": "[::2]:80"},
        {"host": "["},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:9999"},
        {"origin": "http://127.0.0.1"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"x_forwarded_for": "203.0.113.5"},
        {"forwarded": "for=203.0.113.5"},
        {"via": "1.1 somewhere"},
        {"x_real_ip": "203.0.113.5"},
    ],
)
async def test_web_pages_of_others_are_refused(api: Api, puppet: Puppet, headers: dict[str, str]) -> None:
    body = orjson.dumps({"model": "puppet/able", "messages": ASK})
    status, _, answer = await api.call("POST", "/v1/chat/completions", body, **headers)  # type: ignore[arg-type]
    assert status == 403 and "PARLEY_API_KEYS" in orjson.loads(answer)["error"]["message"]
    assert not puppet.requests


async def test_this_machine_is_let_in(api: Api) -> None:
    own = f"127.0.0.1:{api.port}"
    for host in ("localhost", f"LOCALHOST:{api.port}", own, "[::1]:80", "127.8.8.8"):
        assert (await api.call("GET", "/v1/models", host=host))[0] == 200
    assert (await api.call("GET", "/v1/models", origin=f"http://{own}", sec_fetch_site="same-origin"))[0] == 200


async def test_programs_get_no_cookies(api: Api) -> None:
    _, headers, _ = await api.call("GET", "/v1/models")
    assert "set-cookie" not in headers
