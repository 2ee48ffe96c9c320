"""What an import would do and what it did, as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from core.prompts.formats import Imported, ImportedVersion, Loss, Plan
from pages.kit.format import text
from pages.prompts.words import name, several

MOST_ROWS = 300
MOST_LOSSES = 60


@dataclass(frozen=True)
class ReportRow:
    """A version that a file holds, and what it becomes here."""

    draft: ImportedVersion
    becomes: int  # the number of the version
    known: bool  # it is there already
    fresh: bool  # there is no prompt of this name yet


@dataclass(frozen=True)
class ReadFile:
    """A file that was looked at. Either it has a plan or a trouble."""

    filename: str
    format: str = ""  # for people
    plan: Plan | None = None
    rows: Sequence[ReportRow] = ()
    trouble: str = ""


def before(files: Sequence[ReadFile], cannot: str) -> str:
    """What would be imported. Nothing has been written."""
    rows = [row for file in files for row in file.rows]
    new = [row for row in rows if not row.known]
    prompts = {row.draft.name for row in new}
    labels = [(row, label) for row in rows for label in row.draft.labels]
    acts = '<button class="plain" data-do="cancel_import">Cancel</button>'
    if new and not cannot:
        acts = (
            f'<button class="plain main" data-do="prompt_take">Import {several(len(prompts), "prompt")}</button>{acts}'
        )
    said = "All of it is here already." if rows else "There is no prompt in it that can be imported."
    if new:
        said = f"{several(len(new), 'new version')} of {several(len(prompts), 'prompt')}. Nothing is written yet."
    also = ""
    if labels and not cannot:
        also = (
            f'<label class="also"><input type="checkbox" name="labels"> Move {several(len(labels), "label")} too, as '
            "the file says. Without it, what is live here stays live.</label>"
        )
    why = f'<div class="calm">{text(cannot)}</div>' if cannot else ""
    return (
        f'<div class="report"><h1>Import</h1><p>{said}</p>{why}{also}'
        f'<div class="acts">{acts}</div>{"".join(map(_file, files))}</div>'
    )


def after(done: Sequence[tuple[str, Imported]], troubles: Mapping[str, str]) -> str:
    """What was imported, and which files were not."""
    made = [version for _, one in done for version in one.versions]
    same = [version for _, one in done for version in one.unchanged]
    moved = [move for _, one in done for move in one.labels_moved]
    parts = [f"<p>{several(len(made), 'version')} imported."]
    if same:
        parts.append(f" {several(len(same), 'version')} {'was' if len(same) == 1 else 'were'} there already.")
    if moved:
        parts.append(f" {several(len(moved), 'label')} moved.")
    bad = "".join(_trouble(filename, trouble) for filename, trouble in troubles.items())
    rows = "".join(
        f'<tr><td><button class="word" data-do="open_prompt" data-ref="{text(version.ref)}">'
        f"{name(version.name)}</button></td><td>v{version.number}</td></tr>"
        for version in made[:MOST_ROWS]
    )
    table = f'<table class="plain-table"><tbody>{rows}</tbody></table>' if rows else ""
    return (
        f'<div class="report"><h1>Import</h1>{"".join(parts)}</p>{bad}{table}'
        '<div class="acts"><button class="plain" data-do="cancel_import">Close</button></div></div>'
    )


def _file(file: ReadFile) -> str:
    if file.plan is None:
        return _trouble(file.filename, file.trouble)
    rows = "".join(_row(row) for row in file.rows[:MOST_ROWS])
    rest = len(file.rows) - MOST_ROWS
    more = f'<p class="hint">And {several(rest, "more version")}.</p>' if rest > 0 else ""
    return (
        f'<h2>{text(file.filename)}</h2><p class="hint">{text(file.format)}, {several(len(file.rows), "version")}</p>'
        '<table class="plain-table"><thead><tr><th>Prompt</th><th>Becomes</th><th>Labels in the file</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>{more}{_losses(file.plan.losses)}"
    )


def _row(row: ReportRow) -> str:
    if row.known:
        becomes = f"v{row.becomes}, which is here already"
    else:
        becomes = f"v{row.becomes}" + (" of a new prompt" if row.fresh and row.becomes == 1 else "")
    labels = text(", ".join(row.draft.labels)) or "–"
    return f"<tr><td><b>{name(row.draft.name)}</b></td><td>{becomes}</td><td>{labels}</td></tr>"


def _losses(losses: Sequence[Loss]) -> str:
    """What of the file has no place here, a prompt after the other."""
    if not losses:
        return '<p class="hint">All of the file is kept.</p>'
    rows = "".join(
        f"<li>{f'<b>{text(place)}</b>: ' if place else ''}"
        + "; ".join(f"{text(loss.field)} {text(loss.why)}" for loss in found)
        + "</li>"
        for place, found in groupby(losses[:MOST_LOSSES], key=lambda loss: loss.place)
    )
    rest = f"<li>and {len(losses) - MOST_LOSSES} more</li>" if len(losses) > MOST_LOSSES else ""
    return f'<p class="hint">Not kept as it is:</p><ul class="lost">{rows}{rest}</ul>'


def _trouble(filename: str, trouble: str) -> str:
    return f'<h2>{text(filename)}</h2><div class="trouble">{text(trouble)}</div>'
