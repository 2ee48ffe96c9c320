"""What the Prompts tab makes of prompts, without a browser."""

from __future__ import annotations

import ast
import datetime
import json
import shlex
from dataclasses import replace

import pytest

from core.prompts import Move, PromptEntry, PromptHit
from core.prompts.content import parse_content
from core.prompts.editing.diff import diff
from core.prompts.usage import PromptUse
from core.prompts.version import Version
from pages.prompts import diff as prompts_diff
from pages.prompts import prompt_list, report, view, words
from pages.prompts.prompt_list import Frame
from pages.prompts.room import Room, total

NOW = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.UTC)
NASTY = "<img src=x onerror=alert(1)>\"'&"
FRAME = Frame(NOW, "", frozenset({"production"}), {}, 0, writable=True)


def made(text: str = "Say {{ thing }}.", number: int = 1, **about: object) -> Version:
    variables = {"thing": {"example": NASTY}, "flags": {"example": [True, None, {"a": 1.5}]}, "free": {}}
    content = parse_content({"messages": [{"role": "system", "content": text}], "variables": variables})
    return Version("team/reply", number, content, time=NOW, **about)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("passed", "said"),
    [
        ({"seconds": 5}, "just now"),
        ({"minutes": 5}, "5 min ago"),
        ({"hours": 3}, "3 h ago"),
        ({"days": 1}, "yesterday"),
        ({"days": 12}, "12 days ago"),
        ({"days": 49}, "3 Oct 2026"),
    ],
)
def test_times_as_people_say_them(passed: dict[str, int], said: str) -> None:
    assert words.ago(NOW - datetime.timedelta(**passed), NOW) == said


def test_programs_hold_the_values_as_they_are() -> None:
    version = made()
    call = ast.parse(words.python(version, {}, ())).body[-2]
    assert isinstance(call, ast.Assign) and isinstance(call.value, ast.Call)
    given = {word.arg: ast.literal_eval(word.value) for word in call.value.keywords}
    assert given["model"] == "prompt/team/reply@1"
    assert given["extra_body"]["variables"] == {"thing": NASTY, "flags": [True, None, {"a": 1.5}], "free": None}
    assert given["extra_body"]["prompt_model"] == words.MODEL  # the page puts in the one that is chosen
    body = json.loads(shlex.split(words.curl(version, {}, ()))[-1])
    assert body["variables"] == given["extra_body"]["variables"]
    assert body["messages"] == given["messages"] == [{"role": "user", "content": "Your question"}]


def test_programs_ask_for_what_is_live() -> None:
    version = made(number=2)
    assert '"prompt/team/reply@production"' in words.python(version, {"production": 2}, ("production",))
    assert '"prompt/team/reply@2"' in words.python(version, {"production": 1, "staging": 2}, ("production",))


def test_nothing_that_somebody_wrote_becomes_html() -> None:
    old = made(NASTY, 1)
    new = made(NASTY + " more", 2, description=NASTY, tags=(NASTY[:20],), change=NASTY, author=NASTY)
    entry = PromptEntry("team/reply", (1, 2), new, {"production": 2})
    move = Move(1, NOW, NASTY, "production", None, 2, NASTY, "", "", "")
    room = Room(entry, new, [new, old], [move], FRAME.protected, {}, NOW, problem=NASTY)
    pages = [
        prompt_list.whole([entry], "tag:" + NASTY, [], FRAME),
        prompt_list.found([PromptHit("team/reply", 1, NASTY, "words", 1.0)], {"team/reply": entry}, NASTY, "", FRAME),
        view.head(room),
        view.views(room),
        view.lost(NASTY, NASTY),
        prompts_diff.whole(old, new, diff(old, new)),
    ]
    for page in pages:
        assert "<img" not in page
        assert "&lt;img" in page


def test_a_search_leads_to_the_version_that_was_found() -> None:
    entry = PromptEntry("team/reply", (1, 2), made(number=2), {})
    hits = [PromptHit("team/reply", 1, "old words", "words", 1.0)]
    assert 'data-ref="team/reply@1"' in prompt_list.found(hits, {"team/reply": entry}, "old", "", FRAME)
    hits = [replace(hits[0], number=2)]
    assert 'data-ref="team/reply"' in prompt_list.found(hits, {"team/reply": entry}, "old", "", FRAME)
    assert "Nothing is like" in prompt_list.found(hits, {"team/reply": entry}, "old", "label:staging", FRAME)


def test_long_lists_end_with_a_hint() -> None:
    entries = [PromptEntry(f"p{n}", (1,), made(), {}) for n in range(prompt_list.MOST_ROWS + 7)]
    page = prompt_list.whole(entries, "", [], FRAME)
    assert page.count('class="prompt"') == prompt_list.MOST_ROWS
    assert "7 more." in page


def test_which_versions_are_compared_first() -> None:
    versions = [made(number=n, parent=1 if n == 4 else n - 1 or None) for n in (4, 3, 2, 1)]
    entry = PromptEntry("team/reply", (1, 2, 3, 4), versions[0], {})

    def pair(version: Version) -> tuple[int, int]:
        return Room(entry, version, versions, [], (), {}, NOW).pair

    assert pair(versions[0]) == (1, 4)  # what it was made from
    assert pair(versions[1]) == (2, 3)
    assert pair(replace(versions[1], parent=9)) == (2, 3)
    assert pair(versions[3]) == (1, 1)


def test_use_of_all_versions_together() -> None:
    uses = [PromptUse(2, 300, 0, NOW, 1, 0), PromptUse(1, 0, 1, NOW - datetime.timedelta(days=1), 0, 2)]
    assert total(uses) == PromptUse(3, 300, 1, NOW, 1, 2)
    assert total([]) == PromptUse()


def test_a_file_that_cannot_be_read_is_not_said_to_be_here_already() -> None:
    broken = report.before([report.ReadFile("a.json", trouble="Line 1 is no JSON.")], "")
    assert "no prompt in it that can be imported" in broken and "already" not in broken and "Line 1" in broken
