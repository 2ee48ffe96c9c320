"""Templates say what Jinja2 itself makes of them, except for what docs/prompts.md lists."""

from __future__ import annotations

import contextlib
from typing import Any

import jinja2
import pytest

from core.errors import BadRequest
from core.files.templates import render as rendered_in_child
from core.prompts.content import parse_content
from core.prompts.templates.syntax import FILTERS, TESTS
from tests.rendering import templates_of

PLAIN = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False)
OURS = templates_of(lambda ref: pytest.fail("nothing is included"))
VALUES: dict[str, Any] = {
    "name": "ada LOVELACE",
    "text": "one two  three\nfour, five\n\nsix",
    "n": 7,
    "x": 2.5,
    "yes": True,
    "empty": "",
    "words": ["b", "a", "C", "a"],
    "numbers": [3, 1, 2, 3],
    "users": [
        {"name": "Ada", "age": 36, "tags": ["x"], "at": {"city": "London"}},
        {"name": "Bob", "age": 41, "tags": [], "at": {"city": "Paris"}},
        {"name": "Cy", "age": 36, "tags": ["y", "z"], "at": {"city": "London"}},
    ],
    "tree": [{"n": 1, "c": [{"n": 2, "c": []}, {"n": 3, "c": [{"n": 4, "c": []}]}]}],
    "m": {"b": 1, "A": 2},
}

EXPRESSIONS = """
name|upper ; name|lower ; name|title ; name|capitalize ; text|trim ; text|length ; name|replace('a','b') ;
name|replace('a','b',1) ; text|indent ; text|indent(2,true) ; text|indent('> ',blank=true) ; empty|indent(2,true) ;
 name|center(30) ;
text|truncate(12) ; text|truncate(12,true,'!') ; text|wordcount ; 'a&b<c>'|e ; '%s is %05.1f'|format(name,x) ;
'%(a)s'|format(a=n) ; text|urlencode ; name|reverse ; name|string ; words|join(', ') ; numbers|join('-') ;
users|join(', ',attribute='name') ; words|sort ; words|sort(case_sensitive=true) ; words|sort(reverse=true) ;
users|sort(attribute='age,name')|map(attribute='name')|list ; words|unique|list ; words|first ; words|last ;
numbers|sum ; users|sum('age') ; numbers|min ; numbers|max ; users|max(attribute='age') ; numbers|reverse|list ;
words|list ; name|list|length ; numbers|batch(2)|list ; numbers|batch(3,0)|list ; numbers|slice(2)|list ;
numbers|length ; words|count ; users|map(attribute='at.city')|unique|list ; words|map('upper')|list ;
numbers|select('odd')|list ; numbers|reject('>',2)|list ; users|selectattr('tags')|map(attribute='name')|list ;
users|rejectattr('age','==',36)|map(attribute='name')|list ; users|groupby('age')|map('first')|list ;
users|groupby('at.city')|length ; m|dictsort ; m|items|list ; m|dictsort(by='value') ; -5|abs ;
x|round ; x|round(0,'floor') ; 2.567|round(2) ; '42'|int ; 'x'|int(7) ; '2.5'|float ; n|float ;
nope|default('d') ; empty|default('d') ; empty|default('d',true) ; nope|d ; name|first ; name|last ; n+1 ; n-1 ;
n*2 ; n/2 ; n//2 ; n%4 ; n**2 ; -n ; x*2 ; 'a'+'b' ; 'a'*3 ; [1]+[2] ; [1]*2 ; 'a'~n~x ;
n==7 ; n!=7 ; n<8 ; n>=7 ; 1<n<9 ; 'a'in(words) ; n in numbers ; not(yes) ; yes and n ; yes or n ; empty or n ;
(1,2) ; [1,[2,{'a':3}]] ; {'a':1,'b':[2]} ; 1 if yes else 2 ; name[0] ; name[-1] ; name[4:] ; name[::-1] ;
words[1:3] ; words[::2] ; users[0].name ; users[0]['age'] ; users[-1].at.city ; m['b'] ; m.b ;
words[9]|default('none') ; users[0].nope|default('none') ; m.keys()|list ; m.values()|list ; m.items()|list ;
m.get('b') ; m.get('z',0) ; name.upper() ; name.title() ; text.split() ; text.split(',') ; text.split('\\n',1) ;
text.splitlines() ; name.startswith('ada') ; name.endswith('x') ; name.find('L') ; name.count('A') ;
','.join(words) ; name.strip('a') ; '-a-'.strip('-') ;

'abab'.rfind('ab') ; 'abab'.rfind('x') ; 'abab'.rfind('') ;
'-+a'.lstrip('+-') ; words.index('a') ; words.count('a') ; 'abc'.isalpha() ; '12'.isdigit() ; n is odd ;
n is even ; n is divisibleby(7) ; name is string ; n is number ; n is integer ; x is float ; m is mapping ;
words is sequence ; words is iterable ; nope is defined ; name is defined ; nope is undefined ; none is none ;
yes is true ; yes is boolean ; name is upper ; n is sameas(n) ; n is in(numbers) ; n is eq(7) ; n is not odd ;
n is gt(3) ; range(3)|list ; range(2,9,3)|list ; dict(a=1)|tojson|length ; 1_000 ; 0x10 ;
1e3 ; 'a'"b" ; true ; False
"""

TEXTS = [
    "{% for w in words %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.first }}"
    "{{ loop.last }}{{ w }}\n{% endfor %}",
    "{% for w in words %}{{ loop.length }}{{ loop.previtem|default('-') }}{{ loop.nextitem|default('-') }}{% endfor %}",
    "{% for w in words %}{{ loop.cycle('a', 'b') }}{{ loop.changed(w) }}{% endfor %}",
    "{% for w in words if w != 'a' %}{{ loop.index }}{{ w }}{% else %}none{% endfor %}",
    "{% for w in [] %}x{% else %}none{% endfor %}{% for c in name|list %}{{ c }}.{% endfor %}"
    "{% for k in m %}{{ k }}{% endfor %}",
    "{% for k, v in m.items() %}{{ k }}={{ v }};{% endfor %}{% for k, v in m|dictsort %}{{ k }}{% endfor %}",
    "{% for g in users|groupby('age') %}{{ g.grouper }}:{{ g.list|length }}{{ g[0] }};{% endfor %}",
    "{% for age, list in users|groupby('age') %}{{ age }}{{ list|map(attribute='name')|join }}{% endfor %}",
    "{% for a in numbers %}{% for b in words %}{{ loop.index }}{{ a }}{{ b }}{% endfor %}{{ loop.index }}{% endfor %}",
    "{% for t in tree recursive %}{{ t.n }}{{ loop.depth }}{% if t.c %}[{{ loop(t.c) }}]{% endif %}{% endfor %}",
    "{% if n > 5 and not empty %}a{% elif n %}b{% else %}c{% endif %}{% if n < 5 %}a{% elif n %}b{% endif %}",
    "{% set a = 1 %}{% for i in numbers %}{% set a = i %}{{ a }}{% endfor %}{{ a }}",
    "{% set ns = namespace(n=0, l=[]) %}{% for i in numbers %}{% set ns.n = ns.n + i %}"
    "{% set ns.l = ns.l + [i] %}{% endfor %}{{ ns.n }}{{ ns.l }}",
    "{% set a, b = 1, 2 %}{{ b }}{{ a }}{% set t %}block {{ n }}{% endset %}{{ t|upper }}"
    "{% set u | upper %}low{% endset %}{{ u }}",
    "{% macro m(a, b='B') %}[{{ a }}{{ b }}{{ n }}]{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(b=3, a=4) }}",
    "{% macro f(n) %}{% if n > 1 %}{{ n * f(n - 1)|int }}{% else %}1{% endif %}{% endmacro %}{{ f(5) }}",
    "{% macro box(t) %}<{{ t }}>{{ caller('x') }}</{{ t }}>{% endmacro %}{% call(v) box('b') %}"
    "{{ v }}{{ n }}{% endcall %}",
    "{% with a = n, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ n }}",
    "{% filter upper %}abc {{ name }}{% endfilter %}{% filter replace('a', 'b') %}banana{% endfilter %}",
    "{% raw %}{{ not }} {% this %}{% endraw %}{# a comment #}\n  {# another #}\nend",
    "a\n  {% if yes %}\n    in\n  {% endif %}\nb\n",
    "a {%- if yes -%} b {%- endif -%} c {{- n -}} d\n{%+ if yes %}e{% endif +%}\nf",
    "{% set j = joiner('; ') %}{% for w in words %}{{ j() }}{{ w }}{% endfor %}",
    "{{ users|map(attribute='tags')|map('length')|list }}{{ words|map('replace', 'a', 'x')|join }}",
    "{{ 'x' if empty }}|{{ [] or 'fallback' }}|{{ (n, name) }}|{{ {'k': words}['k'][0] }}",
    "\ttabs\n\n  {{ n }}\n  {% for i in numbers -%}\n    {{ i }}\n  {%- endfor %}\n",
]


def both(text: str) -> tuple[str, str]:
    used = {name: VALUES[name] for name in VALUES if name in {one.name for one in OURS.variables(prompt(text))}}
    return PLAIN.from_string(text).render(VALUES), OURS.render(prompt(text), used).messages[0].text


def prompt(text: str) -> Any:
    found = {"messages": [{"role": "user", "content": text}]}
    free = {one.name: {"required": False} for one in OURS.variables(parse_content(found)) if one.name not in VALUES}
    return parse_content({**found, "variables": free})


@pytest.mark.parametrize("expression", [one.strip() for one in EXPRESSIONS.split(" ;")])
def test_expressions(expression: str) -> None:
    theirs, ours = both(f"[{{{{ {expression} }}}}]")
    assert ours == theirs


@pytest.mark.parametrize("text", TEXTS)
def test_statements(text: str) -> None:
    theirs, ours = both(text)
    assert ours == theirs


# What docs/prompts.md says is not the same: ours says why, or something else.
DIFFERENT = {
    "{{ '%s' % n }}": "operator on unsupported types",
    "{{ '-a-'.swapcase() }}": "string has no method named swapcase",
    "{{ m|dictsort(true) }}": "is given too much",
    "{{ +n }}": "may not use pos",
    "{{ cycler(1, 2).next() }}": "may not use cycler",
    "{{ name|forceescape }}": "The filter forceescape is not supported.",
    "{{ 2 ** 200 }}": "unable to calculate 2 ** 200",
    "{{ 'x'|int }}": "invalid float literal",
    "{{ users[0].nope == 1 }}": "`users[0].nope` is undefined",
    "{{ none }}": "",
    "{{ [users[0].nope] }}": "[undefined]",
    "{{ '\\''|e }}": "&#x27;",
    "{{ [2, 'a', 1]|sort }}": "[1, 2, 'a']",
    "{{ {'b': '<é>', 'a': 1}|tojson }}": '{"b": "<é>", "a": 1}',
    "{{ 1e20 }}": "100000000000000000000.0",
    "{{ 'a' is sequence }}": "False",
    "{{ ['a'] is lower }}": "False",
    "{{ none is iterable }}": "True",
    '{{ "it\'s".title() }}': "It's",
}


@pytest.mark.parametrize("text", DIFFERENT)
def test_what_is_different_is_known(text: str) -> None:
    content = parse_content({"messages": [{"role": "user", "content": f"_{text}"}]})
    try:
        said = OURS.render(content, VALUES, strict=False).messages[0].text[1:]
    except BadRequest as error:
        assert DIFFERENT[text] in error.what
    else:
        assert said == DIFFERENT[text]
    with contextlib.suppress(jinja2.TemplateError, TypeError, UnboundLocalError):
        assert PLAIN.from_string(text).render(VALUES) != said


def test_what_is_left_out_is_known() -> None:
    assert set(PLAIN.filters) - FILTERS == {"forceescape", "random", "urlize", "xmlattr"}
    assert {name for name in PLAIN.tests if name.isalpha()} - TESTS == {"callable", "escaped", "filter", "test"}


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_each_filter_is_there(name: str) -> None:
    answer = rendered_in_child(b"{}", [(f"{{{{ 'a'|{name} }}}}", [])], {})
    assert "not supported" not in answer.get("what", "")


@pytest.mark.parametrize("name", sorted(TESTS))
def test_each_test_is_there(name: str) -> None:
    answer = rendered_in_child(b"{}", [(f"{{{{ 'a' is {name} }}}}", [])], {})
    assert "not supported" not in answer.get("what", "")
