"""The prompt that a conversation begins with: picked from the registry by label or version, its variables as fields."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from core.conversations import PromptChoice
from core.errors import BadRequest, ParleyError
from core.prompts import PromptEntry
from core.prompts.templates.templates import Needed
from core.prompts.version import Version
from core.services import Services
from pages.kit.format import text

NONE = ""
MOST = 300  # prompts in the picker; the others are reached from the Prompts tab
Choice = tuple[str, str]
Names = Collection[str]
KEEP_VALUES = "parley.keepValues = (text) => { props.value = text; };"


@dataclass(frozen=True)
class PromptPick:
    """The picker, the variables' fields, and what stands in them: a JSON object of texts by name."""

    ref: gr.Dropdown
    fields: gr.HTML
    values: gr.HTML

    @classmethod
    def build(cls) -> PromptPick:
        ref = gr.Dropdown([("No prompt", NONE)], value=NONE, label="Prompt", elem_id="prompt-ref")
        fields = gr.HTML("", apply_default_css=False, elem_id="prompt-fields")
        values = gr.HTML("{}", visible="hidden", apply_default_css=False, js_on_load=KEEP_VALUES)
        return cls(ref, fields, values)


def choices(entries: Sequence[PromptEntry], kept: str = NONE) -> list[Choice]:
    """What can be picked: each prompt by its labels, by `latest`, and by the version that is in use already."""
    found: list[Choice] = [("No prompt", NONE)]
    labelled_first = sorted(entries, key=lambda entry: not entry.labels) if len(entries) > MOST else entries
    for entry in labelled_first[:MOST]:
        if entry.latest is None:
            continue
        for label, number in sorted(entry.labels.items()):
            found.append((f"{entry.name}  ·  {label} (v{number})", f"{entry.name}@{label}"))
        if entry.latest.number not in entry.labels.values():
            found.append((f"{entry.name}  ·  latest (v{entry.latest.number})", f"{entry.name}@latest"))
    if kept and kept not in {value for _, value in found}:
        found.append((kept.replace("@", "  ·  v" if kept.rpartition("@")[2].isdigit() else "  ·  "), kept))
    return found


def fields(version: Version, opening: Names, needed: tuple[Needed, ...], values: Mapping[str, Any]) -> str:
    """A field for each variable, and what else there is to know of the prompt.

    `opening` are the variables that a conversation needs; the others are of the question that the prompt ends with.
    """
    rows = "".join(_field(one, values.get(one.name)) for one in needed if one.name in opening)
    ask = ""
    if version.content.messages[-1].role == "user":
        own = "".join(_field(one, values.get(one.name)) for one in needed if one.name not in opening)
        ask = (
            f'<h3>Its question</h3>{own}<button class="plain" data-do="prompt_question">'
            "Put its question into the message box</button>"
        )
    about = text(version.description) or f"{text(version.name)} has no description."
    return (
        f'<div class="prompt-pick"><p class="hint">{about} <button class="word" data-do="show_prompt" '
        f'data-ref="{text(version.ref)}">Open v{version.number}</button>{_examples(needed)}</p>'
        f"{rows}{ask}</div>"
    )


def trouble(error: ParleyError) -> str:
    """A prompt that cannot be used now."""
    return f'<div class="prompt-pick"><p class="hint bad">{text(error)}</p></div>'


def as_text(value: Any) -> str:
    """How a value stands in a field: text as it is, anything else as JSON."""
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def read_values(source: str, needed: tuple[Needed, ...]) -> dict[str, Any]:
    """The values that stand in the fields; empty ones are left out. BadRequest for what should be JSON and is not."""
    try:
        given = json.loads(source or "{}")
    except ValueError:
        given = {}
    texts = {name: value for name, value in given.items() if isinstance(value, str)} if isinstance(given, dict) else {}
    found: dict[str, Any] = {}
    for one in needed:
        written = texts.get(one.name, "")
        if written:
            found[one.name] = _parsed(one, written)
    return found


def _parsed(one: Needed, written: str) -> Any:
    samples = [value for value in (one.variable.default, one.variable.example) if value is not None]
    if not samples or any(isinstance(value, str) for value in samples):
        return written
    try:
        return json.loads(written)
    except ValueError:
        example = json.dumps(samples[0], ensure_ascii=False)[:80]
        raise BadRequest(f"{one.name} must be JSON, for example {example}.", "Correct it in Options.") from None


def _examples(needed: tuple[Needed, ...]) -> str:
    if all(one.variable.example is None for one in needed):
        return ""
    return ' <button class="word" data-do="prompt_examples">Fill in the examples</button>'


def _field(one: Needed, value: Any) -> str:
    variable = one.variable
    hint = as_text(variable.default) or (f"for example {as_text(variable.example)}" if variable.example else "")
    needed = variable.required and variable.default is None
    mark = ' <i title="needed">*</i>' if needed else ""
    about = f'<small id="about-{text(one.name)}">{text(variable.description)}</small>' if variable.description else ""
    described = f' aria-describedby="about-{text(one.name)}"' if variable.description else ""
    written = as_text(value)
    example = f' data-example="{text(as_text(variable.example))}"' if variable.example is not None else ""
    return (
        f'<label class="variable"><span>{text(one.name)}{mark}</span>{about}'
        f'<textarea rows="1" data-variable="{text(one.name)}" placeholder="{text(hint[:200])}"{described}{example}>'
        f"{text(written)}</textarea></label>"
    )


class ChatPrompts:
    """What the Chat tab asks of the registry. Blocking: call it in a thread."""

    def __init__(self, services: Services, pick: PromptPick) -> None:
        self._registry = services.registry
        self._templates = services.templates
        self._prompt_context = services.prompt_context
        self._pick = pick

    def choices(self, kept: str = NONE) -> list[Choice]:
        return choices(self._registry.list(), kept)

    def shown(self, prompt: PromptChoice | None) -> dict[Any, Any]:
        """The picker and the fields as a conversation was left."""
        pick = self._pick
        if prompt is None:
            return {pick.ref: NONE, pick.fields: "", pick.values: "{}"}
        ref = gr.update(choices=self.choices(prompt.ref), value=prompt.ref)
        written = {name: as_text(value) for name, value in prompt.values.items()}
        updates = {pick.ref: ref, pick.values: json.dumps(written, ensure_ascii=False)}
        try:
            version = self._registry.version(prompt.ref)
            needed = self._templates.variables(version.content)
            opening = {one.name for one in self._prompt_context.variables(prompt.ref)}
        except ParleyError as error:
            return updates | {pick.fields: trouble(error)}
        return updates | {pick.fields: fields(version, opening, needed, prompt.values)}

    def chosen(self, ref: str | None, source: str) -> PromptChoice | None:
        """What the picker and the fields say now. Raises BadRequest, NotFound."""
        if not ref:
            return None
        version = self._registry.version(ref)
        return PromptChoice(ref, read_values(source, self._templates.variables(version.content)))

    def version(self, ref: str) -> Version:
        return self._registry.version(ref)

    def question(self, choice: PromptChoice) -> str:
        """The prompt's own closing question with the values put in; "" when it has none."""
        rendered = self._templates.render(self._registry.version(choice.ref), choice.values)
        last = rendered.messages[-1]
        return last.text if last.role == "user" else ""
