"""A prompt while it is being written: the texts of an editor's fields, from and to a prompt's content.

Fields are texts that may not parse yet. `template` is what can be shown of them at any moment, `troubles` says what
would be in the way of saving, and `content` raises the first of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import BadRequest
from core.messages import Effort
from core.names import check_name
from core.prompts.content import LARGEST, MOST_TAGS, Content, Variable, complaints, parse_content
from core.prompts.editing.field_parsing import as_json, as_text, json_value, lines_of, real, texts_of, whole, written
from core.prompts.version import TAG, Version

DEFAULT = "default"  # of a choice: the model's own
EXAMPLE_SYSTEM = (
    "You answer customers of {{ shop }}.\nBe friendly and exact, in at most four sentences. "
    "If you do not know something, say so and offer to ask a colleague."
)
EXAMPLE_QUESTION = "Can I still send my order back after 40 days?"


class _Texts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class MessageRow(_Texts):
    """A message. `kept`: the version has it although it is blank."""

    role: Literal["system", "user", "assistant"] = "user"
    content: str = ""
    kept: bool = False


class VariableRow(_Texts):
    """A variable's declaration. `is_json`: its values are JSON (a list, a number …) and not text.

    Nothing in a field stands for no value, unless it is said to be empty text.
    """

    description: str = ""
    default: str = ""
    required: bool = True
    example: str = ""
    is_json: bool = False
    empty_default: bool = False
    empty_example: bool = False

    @classmethod
    def of(cls, variable: Variable) -> VariableRow:
        values = (variable.default, variable.example)
        plain = all(isinstance(value, str | None) for value in values)
        default, example = map(as_text if plain else as_json, values)
        return cls(
            description=variable.description,
            default=default,
            required=variable.required,
            example=example,
            is_json=not plain,
            empty_default=plain and variable.default == "",
            empty_example=plain and variable.example == "",
        )

    @property
    def start(self) -> str:
        """What a field for its value begins with."""
        return self.example or self.default

    def parse(self, text: str, what: str) -> Any:
        """The value that `text` stands for; None for none. BadRequest if it should be JSON and is not."""
        if not self.is_json:
            return text or None
        return json_value(what, text) if text.strip() else None


class ExampleRow(_Texts):
    """A few-shot example. `kept`: the version has it although it is empty."""

    input: str = ""
    output: str = ""
    kept: bool = False


class ParameterTexts(_Texts):
    max_tokens: str = ""
    temperature: str = ""
    top_p: str = ""
    seed: str = ""
    stop: str = ""  # one a line, as `field_parsing.lines_of` writes them
    effort: str = DEFAULT
    thinking: str = DEFAULT  # on, off


class Draft(_Texts):
    """All fields. `made_from` is the version's number, None for a new prompt."""

    name: str = ""
    made_from: int | None = None
    description: str = ""
    tags: str = ""
    messages: list[MessageRow] = []
    variables: dict[str, VariableRow] = {}
    values: dict[str, str] = {}  # for preview and run only
    question: str = ""  # what is asked when the prompt itself does not end in a question; for the run only
    examples: list[ExampleRow] = []
    nearest: str = ""
    parameters: ParameterTexts = ParameterTexts()
    answer_schema: str = ""
    model: str = ""  # the prompt's own
    run_model: str = ""  # to run with when it has none
    turn: int = 0  # counts what a page asks, so that it can tell a late answer

    @classmethod
    def read(cls, text: str) -> Draft:
        """What a browser sent. BadRequest if it is no draft."""
        if len(text) > 2 * LARGEST:
            raise BadRequest(f"The prompt is larger than {LARGEST // 1_000_000} MB.", "Shorten it.")
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise BadRequest(f"The fields cannot be read: {complaints(error)}.", "Reload the page.") from None

    @classmethod
    def of(cls, version: Version) -> Draft:
        """A version as it stands."""
        content, set_ = version.content, version.content.parameters
        thinking = {True: "on", False: "off", None: DEFAULT}[set_.thinking]
        return cls(
            name=version.name,
            made_from=version.number or None,
            description=version.description,
            tags=", ".join(version.tags),
            messages=[
                MessageRow(role=message.role, content=message.content, kept=not message.content.strip())
                for message in content.messages
            ],
            variables={name: VariableRow.of(variable) for name, variable in content.variables.items()},
            examples=[
                ExampleRow(input=one.input, output=one.output, kept=not (one.input or one.output))
                for one in content.examples
            ],
            nearest=written(content.nearest),
            parameters=ParameterTexts(
                max_tokens=written(set_.max_tokens),
                temperature=written(set_.temperature),
                top_p=written(set_.top_p),
                seed=written(set_.seed),
                stop=lines_of(set_.stop),
                effort=set_.effort or DEFAULT,
                thinking=thinking,
            ),
            answer_schema=json.dumps(content.answer_schema, indent=2, ensure_ascii=False)
            if content.answer_schema is not None
            else "",
            model=content.model,
        )

    @classmethod
    def sample(cls, model: str = "") -> Draft:
        """What a new prompt begins with: something small that runs."""
        rows = [MessageRow(role="system", content=EXAMPLE_SYSTEM), MessageRow(role="user", content="{{ question }}")]
        variables = {
            "shop": VariableRow(description="Name of the shop", example="Northwind Books"),
            "question": VariableRow(description="What the customer asks", example=EXAMPLE_QUESTION),
        }
        return cls(messages=rows, variables=variables, model=model)

    def template(self) -> Content:
        """The messages, variables and examples alone, with what parses of them. BadRequest if nothing is written."""
        variables = {}
        for name in self.variables:
            try:
                variables[name] = self._variable(name)
            except BadRequest:
                variables[name] = Variable(
                    description=self.variables[name].description, default=None, required=True, example=None
                )
        return parse_content(self._messages() | {"variables": variables} | self._examples())

    def content(self) -> Content:
        """All that shapes a call. BadRequest for the first field that does not parse."""
        variables = {name: self._variable(name) for name in self.variables}
        return parse_content(
            {
                **self._messages(),
                "variables": variables,
                **self._examples(),
                "nearest": whole("Nearest examples", self.nearest, 1, 100) if self._examples() else None,
                "model": self.model,
                "parameters": self._parameters(),
                "schema": self.schema_value(),
            }
        )

    def troubles(self) -> dict[str, str]:
        """What does not parse, as a sentence by the field's name: max_tokens, schema, tags, variables, …"""
        read = self._readers()
        read |= {"schema": self.schema_value, "tags": self.tag_list}
        read |= {f"variable:{name}": lambda name=name: self._variable(name) for name in self.variables}  # type: ignore[misc]
        read |= {"nearest": lambda: whole("Nearest examples", self.nearest, 1, 100)}
        found = {}
        for name, reader in read.items():
            try:
                reader()
            except BadRequest as error:
                found[name] = str(error)
        return found

    def tag_list(self) -> tuple[str, ...]:
        """BadRequest for what cannot be a tag."""
        tags = tuple(dict.fromkeys(tag for part in re.split(r"[,\n]", self.tags) if (tag := part.strip())))
        for tag in tags:
            if not re.fullmatch(TAG, tag):
                raise BadRequest(f"{tag[:60]!r} cannot be a tag.", "A tag has at most 40 characters and no commas.")
        if len(tags) > MOST_TAGS:
            raise BadRequest(f"A prompt has at most {MOST_TAGS} tags.", "Leave some out.")
        return tags

    def schema_value(self) -> dict[str, Any] | None:
        """The JSON Schema of the answer, which only `check_schema` looks into. BadRequest if it is no JSON."""
        if not self.answer_schema.strip():
            return None
        schema = json_value("The JSON schema", self.answer_schema)
        if not isinstance(schema, dict):
            raise BadRequest("The JSON schema is not a JSON object.", "It begins with { and ends with }.")
        return schema

    def value_of(self, name: str, row: VariableRow) -> Any:
        """The value that is given to a variable for preview and run, None for none. BadRequest as VariableRow.parse."""
        return row.parse(self.values.get(name, row.start), f"The value of {name}")

    def check_new_name(self, taken: Callable[[str], str]) -> str:
        """The name of a new prompt. `taken` returns a sentence if it is. BadRequest otherwise."""
        name = check_name(self.name.strip())
        if why := taken(name):
            raise BadRequest(why, "Choose another name, or open that prompt.")
        return name

    def _messages(self) -> dict[str, Any]:
        rows = [{"role": row.role, "content": row.content} for row in self.messages if row.content.strip() or row.kept]
        if not rows:
            raise BadRequest("The prompt is empty.", "Write a system or a user message.")
        return {"messages": rows}

    def _examples(self) -> dict[str, Any]:
        rows = [
            {"input": row.input, "output": row.output} for row in self.examples if row.input or row.output or row.kept
        ]
        return {"examples": rows} if rows else {}

    def _variable(self, name: str) -> Variable:
        row = self.variables[name]
        empty_default = row.empty_default and not row.default
        empty_example = row.empty_example and not row.example
        default = "" if empty_default else row.parse(row.default, f"The default of {name}")
        example = "" if empty_example else row.parse(row.example, f"The example of {name}")
        return Variable(description=row.description, default=default, required=row.required, example=example)

    def _readers(self) -> dict[str, Callable[[], Any]]:
        set_ = self.parameters
        return {
            "max_tokens": lambda: whole("Longest answer", set_.max_tokens, 1, 10_000_000),
            "temperature": lambda: real("Temperature", set_.temperature, 0, 2),
            "top_p": lambda: real("Top p", set_.top_p, 0, 1),
            "seed": lambda: whole("Seed", set_.seed, -(2**63), 2**63 - 1),
            "stop": lambda: texts_of("Stop at", set_.stop),
        }

    def _parameters(self) -> dict[str, Any]:
        set_ = self.parameters
        values: dict[str, Any] = {name: read() for name, read in self._readers().items()}
        values["effort"] = set_.effort if set_.effort in get_args(Effort) else None
        values["thinking"] = {"on": True, "off": False}.get(set_.thinking)
        return values
