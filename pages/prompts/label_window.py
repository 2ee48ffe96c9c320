"""The window in which a label is set, moved, rolled back or removed: where it goes, what changes by that, and why."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from core.prompts import PromptEntry
from pages.kit.format import text

GONE = 0  # stands for "no version" in the page


@dataclass(frozen=True)
class LabelWindow:
    """What the window is about."""

    entry: PromptEntry
    label: str  # "" for one that is still to be named
    to: int  # GONE to take it away
    protected: Collection[str]
    rollback: bool
    diff: str = ""  # HTML: from what is live to what is going to be live
    why: str = ""  # what was written already
    trouble: str = ""  # why it was not moved

    @property
    def at(self) -> int:
        """Where it stands now."""
        return self.entry.labels.get(self.label, GONE)


def window(state: LabelWindow) -> str:
    """The inside of the dialog. The page's script puts it up and hands back what was filled in."""
    name, word = state.entry.name, state.label
    title = f"Set a label of {name}"
    if word:
        title = f"{'Remove' if state.to == GONE else 'Move' if state.at else 'Set'} {word}"
    fixed = (
        f'<input type="hidden" name="label" value="{text(word)}">'
        if word and state.at
        else (
            '<label class="ask-field">Label<input name="label" required maxlength="40" autocomplete="off" '
            f'list="known-labels" value="{text(word)}" placeholder="production, staging, …"></label>'
            f'<datalist id="known-labels">{_options(state)}</datalist>'
        )
    )
    trouble = f'<p class="ask-trouble" role="alert">{text(state.trouble)}</p>' if state.trouble else ""
    return (
        f'<h2>{text(title)}</h2>{trouble}<div data-name="{text(name)}" data-expect="{state.at}" class="ask-body">'
        f"{_sentence(state)}{fixed}{_target(state)}{_reason(state)}{_changes(state)}</div>"
        '<div class="ask-row"><button type="button" value="cancel">Cancel</button>'
        f'<button type="submit" class="ask-yes{" danger" * (state.to == GONE)}">{text(_button(state))}</button></div>'
    )


def _sentence(state: LabelWindow) -> str:
    parts = []
    if state.at:
        parts.append(f"It stands at v{state.at}.")
        parts.append(f"Whoever asks for {state.entry.name}@{state.label} gets the change at once.")
    if state.label in state.protected:
        parts.append("It is protected, so it moves with a reason only.")
    return f"<p>{text(' '.join(parts))}</p>" if parts else ""


def _options(state: LabelWindow) -> str:
    words = sorted({*state.protected, "staging", *state.entry.labels})
    return "".join(f'<option value="{text(word)}">' for word in words)


def _target(state: LabelWindow) -> str:
    if state.to == GONE:
        return f'<input type="hidden" name="to" value="{GONE}">'
    options = []
    for number in reversed(state.entry.numbers):
        words = sorted(word for word, where in state.entry.labels.items() if where == number)
        extra = f" · {', '.join(words)}" if words else ""
        chosen = " selected" if number == state.to else ""
        options.append(f'<option value="{number}"{chosen}>v{number}{text(extra)}</option>')
    return f'<label class="ask-field">Version<select name="to">{"".join(options)}</select></label>'


def _reason(state: LabelWindow) -> str:
    must = " required" if state.label in state.protected else ""
    hint = "What is better now, and how do you know?" if must else "Optional, and kept in the history"
    if state.rollback and must:
        hint = "What went wrong?"
    return (
        f'<label class="ask-field">Reason<textarea name="why" rows="2" maxlength="2000" placeholder="{hint}"{must}>'
        f"{text(state.why)}</textarea></label>"
    )


def _changes(state: LabelWindow) -> str:
    if not state.diff:
        return ""
    return f'<h3>What changes: v{state.at} → v{state.to}</h3><div class="ask-diff">{state.diff}</div>'


def _button(state: LabelWindow) -> str:
    if state.to == GONE:
        return "Remove the label"
    return f"{'Roll back' if state.rollback else 'Move' if state.at else 'Set'} to v{state.to}"
