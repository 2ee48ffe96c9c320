"""Templates put together at random from what prompt writers use say what Jinja2 makes of them."""

from __future__ import annotations

import json
from typing import Any

import jinja2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.files.templates import render
from core.prompts.templates.syntax import TemplateTree, Wrong, scan, sources

VALUES: dict[str, Any] = {
    "name": "ada LOVELACE",
    "text": "one two  three\nfour, five\n\nsix",
    "n": 7,
    "x": 2.5,
    "yes": True,
    "empty": "",
    "words": ["b", "a", "C", "a"],
    "numbers": [3, 1, 2, 3],
    "users": [{"name": "Ada", "age": 36, "tags": ["x"]}, {"name": "Bob", "age": 41, "tags": []}],
    "m": {"b": 1, "A": 2},
}
DATA = json.dumps(VALUES).encode()
FILTERS = """
upper lower title capitalize trim length list first last sort unique|list reverse|list join join(',') sum min max abs
round round(1) float string tojson tojson(indent=2) default('d') default('d',true) replace('a','b') indent indent(2)
string|truncate(5) string|wordcount batch(2)|list slice(2)|list items|list dictsort map('upper')|list
map(attribute='name')|join(',') selectattr('age','>',40)|list rejectattr('tags')|list
groupby('age')|list select('odd')|list reject('even')|list urlencode striptags count string|center(9)
"""
METHODS = """
upper() lower() strip() lstrip() split() split(',') splitlines() startswith('a') endswith('x') replace('a','b')
count('a') find('a') items()|list keys()|list values()|list get('b') get('z',1) isdigit()
"""
TESTS = """
defined none string number mapping odd even true false boolean integer float divisibleby(2) eq(7) in(numbers)
"""
SIGNS = "+ - * / // % ** ~ == != and or in"
ATOMS = """
name text n x yes empty words numbers users m name n words numbers users 'x' 'a&b' '' 1 0 -2 2.5 true false none [1,2]
['a','b'] {'k':'v'} users[0].name m.b words[0] words[-1] name[0] name[1:4] users[1]['age'] nope users[0].nope
"""
LISTS = "words numbers users m range(3) m.items() users|groupby('age')"
BLOCKS = """
{%DASH if EXPR DASH%}BODY{% endif %}
{% if EXPR %}BODY{%DASH else %}b NEXT{% endif DASH%}
{% for a in words if EXPR DASH%}BODY{{ loop.last }}{{ a }}{% else %}none{% endfor %}
{% for i in LIST DASH%}BODY{{ i }}{{ loop.index }}NEXT{% endfor %}NEXT
{% set a = EXPR %}BODY{{ a }}
{% set a %}BODY{% endset %}{{ a|upper }}
{% macro f(p, q='Q') %}BODY{{ p }}{{ q }}{% endmacro %}{{ f(EXPR) }}
{% filter indent(2) %}BODY{% endfilter %}
{% set ns = namespace(v=EXPR) %}{% for i in numbers %}{% set ns.v = i %}{% endfor %}{{ ns.v }}BODY
{% raw %}{{ a }}{% endraw %}{# c #}BODY
{% with w = EXPR %}{{ w }}BODY{% endwith %}
"""


def one_of(words: str) -> st.SearchStrategy[str]:
    return st.sampled_from(words.split())


EXPRESSION = st.recursive(
    one_of(ATOMS),
    lambda one: st.one_of(
        st.builds(lambda value, filter: f"({value}|{filter})", one, one_of(FILTERS)),
        st.builds(lambda value, method: f"({value}).{method}", one, one_of(METHODS)),
        st.builds(lambda left, sign, right: f"({left} {sign} {right})", one, one_of(SIGNS), one),
        st.builds(lambda value, test: f"({value} is {test})", one, one_of(TESTS)),
        st.builds(lambda value: f"(not {value})", one),
        st.builds(lambda value, test, other: f"({value} if {test} else {other})", one, one, one),
    ),
    max_leaves=4,
)
DASH = st.sampled_from(["", "", "-"])
TEXT = st.sampled_from(["a", "\n", "  ", "Rules:\n", "- ", "x\n\n", "\t", "{ ", "% ", "}", "é "])
PIECE = st.one_of(TEXT, st.builds(lambda value, left, right: f"{{{{{left} {value} {right}}}}}", EXPRESSION, DASH, DASH))


def block(shape: str, body: str, expression: str, items: str, dash: str) -> str:
    shape = shape.replace("EXPR", expression).replace("LIST", items).replace("DASH", dash)
    return shape.replace("NEXT", "\n").replace("BODY", body)


TEMPLATE = st.recursive(
    st.lists(PIECE, max_size=4).map("".join),
    lambda body: st.lists(
        st.one_of(PIECE, st.builds(block, st.sampled_from(BLOCKS.split("\n")), body, EXPRESSION, one_of(LISTS), DASH)),
        min_size=1,
        max_size=3,
    ).map("".join),
    max_leaves=4,
)


def theirs() -> jinja2.Environment:
    environment = jinja2.Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: "" if value is None else value,
    )
    environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
    return environment


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
@given(TEMPLATE)
def test_what_both_render_is_the_same(text: str) -> None:
    try:
        expected = theirs().from_string(text).render(json.loads(DATA))
        scan(text)
    except (jinja2.TemplateError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError, Wrong):
        return  # of a mistake, each has its own opinion
    if "Undefined" in expected:  # something in a list that is not there
        return
    answer = render(DATA, [(sources(TemplateTree(text))[""][0], [])], {})
    assert answer.get("texts", [expected]) == [expected]
