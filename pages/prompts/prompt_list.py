"""The list at the side: prompts, what a search found, and files that need a look."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from core.prompts import Problem, PromptEntry, PromptHit
from core.prompts.usage import PromptUse
from core.text import MARK_BEGIN, MARK_END
from pages.kit.format import money, text
from pages.prompts.words import ago, labels, name, several

MOST_ROWS = 200
SOME_CHIPS, MOST_CHIPS = 7, 60
MOST_PROBLEMS = 50
HOW = {"words": "words", "meaning": "meaning", "both": "words and meaning"}
EMPTY = (
    '<p class="empty">No prompts yet. Begin with <b>New prompt</b>, or bring your own with <b>Import</b>: YAML, JSON, '
    ".prompty, dotprompt, Langfuse, promptfoo and others are understood.</p>"
)


@dataclass(frozen=True)
class Frame:
    """What all forms of the list need to know."""

    now: datetime.datetime
    current: str  # the name of the prompt in view
    protected: Collection[str]
    uses: Mapping[str, PromptUse]
    generation: int  # of the registry, so that the page can ask whether it is newer
    writable: bool
    reading: bool = False  # the folder has not been read to its end yet


def whole(entries: Sequence[PromptEntry], chip: str, problems: Sequence[Problem], frame: Frame) -> str:
    """Problems, chips to narrow the list, and the prompts by name."""
    shown = [entry for entry in entries if fits(entry, chip)]
    rows = "".join(_row(entry, frame) for entry in shown[:MOST_ROWS])
    if len(shown) > MOST_ROWS:
        rows += f'<p class="empty">{len(shown) - MOST_ROWS:,} more. Search or choose a tag to see them.</p>'
    if frame.reading:
        rows += '<p class="empty">The folder is still being read.</p>'
    elif not entries:
        rows = EMPTY
    elif not shown:
        rows = '<p class="empty">No prompt has this tag or label any more.</p>'
    listed = f'<nav aria-label="Prompts">{rows}</nav>' if shown else rows
    return _page(_problems(problems, frame) + _chips(entries, chip, frame.protected) + listed, frame)


def found(hits: Iterable[PromptHit], entries: Mapping[str, PromptEntry], query: str, chip: str, frame: Frame) -> str:
    """What a search found, best first, with the passage and whether its words or its meaning fitted."""
    rows = []
    for hit in hits:
        entry = entries.get(hit.name)
        if entry is None or not fits(entry, chip):
            continue
        newest = entry.latest is not None and entry.latest.number == hit.number
        ref = hit.name if newest else f"{hit.name}@{hit.number}"
        old = "" if newest else f" · in v{hit.number}"
        rows.append(
            f'<button class="prompt" data-do="open_prompt" data-ref="{text(ref)}" data-name="{text(hit.name)}"'
            f'{_current(hit.name, frame)}><b>{name(hit.name)}</b><span class="about long">{marked(hit.snippet)}</span>'
            f"<small>found by {HOW.get(hit.how, text(hit.how))}{old}</small></button>"
        )
    if not rows:
        return _page(f'<p class="empty">Nothing is like “{text(query)}”.</p>', frame)
    return _page(f'<nav aria-label="Search results">{"".join(rows)}</nav>', frame)


def fits(entry: PromptEntry, chip: str) -> bool:
    """Whether the chip that is pressed lets the prompt through."""
    kind, _, word = chip.partition(":")
    if kind == "label":
        return word in entry.labels
    return kind != "tag" or (entry.latest is not None and word in entry.latest.tags)


def marked(snippet: str) -> str:
    """The snippet with the words that were looked for."""
    return text(snippet).replace(MARK_BEGIN, "<mark>").replace(MARK_END, "</mark>")


def _page(inside: str, frame: Frame) -> str:
    return f'<div data-generation="{frame.generation}">{inside}</div>'


def _current(full: str, frame: Frame) -> str:
    return ' aria-current="true"' if full == frame.current else ""


def _row(entry: PromptEntry, frame: Frame) -> str:
    latest, use = entry.latest, frame.uses.get(entry.name)
    about = latest.description if latest else "No version can be read."
    facts = [several(len(entry.numbers), "version")]
    if use is not None and use.last is not None:
        facts.append(f"used {ago(use.last, frame.now)}")
        facts.append(money(use.cost) if use.cost or not use.unpriced else money(None))
    chips = labels(entry.labels, frame.protected, 3)
    return (
        f'<button class="prompt" data-do="open_prompt" data-ref="{text(entry.name)}" data-name="{text(entry.name)}"'
        f"{_current(entry.name, frame)}><b>{name(entry.name)}</b>"
        f"{f'<span class=about>{text(about)}</span>' if about else ''}"
        f"{f'<span class=chips>{chips}</span>' if chips else ''}<small>{' · '.join(facts)}</small></button>"
    )


def _chips(entries: Sequence[PromptEntry], chip: str, protected: Collection[str]) -> str:
    """Labels and tags to narrow the list by, the most used first."""
    words = Counter(label for entry in entries for label in entry.labels)
    tags = Counter(tag for entry in entries if entry.latest for tag in entry.latest.tags)
    order = sorted(words, key=lambda word: (word not in protected, -words[word], len(word), word))
    keys = [f"label:{word}" for word in order[:2]] + [f"tag:{word}" for word, _ in tags.most_common()]
    keys += [f"label:{word}" for word in order[2:]]
    keys = keys[:MOST_CHIPS] if not chip or chip in keys[:MOST_CHIPS] else [*keys[: MOST_CHIPS - 1], chip]
    if not keys:
        return ""
    made = [_chip(key, key == chip) for key in keys]
    more, rest = "".join(made[SOME_CHIPS:]), len(made) - SOME_CHIPS
    opened = " open" if chip in keys[SOME_CHIPS:] else ""
    folded = f"<details{opened}><summary>{rest} more…</summary><span>{more}</span></details>" if more else ""
    return f'<div class="narrow" role="group" aria-label="Narrow the list">{"".join(made[:SOME_CHIPS])}{folded}</div>'


def _chip(key: str, on: bool) -> str:
    kind, _, word = key.partition(":")
    return (
        f'<button class="chip {kind}" data-do="filter_prompts" data-chip="{text("" if on else key)}" '
        f'aria-pressed="{str(on).lower()}" title="{"Label" if kind == "label" else "Tag"}">{text(word)}</button>'
    )


def _problems(problems: Sequence[Problem], frame: Frame) -> str:
    if not problems:
        return ""
    rows = "".join(_problem(one, frame) for one in problems[:MOST_PROBLEMS])
    title = "1 file needs a look" if len(problems) == 1 else f"{len(problems)} files need a look"
    return f'<details class="problems"><summary>{title}</summary><ul>{rows}</ul></details>'


def _problem(problem: Problem, frame: Frame) -> str:
    at = f'data-name="{text(problem.name)}" data-number="{problem.number or ""}"'
    acts = ""
    if problem.kind == "edited" and frame.writable:
        if problem.draft is not None:
            acts += f'<button class="word" data-do="draft_problem" {at}>Save as a new version…</button>'
        acts += f'<button class="word" data-do="prompt_restore" {at}>Put the original back</button>'
    place = f"{problem.name}@{problem.number}" if problem.number else problem.name
    return (
        f"<li><b>{text(place)}</b> {text(problem.what)} <span>{text(problem.fix)}</span>"
        f"{f'<div>{acts}</div>' if acts else ''}</li>"
    )
