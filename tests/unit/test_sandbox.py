"""Templates from strangers: none runs on, fills the memory or reaches anything. Each attack ends in an error."""

from __future__ import annotations

import re
import resource
import time
from pathlib import Path
from typing import Any

import pytest

from core.errors import BadRequest
from core.prompts.content import parse_content
from tests.rendering import CHILD, templates_of

ROOT = Path(__file__).resolve().parents[2]
QUICK = 2.0  # seconds of processor time
MEMORY = 150  # MB

LOOPS = "{% for i in range(99999) %}"
TWICE = "{% set ns = namespace(a=START) %}{% for i in range(60) %}STEP{% endfor %}{{ ns.a }}"
LONG = "{% set a = 'x' * 3000000 %}"
COLLIDE = 2**61 - 1  # Python's hash of all its multiples is 0


def twice(step: str, start: str = "'xxxxxxxx'") -> str:
    return TWICE.replace("START", start).replace("STEP", step)


ENDLESS = {
    "a long range": "{% for i in range(10 ** 9) %}x{% endfor %}",
    "ranges in ranges": LOOPS * 4 + "{% endfor %}" * 4,
    "a loop that does nothing": "{% for a in range(9999) %}" * 2 + "{% endfor %}" * 2,
    "a loop over conditions": "{% for a in range(99) %}" + LOOPS + "{% if i %}{% endif %}" * 400 + "{% endfor %}" * 2,
    "a loop over text": "{% for a in ('x' * 99999)|list %}{% for b in ('x' * 99999)|list %}{% endfor %}{% endfor %}",
    "a macro that calls itself": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "a macro that calls itself twice": (
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(50) }}"
    ),
    "call blocks": "{% macro m() %}{{ caller() }}{{ caller() }}{% endmacro %}"
    + "{% call m() %}" * 30
    + "{% endcall %}" * 30,
    "a recursive loop": "{% for x in [1] recursive %}{{ loop([1, 1]) }}{% endfor %}",
    "search": LONG + LOOPS + "{{ 'y' in a }}{% endfor %}",
    "hard search": (
        "{% set a = 'a' * 2000000 %}{% set b = 'a' * 99999 ~ 'b' ~ 'a' * 99999 %}"
        + LOOPS
        + "{{ a.find(b) }}{% endfor %}"
    ),
    "compare": "{% set a = 'x' * 2000000 %}{% set b = 'x' * 1999999 ~ 'y' %}" + LOOPS + "{{ a == b }}{% endfor %}",
    "count": "{% set r = range(99999) %}" + LOOPS + "{{ r.count(-1) }}{{ -1 in r }}{% endfor %}",
    "find from the end": "{% set t = 'a' * 320000 %}" + LOOPS + "{{ t.rfind('ab' ~ 'a' * 160000) }}{% endfor %}",
    "split from the end": "{% set t = 'a' * 320000 %}" + LOOPS + "{{ t.rsplit('ab' ~ 'a' * 160000) }}{% endfor %}",
    "strip": LONG + LOOPS + "{{ a.strip('wvutsrqponmlkjihgfedcbazyx') }}{% endfor %}",
    "tests": LONG + LOOPS + "{{ a is upper }}{{ a.isalpha() }}{% endfor %}",
    "upper": LONG + LOOPS + "{{ a|upper|length }}{% endfor %}",
    "slices": LONG + LOOPS + "{% set b = a[1:] %}{% endfor %}",
    "sort": "{% for i in range(1000) %}{% set r = range(99999)|sort(reverse=true) %}{% endfor %}",
    "map": "{{ range(99999)|map('string')|map('upper')|map('lower')|list|length }}",
    "numbers with one hash": f"{{{{ range(0, {99999 * COLLIDE}, {COLLIDE})|unique|list|length }}}}",
    "keys with one hash": f"{{{{ dict(range(0, {99998 * COLLIDE}, {COLLIDE})|batch(2)) }}}}",
    "keys in the text": LOOPS + "{% set d = {" + ",".join(f"{n * COLLIDE}: 1" for n in range(800)) + "} %}{% endfor %}",
    "the length of a loop": LOOPS + "{{ loop.length }}{% endfor %}",
}

GROWING = {
    "text times a number": "{{ 'a' * 10 ** 9 }}",
    "a number times text": "{{ 10 ** 9 * 'a' }}",
    "a list times a number": "{{ [1] * 10 ** 9 }}",
    "~": twice("{% set ns.a = ns.a ~ ns.a %}"),
    "+": twice("{% set ns.a = ns.a + ns.a %}"),
    "a set block": twice("{% set ns.a %}{{ ns.a }}{{ ns.a }}{% endset %}"),
    "a filter block": twice("{% set ns.a %}{% filter upper %}{{ ns.a }}{{ ns.a }}{% endfilter %}{% endset %}"),
    "a macro": "{% macro f(a) %}{{ a }}{{ a }}{% endmacro %}" + twice("{% set ns.a = f(ns.a) %}"),
    "join": twice("{% set ns.a = [ns.a, ns.a]|join %}"),
    "join with a method": twice("{% set ns.a = ns.a.join([ns.a, ns.a]) %}"),
    "format": twice("{% set ns.a = '%s%s'|format(ns.a, ns.a) %}"),
    "% with a mapping": twice("{% set ns.a = '%(a)s%(a)s' % {'a': ns.a} %}"),
    "replace": twice("{% set ns.a = ns.a|replace('x', 'xx') %}"),
    "replace nothing": LONG + "{{ a.replace('', 'yyyyyyyyy') }}",
    "lists": twice("{% set ns.a = ns.a + ns.a %}", "[1]"),
    "lists in lists": twice("{% set ns.a = [ns.a, ns.a] %}", "[1]"),
    "mappings in mappings": twice("{% set ns.a = {'a': ns.a, 'b': ns.a} %}", "{}"),
    "dict()": twice("{% set ns.a = dict(a=ns.a, b=ns.a) %}", "{}"),
    "lists compared": twice("{% set ns.a = [ns.a, ns.a] %}{% set b = ns.a == [ns.a] %}", "[1]"),
    "batch of lists": twice("{% set ns.a = (ns.a + ns.a)|batch(1)|list %}", "[1]"),
    "items of mappings": twice("{% set ns.a = {'a': ns.a, 'b': ns.a}|items|list %}", "[1]"),
    "depth": twice("{% set ns.a = (ns.a,) %}", "(1,)").replace("60", "60000") + "{{ {ns.a: 1} }}",
    "lists as keys": twice("{% set ns.a = (ns.a, ns.a) %}", "(1,)").replace("{{ ns.a }}", "{{ {ns.a: 1} }}"),
    "depth by items": twice("{% set ns.a = {'a': ns.a}|items|first %}", "(1,)").replace("60", "60000"),
    "lists within lists": "{% set r = range(9999) %}{{ [r] * 9999 }}",
    "join with a long separator": LONG + "{{ range(99999)|join(a) }}",
    "letters": LONG + "{{ a|list }}",
    "split": LONG + "{{ a.split('x')|length }}",
    "words": "{{ ('x ' * 2000000).split()|length }}",
    "lines": "{{ ('x\\n' * 2000000).splitlines()|length }}",
    "a power": "{{ 2 ** 100000000 }}",
    "a power of a power": twice("{% set ns.a = ns.a * ns.a %}", "3"),
    "a long number": "{{ ('9' * 1000000)|int(0, 16) }}",
    "many %": "{{ '%%' * 2000000 % 1 }}",
    "title": "{{ ('a b ' * 700000)|title }}",
    "urlencode": "{{ ('\u4e00' * 3000000)|urlencode }}",
    "escape": "{{ ('<' * 3000000)|e }}",
    "tojson": "{{ ('\\x00' * 3000000)|tojson }}",
    "tojson with an indent": "{{ (range(9999)|batch(1)|list)|tojson(1000) }}",
    "the text of a list": "{{ ['\\x00' * 3000000] }}",
}

WIDTHS = {
    "center": "{{ 'a'|center(10 ** 9) }}",
    "format": "{{ '%999999999d'|format(1) }}",
    "%": "{{ '%999999999d' % 1 }}",
    "precision": "{{ '%.999999999f' % 1.5 }}",
    "a width from outside": "{{ '%*d' % (999999999, 1) }}",
    "a mapping with brackets": "{{ '%(a(b))999999999d' % {'a(b)': 1} }}",
    "many zeros": "{{ ('%' ~ '0' * 2000000)|format(1) }}",
    "the code of an object": "{{ '%r' % 1 }}",
    "format in map": "{{ ['%999999999d']|map('format', 1)|list }}",
    "indent": "{{ 'a\\nb'|indent(10 ** 9) }}",
    "indent with text": LONG + "{{ 'a\\nb'|indent(a) }}",
    "tojson": "{{ [[1]]|tojson(10 ** 9) }}",
    "batch": "{{ [1]|batch(10 ** 9, 'x') }}",
    "slice": "{{ [1]|slice(10 ** 9) }}",
    "round": "{{ 1.5|round(10 ** 9, 'ceil') }}",
    "truncate": LONG + "{{ 'abcdefghijk'|truncate(3, true, a) }}",
}

REACHING = {
    "a class": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "a class by item": "{{ ''['__class__'] }}",
    "a class by slices": "{{ ''['__cla' ~ 'ss__'] }}",
    "attr": "{{ ''|attr('__class__') }}",
    "attr in map": "{{ ['']|map('attr', '__class__')|list }}",
    "map": "{{ ['']|map(attribute='__class__')|list }}",
    "map with a path": "{{ [{'a': ''}]|map(attribute='a.__class__')|list }}",
    "a method in map": "{{ ['']|map(attribute='upper')|list }}",
    "groupby": "{{ ['']|groupby('__class__') }}",
    "sum": "{{ [1]|sum('__class__') }}",
    "join": "{{ ['']|join(attribute='__class__') }}",
    "format strings": "{{ '{0.__class__}'.format(1) }}",
    "format_map": "{{ '{a.__class__}'.format_map({'a': 1}) }}",
    "format strings by item": "{{ '{0.__class__}'['format'](1) }}",
    "a namespace": "{{ namespace()['__class__'] }}",
    "a namespace's insides": "{{ namespace()['_Namespace__attrs'] }}",
    "a loop's insides": "{% for i in [1] %}{{ loop['_iterator'] }}{% endfor %}",
    "a loop's class": "{% for i in [1] %}{{ loop.__class__ }}{% endfor %}",
    "a loop itself": "{% for i in [1] %}{{ loop }}{% endfor %}",
    "a macro's environment": "{% macro m() %}{% endmacro %}{{ m._environment }}",
    "a macro's function": "{% macro m() %}{% endmacro %}{{ m['_func'] }}",
    "a macro itself": "{% macro m() %}{% endmacro %}{{ m }}",
    "a macro in a list": "{% macro m() %}{% endmacro %}{{ [m] }}",
    "a macro as text": "{% macro m() %}{% endmacro %}{{ m ~ '' }}",
    "a macro in %": "{% macro m() %}{% endmacro %}{{ '%s' % m }}",
    "a caller": "{% macro m() %}{{ caller }}{% endmacro %}{% call m() %}{% endcall %}",
    "a method": "{{ ''.upper }}",
    "a method's owner": "{{ ''.upper['__self__'] }}",
    "a method's call": "{{ ''.upper.call }}",
    "a function": "{{ range }}",
    "a function's globals": "{{ range['__globals__'] }}",
    "cycler": "{{ cycler(1)['__init__'] }}",
    "cycler's items": "{{ cycler(1).items }}",
    "joiner": "{{ joiner()['__init__'] }}",
    "cycler itself": "{{ cycler(1) }}",
    "self": "{{ self }}",
    "super": "{{ super() }}",
    "lipsum": "{{ lipsum() }}",
    "varargs": "{% macro m() %}{{ varargs }}{% endmacro %}{{ m(1) }}",
    "kwargs": "{% macro m() %}{{ kwargs }}{% endmacro %}{{ m(a=1) }}",
    "random": "{{ [1, 2]|random }}",
    "what is put in": "{{ [1]|map(' each')|list }}",
    "what joins": "{{ ['a']|map(' joined')|list }}",
    "a group's function": "{% for g in [{'a': 1}]|groupby('a') %}{{ g.count }}{% endfor %}",
    "a group's fields": "{% for g in [{'a': 1}]|groupby('a') %}{{ g._fields }}{% endfor %}",
    "lists changed": "{{ [1].append(2) }}",
    "mappings changed": "{{ {}.update({'a': 1}) }}",
    "mappings emptied": "{{ {'a': 1}.pop('a') }}",
    "bytes": "{{ 'a'.encode() }}",
    "complex numbers": "{{ (-1) ** 0.5 }}",
    "an include": "{% include '/etc/passwd' %}",
    "an import": "{% import '/etc/passwd' as x %}",
    "arguments of Jinja2's own": LOOPS + "{{ range(3, _loop_vars=1) }}{% endfor %}",
}

NESTED = {
    "blocks": "{% if 1 %}" * 500 + "{% endif %}" * 500,
    "loops": "{% for a in [1] %}" * 25 + "{% endfor %}" * 25,
    "lists": "{{ " + "[" * 3000 + "]" * 3000 + " }}",
    "brackets": "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    "minus": "{{ " + "-" * 9000 + "1 }}",
    "not": "{{ " + "not " * 4000 + "1 }}",
    "fields": "{{ 'a'" + ".b" * 4000 + " }}",
    "items": "{{ 'a'" + "[0]" * 4000 + " }}",
    "sums": "{{ 1" + " + 1" * 4000 + " }}",
    "powers": "{{ 1" + " ** 1" * 4000 + " }}",
    "filters": "{{ 1" + "|string" * 4000 + " }}",
    "conditions": "{{ " + "1 if 1 else " * 2000 + "1 }}",
    "and": "{{ 1" + " and 1" * 4000 + " }}",
    "macros": "".join(f"{{% macro m{n}() %}}" for n in range(90)) + "{% endmacro %}" * 90,
    "calls": "{{ " + "dict(a=" * 500 + "1" + ")" * 500 + " }}",
}

LARGE = {
    "outputs": "{{a}}" * 200_000,
    "blocks": "{% if a %}{% endif %}" * 50_000,
    "opened": "{{" * 500_000,
    "opened blocks": "{%" * 500_000,
    "a comment": "{#" * 500_000,
    "braces": "{" * 1_000_000,
    "words": "{{ " + "a " * 500_000 + "}}",
    "a number": "{{ " + "1" * 1_000_000 + " }}",
    "a number in parts": "{{ " + "1_" * 500_000 + "1 }}",
    "a name": "{{ " + "a" * 1_000_000 + " }}",
    "a tag": "{% " + "a" * 1_000_000 + " %}",
    "a filter": "{{ 1|" + "a" * 1_000_000 + " }}",
    "an open text": "{{ '" + "a" * 1_000_000,
    "elif": "{% if 0 %}" + "{% elif 0 %}" * 80_000 + "{% endif %}",
    "~": "{{ 1" + "~ 1" * 300_000 + " }}",
}


TEMPLATES = templates_of(lambda ref: pytest.fail("looked up"))
# What minijinja does within its limits.
HARMLESS = {
    "a long number",
    "indent with text",
    "map",
    "truncate",
    "title",
    "round",
    "wordcount",
    "the length of a loop",
}


def attack(text: str, values: dict[str, Any] | None = None) -> str:
    """What is said about it; "" if it made a text that may be sent. Nothing of it is left in this process."""
    content = parse_content({"messages": [{"role": "user", "content": text}]})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        said, seen = "", TEMPLATES.render(content, values or {}).messages[0].text
    except BadRequest as error:
        said, seen = error.what, str(error)
        assert len(seen) < 1000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY * 1024
    assert not any(sign in seen for sign in ("Traceback", " at 0x", "<class", "root:", str(ROOT)))
    return said


@pytest.mark.parametrize("case", ENDLESS)
def test_no_template_runs_for_long(case: str) -> None:
    assert attack(ENDLESS[case]) or case in HARMLESS


@pytest.mark.parametrize("case", GROWING)
def test_no_template_fills_the_memory(case: str) -> None:
    assert attack(GROWING[case]) or case in HARMLESS
    for pid in CHILD.pids:  # none, if the limit has ended it
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        assert peak and int(peak[1]) < 600 * 1024


@pytest.mark.parametrize("case", WIDTHS)
def test_no_width_is_too_large(case: str) -> None:
    assert attack(WIDTHS[case]) or case in HARMLESS


@pytest.mark.parametrize("case", REACHING)
def test_nothing_can_be_reached(case: str) -> None:
    attack(REACHING[case])
    attack(REACHING[case].replace("''", "s").replace("[1, 2]", "l").replace("[1]", "l"), {"s": "text", "l": [1, 2]})


@pytest.mark.parametrize("case", [*NESTED, *LARGE])
def test_depth_and_size_are_an_error_and_no_crash(case: str) -> None:
    said = attack({**LARGE, **NESTED}[case], {})
    assert "breaks the program" not in said and "longer than" not in said


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("{{ l|unique|list|length }}", {"l": [n * COLLIDE for n in range(90_000)]}),
        ("{{ l|unique(attribute='a')|list|length }}", {"l": [{"a": n * COLLIDE} for n in range(40_000)]}),
        ("{% for a in l %}{% for b in l %}{% endfor %}{% endfor %}", {"l": list(range(9_000))}),
        ("{{ l|groupby('a') }}", {"l": [{"a": n} for n in range(90_000)]}),
        ("{{ x }}{{ x }}{{ x }}", {"x": "a" * 3_000_000}),
        ("{{ [x] }}", {"x": "\U000e0001" * 3_000_000}),
    ],
)
def test_values_are_no_way_round(text: str, values: dict[str, Any]) -> None:
    attack(text, values)


def test_many_large_messages_are_no_way_round() -> None:
    messages = [{"role": "user", "content": "{{a}}" * 2000 + str(n)} for n in range(190)]
    start = time.thread_time()
    with pytest.raises(BadRequest, match="more than 5,000 words and signs"):
        templates_of(lambda ref: pytest.fail("looked up")).check(parse_content({"messages": messages}))
    assert time.thread_time() - start < QUICK


def test_long_texts_that_are_no_attributes_have_room() -> None:
    content = parse_content({"messages": [{"role": "user", "content": "{{ l|map('replace', 'a', x)|first|length }}"}]})
    made = templates_of(lambda ref: pytest.fail("looked up")).render(content, {"l": ["a"], "x": "b" * 5000})
    assert made.messages[0].text == "5000"


def test_what_people_write_has_room() -> None:
    """A thousand rows, a long document, a long list that grows: no limit is near."""
    rows = [{"name": f"row {n}", "tags": ["a", "b"], "text": "x" * 100} for n in range(1000)]
    text = (
        "{{ document }}\n"
        "{% for row in rows if row.name %}{{ loop.index }}. {{ row.name|title }} ({{ row.tags|join(', ') }}): "
        "{{ row.text|truncate(50) }}{{ '' if loop.last else ';' }}\n{% endfor %}\n"
        "{% set ns = namespace(found=[]) %}"
        "{% for row in rows[:200] %}{% set ns.found = ns.found + [row.name] %}{% endfor %}{{ ns.found|length }}\n"
        "{{ rows|tojson(2) }}"
    )
    content = parse_content({"messages": [{"role": "user", "content": text}]})
    templates = templates_of(lambda ref: pytest.fail("looked up"))
    made = templates.render(content, {"rows": rows, "document": "word " * 200_000})
    assert made.messages[0].text.count("\n") > 5000


def test_a_megabyte_of_text_is_a_prompt_like_any_other() -> None:
    templates = templates_of(lambda ref: pytest.fail("looked up"))
    text = "Line with { braces } and 100 % signs, 12345678901234567890.\n" * 17_000 + "{{ q }}"
    content = parse_content({"messages": [{"role": "user", "content": text}]})
    start = time.thread_time()
    made = templates.render(templates.check(content), {"q": "Why?"})
    assert made.messages[0].text == text.replace("{{ q }}", "Why?")
    assert time.thread_time() - start < QUICK
