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


def window(asked: LabelWindow) -> str:
    """The inside of the dialog. The page's script puts it up and hands back what was filled in."""
    name, word = asked.entry.name, asked.label
    title = f"Set a label of {name}"
    if word:
        title = f"{'Remove' if asked.to == GONE else 'Move' if asked.at else 'Set'} {word}"
    fixed = (
        f'<input type="hidden" name="label" value="{text(word)}">'
        if word and asked.at
        else (
            '<label class="ask-field">Label<input name="label" required maxlength="40" autocomplete="off" '
            f'list="known-labels" value="{text(word)}" placeholder="production, staging, …"></label>'
            f'<datalist id="known-labels">{_options(asked)}</datalist>'
        )
    )
    trouble = f'<p class="ask-trouble" role="alert">{text(asked.trouble)}</p>' if asked.trouble else ""
    return (
        f'<h2>{text(title)}</h2>{trouble}<div data-name="{text(name)}" data-expect="{asked.at}" class="ask-body">'
        f"{_sentence(asked)}{fixed}{_target(asked)}{_reason(asked)}{_changes(asked)}</div>"
        '<div class="ask-row"><button type="button" value="cancel">Cancel</button>'
        f'<button type="submit" class="ask-yes{" danger" * (asked.to == GONE)}">{text(_button(asked))}</button></div>'
    )


def _sentence(asked: LabelWindow) -> str:
    parts = []
    if asked.at:
        parts.append(f"It stands at v{asked.at}.")
        parts.append(f"Whoever asks for {asked.entry.name}@{asked.label} gets the change at once.")
    if asked.label in asked.protected:
        parts.append("It is protected, so it moves with a reason only.")
    return f"<p>{text(' '.join(parts))}</p>" if parts else ""


def _options(asked: LabelWindow) -> str:
    words = sorted({*asked.protected, "staging", *asked.entry.labels})
    return "".join(f'<option value="{text(word)}">' for word in words)


def _target(asked: LabelWindow) -> str:
    if asked.to == GONE:
        return f'<input type="hidden" name="to" value="{GONE}">'
    options = []
    for number in reversed(asked.entry.numbers):
        words = sorted(word for word, where in asked.entry.labels.items() if where == number)
        extra = f" · {', '.join(words)}" if words else ""
        chosen = " selected" if number == asked.to else ""
        options.append(f'<option value="{number}"{chosen}>v{number}{text(extra)}</option>')
    return f'<label class="ask-field">Version<select name="to">{"".join(options)}</select></label>'


def _reason(asked: LabelWindow) -> str:
    must = " required" if asked.label in asked.protected else ""
    hint = "What is better now, and how do you know?" if must else "Optional, and kept in the history"
    if asked.rollback and must:
        hint = "What went wrong?"
    return (
        f'<label class="ask-field">Reason<textarea name="why" rows="2" maxlength="2000" placeholder="{hint}"{must}>'
        f"{text(asked.why)}</textarea></label>"
    )


def _changes(asked: LabelWindow) -> str:
    if not asked.diff:
        return ""
    return f'<h3>What changes: v{asked.at} → v{asked.to}</h3><div class="ask-diff">{asked.diff}</div>'


def _button(asked: LabelWindow) -> str:
    if asked.to == GONE:
        return "Remove the label"
    return f"{'Roll back' if asked.rollback else 'Move' if asked.at else 'Set'} to v{asked.to}"
