"""What reaches the log, and what must not."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from core.errors import ProviderUnavailable
from core.logs import HIDDEN, redactor, setup

KEYS = [
    "sk-ant-api03-AbCdEf123456-xyz_789",
    "sk-proj-abcdefghijklmnop1234",
    "sk-or-v1-0123456789abcdef0123",
    "gsk_abcdefghijklmnopqrstuvwx",
    "hf_abcdefghijklmnopqrstuvwx",
    "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "github_pat_11ABCDEFG0abcdefghijkl",
    "xoxb-123456789012-abcdefghijkl",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N",
    "Bearer abcdef",
]


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    structlog.reset_defaults()


def written(settings, **more: object) -> io.StringIO:
    stream = io.StringIO()
    setup(settings(PARLEY_LOG_FORMAT="json", **more), stream)
    return stream


def lines(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("key", KEYS)
def test_what_looks_like_a_key_is_hidden_wherever_it_stands(settings, key: str) -> None:
    stream = written(settings)
    log = structlog.get_logger()
    log.warning(f"went wrong with {key}!", error=f"401: {key}", nested={"a": [key, {"b": (key,)}]}, odd=key)
    logging.getLogger("some.library").error("failed: %s", key)
    bare = key.removeprefix("Bearer ")
    assert bare not in stream.getvalue() and stream.getvalue().count(HIDDEN) >= 5
    assert len(lines(stream)) == 2


def test_secrets_of_the_settings_are_hidden_whatever_they_look_like(settings) -> None:
    secrets = {
        "OPENAI_API_KEY": "plainword",
        "PARLEY_API_KEYS": "open-sesame other-word",
        "PARLEY_SECRET": "correct-horse",
        "PARLEY_DATABASE_URL": "postgresql://me:battery@host/db",
        "PARLEY_ENDPOINTS": "qwen=http://localhost:1/v1",
        "QWEN_API_KEY": "unusual",
    }
    stream = written(settings, **secrets)
    structlog.get_logger().error(
        "x plainword, open-sesame, other-word, correct-horse, unusual", at="postgresql://a:battery@b/db"
    )
    for secret in ("plainword", "sesame", "other-word", "horse", "unusual", "battery"):
        assert secret not in stream.getvalue()


def test_fields_that_hold_secrets_are_hidden(settings) -> None:
    stream = written(settings)
    structlog.get_logger().info(
        "x", api_key="a1", keys={"openai": "b2"}, Authorization="c3", cookie="d4", access_token="e5", first_token=1.5,
        headers={"x-parley-session": "f6", "x-api-key": "g7", "accept": "text/html"}, input_tokens=7, output=9,
    )  # fmt: skip
    (entry,) = lines(stream)
    for secret in ("a1", "b2", "c3", "d4", "e5", "f6", "g7"):
        assert secret not in stream.getvalue()
    assert (entry["first_token"], entry["input_tokens"], entry["output"]) == (1.5, 7, 9)
    assert entry["headers"]["accept"] == "text/html"


def test_contents_are_left_out_unless_asked_for(settings) -> None:
    def say(stream: io.StringIO) -> dict:
        structlog.get_logger().info(
            "chat", text="my diary", messages=["my diary"], sub={"prompt": "my diary"}, model="a/b"
        )
        return lines(stream)[0]

    stream = written(settings)
    entry = say(stream)
    assert "diary" not in stream.getvalue()
    assert (entry["text"], entry["model"], entry["level"]) == ("[8 characters]", "a/b", "info")
    stream = written(settings, PARLEY_LOG_CONTENT="on")
    assert say(stream)["text"] == "my diary"
    structlog.get_logger().info("chat", text=f"my key is {KEYS[0]}", api_key="plain")
    assert KEYS[0] not in stream.getvalue() and "plain" not in stream.getvalue()


def raised(words: str = " ".join(("my", "diary"))) -> None:
    try:
        try:
            raise ValueError(f"the user wrote: {words}")
        except ValueError as error:
            raise ProviderUnavailable("Puppet is down.") from error
    except ProviderUnavailable:
        structlog.get_logger().exception("ours")
        logging.getLogger("theirs").exception("theirs")


def test_exceptions_show_where_but_not_what_was_written(settings) -> None:
    stream = written(settings)
    raised()
    for entry in lines(stream):
        assert "in raised" in entry["exception"] and "Puppet is down." in entry["exception"]
        assert "builtins.ValueError" in entry["exception"]
    assert len(lines(stream)) == 2 and 'diary"' not in stream.getvalue().replace('wrote: my diary\\")', "")
    stream = written(settings, PARLEY_LOG_CONTENT="on")
    raised()
    assert all("ValueError: the user wrote: my diary" in entry["exception"] for entry in lines(stream))


def test_an_os_error_says_why(settings) -> None:
    stream = written(settings)
    try:
        Path("/nowhere/at/all").read_bytes()
    except OSError:
        structlog.get_logger().exception("x")
    assert "FileNotFoundError: No such file or directory" in lines(stream)[0]["exception"]


def test_the_level_holds_for_all(settings) -> None:
    stream = written(settings, PARLEY_LOG_LEVEL="warning")
    structlog.get_logger().info("no")
    logging.getLogger("lib").info("no")
    structlog.get_logger().warning("yes")
    logging.getLogger("lib").warning("yes")
    assert [(e["event"], e["level"]) for e in lines(stream)] == [("yes", "warning")] * 2
    stream = written(settings, PARLEY_LOG_LEVEL="debug")
    structlog.get_logger().debug("yes")
    logging.getLogger("lib").debug("yes")
    logging.getLogger("httpx2").info("HTTP Request: GET https://host/?key=1")
    assert len(lines(stream)) == 2 and all(e["timestamp"].endswith("Z") for e in lines(stream))


def test_setting_it_up_again_does_not_write_twice(settings) -> None:
    stream = io.StringIO()
    for _ in range(2):
        setup(settings(PARLEY_LOG_FORMAT="json"), stream)
    logging.getLogger("lib").warning("once")
    assert len(lines(stream)) == 1


def test_the_console_format_keeps_to_one_line_and_to_itself(settings) -> None:
    stream = io.StringIO()
    setup(settings(), stream)
    structlog.get_logger().warning("x", model="a\nWARNING forged", other="\x1b[31mred\ud800")
    logging.getLogger("lib").warning("plain %s", "words")
    text = stream.getvalue()
    assert len(text.splitlines()) == 2 and "\x1b" not in text and "plain words" in text
    text.encode()


def test_ordinary_words_stay() -> None:
    process = redactor(["short", "longsecret"])
    event = {"event": "the task-force skips a sketchy-looking risk-assessment", "path": "/v1/models?limit=5", "n": None}
    assert process(None, "info", dict(event)) == event
    assert process(None, "info", {"event": "a longsecret, a short one"})["event"] == f"a {HIDDEN}, a short one"
