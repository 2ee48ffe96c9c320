"""Templates of other languages to and from ours: what they say must not change."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import BadRequest
from core.prompts.content import parse_content
from core.prompts.formats import _braces, _handlebars, _jinja, _jinja_out, llm
from core.prompts.formats._fields import Place
from core.prompts.formats._handlebars_out import Unsaid, Writer
from core.prompts.formats._model import Exported
from core.prompts.formats._nodes import Comment, Condition, Each, If, Node, Text, Value, joined, spaced
from core.prompts.formats._reading import Reading
from core.prompts.formats._writing import Writing
from core.prompts.version import Version
from tests.rendering import templates_of

VALUES: dict[str, Any] = {"x": "X", "y": "", "user": {"name": "Ada"}, "role": "r", "xs": ["p", "q"], "ys": []}
PIECES = (
    "a",
    "\n",
    " ",
    "  ",
    "\\",
    "{",
    "}",
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    "$",
    "$x",
    "${x}",
    "{{x}}",
    "~",
    "é",
)
texts = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join)
paths = st.sampled_from([("x",), ("y",), ("user", "name"), ("role",)])


def nodes(depth: int = 2) -> st.SearchStrategy[list[Node]]:
    leaves: list[st.SearchStrategy[Any]] = [
        st.builds(Text, texts),
        st.builds(Value, paths, st.booleans()),
        st.just(Comment("why")),
    ]
    if depth:
        inner = nodes(depth - 1).map(joined)
        tests = st.one_of(
            st.builds(Condition, st.sampled_from(["is", "not"]), paths),
            st.builds(Condition, st.sampled_from(["equals", "differs"]), paths, st.sampled_from(["X", 3, ("y",)])),
        )
        branches = st.tuples(
            st.lists(st.tuples(tests, inner), min_size=1, max_size=3), st.lists(st.tuples(st.none(), inner), max_size=1)
        )
        leaves += [
            branches.map(lambda both: If((*both[0], *both[1]))),
            st.builds(Each, st.just("one"), st.sampled_from([("xs",), ("ys",)]), inner, inner),
        ]
    return st.lists(st.one_of(leaves), min_size=1, max_size=4)


trees = nodes().map(joined)


def rendered(text: str) -> str:
    """What our own templates make of it."""
    templates = templates_of(lambda ref: pytest.fail(f"{ref} was looked up"))
    # A message that is blank would be left out, so it begins with a letter.
    content = parse_content({"messages": [{"role": "user", "content": f"_{text}"}]})
    return templates.render(content, VALUES, strict=False).messages[0].text[1:]


def reading() -> Reading:
    return Reading("greeting", "file")


def writing(text: str) -> Writing:
    version = Version("greeting", 1, parse_content({"messages": [{"role": "user", "content": text}]}))
    return Writing(Exported((version,)), version, "It")


@settings(max_examples=150, deadline=None)
@given(trees)
def test_jinja_that_is_written_says_what_was_read(tree: tuple[Node, ...]) -> None:
    text = _jinja_out.write(tree)
    assert spaced(_jinja.parse(text)) == spaced(tree)
    assert _jinja_out.write(_jinja.parse(text)) == text


@settings(max_examples=150, deadline=None)
@given(trees)
def test_jinja_without_trimming_says_the_same(tree: tuple[Node, ...]) -> None:
    # Prompty and Nunjucks keep the lines that our tags take away.
    text = _jinja_out.write(tree)
    theirs = _jinja_out.write(tree, trim=False)
    assert _jinja.environment(trim=False).from_string(theirs).render(VALUES) == rendered(f"{{{{ '' }}}}{text}")
    assert spaced(_jinja.parse(theirs, trim=False)) == spaced(tree)


@settings(max_examples=200, deadline=None)
@given(trees)
def test_handlebars_there_and_back(tree: tuple[Node, ...]) -> None:
    writer = Writer()
    writer.write(tree)
    told = reading()
    back = _handlebars.read('{{role "user"}}\n' + "".join(writer.out), told)
    expected = _handlebars._trimmed(tree) if _handlebars._says_something(tree) else ()
    assert spaced(back[0][1] if back else ()) == spaced(expected)
    assert told.losses == ()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("Hello {{ name }}!", "Hello {{ name }}!"),
        ("{{name}}", "{{name}}"),
        ("{{ user.name }}", "{{ user.name }}"),
        ('{"a": {{x}}}', '{"a": {{x~}} }'),  # {{x}}} would be an error there
        ("{{ '{' }}{{ x }}", "{ {{~ x }}"),
        ("a\\{{ x }}", "a\\\\{{ x }}"),
        ("{{ '{{' }} is literal", "\\{{ is literal"),
        ("{% if a %}yes{% else %}no{% endif %}", "{{#if a}}\nyes{{else}}no{{/if}}"),
        ("{% if not a %}\nno\n{% endif %}", "{{#unless a}}\nno\n{{/unless}}\n"),
        ("{% if a == 'b' %}\nyes\n{% endif %}", '{{#ifEquals a "b"}}\nyes\n{{/ifEquals}}\n'),
        ("{% for o in orders %}\n- {{ o.id }} of {{ shop }}\n{% endfor %}", None),
        ("{{ role }} {{ data | tojson }}", "{{ this.role }} {{json data}}"),
        ("{# a note #}\nText", "{{!-- a note --}}\nText"),
    ],
)
def test_handlebars_as_people_write_it(ours: str, theirs: str | None) -> None:
    writer = Writer()
    writer.write(_jinja.parse(ours))
    loop = "{{#each orders}}\n- {{ this.id }} of {{ ../shop }}\n{{/each}}\n"
    assert "".join(writer.out) == (loop if theirs is None else theirs)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (
            "{{#each items}}{{@index}}: {{this}}\n{{/each}}",
            "{% for item in items %}\n{{loop.index0}}: {{item}}\n{% endfor %}\n",
        ),
        ("{{#each orders as |o|}}{{o.id}}{{/each}}", "{% for o in orders %}\n{{o.id}}{% endfor %}"),
        ("{{#each a}}{{@root.b}}{{name}}{{/each}}", "{% for item in a %}\n{{b}}{{item.name}}{% endfor %}"),
        ("{{#if a}}x{{else if b}}y{{else}}z{{/if}}", "{% if a %}\nx{% elif b %}y{% else %}z{% endif %}"),
        ("{{{raw}}} {{&amp}}", "{{raw}} {{amp}}"),
        ("a {{~x~}} b", "a{{x}}b"),
        ("show \\{{this}} and {% that %}", "show {{ '{' }}{this}} and {{ '{' }}% that %}"),
        ("{{json data indent=2}}", "{{ data | tojson(indent=2) }}"),
        ("{{first-name}}", "{{first_name}}"),
    ],
)
def test_handlebars_of_others(theirs: str, ours: str) -> None:
    ((_, content),) = _handlebars.read(theirs, reading())
    assert _jinja_out.write(content) == ours


@pytest.mark.parametrize(
    "theirs", ["{{> header}}", "{{media url=photo}}", "{{history}}", "{{#with a}}x{{/with}}", "{{^a}}x{{/a}}"]
)
def test_what_handlebars_alone_can_say_stays_as_text_and_is_told(theirs: str) -> None:
    told = reading()
    ((_, content),) = _handlebars.read(f"Hello {theirs}", told)
    assert "".join(node.text for node in content if isinstance(node, Text)) == f"Hello {theirs}"
    assert told.losses


@pytest.mark.parametrize(
    ("ours", "what"),
    [
        ("{{ x | upper }}", "the filter upper"),
        ("a\n{% set b = 1 %}", "the tag set"),
        ("{% for k, v in d.items() %}{{ k }}{% endfor %}", "the loop for k, v in d.items()"),
        ("{% if a and b %}x{% endif %}", "the test if a and b"),
        ('{% include "shared/tone" %}', "the include of shared/tone"),
    ],
)
def test_what_jinja_alone_can_say_is_told(ours: str, what: str) -> None:
    with pytest.raises(Unsaid, match=what.replace("(", r"\(").replace(")", r"\)")):
        Writer().write(_jinja.parse(ours))
    about = writing(ours)
    assert _braces.text_of(ours, "messages[0].content", about) == ours
    assert what in about.losses[0].why


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.one_of(st.builds(Text, texts), st.builds(Value, st.just(("x",)))), min_size=1, max_size=5).map(joined)
)
def test_dollars_mean_what_python_makes_of_them(tree: tuple[Node, ...]) -> None:
    ours = _jinja_out.write(tree)
    about = writing(ours)
    theirs = llm._text(ours, "messages[0].content", about)
    assert string.Template(theirs).substitute(VALUES) == rendered(ours)
    assert about.losses == []
    back = llm._ours(Place(theirs, "prompt", "file"), reading())
    assert spaced(_jinja.parse(back)) == spaced(tree)


def test_braces_of_others() -> None:
    told = reading()
    text = "Dear {{ customer name }}, {{order.id}} {{#if x}}{{ y | upper }} {{ y }}"
    ours = _braces.read(text, "prompt", told)
    assert ours == ("Dear {{ customer_name }}, {{order_id}} {{ '{' }}{{ '{' }}#if x}}{{ '{' }}{ y | upper }} {{ y }}")
    assert {loss.field for loss in told.losses} == {"variables.customer name", "variables.order.id", "prompt"}


def test_literal_braces_are_told_where_they_cannot_be_written() -> None:
    about = writing("Write {{ '{{' }}name}} or {{ '{' }}{{ x }}")
    assert _braces.text_of(about.content.messages[0].content, "c", about) == "Write {{name}} or { {{ x }}"
    assert len(about.losses) == 2


def test_a_variable_never_gets_the_name_of_another() -> None:
    told = reading()
    assert _braces.read("{{a b}} {{a_b}} {{a-b}} {{a b}} {{for}}", "p", told) == (
        "{{a_b}} {{a_b_2}} {{a_b_3}} {{a_b}} {{for_}}"
    )


@pytest.mark.parametrize("text", ["{{ x", "{% if %}", "{% endif %}", "{{ '" + "(" * 3000 + "' | }}"])
def test_what_is_no_template_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="template"):
        _jinja.parse(text)


def test_nothing_is_worked_out_when_variables_are_looked_for() -> None:
    assert _jinja.names_in("{{ x }}{{ 'a' * 10 ** 10 }}{% if [y] * 10 ** 10 %}{% endif %}") == ["x", "y"]
