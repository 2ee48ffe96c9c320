"""From a version to the parts of a file: what every format needs, and what is told when it has no place."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core.errors import BadRequest
from core.prompts.content import Content, PromptMessage
from core.prompts.formats import _jinja
from core.prompts.formats._jinja_out import escape
from core.prompts.formats._model import Exported, ExportFile, Loss, Packed
from core.prompts.formats._nodes import Comment, Node
from core.prompts.version import Version

# What OpenAI, and with it half of the world, calls the parameters.
OPENAI = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_tokens": "max_tokens",
    "seed": "seed",
    "stop": "stop",
    "reasoning_effort": "effort",
}
OPENAI_READ = OPENAI | {"max_completion_tokens": "max_tokens", "max_output_tokens": "max_tokens"}


Say = Callable[[Node, str, Node | None], str | None]


class Writing:
    """One version while it is written. It collects what is lost."""

    def __init__(self, entry: Exported, version: Version, format: str) -> None:
        self.entry = entry
        self.version = version
        self.content: Content = version.content
        self.format = format  # for people
        self.losses: list[Loss] = []

    def lose(self, field: str, why: str) -> None:
        loss = Loss(self.version.name, field, why)
        if loss not in self.losses:
            self.losses.append(loss)

    def lose_about(self, *held: str) -> None:
        """Everything around the content that is set and not among `held`."""
        version = self.version
        about = {
            "description": version.description,
            "tags": version.tags,
            "change": version.change,
            "author": version.author,
            "time": version.time,
            "number": version.number,
            "parent": version.parent,
            "labels": self.entry.labels_of(version),
            "history": self.entry.history,
        }
        for field, value in about.items():
            if value and field not in held:
                self.lose(field, f"{self.format} has no place for it")
        if len(self.entry.versions) > 1 and "versions" not in held:
            self.lose("versions", f"{self.format} holds one version; this is v{version.number}")

    def messages(self) -> list[PromptMessage]:
        """The messages, few-shot examples among them as turns of a conversation."""
        content = self.content
        if not content.examples:
            return list(content.messages)
        examples = content.examples
        if content.nearest is not None:
            examples = examples[: content.nearest]
            self.lose("nearest", f"{self.format} cannot choose examples by the question; the first stand in the file")
        self.lose("examples", f"{self.format} has no few-shot examples; they are messages in the file")
        self.lose("messages", "few-shot examples are among them in the file")
        turns = [
            PromptMessage.model_validate({"role": role, "content": escape(text)})
            for example in examples
            for role, text in (("user", example.input), ("assistant", example.output))
        ]
        first = 1 if content.messages[0].role == "system" else 0
        return [*content.messages[:first], *turns, *content.messages[first:]]

    def simple(self, text: str, field: str, say: Say, keep: Callable[[str], str] = str) -> str:
        """A template for those who know little more than variables.

        `say` gets a node, what was said before it and the node that follows, and gives None for what it cannot say;
        this is told, and the text then stands there as Jinja, as `keep` has it.
        """
        try:
            nodes = _jinja.parse(text)
        except BadRequest as error:
            self.lose(field, error.what)
            return keep(text)
        out = ""
        problems: list[str] = []
        for node, following in itertools.zip_longest(nodes, nodes[1:]):
            said = "" if isinstance(node, Comment) else say(node, out, following)
            if said is None:
                problems.append(_jinja.named(node))
            elif isinstance(node, Comment):
                self.lose(field, f"{self.format} has no comments; they are left out")
            out += said or ""
        if problems:
            self.lose(field, as_it_stands(self.format, problems))
        return keep(text) if problems else out

    def parameters(self, names: Mapping[str, str]) -> dict[str, Any]:
        """Theirs from ours, by a table from their names to ours."""
        ours = self.content.parameters.model_dump(mode="json", exclude_defaults=True)
        found = {theirs: ours.pop(name) for theirs, name in names.items() if name in ours}
        for name in ours:
            self.lose(f"parameters.{name}", f"{self.format} has no place for it")
        return found

    def response_format(self) -> dict[str, Any] | None:
        schema = self.content.answer_schema
        if schema is None:
            return None
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}

    def lose_variables(self, *held: str) -> None:
        """What is said of the variables and not among `held` (description, default, required, example)."""
        for name, variable in self.content.variables.items():
            for field in variable.model_dump(exclude_defaults=True):
                if field not in held:
                    self.lose(f"variables.{name}.{field}", f"{self.format} has no place for it")

    def values(self, field: str) -> dict[str, Any]:
        """The defaults or examples of the variables that have one."""
        found = {name: getattr(variable, field) for name, variable in self.content.variables.items()}
        return {name: value for name, value in found.items() if value is not None}


def without_nothing(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that say something."""
    return {name: value for name, value in values.items() if value is not None and value not in ("", [], {})}


def one_file_each(
    format: str, extension: str, file: Callable[[Writing], bytes]
) -> Callable[[Sequence[Exported]], Packed]:
    """The `export` of a format whose files hold one version of one prompt."""

    def export(entries: Sequence[Exported]) -> Packed:
        all = [Writing(entry, entry.chosen, format) for entry in entries]
        files = [ExportFile(f"{one.version.name}{extension}", file(one)) for one in all]
        return Packed(tuple(files), tuple(loss for one in all for loss in one.losses))

    return export


def json_text(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()


def frontmatter(fields: str, body: str) -> bytes:
    return f"---\n{fields}---\n{body}".encode()


def as_it_stands(format: str, problems: Sequence[str]) -> str:
    return f"{format} does not know {', '.join(problems[:5])}; the text stands there as it is"
