"""Reasoning that a model writes into its answer, between <think> and </think>."""

from __future__ import annotations

_OPEN = "<think>"
_CLOSE = "</think>"


class ThinkSplitter:
    """Tells reasoning from the answer, also when a tag is split between two pieces.

    Only a tag at the very beginning counts: further on it is text like any other (an answer about such tags).
    """

    def __init__(self) -> None:
        self._state = "start"
        self._held = ""

    @property
    def plain(self) -> bool:
        """Nothing is held back and no tag can come: pieces need not be fed any more."""
        return self._state == "answer"

    def feed(self, piece: str) -> tuple[str, str]:
        """The reasoning and the answer that `piece` adds, either may be empty."""
        if self._state == "answer":
            return "", piece
        text = self._held + piece
        self._held = ""
        if self._state == "start":
            begun = text.lstrip()
            if not begun.startswith(_OPEN):
                if _OPEN.startswith(begun):
                    self._held = text
                    return "", ""
                self._state = "answer"
                return "", text
            self._state = "thinking"
            text = begun[len(_OPEN) :]
        if self._state == "thinking":
            thinking, close, text = text.partition(_CLOSE)
            if not close:
                keep = _overlap(thinking)
                self._held = thinking[len(thinking) - keep :]
                return thinking[: len(thinking) - keep], ""
            self._state = "gap"
        else:
            thinking = ""
        answer = text.lstrip("\r\n")
        if answer:
            self._state = "answer"
        return thinking, answer

    def end(self) -> tuple[str, str]:
        """What was held back when the stream ended."""
        held, self._held = self._held, ""
        return (held, "") if self._state == "thinking" else ("", held)


def _overlap(text: str) -> int:
    """How many of the last characters may be the beginning of the closing tag."""
    return next((n for n in range(min(len(_CLOSE) - 1, len(text)), 0, -1) if text.endswith(_CLOSE[:n])), 0)
