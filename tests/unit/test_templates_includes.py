"""A prompt within a prompt: found by its label now, rendered in its place, and recorded."""

from __future__ import annotations

import time
from typing import Any

import pytest

from core.errors import BadRequest, NotFound
from core.names import Ref
from core.prompts.content import Content, parse_content
from core.prompts.templates.templates import Part
from core.prompts.version import Version
from tests.rendering import templates_of


class Shelf:
    """Prompts by name; a list holds versions 1, 2, …, and a label means the last."""

    def __init__(self, **prompts: Any) -> None:
        self.asked: list[str] = []
        self.prompts = {name: text if isinstance(text, list) else [text] for name, text in prompts.items()}
        self.templates = templates_of(self.lookup)

    def lookup(self, ref: Ref) -> Version:
        self.asked.append(str(ref))
        if ref.name not in self.prompts:
            raise NotFound(f"There is no prompt {ref.name}.", "Did you mean another?")
        texts = self.prompts[ref.name]
        number = ref.number or len(texts)
        text = texts[number - 1]
        return Version(ref.name, number, text if isinstance(text, Content) else one(text))

    def render(self, text: str, values: dict[str, Any] | None = None, **fields: Any) -> str:
        return self.templates.render(one(text, **fields), values or {}).messages[0].text

    def problem(self, text: str | Version, values: dict[str, Any] | None = None) -> BadRequest:
        with pytest.raises(BadRequest) as caught:
            self.templates.render(one(text) if isinstance(text, str) else text, values or {})
        return caught.value


def one(text: str, **fields: Any) -> Content:
    return parse_content({"messages": [{"role": "user", "content": text}], **fields})


def test_the_text_is_put_in_and_recorded() -> None:
    shelf = Shelf(tone=["old", "Be {{ tone }}."], end="Bye, {{ who }}.")
    prompt = one('{% include "tone@production" %} {{ q }} {% include "end@1" %}')
    made = shelf.templates.render(prompt, {"tone": "kind", "q": "Why?", "who": "Ada"})
    assert made.messages[0].text == "Be kind. Why? Bye, Ada."
    assert made.parts == (
        Part("tone", 2, one("Be {{ tone }}.").digest()),
        Part("end", 1, one("Bye, {{ who }}.").digest()),
    )
    assert shelf.asked == ["tone@production", "end@1"]


def test_nested_and_repeated_parts_are_recorded_once() -> None:
    shelf = Shelf(a='[{% include "b" %}{% include "c" %}]', b='({% include "c" %})', c="c")
    prompt = parse_content(
        {
            "messages": [
                {"role": "system", "content": '{% include "c" %}'},
                {"role": "user", "content": '{% include "a" %}'},
            ]
        }
    )
    made = shelf.templates.render(prompt, {})
    assert [message.text for message in made.messages] == ["c", "[(c)c]"]
    assert [part.name for part in made.parts] == ["c", "a", "b"]
    assert sorted(shelf.asked) == ["a@latest", "b@latest", "c@latest"]


def test_different_versions_of_one_prompt_are_different_parts() -> None:
    shelf = Shelf(a=["one", "two"])
    made = shelf.templates.render(one('{% include "a@1" %}{% include "a@2" %}{% include "a@latest" %}'), {})
    assert made.messages[0].text == "onetwotwo"
    assert [(part.name, part.number) for part in made.parts] == [("a", 1), ("a", 2)]


def test_a_moved_label_counts_at_once() -> None:
    shelf = Shelf(a="one")
    assert shelf.render('{% include "a" %}') == "one"
    shelf.prompts["a"].append("two {{ x }}")
    assert shelf.render('{% include "a" %}', {"x": 1}) == "two 1"


def test_its_variables_join_and_an_outer_declaration_wins() -> None:
    inner = one(
        "{{ tone }} {{ length }} {{ found }}",
        variables={"tone": {"default": "kind"}, "length": {"default": "short"}, "never": {"default": 1}},
    )
    shelf = Shelf(inner=inner)
    text = '{{ first }} {% include "inner" %}'
    fields = {"variables": {"tone": {"default": "stern"}}}
    needed = shelf.templates.variables(one(text, **fields))
    assert [(one.name, one.variable.default, one.declared) for one in needed] == [
        ("first", None, False),
        ("tone", "stern", True),
        ("length", "short", True),
        ("found", None, False),
    ]
    assert shelf.render(text, {"first": 1, "found": 2, "never": 3}, **fields) == "1 stern short 2"
    checked = shelf.templates.check(one(text, **fields))
    assert list(checked.variables) == ["tone", "first", "found"]  # `length` stays the other prompt's affair


def test_values_stay_text_in_it() -> None:
    shelf = Shelf(inner="[{{ x }}]")
    value = '{{ 7 * 7 }}{% include "inner" %}'
    assert shelf.render('{% include "inner" %}', {"x": value}) == f"[{value}]"


def test_what_is_set_around_it_counts_in_it_and_not_the_other_way_round() -> None:
    shelf = Shelf(inner="{{ tone }}{% set tone = 'lost' %}{% set other = 1 %}")
    assert shelf.render('{% set tone = "kind" %}{% include "inner" %} {{ tone }}') == "kind kind"
    assert shelf.render('{% for tone in ["a", "b"] %}{% include "inner" %}{% endfor %}') == "ab"
    needed = shelf.templates.variables(one('{% include "inner" %}{{ other }}'))
    assert [one.name for one in needed] == ["tone", "other"]


def test_a_line_of_its_own() -> None:
    shelf = Shelf(bare="Be kind.", full="Be kind.\n")
    for name in ("bare", "full"):
        assert shelf.render(f'One\n  {{% include "{name}" %}}\nTwo\n') == "One\nBe kind.\nTwo\n"
    assert shelf.render('Tone: {% include "bare" %}\nTwo') == "Tone: Be kind.\nTwo"
    assert shelf.render('Tone: {% include "bare" -%}\nTwo') == "Tone: Be kind.Two"
    assert shelf.render('{% include "bare" %}') == "Be kind."
    assert shelf.render('{% include "bare" %} And honest.\n') == "Be kind. And honest.\n"


def test_a_circle_is_named() -> None:
    shelf = Shelf(a='{% include "b" %}', b='\n{% include "c" %}', c='{% include "a@production" %}')
    error = shelf.problem('{% include "a" %}')
    assert error.what == "1st message (user), in c@1, line 1: A prompt cannot include itself: a -> b -> c -> a."
    assert "a -> b -> c -> a" in shelf.problem(shelf.lookup(Ref("a"))).what


def test_a_prompt_cannot_include_itself() -> None:
    shelf = Shelf(a='{% include "a" %}', old=["text", '{% include "old@1" %}'])
    assert "itself: a -> a." in shelf.problem('{% include "a" %}').what
    assert "itself: old -> old." in shelf.problem(shelf.lookup(Ref("old"))).what
    with pytest.raises(BadRequest, match="itself: new/one -> new/one"):
        shelf.templates.check(one('{% include "new/one" %}'), name="new/one")


def test_how_deep_it_may_be() -> None:
    chain = {f"p{n}": f'{n} {{% include "p{n + 1}" %}}' for n in range(30)}
    shelf = Shelf(**chain)
    assert shelf.problem('{% include "p0" %}').what.startswith(
        "1st message (user), in p9@1, line 1: Prompts include each other more than 10 deep: p0 -> p1"
    )
    shelf.prompts["p10"] = ["."]
    assert "more than 10 deep" in shelf.problem('{% include "p0" %}').what
    shelf.prompts["p9"] = ["."]
    assert shelf.render('{% include "p0" %}').startswith("0 1 2 3")


def test_how_much_it_may_be() -> None:
    wide = {f"p{n}": "".join(f'{{% include "p{n + 1}@{m}" %}}' for m in (1, 2)) for n in range(9)}
    shelf = Shelf(**{name: [text, text] for name, text in wide.items()}, p9=["x", "y"])
    assert "more than 200 includes" in shelf.problem('{% include "p0" %}').what
    large = Shelf(a="x" * 1_900_000)
    assert "more than 6,000,000 bytes" in large.problem('{% include "a" %}' * 5).what


def test_what_is_too_much_is_refused_before_all_of_it_is_read() -> None:
    shelf = Shelf(**{f"p{n}": "{{ x }}" * 300 + str(n) for n in range(40)})
    error = shelf.problem("".join(f'{{% include "p{n}" %}}' for n in range(40)))
    assert error.what == (
        "1st message (user), in p3@1: The template does too much: "
        "the messages have, with what they include, more than 5,000 words and signs."
    )
    assert len(shelf.asked) == 4
    large = Shelf(**{f"p{n}": "x" * 1_900_000 + str(n) for n in range(9)})
    error = large.problem("".join(f'{{% include "p{n}" %}}' for n in range(9)))
    assert "in p3@1" in error.what and "more than 6,000,000 characters" in error.what and len(large.asked) == 4


def test_a_long_line_with_includes_takes_no_time() -> None:
    start = time.thread_time()
    made = Shelf(a="b").render('{% include "a" %}' + "include " * 30_000 + "\n.")
    assert len(made) > 240_000 and time.thread_time() - start < 1


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('a\n{% include "no/such@3" %}', "line 2: There is no prompt no/such."),
        ('{% include "../etc" %}', "line 1: '../etc' cannot be the name of a prompt."),
        ('{% include "a@NO" %}', "line 1: 'NO' cannot be a label."),
        ('{% include "" %}', "line 1: The prompt has no name."),
        ("{% include name %}", "line 1: An include needs the name of one prompt in quotation marks."),
        ('{% include ["a", "b"] %}', "line 1: An include needs the name of one prompt in quotation marks."),
        ('{% include "a" ~ "b" %}', "line 1: An include needs the name of one prompt in quotation marks."),
        ('{% include "a" ignore missing %}', "line 1: An include may not say ignore missing."),
        ('{% include "a" without context %}', "line 1: An include may not say without context."),
        ('{% include "chat" %}', "line 1: chat@1 has 2 messages and cannot be included."),
        ('\n{% include "broken" %}', "in broken@1, line 2: The template is wrong:"),
        ('{% include "outer" %}', "in inner@1, line 3: The filter nope is not supported."),
        ('{% include "fails" %}', "in fails@1, line 2: It cannot be worked out: unable to calculate 1 / 0."),
        (
            '{% include "a" %}\n{{ 1 / 0 }}',
            "(user), line 2: It cannot be worked out: unable to calculate 1 / 0.",
        ),
    ],
)
def test_mistakes_are_told_with_their_place(text: str, what: str) -> None:
    chat = parse_content({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})
    shelf = Shelf(
        a="text",
        chat=chat,
        broken="\n{% if %}",
        outer='\n{% include "inner" %}',
        inner="\n\n{{ 1|nope }}",
        fails="\n{{ 1 / 0 }}",
    )
    assert what in shelf.problem(text).what


def test_with_context_is_what_happens_anyway() -> None:
    assert Shelf(a="[{{ x }}]").render('{% include "a" with context %}', {"x": 1}) == "[1]"


def test_an_include_that_is_not_reached_is_looked_up_all_the_same() -> None:
    shelf = Shelf(a="[{{ x }}]")
    text = '{% if ok %}{% include "a" %}{% endif %}.'
    assert shelf.render(text, {"ok": False, "x": 1}) == "."
    assert shelf.asked == ["a@latest"]
