"""Opening a version in the editor and saving it again changes nothing, whatever it says."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import BadRequest
from core.messages import Effort
from core.prompts.content import Content, parse_content
from core.prompts.editing.drafts import Draft, MessageRow, ParameterTexts, VariableRow
from core.prompts.version import Version

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r"), max_size=8)
odd = st.sampled_from(
    ["", " ", "\n", "\n\n", "a\nb", '"', '""', "\\", "\\n", "\\u0022", "null", "5", "[1]", "x\u2028y"]
)
words = odd | texts
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
variables = st.fixed_dictionaries(
    {"description": words, "default": values, "required": st.booleans(), "example": values}
)
parameters = st.fixed_dictionaries(
    {},
    optional={
        "max_tokens": st.integers(1, 10_000_000),
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0, 1),
        "seed": st.integers(-(2**63), 2**63 - 1),
        "stop": st.lists(words, max_size=4),
        "effort": st.sampled_from(get_args(Effort)),
        "thinking": st.booleans(),
    },
)
schemas = st.sampled_from([None, {}, {"type": "object"}, {"const": 1e-7}]) | values.map(lambda one: {"const": one})


@st.composite
def contents(draw: st.DrawFn) -> Content:
    messages = [{"role": draw(st.sampled_from(["user", "assistant"])), "content": draw(words)} for _ in range(3)]
    if draw(st.booleans()):
        messages[0]["role"] = "system"
    examples = draw(st.lists(st.fixed_dictionaries({"input": words, "output": words}), max_size=2))
    value: dict[str, Any] = {
        "messages": messages[: draw(st.integers(1, 3))],
        "variables": draw(st.dictionaries(st.sampled_from(["a", "b", "c"]), variables, max_size=3)),
        "examples": examples,
        "nearest": draw(st.none() | st.integers(1, 100)) if examples else None,
        "model": draw(words),
        "parameters": draw(parameters),
        "schema": draw(schemas),
    }
    return parse_content(value)


@settings(max_examples=300, deadline=None)
@given(contents())
def test_every_version_comes_back_as_it_was(content: Content) -> None:
    made = Draft.of(Version("shop/help", 3, content))
    assert made.troubles() == {}
    back = Draft.read(made.model_dump_json()).content()
    assert back == content
    assert back.digest() == content.digest()


def back(**fields: Any) -> Content:
    content = parse_content({"messages": [{"role": "user", "content": "Hi {{ x }}"}], **fields})
    found = Draft.of(Version("p", 1, content)).content()
    assert found == content and found.digest() == content.digest()
    return found


@pytest.mark.parametrize("stop", [["\n\n"], ["a\nb"], ["END\u2028x"], ["\\n", "\\"], [""], ['""'], [" "]])
def test_stop_texts_stay(stop: list[str]) -> None:
    assert back(parameters={"stop": stop}).parameters.stop == tuple(stop)


@pytest.mark.parametrize(
    "variable",
    [{"default": ""}, {"example": ""}, {"default": "5", "example": 5}, {"default": ["a"], "example": "text"}],
)
def test_values_stay(variable: dict[str, Any]) -> None:
    back(variables={"x": variable})


def test_short_numbers_look_as_they_were_written() -> None:
    set_ = parse_content(
        {"messages": [{"role": "user", "content": "a"}], "parameters": {"temperature": 0.1234567, "top_p": 1.0}}
    )
    made = Draft.of(Version("p", 1, set_)).parameters
    assert (made.temperature, made.top_p) == ("0.1234567", "1")


def test_escapes_of_stop_texts() -> None:
    def read(stop: str) -> Draft:
        return Draft(messages=[MessageRow(content="a")], parameters=ParameterTexts(stop=stop))

    assert read("\\n\\n\r\n\nEND \\\\d\\u00e9\\t").content().parameters.stop == ("\n\n", "END \\dé\t")
    for wrong in ("a\\d", "a\\", "\\u12"):
        assert "stands for nothing. Write \\\\ for a backslash" in read(wrong).troubles()["stop"]
        with pytest.raises(BadRequest, match="Stop at holds"):
            read(wrong).content()


@pytest.mark.parametrize("number", ["1e999", "[-1e999]", '{"a": 1e400}', "1" * 5000])
def test_a_number_that_cannot_be_saved_is_refused_with_a_sentence(number: str) -> None:
    made = Draft(messages=[MessageRow(content="{{ x }}")], variables={"x": VariableRow(default=number, is_json=True)})
    with pytest.raises(BadRequest, match="The default of x holds a number that is too large"):
        made.content()
    assert "number that is too large" in made.troubles()["variable:x"]


def test_an_empty_default_is_told_from_none() -> None:
    def default(**row: Any) -> Any:
        return (
            Draft(messages=[MessageRow(content="a")], variables={"x": VariableRow(**row)})
            .content()
            .variables["x"]
            .default
        )

    assert default() is None
    assert default(is_json=True) is None
    assert (
        default(empty_default=True)
        == default(empty_default=True, is_json=True)
        == default(default='""', is_json=True)
        == ""
    )
    assert default(empty_default=True, default="x") == "x", "what is written counts"
