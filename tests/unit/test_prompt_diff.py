"""Two versions compared: fields, lines, words, and that the largest prompts take no time."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from core.prompts.content import Content, parse_content
from core.prompts.editing.diff import Diff, Field, Gap, Row, Span, diff, fold, unified_text
from core.prompts.editing.sequence_diff import EFFORT, Effort, aligned, paired
from core.prompts.version import Version

QUICK = 2.0  # seconds of processor time, on any machine; here it takes a tenth


def content(*texts: tuple[str, str], **fields: Any) -> Content:
    return parse_content({"messages": [{"role": role, "content": text} for role, text in texts], **fields})


def user(text: str) -> Content:
    return content(("user", text))


def names(difference: Diff) -> list[str]:
    return [field.name for field in difference.fields]


def only(old: str, new: str) -> Field:
    (field,) = diff(user(old), user(new)).fields
    return field


def test_words_within_a_changed_line_are_marked() -> None:
    (row,) = only("You are a kind assistant.", "You are a very kind helper.").rows
    assert row.kind == "changed" and (row.old, row.new) == (1, 1)
    assert [span.text for span in row.before if span.changed] == ["assistant"]
    assert [span.text for span in row.after if span.changed] == ["very ", "helper"]
    assert "".join(span.text for span in row.after) == "You are a very kind helper."


def test_changed_neighbours_are_one_span() -> None:
    (row,) = only("Write three short lines, please.", "Write seven long lines, please.").rows
    assert row.after[1] == Span("seven long", True)


def test_lines_come_go_and_change() -> None:
    field = only("one\ntwo\nthree\nfour", "one\n2 and more\nthree\nthree and a half\nfour")
    assert [(row.kind, row.old, row.new) for row in field.rows] == [
        ("same", 1, 1),
        ("removed", 2, None),
        ("added", None, 2),
        ("same", 3, 3),
        ("added", None, 4),
        ("same", 4, 5),
    ]
    assert field.kind == "changed"
    assert [line.kind for line in field.lines] == ["same", "removed", "added", "same", "added", "same"]


def test_lines_of_a_rewritten_place_go_with_those_that_are_alike() -> None:
    field = only("Be kind to everybody.\nUse short words.", "Never lie.\nBe very kind to everybody.\nUse short words!")
    assert [(row.kind, row.old, row.new) for row in field.rows] == [
        ("added", None, 1),
        ("changed", 1, 2),
        ("changed", 2, 3),
    ]
    assert [line.kind for line in field.lines] == ["removed", "removed", "added", "added", "added"]


def test_a_line_end_at_the_end_is_a_difference() -> None:
    difference = diff(user("Hello"), user("Hello\n"))
    assert (difference.added, difference.removed) == (1, 0)


def test_the_same_has_no_fields() -> None:
    same = content(("system", "a"), ("user", "b"), variables={"x": {"default": 1}})
    assert diff(same, same) == Diff(()) == diff(None, None)
    assert unified_text(diff(same, same)) == ""


def test_nothing_before_or_after() -> None:
    new = content(("system", "a\nb"), ("user", "c"), model="openai/gpt-5")
    appeared, vanished = diff(None, new), diff(new, None)
    assert names(appeared) == ["System message", "User message", "Model"]
    assert (appeared.added, appeared.removed) == (4, 0) and (vanished.added, vanished.removed) == (0, 4)
    assert {field.kind for field in appeared.fields} == {"added"}
    assert {field.kind for field in vanished.fields} == {"removed"}


def test_a_message_that_was_put_in_does_not_shift_the_others() -> None:
    old = content(("system", "You help."), ("user", "Question: {{ q }}"))
    new = content(
        ("system", "You help."),
        ("user", "What is the capital of France?"),
        ("assistant", "Paris."),
        ("user", "The question: {{ q }}"),
    )
    difference = diff(old, new)
    assert [(field.name, field.kind) for field in difference.fields] == [
        ("User message 1", "added"),
        ("Assistant message", "added"),
        ("User message 2", "changed"),
    ]


def test_one_more_of_many_messages() -> None:
    many = [(role, f"{role} {n}") for n in range(50) for role in ("user", "assistant")]
    difference = diff(content(*many), content(("user", "first of all"), *many))
    assert [(field.name, field.kind) for field in difference.fields] == [("User message 1", "added")]


def test_a_message_that_was_taken_out() -> None:
    old = content(("user", "first"), ("assistant", "second"), ("user", "third"))
    difference = diff(old, content(("user", "third")))
    assert [(field.name, field.kind) for field in difference.fields] == [
        ("User message 1", "removed"),
        ("Assistant message", "removed"),
    ]


def test_a_message_that_was_written_anew_is_still_the_same_message() -> None:
    assert [field.kind for field in diff(content(("system", "Aaa.")), content(("system", "Zzz"))).fields] == ["changed"]
    roles = diff(content(("user", "The same text")), content(("assistant", "The same text")))
    assert sorted(field.kind for field in roles.fields) == ["added", "removed"]


def test_all_other_fields() -> None:
    old = Version("a", 1, content(("user", "x")), description="Old.", tags=("a", "b"))
    new = Version(
        "a",
        2,
        content(
            ("user", "x"),
            variables={"topic": {"description": "What about"}},
            examples=[{"input": "1", "output": "2"}, {"input": "3", "output": "4"}],
            nearest=1,
            model="openai/gpt-5",
            parameters={"temperature": 0.5},
            schema={"type": "object"},
        ),
        description="New.",
        tags=("a", "c"),
    )
    difference = diff(old, new)
    assert names(difference) == [
        "Description",
        "Tags",
        "Variables",
        "Examples",
        "Model",
        "Parameters",
        "Answer schema",
    ]
    text = unified_text(difference)
    assert "@@ Tags @@\n a\n-b\n+c\n" in text
    assert "+topic:\n+  description: What about\n" in text
    assert "+nearest: 1\n" in text and "+temperature: 0.5\n" in text and "+type: object\n" in text


def test_unchanged_lines_are_folded() -> None:
    old = "\n".join(f"line {n}" for n in range(1, 31))
    field = only(old, old.replace("line 15", "LINE 15"))
    folded = fold(field, context=2)
    assert [len(one.rows) if isinstance(one, Gap) else one.old for one in folded] == [12, 13, 14, 15, 16, 17, 13]
    assert len(fold(field, context=14)) == 30  # a gap of one line saves nothing
    text = unified_text(diff(user(old), user(old.replace("line 15", "LINE 15"))), context=1)
    assert text == (
        "@@ User message @@\n… 13 unchanged lines\n line 14\n-line 15\n+LINE 15\n line 16\n… 14 unchanged lines\n"
    )


def test_both_sides_can_be_put_together_again() -> None:
    chance = random.Random(7)
    for _ in range(300):
        old, new = (
            "\n".join(chance.choice(["a b", "a c", "b", "", "c d e"]) for _ in range(chance.randint(1, 14)))
            for _ in range(2)
        )
        if old == new:
            continue
        rows = only(old, new).rows
        before = [row.before for row in rows if row.old is not None]
        after = [row.after for row in rows if row.new is not None]
        assert "\n".join("".join(span.text for span in spans) for spans in before) == old
        assert "\n".join("".join(span.text for span in spans) for spans in after) == new
        assert [row.old for row in rows if row.old] == list(range(1, len(before) + 1))
        assert [row.new for row in rows if row.new] == list(range(1, len(after) + 1))


def test_blocks_are_in_order_and_cover_both_sides() -> None:
    chance = random.Random(3)
    for steps in (0, 5, 30, EFFORT):
        for _ in range(200):
            old, new = ([chance.choice("abcdef") for _ in range(chance.randint(0, 15))] for _ in range(2))
            found = list(aligned(old, new, Effort(steps)))
            assert [index for _, removed, _ in found for index in removed] == list(range(len(old)))
            assert [index for _, _, added in found for index in added] == list(range(len(new)))
            assert all([old[i] for i in one] == [new[j] for j in other] for same, one, other in found if same)


def test_without_effort_it_is_poorer_and_still_right() -> None:
    assert list(aligned("abcabba", "cbabacx", Effort(0))) == [(False, range(7), range(7))]
    assert list(aligned("xxabyy", "xxbayy", Effort(0))) == [
        (True, range(2), range(2)),
        (False, range(2, 4), range(2, 4)),
        (True, range(4, 6), range(4, 6)),
    ]


def test_equal_lines_are_the_same_also_where_the_effort_does_not_reach() -> None:
    old, new = HARD["every second line"]
    rows = only(old, new).rows
    assert len(rows) == 20_000
    assert [row.kind for row in rows] == ["same", "changed"] * 10_000


def test_like_goes_with_like_in_order() -> None:
    table = [[0, 0.9, 0.2], [0.8, 0, 0.5]]
    assert list(paired(range(2), range(3), lambda old, new: table[old][new])) == [(None, 0), (0, 1), (1, 2)]
    assert list(paired(range(0), range(3, 5), lambda old, new: 1.0)) == [(None, 3), (None, 4)]
    assert list(paired(range(5, 6), range(5, 6), lambda old, new: 0.0)) == [(5, None), (None, 5)]


LINES = [f"line {n} of {random.Random(n).random()}" for n in range(20_000)]
LONG = "".join(random.Random(5).choices("abcdefgh  ", k=1_000_000))
HARD = {
    "all different": ("\n".join(LINES), "\n".join(f"other {n} {line[::-1]}" for n, line in enumerate(LINES))),
    "all a little different": ("\n".join(LINES), "\n".join(line + " x" for line in LINES)),
    "turned round": ("\n".join(LINES), "\n".join(LINES[::-1])),
    "shuffled": ("\n".join(LINES), "\n".join(random.Random(1).sample(LINES, len(LINES)))),
    "two kinds of line": (
        "\n".join(random.Random(1).choices("ab", k=20_000)),
        "\n".join(random.Random(2).choices("ab", k=20_000)),
    ),
    "every second line": ("\n".join(LINES), "\n".join(line * (n % 2 + 1) for n, line in enumerate(LINES))),
    "one long line, little changed": (LONG, LONG[:500_000] + "CHANGED" + LONG[500_010:]),
    "one long line, all changed": (LONG, LONG[::-1]),
    "only line ends": ("\n" * 1_000_000, "\n" * 999_000 + "x\n"),
    "lines of 20,000": (LONG.replace(" ", "\n", 40), LONG[9:].replace(" ", "\n", 40)),
    "many long lines": (
        "\n".join(LONG[n * 19_000 : (n + 1) * 19_000] for n in range(40)),
        "\n".join(LONG[n * 19_000 : (n + 1) * 19_000].replace("ab", "x") for n in range(40)),
    ),
}


@pytest.mark.parametrize("case", HARD)
def test_large_texts_take_no_time(case: str) -> None:
    old, new = (user(text) for text in HARD[case])
    start = time.process_time()
    difference = diff(old, new)
    unified_text(difference)
    assert time.process_time() - start < QUICK
    assert difference.added and difference.removed


def test_many_messages_take_no_time() -> None:
    old = content(*(("user", LONG[n * 5000 : n * 5000 + 5000]) for n in range(200)))
    new = content(*(("user", LONG[n * 5000 + 50 : n * 5000 + 5000]) for n in range(200)))
    start = time.process_time()
    assert len(diff(old, new).fields) == 200
    assert time.process_time() - start < QUICK


def test_a_long_line_shows_where_it_changed() -> None:
    field = only(LONG, LONG[:500_000] + "CHANGED" + LONG[500_010:])
    (row,) = field.rows
    assert isinstance(row, Row) and row.kind == "changed"
    assert [span.changed for span in row.after] == [False, True, False]
    assert row.after[1].text == "CHANGED"
