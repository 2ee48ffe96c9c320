"""What the pages make of numbers, texts, models and errors, without a browser."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator
from decimal import Decimal

import gradio as gr
import pytest

from core.chat.runs import Snapshot
from core.conversations import Hit, Meter, Turn
from core.errors import BadRequest
from core.gateway import BreakerState
from core.messages import Parameters, Usage
from core.models.catalog import ProviderModels
from core.models.info import Abilities, ModelInfo
from core.models.prices import Price, Rates
from core.providers import Status
from core.text import MARK_BEGIN, MARK_END
from pages.chat import history, view
from pages.chat.options import DEFAULT, Options
from pages.chat.view import Look
from pages.kit import answer, format, handlers, model_picker
from pages.settings import view as settings_view

TODAY = datetime.date(2026, 11, 21)
NOW = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.UTC)
LOOK = Look(lambda model: model.partition("/")[2], lambda file: "")


@pytest.mark.parametrize(
    ("nano", "written"),
    [
        (None, "price unknown"),
        (0, "$0"),
        (1, "<$0.000001"),
        (34_000, "$0.000034"),
        (1_234_000, "$0.0012"),
        (12_345_678, "$0.012"),
        (999_000_000, "$0.999"),
        (1_230_000_000, "$1.23"),
        (1_234_567_000_000_000, "$1,234,567.00"),
        (-1_234_000, "-$0.0012"),
    ],
)
def test_money(nano: int | None, written: str) -> None:
    assert format.money(nano) == written


@pytest.mark.parametrize(
    ("number", "written"),
    [(0, "0"), (8192, "8,192"), (12_400, "12.4k"), (200_000, "200k"), (999_949, "999.9k"), (1_050_000, "1.05M")],
)
def test_count(number: int, written: str) -> None:
    assert format.count(number) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.1, "0.10 s"), (0.996, "1.0 s"), (1.34, "1.3 s"), (9.96, "10 s"), (59.4, "59 s"), (125, "2 min 5 s")],
)
def test_seconds(value: float, written: str) -> None:
    assert format.seconds(value) == written


def test_size_and_day() -> None:
    assert [format.size(n) for n in (320, 12_000, 3_400_000)] == ["320 B", "12 kB", "3.4 MB"]
    days = [format.day(NOW - datetime.timedelta(days=n), NOW) for n in (0, 1, 3, 40)]
    assert days == ["Today", "Yesterday", "Last 7 days", "October 2026"]


def meter(**changes: object) -> Meter:
    values: dict[str, object] = {"call": 1, "usage": Usage(31, output=61), "cost": 0, "first_token": 0.1}
    return Meter(**{**values, "duration": 0.64, "stop_reason": "stop", **changes})  # type: ignore[arg-type]


def test_meter_line() -> None:
    line = answer.meter_line("smollm2", meter())
    assert line == "smollm2 · 31 in · 61 out · $0 · first token 0.10 s · 113 tok/s"
    cached = meter(usage=Usage(1000, cached=900, output=5, reasoning=4), cost=None, first_token=None)
    assert answer.meter_line("m", cached) == "m · 1,000 in (900 cached) · 5 out (4 thinking) · price unknown"
    counted = meter(usage=Usage(7, estimated=True), stop_reason="other")
    assert answer.meter_line("m", counted, "stopped").endswith("stopped by you")
    assert "about 7 in" in answer.meter_line("m", counted, "stopped")
    declined = meter(stop_reason="refusal", detail="unsafe")
    assert answer.meter_line("m", declined).endswith("declined: unsafe")


def test_footing() -> None:
    line = view.footing(1_234_000, False, 92, 8192, "demonstration model")
    assert "$0.0012" in line
    assert "<b>92</b> of 8,192 tokens" in line
    assert "1 % of the context window is used" in line
    assert "demonstration model" in line
    assert "price unknown" in view.footing(0, True, 0, None, "")
    assert "at least $0.0012" in view.footing(1_234_000, True, 0, None, "")
    assert 'class="full"' in view.footing(0, False, 9000, 8192, "")


def turn(**changes: object) -> Turn:
    values: dict[str, object] = dict.fromkeys(("parent", "meter"), None)
    values |= {"id": "t1", "conversation": "c", "role": "assistant", "text": "hello", "thinking": "", "files": ()}
    values |= {"model": "maker/m", "status": "complete", "error": "", "rating": 0, "created": NOW, "siblings": ("t1",)}
    return Turn(**{**values, **changes})  # type: ignore[arg-type]


def below(drawn: list[object]) -> str:
    return str(drawn[-1].content[-1].value)  # type: ignore[attr-defined]


def test_what_a_person_wrote_is_escaped() -> None:
    [message] = view.messages([turn(role="user", text="<b>x</b> & \x00")], LOOK)
    assert "&lt;b&gt;x&lt;/b&gt; &amp; " in message.content[0].value


def test_branches_are_offered_where_there_are_some_and_not_in_a_comparison() -> None:
    several = turn(siblings=("t0", "t1", "t2"))
    drawn = below(view.messages([several], LOOK))
    assert "2/3" in drawn
    assert 'data-do="show_branch" data-turn="t0"' in drawn
    assert 'data-do="show_branch" data-turn="t2"' in drawn
    assert "show_branch" not in below(view.messages([turn()], LOOK))
    comparing = Look(LOOK.name, LOOK.picture, comparing=True)
    assert "show_branch" not in below(view.messages([several], comparing))


def test_trouble_says_what_and_offers_a_way_out() -> None:
    failed = below(view.messages([turn(status="failed", text="", error="It is <down>. Wait.")], LOOK))
    assert "It is &lt;down&gt;. Wait." in failed
    assert 'data-do="retry_turn"' in failed
    assert "continue_turn" not in failed
    broken = below(view.messages([turn(status="interrupted")], LOOK))
    assert 'data-do="continue_turn"' in broken


def test_a_running_answer_folds_its_thinking_when_the_text_begins() -> None:
    at_first = Snapshot("t1", "", "hm", "streaming", model="maker/m")
    thinking, rest = view.answer(at_first, LOOK)
    assert thinking.metadata == {"title": "Thinking", "status": "pending"}
    assert "thinking" in rest.content[-1].value
    later = Snapshot("t1", "well", "hm", "streaming", notices=("Tried again.",), model="maker/m")
    thinking, rest = view.answer(later, LOOK)
    assert thinking.metadata == {"title": "Thoughts", "status": "done"}
    assert rest.content[0].text == "well"
    assert "Tried again." in rest.content[-1].value


def test_search_results_are_escaped_and_say_how_they_were_found() -> None:
    hit = Hit("c1", "<i>", "t1", f"a {MARK_BEGIN}<b>{MARK_END} c", "both", 1.0)
    drawn = history.found([hit], "<q>", "c1")
    assert "<mark>&lt;b&gt;</mark>" in drawn
    assert "&lt;i&gt;" in drawn
    assert "found by words and meaning" in drawn
    assert "Nothing is like “&lt;q&gt;”." in history.found([], "<q>", "")


def _price(input: str, output: str) -> Price:
    return Price("a table", (Rates.of(0, {"input": Decimal(input), "output": Decimal(output)}, "a table"),))


def test_choices() -> None:
    ready, without = Status("ready"), Status("no_key", "No key for Acme.", "Add ACME_API_KEY.")
    old = ModelInfo("a/old", "Old", retires=datetime.date(2026, 12, 1), note="slow")
    groups = [
        ProviderModels("a", "Alpha", False, ready, (ModelInfo("a/new"), old)),
        ProviderModels("acme", "Acme", True, without, (ModelInfo("acme/x"),)),
        ProviderModels("embedded", "Embedded", False, ready, (ModelInfo("embedded/m"),)),
    ]
    prices = {"a/new": _price("2.5", "10"), "embedded/m": _price("0", "0")}
    entries = model_picker.choices(groups, TODAY, prices.get)
    assert entries == [
        ("new  ·  Alpha  ($2.5 in, $10 out per million tokens)", "a/new"),
        ("Old  ·  Alpha  (retires 2026-12-01; slow; price unknown)", "a/old"),
        ("m  ·  Embedded  (free)", "embedded/m"),
        ("Acme  —  No key for Acme. Add ACME_API_KEY.", "!acme"),
    ]
    assert model_picker.models_only(entries)[1] == ("Old  ·  Alpha", "a/old")
    assert model_picker.default(entries, []) == "embedded/m"
    assert model_picker.default(entries, ["acme/x", "a/old"]) == "a/old"
    kept = model_picker.with_kept(entries, ["gone/x", "a/new"], {"gone/x": "Gone"})
    assert kept[0] == ("Gone (not available now)", "gone/x")
    assert len(kept) == 5


@pytest.fixture(scope="module")
def options() -> Options:
    with gr.Blocks():
        return Options.build()


def values(options: Options, **changes: object) -> dict[object, object]:
    empty = dict.fromkeys(options.all, "")
    empty |= {options.thinking: DEFAULT, options.effort: DEFAULT, options.fallbacks: []}
    return empty | {getattr(options, name): value for name, value in changes.items()}


def test_empty_options_send_nothing(options: Options) -> None:
    assert options.parameters(values(options)) == Parameters()


def test_options_there_and_back(options: Options) -> None:
    filled = values(
        options, temperature="0,5", top_p="1", max_tokens="1,000", seed="-3", stop="END\n\n###", effort="low",
        thinking="off", schema='{"type": "object"}',
    )  # fmt: skip
    parameters = options.parameters(filled)
    assert parameters == Parameters(
        1000, 0.5, 1.0, -3, ("END", "###"), effort="low", thinking=False, response_schema={"type": "object"}
    )
    again = {**values(options), **options.fill("system", parameters)}
    assert options.parameters(again) == parameters


@pytest.mark.parametrize(
    ("field", "wrong"),
    [("temperature", "3"), ("temperature", "hot"), ("temperature", "nan"), ("top_p", "-1"), ("max_tokens", "0"),
     ("max_tokens", "1.5"), ("seed", "x"), ("schema", "{"), ("schema", "[1]"), ("schema", '{"a":' * 100_000)],
)  # fmt: skip
def test_options_that_make_no_sense(options: Options, field: str, wrong: str) -> None:
    with pytest.raises(BadRequest):
        options.parameters(values(options, **{field: wrong}))


def test_options_fit_the_model(options: Options) -> None:
    plain = ModelInfo("a/plain", abilities=Abilities(temperature=False, stop=False))
    fitted = options.fit([plain])
    assert fitted[options.temperature]["visible"] is False
    assert fitted[options.effort]["visible"] is False
    assert "not take a temperature, a seed, stop texts or a JSON schema" in fitted[options.cannot]
    able = ModelInfo("a/able", max_output=4096, abilities=Abilities(thinking=True, efforts=("low", "high"), seed=True))
    fitted = options.fit([plain, able], "high")
    assert fitted[options.temperature]["visible"] is True
    assert fitted[options.effort]["value"] == "high"
    assert fitted[options.max_tokens]["placeholder"] == "up to 4,096"
    assert options.fit([able], "max")[options.effort]["value"] == DEFAULT


async def test_nothing_but_a_sentence_gets_out() -> None:
    @handlers.guarded
    async def known() -> None:
        raise BadRequest("It is <wrong>.", "Change it.")

    @handlers.guarded
    async def stream() -> AsyncIterator[int]:
        yield 1
        raise RuntimeError("the secret is 42")

    @handlers.guarded
    def plain() -> None:
        raise ValueError("the secret is 42")

    with pytest.raises(gr.Error) as caught:
        await known()
    assert caught.value.message == "It is &lt;wrong&gt;. Change it."
    assert caught.value.print_exception is False
    with pytest.raises(gr.Error) as caught:
        async for _ in stream():
            pass
    assert caught.value.message == handlers.UNEXPECTED
    with pytest.raises(gr.Error) as caught:
        plain()
    assert "secret" not in caught.value.message


def test_what_the_page_sends_is_checked() -> None:
    event = gr.EventData(None, {"turn": "t1", "value": {"a": 1}})
    assert handlers.sent(event, "turn") == "t1"
    assert handlers.sent(event, "value") == ""
    assert handlers.sent(event, "missing") == ""
    assert handlers.sent(gr.EventData(None, None), "turn") == ""


def test_the_settings_tab_names_what_is_left_alone() -> None:
    group = ProviderModels("qwen", "Qwen", True, Status("ready"), ())
    paused = BreakerState("open", 5, datetime.datetime.now(datetime.UTC), "It is <down>.")
    of_model = settings_view.providers([group], {"qwen": BreakerState("closed", models={"qwen/a": paused})})
    assert "Partly paused" in of_model and "qwen/a: 5 failures in a row. It is &lt;down&gt;. Tried again at" in of_model
    assert "Paused" in settings_view.providers([group], {"qwen": paused})
    assert "Ready" in settings_view.providers([group], {"qwen": BreakerState("closed")})


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({}, "on for programs on this machine"),
        ({"PARLEY_SHARED": "on"}, "off: set PARLEY_API_KEYS to open it on a shared server"),
        ({"PARLEY_ROOT_PATH": "/parley"}, "off: set PARLEY_API_KEYS to open it behind a proxy"),
        ({"PARLEY_HOST": "0.0.0.0"}, "off: set PARLEY_API_KEYS"),
        ({"PARLEY_SHARED": "on", "PARLEY_API_KEYS": "k"}, "on for holders of one of PARLEY_API_KEYS"),
    ],
)
def test_settings_say_what_the_api_does(settings, own: dict[str, str], said: str) -> None:
    assert said in settings_view.about(settings(**own), "1", None)
