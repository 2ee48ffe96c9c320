"""The labels of one prompt as HTML: where each stands, and the history of their moves."""

from __future__ import annotations

from core.prompts import Move
from pages.kit.format import text
from pages.prompts.room import Room
from pages.prompts.words import label, several, when


def section(room: Room) -> str:
    """Where each label stands, and every move of them."""
    rows = "".join(_label(room, word) for word in room.ordered(room.entry.labels))
    newest = room.entry.numbers[-1] if room.entry.numbers else 0
    rows += (
        f"<tr><td>{label('latest', None, ())}</td><td>v{newest}</td><td>Automatic: always the newest version</td>"
        "<td></td></tr>"
    )
    add = "" if room.cannot else '<button class="plain" data-do="prompt_label">Set a label…</button>'
    why = f'<p class="hint">{text(room.cannot)}</p>' if room.cannot else ""
    return (
        '<p class="hint">A label is a pointer that programs ask for, as in '
        f"<code>prompt/{text(room.version.name)}@production</code>. Moving it changes what is live; the versions stay "
        'as they are.</p><div class="scroll"><table class="plain-table labels"><thead><tr><th>Label</th>'
        f"<th>Version</th><th>Last moved</th><th></th></tr></thead><tbody>{rows}</tbody></table></div>{add}{why}"
        f"{_history(room)}"
    )


def _label(room: Room, word: str) -> str:
    number, last, back = room.entry.labels[word], room.last(word), room.back.get(word)
    moved = f"{when(last.time, room.now)} by {text(last.by)}" if last else "–"
    acts = ""
    if not room.cannot:
        acts = f'<button class="word" data-do="prompt_label" data-label="{text(word)}">Move…</button>'
        if back in room.entry.numbers:
            acts += (
                f'<button class="word" data-do="prompt_label" data-label="{text(word)}" data-number="{back}">'
                f"Roll back to v{back}</button>"
            )
        acts += (
            f'<button class="word" data-do="prompt_label" data-label="{text(word)}" data-number="0">Remove…</button>'
        )
    lock = " <small>protected: moves with a reason</small>" if word in room.protected else ""
    open_ = f'<button class="word" data-do="open_prompt" data-ref="{text(room.entry.name)}@{number}">v{number}</button>'
    return (
        f"<tr><td>{label(word, None, room.protected)}{lock}</td><td>{open_}</td><td>{moved}</td>"
        f'<td class="doing">{acts}</td></tr>'
    )


def _history(room: Room) -> str:
    if not room.moves and not room.entry.labels:
        return ""
    broken = [problem for problem in room.entry.problems if problem.kind == "history"]
    if broken:
        state = f'<span class="state bad">Changed outside of Parley</span> {text(broken[0].what)} {text(broken[0].fix)}'
    else:
        state = (
            f'<span class="state good">Whole</span> {several(len(room.moves), "move")}, each sealed with the one before'
        )
    rows = "".join(
        f"<li><span>{label(move.label, None, room.protected)} {_way(move)}</span>"
        f"<small>{text(move.by)} · {when(move.time, room.now)}</small>"
        f"{f'<q>{text(move.why)}</q>' if move.why else ''}</li>"
        for move in room.moves
    )
    return f'<h2>History</h2><p class="hint chain">{state}</p><ol class="moves">{rows}</ol>'


def _way(move: Move) -> str:
    if move.to is None:
        return f"removed from v{move.before}"
    if move.before is None:
        return f"set on v{move.to}"
    back = " (back)" if move.to < move.before else ""
    return f"v{move.before} → v{move.to}{back}"
