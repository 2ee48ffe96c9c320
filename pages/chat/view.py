"""A conversation as the Chat tab draws it: turns to Gradio's messages, with the line of figures under each answer.

What a person wrote and the lines of figures are HTML of our own, escaped here; what a model wrote goes through
`shown` and the renderer's own cleaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from gradio.components.chatbot import Message

from core.chat.runs import Snapshot
from core.conversations import StoredFile, Turn
from pages.kit.answer import BROKEN_OFF, drawn_answer, html, live_line, meter_line, notices, trouble
from pages.kit.format import money, size, text

CONTINUABLE = ("length", "context", "other")


@dataclass(frozen=True, slots=True)
class Look:
    """What drawing needs beside the turns."""

    name: Callable[[str], str]  # a model's id to what people call it
    picture: Callable[[StoredFile], str]  # a file's small picture as a data: address, "" when it has none
    comparing: bool = False  # several panes: a question's answers stand side by side, not behind one another
    notices: Mapping[str, tuple[str, ...]] | None = None  # by turn, what happened on the way


def messages(turns: Iterable[Turn], look: Look) -> list[Message]:
    """A branch from its root to its end."""
    drawn: list[Message] = []
    for turn in turns:
        if turn.role == "user":
            drawn.append(question(turn, look))
        elif turn.role == "assistant":
            notices = (look.notices or {}).get(turn.id, ())
            drawn.extend(answer(replace(Snapshot.of(turn), notices=notices), look, turn))
    return drawn


def question(turn: Turn, look: Look) -> Message:
    """What a person asked, exactly as it was written."""
    files = "".join(_file(file, look) for file in turn.files)
    said = f'<div class="said" dir="auto">{text(turn.text)}</div>' if turn.text else ""
    edit = _button("edit", "Edit", edit_turn=turn.id) if turn.text else ""
    bar = f'<div class="acts">{_branches(turn, look)}{_copy(turn.id)}{edit}</div>'
    return Message(
        role="user",
        content=[html(f'<div class="asked" data-turn="{text(turn.id)}">{files}{said}{bar}</div>')],
        metadata={},
        options=[],
    )


def answer(snapshot: Snapshot, look: Look, turn: Turn | None = None) -> list[Message]:
    """An answer, running or ended, with what can be done with it. `turn` is given when it ended."""
    return drawn_answer(snapshot, _below(snapshot, look, turn))


def footing(cost: int | None, unknown: bool, used: int, window: int | None, note: str) -> str:
    """The line below the message box: what the conversation cost, how full the context window is, a model's note."""
    known = money(cost or 0)
    spent = ("price unknown" if not cost else f"at least {known}") if unknown else known
    parts = [f'<span><span class="long">This conversation </span><b>{text(spent)}</b></span>']
    if window:
        share = min(100.0, 100 * used / window)
        level = "full" if share >= 90 else "high" if share >= 70 else "fine"
        width = max(share, 2.0) if used else 0
        what = f"{share:.0f} % of the context window is used"
        parts.append(
            f'<span class="window">context <b>{used:,}</b> of {window:,} tokens '
            f'<i class="{level}" role="img" aria-label="{what}"><u style="width:{width:.1f}%"></u></i></span>'
        )
    elif used:
        parts.append(f"<span>context <b>{used:,}</b> tokens</span>")
    if note:
        parts.append(f'<span class="note">{text(note)}</span>')
    return f'<div class="footing">{"".join(parts)}</div>'


def _below(snapshot: Snapshot, look: Look, turn: Turn | None) -> str:
    name = look.name(snapshot.model)
    if snapshot.status == "streaming":
        line = f'<div class="line">{live_line(name, snapshot)}</div>'
        return f'<div class="below" data-turn="{text(snapshot.turn)}">{notices(snapshot)}{line}</div>'
    wrong, more = "", ""
    if snapshot.status in ("failed", "interrupted"):
        again = _word("Retry", retry_turn=snapshot.turn)
        on = _word("Continue", continue_turn=snapshot.turn) if snapshot.text else ""
        wrong = trouble(snapshot.error or BROKEN_OFF, on + again)
    elif snapshot.status == "stopped" or (snapshot.meter and snapshot.meter.stop_reason in CONTINUABLE):
        more = _word("Continue" if snapshot.text else "Retry", continue_turn=snapshot.turn)
    figures = text(meter_line(name, snapshot.meter, snapshot.status))
    acts = _acts(turn, look) if turn else ""
    line = f'<div class="line"><div class="meter">{figures}{more}</div><div class="acts">{acts}</div></div>'
    return f'<div class="below" data-turn="{text(snapshot.turn)}">{notices(snapshot)}{wrong}{line}</div>'


def _acts(turn: Turn, look: Look) -> str:
    retry = _button("retry", "Retry", retry_turn=turn.id)
    if not turn.text:
        return _branches(turn, look) + retry
    thumbs = _thumb(turn, 1, "up", "Good answer") + _thumb(turn, -1, "down", "Bad answer")
    return _branches(turn, look) + _copy(turn.id) + retry + thumbs


def _branches(turn: Turn, look: Look) -> str:
    """‹ 2/3 › where there are other versions of this message."""
    if len(turn.siblings) < 2 or look.comparing:
        return ""
    place = turn.siblings.index(turn.id)
    return (
        '<span class="branches" role="group" aria-label="Versions of this message">'
        + _step("left", "Earlier version", turn.siblings[place - 1] if place > 0 else "")
        + f"<span>{place + 1}/{len(turn.siblings)}</span>"
        + _step("right", "Later version", turn.siblings[place + 1] if place + 1 < len(turn.siblings) else "")
        + "</span>"
    )


def _step(icon: str, label: str, to: str) -> str:
    return _button(icon, label, show_branch=to) if to else _button(icon, label, disabled=True)


def _thumb(turn: Turn, value: int, icon: str, label: str) -> str:
    pressed = "true" if turn.rating == value else "false"
    return (
        f'<button class="icon {icon}" data-do="rate" data-turn="{text(turn.id)}" data-value="{value}" '
        f'aria-pressed="{pressed}" aria-label="{label}" title="{label}"></button>'
    )


def _copy(turn: str) -> str:
    return f'<button class="icon copy" data-do="copy" data-turn="{text(turn)}" aria-label="Copy" title="Copy"></button>'


def _button(icon: str, label: str, *, disabled: bool = False, **do: str) -> str:
    off = " disabled" * disabled
    return f'<button class="icon {icon}" {_doing(do)} aria-label="{label}" title="{label}"{off}></button>'


def _word(label: str, **do: str) -> str:
    return f'<button class="word" {_doing(do)}>{label}</button>'


def _doing(do: Mapping[str, str]) -> str:
    """`retry_turn="t1"` as the attributes that the page's script reads."""
    return " ".join(f'data-do="{name}" data-turn="{text(turn)}"' for name, turn in do.items())


def _file(file: StoredFile, look: Look) -> str:
    picture = look.picture(file)
    if picture:
        return f'<img class="shot" src="{text(picture)}" alt="{text(file.name)}" title="{text(file.name)}">'
    return f'<span class="file"><b>{text(file.name)}</b> {size(file.size)}</span>'
