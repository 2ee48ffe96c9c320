"""What all providers share: cutting streams into events, JSON, reasoning tags, errors."""

from __future__ import annotations

import datetime
import email.utils
import itertools
import json

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import errors
from core.messages import ChatRequest, Done, Message, Usage
from core.providers._chat_wire import ChatDecoder
from core.providers._errors import LONGEST, CallTarget, explain, from_event, from_status, retry_after, tidy
from core.providers._json import decode, encode
from core.providers._messages_wire import usage_of
from core.providers._responses_wire import ResponsesDecoder
from core.providers._sse import EventSplitter
from core.providers._think import ThinkSplitter
from core.tokens import estimate_tokens

ASKED = CallTarget("Maker", "http://host/v1", "big-1", has_key=True, secrets=("abcdefgh12345678",))


def split(stream: bytes, cuts: list[int]) -> list[bytes]:
    splitter, found = EventSplitter(), []
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for begin, end in itertools.pairwise(edges):
        found += splitter.feed(stream[begin:end])
    return found + splitter.end()


STREAM = (
    'event: a\ndata: {"text": "日本 🙂"}\n\n: comment\n\ndata: one\ndata:two\nid: 7\n\n\n\ndata:\n\ndata: [DONE]\n\n'
).encode()
EVENTS = ['{"text": "日本 🙂"}'.encode(), b"one\ntwo", b"[DONE]"]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@given(cuts=st.lists(st.integers(min_value=0, max_value=10_000), max_size=12))
def test_events_do_not_depend_on_how_the_network_cuts_them(line_end: bytes, cuts: list[int]) -> None:
    assert split(STREAM.replace(b"\n", line_end), cuts) == EVENTS


def test_events_byte_by_byte_and_with_a_mark_at_the_beginning() -> None:
    stream = b"\xef\xbb\xbf" + STREAM
    assert split(stream, list(range(1, len(stream)))) != []
    assert split(stream, [])[0] == EVENTS[0]


def test_events_are_given_as_soon_as_they_are_complete() -> None:
    splitter = EventSplitter()
    given = [(at, data) for at in range(9) for data in splitter.feed(b"data:a\n\nd"[at : at + 1])]
    assert given == [(7, b"a")]


def test_the_last_event_needs_no_empty_line() -> None:
    assert split(b"data: a\n\ndata: [DONE]", [3, 11]) == [b"a", b"[DONE]"]


def test_a_huge_event_in_small_reads_is_linear() -> None:
    big = b"data: " + b"x" * 20_000_000 + b"\n\n"
    splitter, found = EventSplitter(), []
    for begin in range(0, len(big), 4096):
        found += splitter.feed(big[begin : begin + 4096])
    assert [len(data) for data in found] == [20_000_000]


@given(st.text(alphabet="<think>/ab \n", max_size=40), st.integers(min_value=1, max_value=9))
def test_think_tags_do_not_depend_on_the_pieces(rest: str, size: int) -> None:
    text = f"<think>{rest}</think>\n\nanswer"

    def run(width: int) -> tuple[str, str]:
        splitter, thinking, answer = ThinkSplitter(), "", ""
        pieces = [text[i : i + width] for i in range(0, len(text), width)]
        for more in [splitter.feed(piece) for piece in pieces] + [splitter.end()]:
            thinking, answer = thinking + more[0], answer + more[1]
        return thinking, answer

    assert run(size) == run(len(text))
    assert run(len(text))[0] == rest.partition("</think>")[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", ("", "plain")),
        ("  <think>a</think>b", ("a", "b")),
        ("say <think>", ("", "say <think>")),
        ("<thinker", ("", "<thinker")),
        ("<thi", ("", "<thi")),
        ("<think>never closed </thi", ("never closed </thi", "")),
        ("   ", ("", "   ")),
    ],
)
def test_think_tags(text: str, expected: tuple[str, str]) -> None:
    splitter = ThinkSplitter()
    first, last = splitter.feed(text), splitter.end()
    assert (first[0] + last[0], first[1] + last[1]) == expected


def test_json_that_orjson_refuses() -> None:
    assert json.loads(encode({"text": "a\ud800b"})) == {"text": "a\ufffdb"}
    assert decode(b'{"x": NaN, "t": "\\ud83d"}')["t"] == "\ufffd"
    assert decode(b'{"t": "\\ud83d\\ude42"}')["t"] == "🙂"
    with pytest.raises(ValueError):
        decode(b'{"half')


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
    ],
)
def test_retry_after(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after(headers) == expected


def test_retry_after_as_a_date() -> None:
    when = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=30)
    wait = retry_after({"retry-after": email.utils.format_datetime(when, usegmt=True)})
    assert wait is not None and 27 < wait <= 30


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"message": "bad"}, errors.BadRequest),
        (401, {}, errors.AuthenticationFailed),
        (402, {}, errors.BudgetExceeded),
        (400, {"message": "Your credit balance is too low"}, errors.BudgetExceeded),
        (403, {"message": "no"}, errors.PermissionDenied),
        (403, {"message": "Your input was flagged"}, errors.Refused),
        (400, {"code": "content_policy_violation", "message": "x"}, errors.Refused),
        (404, {"message": "model: none"}, errors.ModelNotFound),
        (404, {"detail": "Not Found"}, errors.ModelNotFound),
        (408, {}, errors.TimedOut),
        (409, {"message": "conflict"}, errors.BadRequest),
        (413, {}, errors.ContextTooLong),
        (429, {}, errors.RateLimited),
        (429, {"code": "insufficient_quota"}, errors.BudgetExceeded),
        (500, {}, errors.ModelUnavailable),
        (502, {}, errors.ProviderUnavailable),
        (503, {}, errors.ProviderUnavailable),
        (504, {}, errors.ProviderTimedOut),
        (500, {"message": "failed to load model x"}, errors.ModelUnavailable),
        (503, {"message": "The model is overloaded."}, errors.ModelUnavailable),
        (502, {"message": "model x could not be started"}, errors.ModelUnavailable),
        (504, {"message": "the model took too long"}, errors.TimedOut),
        (529, {}, errors.ProviderUnavailable),
        (307, {}, errors.BadRequest),
    ],
)
@pytest.mark.parametrize("wrap", [lambda e: {"error": e}, lambda e: {"type": "error", "error": e}, lambda e: e])
def test_every_status_has_its_error(status: int, error: dict, kind: type, wrap) -> None:
    found = from_status(status, encode(wrap(error)), {}, ASKED)
    assert type(found) is kind
    assert found.what and found.fix


@pytest.mark.parametrize(
    ("message", "extra", "prompt", "limit"),
    [
        ("prompt is too long: 210000 tokens > 200000 maximum", {}, "210,000", "200,000"),
        (
            "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease",
            {},
            "190,000",
            "200,000",
        ),
        (
            "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4900 in the"
            " messages, 100 in the completion).",
            {},
            "5,000",
            "4,096",
        ),
        ("request exceeds the available context size", {"n_prompt_tokens": 9000, "n_ctx": 2048}, "9,000", "2,048"),
        (
            "request (9000 tokens) exceeds the available context size (2048 tokens), try increasing it",
            {},
            "9,000",
            "2,048",
        ),
        (
            "The input token count (1,200,000) exceeds the maximum number of tokens allowed (1048576).",
            {},
            "1,200,000",
            "1,048,576",
        ),
        ("Input of claude-haiku-4-5-20251001: prompt is too long: 300 tokens > 200 maximum", {}, "300", "200"),
    ],
)
def test_too_long_prompts_say_both_numbers(message: str, extra: dict, prompt: str, limit: str) -> None:
    found = from_status(400, encode({"error": {"message": message, **extra}}), {}, ASKED)
    assert type(found) is errors.ContextTooLong
    assert f"{prompt} tokens" in found.what and limit in found.what


def test_too_long_without_numbers() -> None:
    body = {"error": {"code": "context_length_exceeded", "message": "Your input exceeds the context window."}}
    found = from_status(400, encode(body), {}, ASKED)
    assert found.what == "The conversation is too long for big-1."


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"type": "overloaded_error", "message": "x"}, errors.ProviderUnavailable),
        ({"type": "rate_limit_error"}, errors.RateLimited),
        ({"code": "rate_limit_exceeded"}, errors.RateLimited),
        ({"code": 502, "message": "upstream"}, errors.ProviderUnavailable),
        ({"code": 429}, errors.RateLimited),
        ({"type": "insufficient_quota"}, errors.BudgetExceeded),
        ({"type": "api_error"}, errors.ModelUnavailable),
        ({"type": "timeout_error"}, errors.TimedOut),
        ({"type": "invalid_request_error", "message": "no"}, errors.BadRequest),
        ({"message": "who knows"}, errors.ModelUnavailable),
    ],
)
def test_errors_inside_a_stream(error: dict, kind: type) -> None:
    assert type(from_event({"error": error}, ASKED)) is kind


@pytest.mark.parametrize(
    "secret",
    [
        "sk-ant-api03-abcDEF_123-xyz",
        "sk-proj-0123456789abcdef",
        "Bearer something.long",
        "AIzaSyA1234567890123456789012345678",
        "0123456789abcdef0123456789abcdef",
        "abcdefgh12345678",
        "sk-1234********wxyz",
        "gsk_abcdefghijkl",
    ],
)
def test_no_key_in_a_message(secret: str) -> None:
    said = tidy(f"Incorrect key provided: {secret}, see the page", ASKED)
    assert secret not in said and said.startswith("Incorrect key provided: …")


def test_messages_are_bounded_and_one_line() -> None:
    said = tidy("word\n\n" * 10_000, ASKED)
    assert len(said) <= LONGEST and "\n" not in said
    assert tidy(["not", "text"], ASKED) == ""
    assert tidy("The model claude-haiku-4-5-20251001 is busy", ASKED) == "The model claude-haiku-4-5-20251001 is busy"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx2.ConnectError("refused"), errors.ProviderUnavailable),
        (httpx2.ConnectTimeout("late"), errors.ProviderTimedOut),
        (httpx2.ReadTimeout("late"), errors.TimedOut),
        (httpx2.ReadError("gone"), errors.ModelUnavailable),
        (httpx2.DecodingError("no gzip"), errors.Unreadable),
        (httpx2.UnsupportedProtocol("ftp"), errors.BadRequest),
        (ConnectionRefusedError(), errors.ProviderUnavailable),
        (RuntimeError("secret sk-ant-123456"), errors.ProviderUnavailable),
    ],
)
def test_broken_connections(error: Exception, kind: type) -> None:
    found = explain(error, ASKED)
    assert type(found) is kind and "sk-ant" not in str(found)


def test_a_refused_connection_names_the_address() -> None:
    assert "http://host/v1" in explain(httpx2.ConnectError("x"), ASKED).what


def test_what_breaks_after_the_beginning_is_interrupted() -> None:
    assert type(explain(httpx2.ReadError("gone"), ASKED, began=True)) is errors.Interrupted


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("a", 1), ("a" * 400, 100), ("日本語", 3), ("日本 ab", 3)])
def test_estimate(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


def chat_end(usage: object) -> Done:
    decoder = ChatDecoder(ChatRequest("x/y", (Message("user", "12345678"),)), None)
    decoder.take({"choices": [{"delta": {"content": "word"}, "finish_reason": "stop"}], "usage": usage})
    return decoder.done()


def responses_end(usage: object) -> Done:
    decoder = ResponsesDecoder(ChatRequest("x/y", (Message("user", "12345678"),)), None)
    decoder.take({"type": "response.output_text.delta", "delta": "word"})
    decoder.take({"type": "response.completed", "response": {"usage": usage}})
    return decoder.done()


def test_reasoning_that_only_the_total_holds_is_output() -> None:
    """xAI and Gemini count completion_tokens without it, and charge for it."""
    told = {"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 135}
    usage = chat_end({**told, "completion_tokens_details": {"reasoning_tokens": 94}}).usage
    assert (usage.input, usage.output, usage.reasoning) == (32, 103, 94)
    assert chat_end(told).usage.output == 103
    assert chat_end({**told, "total_tokens": 41}).usage.output == 9
    assert chat_end({**told, "total_tokens": 0}).usage.output == 9


@pytest.mark.parametrize("wrong", ["7", None, -1, 1.5, True, [3], 2**70])
def test_counts_that_cannot_be_are_estimated(wrong: object) -> None:
    told: dict[str, object]
    for told in ({"prompt_tokens": wrong, "completion_tokens": 7}, {"prompt_tokens": 7, "completion_tokens": wrong}):
        assert chat_end(told).usage == Usage(input=6, output=1, estimated=True)
    for told in ({"input_tokens": wrong, "output_tokens": 7}, {"input_tokens": 7, "output_tokens": wrong}, {}):
        assert responses_end(told).usage == Usage(input=6, output=1, estimated=True)
    fine = {"prompt_tokens": 8, "completion_tokens": 7}
    assert chat_end({**fine, "prompt_tokens_details": {"cached_tokens": wrong}}).usage == Usage(input=8, output=7)
    assert chat_end({**fine, "completion_tokens_details": wrong}).usage == Usage(input=8, output=7)
    assert chat_end(wrong).usage.estimated
    claude = {"input_tokens": 8, "output_tokens": 7, "cache_read_input_tokens": wrong, "cache_creation": wrong}
    assert usage_of(claude) == Usage(input=8, output=7)


@pytest.mark.parametrize("cost", [float("nan"), float("inf"), -0.5, "0.1", True, 1e9])
def test_a_cost_that_cannot_be_is_unknown(cost: object) -> None:
    told = {"prompt_tokens": 8, "completion_tokens": 7, "cost": cost}
    assert chat_end(told).provider_cost is None
    assert chat_end({**told, "cost": 0.25}).provider_cost == 250_000_000
