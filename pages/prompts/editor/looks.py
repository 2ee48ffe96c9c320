"""What the editor of prompts says of a draft while it is being written: variables, preview, cost, what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.errors import BadRequest, NotFound, ParleyError
from core.messages import Message, Parameters
from core.models.info import ModelInfo
from core.prompts.content import Content
from core.prompts.editing.drafts import DEFAULT, Draft, VariableRow
from core.prompts.editing.estimates import Estimate, estimate
from core.prompts.editing.schema_check import check_schema
from core.prompts.templates.render import MissingVariables, Rendered, listed
from core.prompts.templates.templates import Needed
from core.services import Services
from pages.kit.format import count, money
from pages.kit.model_picker import EFFORT_LABELS, label

GAP = "⟨{}⟩"  # stands in the preview where a value is missing
WHY_LONGEST = {
    "asked": "the longest answer set here",
    "model": "the longest answer that the model gives",
    "window": "all that is left of the model's context window",
    "assumed": "an answer of a length that is assumed",
}


class DraftChecks:
    """Blocking: templates are parsed, and included prompts are read from their files."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def look(self, draft: Draft) -> dict[str, Any]:
        """All of it as JSON values. Never raises for what somebody is still writing."""
        model = draft.model or draft.run_model
        info = self._services.catalog.info(model)
        report: dict[str, Any] = {
            "turn": draft.turn,
            "troubles": self._troubles(draft),
            "error": "",
            "name": self._name(draft),
        }
        report |= {"fit": fit(info, draft) if model else {}, "asks": asks(draft)}
        try:
            content = self._without_sample(draft.template(), draft)
            needed = self._services.templates.variables(content)
            used = self._used(content)
        except ParleyError as error:  # the template is wrong, or an included prompt does not exist
            known = [_variable(name, row, declared=True, used=True) for name, row in draft.variables.items()]
            return report | {"error": str(error), "cost": cost_line(None, info, model), "known": known}
        rows = [(one, row_of(one, draft)) for one in needed]
        report["variables"] = [_variable(one.name, row, one.declared, one.name in used) for one, row in rows]
        try:
            rendered, missing = self.preview(content, draft, rows)
        except ParleyError as error:
            return report | {"error": str(error), "cost": cost_line(None, info, model)}
        report["missing"] = list(missing)
        report["preview"] = [{"role": message.role, "text": message.text} for message in rendered.messages]
        report["parts"] = [f"{part.name}@{part.number}" for part in rendered.parts]
        messages = [*rendered.messages, *question_of(draft)]
        guess = estimate(messages, _parameters(draft), info, self._services.prices) if model else None
        return report | {"cost": cost_line(guess, info, model)}

    def content(self, draft: Draft) -> Content:
        """What a run sends and saving keeps. BadRequest says what is in the way."""
        content = self._services.templates.check(self._without_sample(draft.content(), draft))
        if content.answer_schema is not None:
            check_schema(self._services.child, content.answer_schema)
        return content

    def preview(
        self, content: Content, draft: Draft, rows: list[tuple[Needed, VariableRow]]
    ) -> tuple[Rendered, tuple[str, ...]]:
        """The messages with what values there are, and the names of the missing ones, which leave gaps."""
        values = {}
        for one, row in rows:
            try:
                values[one.name] = draft.value_of(one.name, row)
            except BadRequest:  # told at its field
                values[one.name] = None
        values = {name: value for name, value in values.items() if value is not None}
        render = self._services.templates.render
        question = draft.question or None
        try:
            return render(content, values, question=question, strict=False), ()
        except MissingVariables as error:
            gaps = {name: GAP.format(name) for name in error.names}
            return render(content, values | gaps, question=question, strict=False), error.names

    def _troubles(self, draft: Draft) -> dict[str, str]:
        """Sentences by the field's name."""
        found = draft.troubles()
        if "schema" not in found and (schema := draft.schema_value()) is not None:
            try:
                check_schema(self._services.child, schema)
            except ParleyError as error:
                found["schema"] = str(error)
        return found

    def _used(self, content: Content) -> set[str]:
        """The variables that the texts have."""
        bare = content.model_copy(update={"variables": {}})
        return {one.name for one in self._services.templates.variables(bare)}

    def _without_sample(self, content: Content, draft: Draft) -> Content:
        """Without the variables of the sample that a new prompt begins with, once its texts are gone."""
        if draft.made_from:
            return content
        sample = Draft.sample().variables
        left = {name for name, row in draft.variables.items() if sample.get(name) == row} - self._used(content)
        return content.model_copy(
            update={"variables": {name: one for name, one in content.variables.items() if name not in left}}
        )

    def _name(self, draft: Draft) -> str:
        """What is wrong with the name of a new prompt; "" if nothing is, or none has been written yet."""
        if draft.made_from is not None or not draft.name.strip():
            return ""
        try:
            draft.check_new_name(self.taken)
        except BadRequest as error:
            return str(error)
        return ""

    def taken(self, name: str) -> str:
        """Says that there is a prompt of this name already; "" if there is none."""
        try:
            entry = self._services.registry.entry(name)
        except NotFound:
            return ""
        number = len(entry.numbers)
        return f"There is a prompt called {name} already, with {number} version{'s' * (number != 1)}."


def row_of(one: Needed, draft: Draft) -> VariableRow:
    """How a variable is declared: in the fields, or in the prompt that needs it."""
    return draft.variables.get(one.name) or VariableRow.of(one.variable)


def asks(draft: Draft) -> bool:
    """Whether a question must be given to run it, because the prompt does not end in one of its own."""
    written = [row for row in draft.messages if row.content.strip()]
    return bool(written) and written[-1].role != "user"


def question_of(draft: Draft) -> list[Message]:
    """The message that is added for a run, if one is."""
    return [Message("user", draft.question)] if asks(draft) and draft.question.strip() else []


def fit(info: ModelInfo, draft: Draft) -> dict[str, Any]:
    """Which parameters the model takes."""
    able = info.abilities
    parts = {
        "a temperature": (able.temperature, draft.parameters.temperature or draft.parameters.top_p),
        "a seed": (able.seed, draft.parameters.seed),
        "stop texts": (able.stop, draft.parameters.stop),
        "a JSON schema": (able.json_schema, draft.answer_schema.strip()),
        "an effort": (bool(able.efforts), draft.parameters.effort not in ("", DEFAULT)),
    }
    unused = [name for name, (takes, set_) in parts.items() if set_ and not takes]
    return {
        "temperature": able.temperature,
        "top_p": able.temperature,
        "seed": able.seed,
        "stop": able.stop,
        "thinking": able.thinking and able.thinking_off,
        "effort": [[effort, EFFORT_LABELS.get(effort, effort)] for effort in able.efforts],
        "max_tokens": f"up to {info.max_output:,}" if info.max_output else "tokens",
        "unused": f"{label(info)} does not take {listed(unused)}: left out when it runs." if unused else "",
    }


def cost_line(guess: Estimate | None, info: ModelInfo, model: str) -> dict[str, str]:
    """What a run is going to cost, in a line, and what that assumes."""
    if not model:
        return {"line": "Choose a model to see what a run costs.", "more": "", "bad": ""}
    if guess is None:
        return {"line": "", "more": "", "bad": ""}
    tokens = f"about {count(guess.input)} tokens in"
    bad = ""
    if not guess.fits and guess.window is not None:
        bad = f"This does not fit: {label(info)} takes {guess.window:,} tokens in all."
    longest = f"{WHY_LONGEST[guess.reason]}: {count(guess.output)} tokens"
    if guess.least is None or guess.most is None:
        return {"line": f"{tokens} · price unknown", "more": f"Nobody knows what {label(info)} costs.", "bad": bad}
    if guess.most == 0:
        return {"line": f"{tokens} · $0 a run", "more": f"With {longest}, estimated.", "bad": bad}
    line = f"{tokens} · {money(guess.least)} and the answer, at most {money(guess.most)} a run"
    return {"line": line, "more": f"At most with {longest}. Tokens are estimated.", "bad": bad}


def _variable(name: str, row: VariableRow, declared: bool, used: bool) -> Mapping[str, Any]:
    return {
        "name": name,
        "declared": declared,
        "used": used,
        "start": row.start,
        "needed": row.required and not row.default,
        **row.model_dump(),
    }


def _parameters(draft: Draft) -> Parameters:
    """Those that change the length of a call; what does not parse is left out."""
    try:
        return draft.content().as_parameters()
    except BadRequest:
        return Parameters()
