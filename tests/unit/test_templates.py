"""Prompts as templates: which variables they need, what values do, and what is said about mistakes."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from core.errors import BadRequest
from core.messages import Message
from core.names import Ref
from core.prompts.content import Content, Variable, parse_content
from core.prompts.templates.templates import MissingVariables, Needed
from core.prompts.version import Version
from tests.rendering import templates_of


def no_lookup(ref: Ref) -> Version:
    pytest.fail(f"{ref} was looked up")


templates = templates_of(no_lookup)


def content(*texts: str, system: str = "", **fields: Any) -> Content:
    messages = [{"role": "system", "content": system}] if system else []
    messages += [{"role": "user" if n % 2 == 0 else "assistant", "content": text} for n, text in enumerate(texts)]
    return parse_content({"messages": messages, **fields})


def render(text: str, values: dict[str, Any] | None = None, **fields: Any) -> str:
    return templates.render(content(text, **fields), values or {}).messages[0].text


def problem(text: str, values: dict[str, Any] | None = None, **fields: Any) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        templates.render(content(text, **fields), values or {})
    return caught.value


def found(text: str) -> list[str]:
    return [needed.name for needed in templates.variables(content(text))]


def test_messages_keep_their_roles() -> None:
    made = templates.render(
        content("{{ q }}", "{{ a }}", "Why?", system="For {{ who }}."), {"q": 1, "a": 2, "who": "us"}
    )
    assert made.messages == (
        Message("system", "For us."),
        Message("user", "1"),
        Message("assistant", "2"),
        Message("user", "Why?"),
    )
    assert made.parts == ()


def test_a_line_with_a_block_leaves_no_empty_line() -> None:
    text = "Rules:\n{% for rule in rules %}\n  {% if rule %}\n- {{ rule }}\n  {% endif %}\n{% endfor %}\nEnd.\n"
    assert render(text, {"rules": ["be kind", "", "be brief"]}) == "Rules:\n- be kind\n- be brief\nEnd.\n"


def test_line_ends_at_the_end_stay() -> None:
    assert render("a\n\n") == "a\n\n"
    assert render("a") == "a"


def test_nothing_is_escaped() -> None:
    assert render("<b>{{ x }}</b> & {{ x|e }}", {"x": "<i>"}) == "<b><i></b> & &lt;i&gt;"


SYNTAX = ("{{ 7 * 7 }}", "{% for i in range(9) %}x{% endfor %}", "{# gone #}", "{% raw %}", "}}", '{% include "a" %}')


@pytest.mark.parametrize("value", SYNTAX)
def test_a_value_that_holds_template_syntax_stays_text(value: str) -> None:
    assert render("[{{ x }}]", {"x": value}) == f"[{value}]"
    assert render("{% set y = x ~ x %}{{ [y]|join }}", {"x": value}) == value * 2
    assert render("{{ x.a[0] }}", {"x": {"a": [value]}}) == value
    assert render("{{ x }}", variables={"x": {"default": value}}) == value


def test_a_default_is_used_when_there_is_no_value() -> None:
    fields = {"variables": {"tone": {"default": "kind"}}}
    assert render("{{ tone }}", {}, **fields) == "kind"
    assert render("{{ tone }}", {"tone": None}, **fields) == "kind"
    assert render("{{ tone }}.", {"tone": ""}, **fields) == "."
    assert render("{{ n }}", {}, variables={"n": {"default": False}}) == "False"


def test_all_missing_values_are_named_at_once() -> None:
    fields = {"variables": {"c": {}, "d": {"default": 1}, "e": {"required": False}, "unused": {}}}
    error = problem("{{ b }} {{ a }} {{ c }} {{ d }} {{ e }}", {"c": None}, **fields)
    assert isinstance(error, MissingVariables)
    assert error.names == ("b", "a", "c", "unused")
    assert error.what == "The prompt needs values for b, a, c and unused."
    assert problem("{{ a }}").what == "The prompt needs a value for a."


def test_what_is_not_required_is_empty_text() -> None:
    fields = {"variables": {"x": {"required": False}}}
    assert render("[{{ x }}][{{ x|upper }}][{{ x ~ 1 }}]{% if not x %}none{% endif %}", **fields) == "[][][1]none"
    assert render("{{ x == '' }}{% for c in x %}!{% endfor %}", **fields) == "True"
    assert render("{{ x is defined }}{{ x|default('d') }}{% if x %}!{% endif %}", **fields) == "Falsed"
    assert render("{{ x is defined }}{{ x|default('d') }}.", {"x": ""}, **fields) == "True."


def test_a_template_that_reckons_with_no_value_does_not_require_one() -> None:
    assert render("Dear {{ name|default('friend') }}") == "Dear friend"
    assert render("{% if name is defined %}Dear {{ name }}{% else %}Hello{% endif %}") == "Hello"
    assert problem("{{ name }}{{ other|upper }}").what == "The prompt needs values for name and other."


def test_any_json_value_will_do() -> None:
    value = {"name": "Ada", "tags": ["a", None, 1.5, True], "deep": {"er": [1]}}
    assert (
        render("{{ v.name }} {{ v['tags'][0] }} {{ v.tags|length }} {{ v.deep.er[0] + 1 }}", {"v": value})
        == "Ada a 4 2"
    )
    assert render("[{{ v.tags[1] }}]", {"v": value}) == "[]"
    assert render("{{ v|tojson }}", {"v": {"ä": "<é>", "b": [None]}}) == '{"ä": "<é>", "b": [null]}'
    assert render("{{ v }}", {"v": ["a", 1]}) == "['a', 1]"


@pytest.mark.parametrize("value", [object(), b"bytes", {1, 2}, [lambda: 1], {"a": object()}, 1j, (x for x in "ab")])
def test_other_values_are_refused(value: Any) -> None:
    error = problem("{{ x }}", {"x": value})
    assert error.what.startswith("The value of x cannot be used: it is or holds ")
    assert "0x" not in error.what


def test_values_that_are_too_large_are_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert problem("{{ x }}", {"x": deep}).what.startswith("The value of x cannot be used: ")
    assert "8,000,000 characters" in problem("{{ x }}", {"x": "a" * 9_000_000}).what


def test_numbers_keep_their_digits() -> None:
    assert render("{{ x }} {{ y }} {{ z + 1 }}", {"x": 10**900, "y": -(2**64), "z": 2**100}) == (
        f"{10**900} {-(2**64)} {2**100 + 1}"
    )


def test_unknown_values_are_refused_with_the_nearest_name() -> None:
    error = problem("{{ language }}", {"langauge": "English"})
    assert (error.what, error.fix) == ("The prompt has no variable 'langauge'.", "Did you mean language?")
    assert problem("{{ a }} {{ b }}", {"zzz": 1}).fix == "Its variables: a, b."
    assert problem("text", {"zzz": 1}).fix == "It has no variables."
    lax = templates.render(content("{{ a }}"), {"a": 1, "zzz": 2}, strict=False)
    assert lax.messages[0].text == "1"


def test_variables_come_in_the_order_of_their_first_use() -> None:
    one = content("{{ z }} {{ a }}", "{{ m }} {{ z }}", system="{{ s }}", variables={"unused": {}, "a": {"default": 1}})
    assert templates.variables(one) == (
        Needed("s", variable(), False),
        Needed("z", variable(), False),
        Needed("a", variable(default=1), True),
        Needed("m", variable(), False),
        Needed("unused", variable(), True),
    )


def variable(**fields: Any) -> Variable:
    return Variable.model_validate(fields)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{% set x = y %}{{ x }}", ["y"]),
        ("{% set x %}{{ y }}{% endset %}{{ x }}", ["y"]),
        ("{% set a, b = c %}{{ a }}{{ b }}", ["c"]),
        ("{{ x }}{% set x = 1 %}", ["x"]),
        ("{% for x in xs %}{{ x }}{{ loop.index }}{% else %}{{ y }}{% endfor %}", ["xs", "y"]),
        ("{% for k, v in xs.items() if k != no %}{{ k }}{{ v }}{% endfor %}", ["xs", "no"]),
        ("{% for x in xs %}{% endfor %}{{ x }}", ["xs", "x"]),
        ("{% for i in [1] %}{% set x = 1 %}{% endfor %}{{ x }}", ["x"]),
        ("{% if a %}{% set x = 1 %}{% else %}{% set x = 2 %}{% endif %}{{ x }}", ["a"]),
        ("{% macro m(a, b=c) %}{{ a }}{{ b }}{{ d }}{% endmacro %}{{ m(e) }}", ["c", "d", "e"]),
        ("{% macro m() %}{{ caller(1) }}{% endmacro %}{% call(x) m() %}{{ x }}{{ y }}{% endcall %}", ["y"]),
        ("{% with a = b, c = a %}{{ a }}{{ d }}{% endwith %}", ["b", "a", "d"]),
        ("{% filter replace(a, b) %}{{ c }}{% endfilter %}", ["c", "a", "b"]),
        ("{% set ns = namespace(n=a) %}{% set ns.n = b %}{{ ns.n }}", ["a", "b"]),
        ("{{ range(n) }}{{ dict(a=b) }}{{ joiner(d)() }}", ["n", "b", "d"]),
        ("{{ a.b.c }}{{ d['e'] }}{{ f[g] }}{{ h[i:j] }}", ["a", "d", "f", "g", "h", "i", "j"]),
        ("{{ a if b else c }}{{ d ~ e }}{{ f + g }}{{ h is sameas i }}{{ not j }}", list("bacdefghij")),
        ("{% raw %}{{ a }}{% endraw %}{# {{ b }} #}{{ '{{ c }}' }}", []),
        ("{{ _private }} {{ CamelCase }} {{ x1 }}", ["_private", "CamelCase", "x1"]),
    ],
)
def test_what_is_a_variable(text: str, names: list[str]) -> None:
    assert sorted(found(text)) == sorted(names)


def test_check_declares_what_was_found() -> None:
    checked = templates.check(
        content("{{ b }}{{ a }}{{ c|d('x') }}", variables={"z": {"description": "later"}, "a": {"default": 1}})
    )
    assert list(checked.variables) == ["z", "a", "b", "c"]
    assert checked.variables["b"] == variable() and checked.variables["c"] == variable(required=False)
    assert templates.check(checked) is checked
    assert parse_content(checked.as_dict()) == checked


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("one\n{{ a", "line 2: The template is wrong: unexpected end of template"),
        ("{% for x in y %}", "line 1: The template is wrong: Unexpected end of template"),
        ("\n\n{% if %}{% endif %}", "line 3: The template is wrong: Expected an expression"),
        ("{{ a|uper }}", "line 1: The filter uper is not supported."),
        ("a\n{{ a is defind }}", "line 2: The test defind is not supported."),
        ("{% do a.append(1) %}", "line 1: The template is wrong: Encountered unknown tag 'do'."),
        ("{% extends 'a' %}", "line 1: The template may not use {% extends %}."),
        ("{% block a %}{% endblock %}", "line 1: The template may not use {% block %}."),
        ("{% import 'a' as b %}", "line 1: The template may not use {% import %}."),
        ("{% from 'a' import b %}", "line 1: The template may not use {% from %}."),
        ("{{ größe }}", "line 1: 'größe' cannot be the name of a variable."),
        (f"{{{{ {'a' * 61} }}}}", "cannot be the name of a variable."),
        ("{{ loop.index }}", "line 1: The template may not use loop outside of a loop."),
        ("{{ caller() }}", "line 1: The template may not use caller outside of a macro."),
        ("{{ self.x }}", "line 1: The template may not use self."),
        ("a\n{{ +x }}", "line 2: The template may not use pos."),
        ("{{ cycler(1, 2) }}", "line 1: The template may not use cycler."),
        ("{% macro m(a, *b) %}{% endmacro %}", "line 1: The template is wrong: "),
    ],
)
def test_check_refuses_what_cannot_work(text: str, what: str) -> None:
    with pytest.raises(BadRequest) as caught:
        templates.check(content("first", text))
    assert caught.value.what.startswith("2nd message (assistant)")
    assert what in caught.value.what
    assert "/" not in caught.value.what and "0x" not in caught.value.what


def test_a_near_filter_is_offered() -> None:
    assert problem("{{ 'a'|uper }}").fix == "Did you mean upper?"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("\n{{ x.nope }}", "line 2: `x.nope` is undefined."),
        ("{{ x.list[7] }}", "line 1: `x.list[7]` is undefined."),
        ("{{ x.nope.deeper }}", "`x.nope` is undefined."),
        ("{% for a in x.nope %}{% endfor %}", "`x.nope` is undefined."),
        ("{{ x.nope|upper }}", "`x.nope` is undefined."),
        ("{{ x.nope ~ 'a' }}", "`x.nope` is undefined."),
        ("{{ 'a' + 1 }}", "tried to use + operator on unsupported types string and number."),
        ("{{ '%s' % 1 }}", "tried to use % operator on unsupported types string and number."),
        ("{{ 1 / 0 }}", "unable to calculate 1 / 0."),
        ("{% for g in [x]|groupby('list') %}\n{{ g.count }}{% endfor %}", "line 2: `g.count` is undefined."),
        ("{{ [1]|map('uper')|list }}", "line 1: It cannot be worked out: a filter in it is not supported."),
        ("{{ 1|join }}", "cannot join value of type number."),
        ("{{ 'a'.nope() }}", "string has no method named nope."),
        ("{{ 'a'|upper(1, 2, 3) }}", "a macro, filter or function is given too much."),
        ("{{ 2 ** 999 }}", "unable to calculate 2 ** 999."),
        ("{% set y.z = 1 %}", "can only assign to namespaces"),
        ("{% if 0 %}{% set y = 1 %}{% endif %}{{ y }}", "`y` is undefined."),
        ("{% for a in [1] %}{% if a %}\n\n{{ b.c }}{% endif %}{% endfor %}", "line 3: `b.c` is undefined."),
    ],
)
def test_errors_of_a_rendering_name_the_place(text: str, what: str) -> None:
    values = {name: {"list": [1]} for name in found(text)}
    error = problem(text, values)
    assert error.what.startswith("1st message (user), line ") and what in error.what
    assert "<" not in error.what and "0x" not in error.what


def test_a_value_may_be_asked_for_what_it_does_not_have() -> None:
    text = "{% if x.a %}yes{% else %}no{% endif %}{{ x.a is defined }}{{ x.a|default('d') }}"
    assert render(text, {"x": {}}) == "noFalsed"
    assert render("[{{ 'a' if x.a }}]", {"x": {}}) == "[]"


def test_a_loop_does_not_go_letter_by_letter_through_a_list_given_as_text() -> None:
    error = problem("\n{% for a in x.labels %}{{ a }}{% endfor %}", {"x": {"labels": "a,b"}})
    assert error.what == "1st message (user), line 2: x.labels is text, not a list."
    assert error.fix.startswith('Give it as a JSON list like ["a", "b"], or split it: x.labels.split(",").')
    looped = "{% for a in x if a %}{% for b in a recursive %}{{ b }}{% endfor %}{% endfor %}"
    assert problem(looped, {"x": [["b"], "text"]}).what == "1st message (user), line 1: a is text, not a list."
    either = "{% if x is string %}{{ x }}{% else %}{% for a in x %}{{ a }}{% endfor %}{% endif %}"
    assert (render(either, {"x": "ab"}), render(either, {"x": ["a"]})) == ("ab", "a")
    assert render("{% raw %}{% for a in x %}{% endraw %}{# {% for a in x %} #}{{ '{% for a in x %}' }}") == (
        "{% for a in x %}" * 2
    )
    assert render("{% for a in x|list %}{{ a }}.{% endfor %}", {"x": "ab"}) == "a.b."
    assert render("{% for a in x.split(',') %}{{ a }}.{% endfor %}", {"x": "a,b"}) == "a.b."
    assert render("[{% for a in x %}{{ a }}{% endfor %}]", {"x": ""}) == "[]"


def test_a_method_that_is_not_called_is_told() -> None:
    error = problem("{{ x.items }}", {"x": {"list": [1]}})
    assert (error.what, error.fix) == (
        "1st message (user): items is a function.",
        "Call it, or write ['items'] for a field of that name.",
    )
    assert render("{{ x.items }}{{ x.items() | length }}", {"x": {"items": "mine"}}) == "mine1"


def test_a_value_that_a_template_changes_stays_as_it_is() -> None:
    mine = {"list": [1]}
    made = templates.render(content("{{ x.list.append(2) }}{{ x.list }}", "{{ x.list }}", "."), {"x": mine})
    assert [message.text for message in made.messages] == ["[1, 2]", "[1]", "."]
    assert mine == {"list": [1]}


def test_numbers_of_messages_in_words() -> None:
    prompt = content(*["x"] * 22, "{{")
    with pytest.raises(BadRequest, match=r"^23rd message \(user\), line 1"):
        templates.check(prompt)
    for index, said in ((0, "1st"), (1, "2nd"), (2, "3rd"), (3, "4th"), (10, "11th"), (20, "21st")):
        texts = ["x"] * 22
        texts[index] = "{{"
        with pytest.raises(BadRequest, match=f"^{said} message"):
            templates.check(content(*texts))


def test_blank_messages_are_left_out() -> None:
    prompt = content("{{ q }}", system="{% if rules %}Rules{% endif %}\n", variables={"rules": {"required": False}})
    assert templates.render(prompt, {"q": "Hello"}).messages == (Message("user", "Hello"),)
    assert problem(" {{ x }}\n", {"x": ""}).what == "With these values the prompt is empty."


def test_characters_that_cannot_be_sent_are_replaced() -> None:
    assert render("{{ x }}", {"x": "a\x00b\ud800c"}) == "a\ufffdb\ufffdc"


def test_messages_know_nothing_of_each_other() -> None:
    assert found("{% set x = 1 %}") == []
    two = content("{% set x = 1 %}a", "{{ x }}")
    assert [needed.name for needed in templates.variables(two)] == ["x"]


def test_many_threads_at_once() -> None:
    prompt = content("{% for x in xs %}{{ x }}{{ loop.index }}{% endfor %}")
    made: list[str] = []

    def work(n: int) -> None:
        for _ in range(50):
            made.append(templates.render(prompt, {"xs": [n] * 20}).messages[0].text)
            templates.variables(content(f"{{{{ v{n} }}}}" * 5))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {"".join(f"{n}{i}" for i in range(1, 21)) for n in range(8)}
    assert len(made) == 400 and set(made) == expected
