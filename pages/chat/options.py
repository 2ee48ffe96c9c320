"""The drawer with the system prompt and the parameters; it offers what the chosen models can do, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from core.errors import BadRequest
from core.messages import Parameters
from core.models.info import ModelInfo
from core.prompts.editing.field_parsing import json_value, real, whole, written
from pages.chat.prompt import PromptPick
from pages.kit.handlers import Updates
from pages.kit.model_picker import EFFORT_LABELS

DEFAULT = "default"
Values = Mapping[Any, Any]  # a component's value by the component, as Gradio hands over a set of inputs


@dataclass(frozen=True)
class Options:
    """The drawer's components. An empty field means that nothing is sent: the model's own default holds."""

    prompt: PromptPick
    system: gr.Textbox
    thinking: gr.Radio
    effort: gr.Dropdown
    max_tokens: gr.Textbox
    temperature: gr.Textbox
    top_p: gr.Textbox
    seed: gr.Textbox
    stop: gr.Textbox
    schema: gr.Textbox
    fallbacks: gr.Dropdown
    cannot: gr.HTML

    @classmethod
    def build(cls) -> Options:
        gr.HTML(
            '<div class="drawer-head"><h2>Options</h2><button class="icon close" data-do="drawer" '
            'data-name="options" aria-label="Close options" title="Close"></button></div>',
            apply_default_css=False,
        )
        prompt = PromptPick.build()
        system = gr.Textbox(
            label="System prompt",
            info="Follows the prompt's own, when one is chosen above.",
            lines=4,
            max_lines=14,
            placeholder="You are a helpful assistant.",
            elem_id="system",
        )
        gr.HTML(
            '<button class="word" data-do="save_system">Keep it as a prompt with versions</button>',
            apply_default_css=False,
            elem_id="save-system",
        )
        thinking = gr.Radio(
            [("Default", DEFAULT), ("On", "on"), ("Off", "off")], value=DEFAULT, label="Thinking", visible=False
        )
        effort = gr.Dropdown([("Model's default", DEFAULT)], value=DEFAULT, label="Effort", visible=False)
        with gr.Row(elem_classes="pair"):
            temperature = _field("Temperature", "0 to 2")
            top_p = _field("Top p", "0 to 1")
        with gr.Row(elem_classes="pair"):
            max_tokens = _field("Longest answer", "tokens")
            seed = _field("Seed", "whole number")
        stop = gr.Textbox(label="Stop at", info="One text a line; the answer ends before it.", lines=1, max_lines=4)
        schema = gr.Textbox(
            label="JSON schema",
            info="The answer must be JSON of this shape.",
            lines=2,
            max_lines=12,
            elem_classes="mono",
            placeholder='{"type": "object", "properties": {…}}',
        )
        fallbacks = gr.Dropdown([], multiselect=True, label="If the model is unavailable, ask", max_choices=4)
        cannot = gr.HTML("", apply_default_css=False)
        return cls(
            prompt, system, thinking, effort, max_tokens, temperature, top_p, seed, stop, schema, fallbacks, cannot
        )

    @property
    def all(self) -> set[Any]:
        """What the handlers of the Chat tab read."""
        own = {value for name, value in vars(self).items() if name not in ("cannot", "prompt")}
        return own | {self.prompt.ref, self.prompt.values}

    def parameters(self, values: Values) -> Parameters:
        """What the fields say. BadRequest for what does not parse."""
        thinking = {"on": True, "off": False}.get(values[self.thinking])
        effort = values[self.effort]
        stop = tuple(line for line in (values[self.stop] or "").splitlines() if line)
        return Parameters(
            max_tokens=whole("Longest answer", values[self.max_tokens] or "", 1, 10_000_000),
            temperature=real("Temperature", values[self.temperature] or "", 0, 2),
            top_p=real("Top p", values[self.top_p] or "", 0, 1),
            seed=whole("Seed", values[self.seed] or "", -(2**63), 2**63 - 1),
            stop=stop,
            effort=None if effort in (None, DEFAULT) else effort,
            thinking=thinking,
            response_schema=_schema(values[self.schema] or ""),
        )

    def fill(self, system: str, parameters: Parameters) -> Updates:
        """Show what a conversation was left with."""
        schema = parameters.response_schema
        thinking = {True: "on", False: "off", None: DEFAULT}[parameters.thinking]
        return {
            self.system: system,
            self.thinking: thinking,
            self.effort: parameters.effort or DEFAULT,
            self.max_tokens: written(parameters.max_tokens),
            self.temperature: written(parameters.temperature),
            self.top_p: written(parameters.top_p),
            self.seed: written(parameters.seed),
            self.stop: "\n".join(parameters.stop),
            self.schema: json.dumps(dict(schema), indent=2, ensure_ascii=False) if schema else "",
        }

    def shown(self, system: str, parameters: Parameters, models: Sequence[ModelInfo]) -> Updates:
        """A conversation's options, fitted to its models."""
        filled = self.fill(system, parameters)
        fitted = self.fit(models, parameters.effort)
        del filled[self.effort]
        return fitted | {
            field: {**fitted[field], "value": value} if field in fitted else value for field, value in filled.items()
        }

    def fit(self, models: Sequence[ModelInfo], effort: str | None = None) -> Updates:
        """Show the fields that at least one of these models can use, and say which ones none can."""
        able = [model.abilities for model in models]
        efforts: list[str] = []
        for abilities in able:
            efforts += [effort for effort in abilities.efforts if effort not in efforts]
        outputs = [model.max_output for model in models if model.max_output]
        temperature = any(a.temperature for a in able)
        seed, stop, schema = (any(getattr(a, name) for a in able) for name in ("seed", "stop", "json_schema"))
        parts = (("a temperature", temperature), ("a seed", seed), ("stop texts", stop), ("a JSON schema", schema))
        missing = [name for name, there in parts if not there]
        plural = "These models do" if len(models) > 1 else "This model does"
        note = f'<p class="hint">{plural} not take {_listed(missing)}.</p>' if missing and models else ""
        labels = [("Model's default", DEFAULT), *((EFFORT_LABELS.get(effort, effort), effort) for effort in efforts)]
        return {
            self.temperature: gr.update(visible=temperature),
            self.top_p: gr.update(visible=temperature),
            self.seed: gr.update(visible=seed),
            self.stop: gr.update(visible=stop),
            self.schema: gr.update(visible=schema),
            self.thinking: gr.update(visible=any(a.thinking and a.thinking_off for a in able)),
            self.effort: gr.update(
                visible=bool(efforts), choices=labels, value=effort if effort in efforts else DEFAULT
            ),
            self.max_tokens: gr.update(placeholder=f"up to {max(outputs):,}" if outputs else "tokens"),
            self.cannot: note,
        }


# Textboxes, because Gradio's number field turns an empty one into 0, which is a temperature.
def _field(label: str, placeholder: str) -> gr.Textbox:
    attributes = gr.InputHTMLAttributes(autocomplete="off", spellcheck=False)
    return gr.Textbox(label=label, placeholder=placeholder, max_lines=1, min_width=100, html_attributes=attributes)


def _schema(source: str) -> dict[str, Any] | None:
    if not source.strip():
        return None
    schema = json_value("The JSON schema in Options", source)
    if not isinstance(schema, dict):
        raise BadRequest("The JSON schema in Options is not a JSON object.", "It begins with { and ends with }.")
    return schema


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + names[-1]
