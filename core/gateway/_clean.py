"""Makes a request fit to be sent and stored, or refuses it."""

from __future__ import annotations

from dataclasses import replace

from core.errors import BadRequest
from core.messages import ChatRequest, Message


def clean(request: ChatRequest) -> ChatRequest:
    """The request without NUL and without lone surrogates, which neither JSON nor a database takes.

    BadRequest if there is no message from the user, or the last one is empty.
    """
    if any(_dirty(message.text) for message in request.messages):
        messages = tuple(
            Message(m.role, clean_text(m.text), m.attachments) if _dirty(m.text) else m for m in request.messages
        )
        request = replace(request, messages=messages)
    last = next((message for message in reversed(request.messages) if message.role == "user"), None)
    if last is None:
        raise BadRequest("There is no message to answer.", "Write something first.")
    if not last.attachments and not last.text.strip():
        raise BadRequest("The message is empty.", "Write something first.")
    parameters = request.parameters
    if parameters.stop and any(map(_dirty, parameters.stop)):
        request = replace(request, parameters=replace(parameters, stop=tuple(map(clean_text, parameters.stop))))
    return request


def clean_text(text: str) -> str:
    """Without NUL; pairs of surrogates joined, lone ones replaced by U+FFFD."""
    return text.replace("\0", "").encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _dirty(text: str) -> bool:
    if "\0" in text:
        return True
    if text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
