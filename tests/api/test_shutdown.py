"""The server is stopped while it answers."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from core.messages import Begun, Done, TextDelta, Usage
from tests.api._server import MakeSettings, Puppet, serving
from tests.waiting import LONG, until


@pytest.mark.parametrize("words", [True, False])
@pytest.mark.parametrize("stream", [True, False])
async def test_callers_are_told_and_no_stack_trace_is_printed(
    settings: MakeSettings, caplog: pytest.LogCaptureFixture, stream: bool, words: bool
) -> None:
    said = (TextDelta("Hello "),) if words else ()
    puppet = Puppet((Begun("puppet"), *said, 30.0, Done(Usage(input=9, output=3))))
    body = {"model": "puppet/able", "stream": stream, "messages": [{"role": "user", "content": "Hi"}]}
    async with serving(settings(), {"puppet": puppet}) as api:
        logging.getLogger("uvicorn.error").addHandler(caplog.handler)
        try:
            call = asyncio.create_task(api.call("POST", "/v1/chat/completions", json.dumps(body).encode()))
            await until(lambda: puppet.requests)
            await asyncio.sleep(0.1)
            api.server.should_exit = True
            status, headers, answer = await asyncio.wait_for(call, LONG)
        finally:
            logging.getLogger("uvicorn.error").removeHandler(caplog.handler)
        assert puppet.ended.is_set(), "the provider was stopped too"
        [row] = api.services.ledger.calls()
        assert api.services.ledger.settled(row.id).status == "cancelled"
    if stream and words:
        assert status == 200
        assert b"Hello " in answer and b"Parley was stopped" in answer
        assert b"[DONE]" not in answer
    else:
        assert status == 503
        assert json.loads(answer)["error"]["code"] == "provider_unavailable"
        assert "x-should-retry" not in headers
    assert "Traceback" not in caplog.text and "Exception in ASGI" not in caplog.text
    assert "without completing response" not in caplog.text
