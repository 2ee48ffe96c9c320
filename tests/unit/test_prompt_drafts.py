"""An editor's fields to a prompt's content and back."""

from __future__ import annotations

import getpass
from collections.abc import Callable

import pytest

from core.errors import BadRequest
from core.prompts.authors import NOBODY, author_of
from core.prompts.content import Content, Example, PromptMessage, PromptParameters, Variable
from core.prompts.editing.drafts import Draft, ExampleRow, MessageRow, ParameterTexts, VariableRow
from core.prompts.version import Version
from core.settings import Settings

FULL = Content(
    messages=(
        PromptMessage(role="system", content="You sell {{ goods }}.\n"),
        PromptMessage(role="user", content="Hi"),
    ),
    variables={
        "goods": Variable(description="What is sold", default="books", required=True, example=None),
        "items": Variable(description="", default=None, required=False, example=["a", "ß"]),
        "limit": Variable(description="", default=3, required=True, example=None),
    },
    examples=(Example(input="in", output="out"), Example(input="x", output="y")),
    nearest=1,
    model="embedded/smollm2-135m",
    parameters=PromptParameters(
        max_tokens=200, temperature=0.25, top_p=1.0, seed=-4, stop=("END", "\tx"), effort="low", thinking=False
    ),
    answer_schema={"type": "object", "properties": {"a": {"type": "string"}}},
)


def version(content: Content = FULL, **more: object) -> Version:
    return Version("shop/help", 3, content, "Helps", ("support", "two words"), **more)  # type: ignore[arg-type]


def draft(**fields: object) -> Draft:
    return Draft(messages=[MessageRow(role="user", content="Hello")]).model_copy(update=fields)


def test_a_version_comes_back_as_it_was() -> None:
    made = Draft.of(version())
    assert (made.name, made.made_from, made.description) == ("shop/help", 3, "Helps")
    assert made.tag_list() == ("support", "two words")
    assert made.troubles() == {}
    assert made.content() == FULL
    assert made.content().digest() == version().hash


def test_it_survives_the_way_through_the_browser() -> None:
    made = Draft.of(version())
    assert Draft.read(made.model_dump_json()).content() == FULL


def test_what_is_not_set_stays_unset() -> None:
    content = Content(messages=(PromptMessage(role="user", content="Hello"),))
    assert Draft.of(version(content)).content() == content


@pytest.mark.parametrize("source", ["", "[]", "{", '{"messages": 3}', '{"messages": [{"role": "robot"}]}'])
def test_what_is_no_draft_is_refused(source: str) -> None:
    with pytest.raises(BadRequest, match="The fields cannot be read"):
        Draft.read(source)


def test_a_draft_of_many_megabytes_is_refused() -> None:
    with pytest.raises(BadRequest, match="larger than 2 MB"):
        Draft.read(draft(description="x" * 4_100_000).model_dump_json())


def test_empty_messages_and_examples_are_left_out() -> None:
    rows = [
        MessageRow(role="system", content=" \n"),
        MessageRow(role="user", content="Hello"),
        MessageRow(role="assistant"),
    ]
    made = draft(messages=rows, examples=[ExampleRow(), ExampleRow(input="a")], nearest="")
    assert [message.role for message in made.content().messages] == ["user"]
    assert made.content().examples == (Example(input="a", output=""),)


def test_without_any_text_there_is_nothing_to_run() -> None:
    with pytest.raises(BadRequest, match="The prompt is empty"):
        draft(messages=[MessageRow(role="system")]).content()


def test_a_system_message_in_the_middle_is_refused() -> None:
    rows = [MessageRow(role="user", content="a"), MessageRow(role="system", content="b")]
    with pytest.raises(BadRequest, match="only be the first"):
        draft(messages=rows).content()


@pytest.mark.parametrize(
    ("field", "text", "sentence"),
    [
        ("max_tokens", "many", "Longest answer must be a whole number from 1"),
        ("max_tokens", "0", "Longest answer must be a whole number"),
        ("max_tokens", "9" * 5000, "Longest answer must be a whole number"),
        ("temperature", "warm", "Temperature must be a number from 0 to 2"),
        ("temperature", "nan", "Temperature must be a number"),
        ("temperature", "2.1", "Temperature must be a number"),
        ("top_p", "-0.1", "Top p must be a number from 0 to 1"),
        ("seed", "1.5", "Seed must be a whole number"),
    ],
)
def test_a_parameter_that_does_not_parse_is_named(field: str, text: str, sentence: str) -> None:
    made = draft(parameters=ParameterTexts().model_copy(update={field: text}))
    assert made.troubles()[field].startswith(sentence)
    with pytest.raises(BadRequest, match=sentence):
        made.content()
    assert made.template().messages[0].content == "Hello"  # can be looked at all the same


def test_numbers_as_people_write_them() -> None:
    made = draft(parameters=ParameterTexts(max_tokens=" 1,024 ", temperature="0,7", stop="\nEND\n"))
    parameters = made.content().parameters
    assert (parameters.max_tokens, parameters.temperature, parameters.stop) == (1024, 0.7, ("END",))


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        ('{"type": "object",}', r"The JSON schema is not valid JSON \(line 1"),
        ("[1]", "The JSON schema is not a JSON object"),
        ('{"minimum": NaN}', "The JSON schema is not valid JSON"),
    ],
)
def test_a_wrong_schema_says_where(schema: str, sentence: str) -> None:
    made = draft(answer_schema=schema)
    with pytest.raises(BadRequest, match=sentence):
        made.content()
    assert "schema" in made.troubles()


def test_a_value_is_text_unless_its_variable_is_json() -> None:
    made = draft(values={"a": "[1]", "b": "[1]", "c": ""})
    assert made.value_of("a", VariableRow()) == "[1]"
    assert made.value_of("b", VariableRow(is_json=True)) == [1]
    assert made.value_of("c", VariableRow(example="e")) is None  # emptied by hand
    assert made.value_of("d", VariableRow(example="e", default="f")) == "e"
    assert made.value_of("d", VariableRow(default="f")) == "f"
    with pytest.raises(BadRequest, match="The value of b is not valid JSON"):
        draft(values={"b": "x"}).value_of("b", VariableRow(is_json=True))


def test_a_declaration_that_is_no_json_is_told_and_shown_without() -> None:
    made = draft(variables={"a": VariableRow(is_json=True, default="{", description="d")})
    assert "The default of a is not valid JSON" in made.troubles()["variable:a"]
    assert made.template().variables["a"].description == "d"


def test_tags() -> None:
    assert draft(tags=" a, b ,a\n c,, ").tag_list() == ("a", "b", "c")
    with pytest.raises(BadRequest, match="cannot be a tag"):
        draft(tags="x" * 41).tag_list()
    with pytest.raises(BadRequest, match="at most 20 tags"):
        draft(tags=",".join(map(str, range(21)))).tag_list()


def test_the_name_of_a_new_prompt() -> None:
    def taken(name: str) -> str:
        return "There is one." if name == "a/b" else ""

    assert draft(name=" a/c ").check_new_name(taken) == "a/c"
    with pytest.raises(BadRequest, match=r"There is one\."):
        draft(name="a/b").check_new_name(taken)
    with pytest.raises(BadRequest, match="support-reply"):
        draft(name="Support Reply").check_new_name(taken)


def test_the_sample_runs_as_it_is() -> None:
    sample = Draft.sample()
    assert sample.troubles() == {}
    assert set(sample.content().variables) == {"shop", "question"}


async def test_authors(settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    here, shared = settings(PARLEY_SHARED="off"), settings(PARLEY_SHARED="on")
    assert author_of("anybody", here) == getpass.getuser()
    one = author_of("0123456789abcdef", shared)
    assert one.startswith("visitor-") and len(one) == len("visitor-") + 6
    assert one == author_of("0123456789abcdef", shared) != author_of("another", shared)
    assert "012345" not in one  # nobody learns the visitor's id from it

    def unknown() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(getpass, "getuser", unknown)
    assert author_of("anybody", here) == NOBODY
