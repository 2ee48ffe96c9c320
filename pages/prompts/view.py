"""One prompt as HTML: its head with what can be done with it, its versions, and what it was used for."""

from __future__ import annotations

import json

from core.prompts.usage import PromptUse
from core.prompts.version import Version
from pages.kit.format import count, money, text
from pages.prompts import labels as prompts_labels
from pages.prompts.room import Room, total
from pages.prompts.words import ago, curl, examples, label, labels, name, python, when

MOST_VERSIONS = 100
VIEWS = (("edit", "Edit"), ("versions", "Versions"), ("labels", "Labels"), ("use", "Use"))
BARS = (
    '<button class="icon bars" data-do="prompt_drawer" aria-label="List of prompts" title="List of prompts"></button>'
)


def head(room: Room) -> str:
    """Name, description, tags, labels, the picker of versions, what can be done, and the tabs."""
    version = room.version
    tags = "".join(f'<span class="tag">{text(tag)}</span>' for tag in version.tags)
    chips = labels(room.entry.labels, room.protected)
    data = {
        "name": version.name,
        "ref": version.ref,
        "values": json.dumps(examples(version), ensure_ascii=False),
        "python": python(version, room.entry.labels, room.protected),
        "curl": curl(version, room.entry.labels, room.protected),
    }
    attributes = " ".join(f'data-{key}="{text(value)}"' for key, value in data.items())
    about = f'<p class="about">{text(version.description)}</p>' if version.description else ""
    return (
        f'<div class="prompt-head" {attributes}><div class="title">{BARS}<h1>{name(version.name)}</h1>{_picker(room)}'
        '<span class="acts"><button class="plain main" data-do="prompt_chat">Open in chat</button>'
        '<button class="plain" data-do="prompt_compare" title="Ask several models at once with this prompt">'
        'Test against…</button><button class="plain" data-do="prompt_copy" aria-haspopup="menu" aria-expanded="false">'
        f"Copy</button></span></div>{about}{f'<div class=chips>{chips}{tags}</div>' if chips or tags else ''}"
        f"{_problem(room.problem)}{_tabs(room)}</div>"
    )


def new_head(problem: str, first: bool) -> str:
    """Above the editor when nothing is saved yet."""
    hint = '<p class="about">Your first prompt: write it below, run it, then save it as v1.</p>' if first else ""
    return f'<div class="prompt-head"><div class="title">{BARS}<h1>New prompt</h1></div>{hint}{_problem(problem)}</div>'


def lost(full: str, sentence: str) -> str:
    """The head of a prompt that cannot be shown."""
    return (
        f'<div class="prompt-head lost"><div class="title">{BARS}<h1>{name(full)}</h1></div>'
        f'<div class="calm">{text(sentence)}</div></div>'
    )


def views(room: Room, everything: bool = False) -> str:
    """Versions, labels and use; the page shows one of them at a time."""
    sections = (
        ("versions", _versions(room, everything)),
        ("labels", prompts_labels.section(room)),
        ("use", _use(room)),
    )
    return "".join(
        f'<section data-view="{key}" role="tabpanel" aria-label="{key.title()}">{html}</section>'
        for key, html in sections
    )


def _problem(sentence: str) -> str:
    return f'<div class="calm">{text(sentence)}</div>' if sentence else ""


def _tabs(room: Room) -> str:
    figures = {"versions": len(room.entry.numbers), "labels": len(room.entry.labels)}
    buttons = "".join(
        f'<button role="tab" data-do="prompt_view" data-view="{key}">{title}'
        f"{f' <i>{count(figures[key])}</i>' if figures.get(key) else ''}</button>"
        for key, title in VIEWS
    )
    return f'<div class="views" role="tablist" aria-label="What to see of the prompt">{buttons}</div>'


def _picker(room: Room) -> str:
    options = []
    for number in reversed(room.entry.numbers):
        words = [*(["latest"] if number == room.entry.numbers[-1] else []), *room.at(number)]
        chosen = " selected" if number == room.version.number else ""
        extra = f" · {', '.join(words)}" if words else ""
        options.append(f'<option value="{text(room.version.name)}@{number}"{chosen}>v{number}{text(extra)}</option>')
    return f'<select class="pick" data-change="version" aria-label="Version">{"".join(options)}</select>'


def _versions(room: Room, everything: bool) -> str:
    """The list, with a pair chosen to compare: the version in view and the one that it was made from."""
    old, new = room.pair
    shown = room.versions if everything else room.versions[:MOST_VERSIONS]
    rows = "".join(_version(room, version, old, new) for version in shown)
    rest = len(room.versions) - len(shown)
    more = (
        f'<p class="hint"><button class="word" data-do="all_versions">Show the {rest:,} older ones too</button></p>'
        if rest
        else ""
    )
    hint = "" if len(room.versions) > 1 else '<p class="hint">Save a change in Edit to have something to compare.</p>'
    return (
        f'<div class="versions" data-name="{text(room.version.name)}"><table class="plain-table"><thead><tr>'
        '<th class="mark" title="The older of the two to compare">From</th>'
        '<th class="mark" title="The newer of the two to compare">To</th>'
        "<th>Version</th><th>Change</th><th>Author</th><th>Saved</th><th></th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>{more}{hint}"
    )


def _version(room: Room, version: Version, old: int, new: int) -> str:
    number = version.number

    def radio(side: str, chosen: int) -> str:
        on = " checked" if chosen == number else ""
        return (
            f'<td class="mark"><input type="radio" name="compare-{side}" data-change="compare" value="{number}"{on} '
            f'aria-label="Compare {"from" if side == "old" else "to"} v{number}"></td>'
        )

    words = [label("latest", None, ())] if number == room.entry.numbers[-1] else []
    words += [label(word, None, room.protected) for word in room.at(number)]
    here = ' aria-current="true"' if number == room.version.number else ""
    made = f' <i class="from">from v{version.parent}</i>' if version.parent not in (None, number - 1) else ""
    change = text(version.change) if version.change else '<i class="from">no note</i>'
    act = ""
    if not room.cannot:
        act = (
            f'<button class="word" data-do="prompt_label" data-number="{number}" '
            f'aria-label="Set a label on v{number}">Set label…</button>'
        )
    return (
        f"<tr{here}>{radio('old', old)}{radio('new', new)}"
        f'<td class="which"><button class="word" data-do="open_prompt" data-ref="{text(version.ref)}">v{number}'
        f'</button>{"".join(words)}</td><td class="change">{change}{made}</td>'
        f'<td class="who">{text(version.author) or "–"}</td>'
        f'<td class="when">{when(version.time, room.now)}</td><td class="act">{act}</td></tr>'
    )


def _use(room: Room) -> str:
    """What it was asked, what that cost, and what people thought of the answers."""
    use = total(room.uses.values())
    if not use.calls:
        return (
            '<p class="hint">Nobody has used this prompt yet. Calls from the chat, from programs and from runs in the '
            "editor are counted here with their cost and thumbs.</p>"
        )
    last = ago(use.last, room.now) if use.last else "–"
    figures = (
        ("Calls", count(use.calls)),
        ("Cost", _cost(use)),
        ("Good", count(use.up)),
        ("Bad", count(use.down)),
        ("Last used", last),
    )
    row = "".join(f"<div><dt>{title}</dt><dd>{value}</dd></div>" for title, value in figures)
    numbers = sorted(room.uses, key=lambda number: number or 0, reverse=True)
    rows = "".join(_used(room, number) for number in numbers)
    return (
        f'<dl class="figures">{row}</dl><div class="scroll"><table class="plain-table used"><thead><tr><th>Version</th>'
        '<th class="number">Calls</th><th class="number">Cost</th><th class="number">Cost per call</th>'
        '<th class="number">Good</th><th class="number">Bad</th><th>Last used</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _used(room: Room, number: int | None) -> str:
    use = room.uses[number]
    if number is None:
        first = "Drafts, tried in the editor"
    else:
        words = "".join(label(word, None, room.protected) for word in room.at(number))
        ref = f"{room.entry.name}@{number}"
        first = f'<button class="word" data-do="open_prompt" data-ref="{text(ref)}">v{number}</button> {words}'
    each = money(use.cost // use.calls) if use.calls and not use.unpriced else "–"
    cells = "".join(
        f'<td class="number">{value}</td>'
        for value in (count(use.calls), _cost(use), each, count(use.up), count(use.down))
    )
    return f"<tr><td>{first}</td>{cells}<td>{when(use.last, room.now) if use.last else '–'}</td></tr>"


def _cost(use: PromptUse) -> str:
    """What is known of it; a call without a known price shows as a plus."""
    if use.unpriced and not use.cost:
        return money(None)
    return money(use.cost) + (" +" if use.unpriced else "")
