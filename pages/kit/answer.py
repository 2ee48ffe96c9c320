"""An answer of a model, running or ended, as every tab draws it: its reasoning folded in front, its figures below.

What a model wrote goes through `shown` and the renderer's own cleaning; all else is HTML of our own, escaped here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradio.components.chatbot import ComponentMessage, Message, TextMessage

from core.chat.runs import Snapshot
from core.conversations import Meter
from pages.kit.format import count, money, seconds, text
from pages.kit.markdown import shown

WHY = {
    "length": "cut off at its token limit",
    "stop_sequence": "stop sequence",
    "refusal": "declined",
    "context": "context window full",
    "tool_use": "asked for a tool",
    "other": "ended early",
}
HTML_PROPS: dict[str, Any] = {
    "html_template": "${value}",
    "css_template": "",
    "js_on_load": None,
    "apply_default_css": False,
}


BROKEN_OFF = "The answer broke off."


def html(value: str) -> ComponentMessage:
    """A piece of our own HTML inside a message."""
    return ComponentMessage(component="html", value=value, constructor_args={}, props=HTML_PROPS)


def drawn_answer(snapshot: Snapshot, below: str, written: Callable[[str], str] = shown) -> list[Message]:
    """The messages of an answer. `below` is HTML, `written` turns the answer's text into safe Markdown."""
    drawn: list[Message] = []
    if snapshot.thinking:
        going = snapshot.status == "streaming" and not snapshot.text
        drawn.append(
            Message(
                role="assistant",
                content=[TextMessage(text=shown(snapshot.thinking))],
                metadata={"title": "Thinking" if going else "Thoughts", "status": "pending" if going else "done"},
                options=[],
            )
        )
    content: list[Any] = [TextMessage(text=written(snapshot.text))] if snapshot.text else []
    drawn.append(Message(role="assistant", content=[*content, html(below)], metadata={}, options=[]))
    return drawn


def notices(snapshot: Snapshot) -> str:
    """What happened on the way, as HTML."""
    return "".join(f'<div class="notice">{text(notice)}</div>' for notice in snapshot.notices)


def live_line(name: str, snapshot: Snapshot) -> str:
    """The line below an answer that is being written, as HTML."""
    state = "writing" if snapshot.text else "thinking" if snapshot.thinking else "waiting for the first token"
    return f'<div class="meter live"><i></i>{text(name)} · {state}</div>'


def trouble(sentence: str, acts: str = "") -> str:
    """What went wrong, as HTML, with buttons for what can be done."""
    buttons = f"<span>{acts}</span>" if acts else ""
    return f'<div class="trouble" role="alert"><span>{text(sentence)}</span>{buttons}</div>'


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
