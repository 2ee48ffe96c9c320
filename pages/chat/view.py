"""A conversation as the Chat tab draws it: turns to Gradio's messages, with the line of figures under each answer.

What a person wrote and the lines of figures are HTML of our own, escaped here; what a model wrote goes through
`shown` and the renderer's own cleaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gradio.components.chatbot import ComponentMessage, Message, TextMessage

from core.chat.runs import Snapshot
from core.conversations import Meter, StoredFile, Turn
from pages.kit.format import count, money, seconds, size, text
from pages.kit.markdown import shown

WHY = {
    "length": "cut off at its token limit",
    "stop_sequence": "stop sequence",
    "refusal": "declined",
    "context": "context window full",
    "tool_use": "asked for a tool",
    "other": "ended early",
}
CONTINUABLE = ("length", "context", "other")
HTML_PROPS: dict[str, Any] = {
    "html_template": "${value}",
    "css_template": "",
    "js_on_load": None,
    "apply_default_css": False,
}


@dataclass(frozen=True, slots=True)
class Look:
    """What drawing needs beside the turns."""

    name: Callable[[str], str]  # a model's id to what people call it
    picture: Callable[[StoredFile], str]  # a file's small picture as a data: address, "" when it has none
    comparing: bool = False  # several panes: a question's answers stand side by side, not behind one another
    notices: Mapping[str, tuple[str, ...]] | None = None  # by turn, what happened on the way


def html(value: str) -> ComponentMessage:
    """A piece of our own HTML inside a message."""
    return ComponentMessage(component="html", value=value, constructor_args={}, props=HTML_PROPS)


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
    """An answer, running or ended: its reasoning folded in front, its figures below. `turn` is given when it ended."""
    drawn: list[Message] = []
    pending = snapshot.status == "streaming"
    if snapshot.thinking:
        going = pending and not snapshot.text
        drawn.append(
            Message(
                role="assistant",
                content=[TextMessage(text=shown(snapshot.thinking))],
                metadata={"title": "Thinking" if going else "Thoughts", "status": "pending" if going else "done"},
                options=[],
            )
        )
    content: list[Any] = [TextMessage(text=shown(snapshot.text))] if snapshot.text else []
    content.append(html(_below(snapshot, look, turn)))
    drawn.append(Message(role="assistant", content=content, metadata={}, options=[]))
    return drawn


def meter_line(model: str, meter: Meter | None, status: str = "complete") -> str:
    """`smollm2-135m · 31 in · 61 out · $0 · first token 0.10 s · 113 tok/s`, and why it ended if not by itself."""
    parts = [model]
    if meter is not None:
        parts += [meter.prompt] if meter.prompt else []
        usage = meter.usage
        about = "about " if usage.estimated else ""
        cached = f" ({count(usage.cached)} cached)" if usage.cached else ""
        reasoning = f" ({count(usage.reasoning)} thinking)" if usage.reasoning else ""
        parts += [f"{about}{count(usage.input)} in{cached}", f"{about}{count(usage.output)} out{reasoning}"]
        parts.append(money(meter.cost))
        if meter.first_token is not None:
            parts.append(f"first token {seconds(meter.first_token)}")
            writing = meter.duration - meter.first_token
            if usage.output > 1 and writing > 0.01:
                parts.append(f"{usage.output / writing:.0f} tok/s")
    if status == "stopped":
        parts.append("stopped by you")
    elif status == "complete" and meter is not None and meter.stop_reason in WHY:
        parts.append(WHY[meter.stop_reason] + (f": {meter.detail}" if meter.detail else ""))
    return " · ".join(part for part in parts if part)


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
    notices = "".join(f'<div class="notice">{text(notice)}</div>' for notice in snapshot.notices)
    if snapshot.status == "streaming":
        state = "writing" if snapshot.text else "thinking" if snapshot.thinking else "waiting for the first token"
        line = f'<div class="line"><div class="meter live"><i></i>{text(name)} · {state}</div></div>'
        return f'<div class="below" data-turn="{text(snapshot.turn)}">{notices}{line}</div>'

    trouble, more = "", ""
    if snapshot.status in ("failed", "interrupted"):
        again = _word("Retry", retry_turn=snapshot.turn)
        on = _word("Continue", continue_turn=snapshot.turn) if snapshot.text else ""
        what = snapshot.error or "The answer broke off."
        trouble = f'<div class="trouble" role="alert"><span>{text(what)}</span><span>{on}{again}</span></div>'
    elif snapshot.status == "stopped" or (snapshot.meter and snapshot.meter.stop_reason in CONTINUABLE):
        more = _word("Continue" if snapshot.text else "Retry", continue_turn=snapshot.turn)
    figures = text(meter_line(name, snapshot.meter, snapshot.status))
    acts = _acts(turn, look) if turn else ""
    line = f'<div class="line"><div class="meter">{figures}{more}</div><div class="acts">{acts}</div></div>'
    return f'<div class="below" data-turn="{text(snapshot.turn)}">{notices}{trouble}{line}</div>'


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
