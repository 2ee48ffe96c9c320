"""How many tokens a request has, roughly: for limits before a call, and for calls whose provider did not say."""

from __future__ import annotations

from core.messages import ChatRequest, Message
from core.tokens import estimate_tokens

PER_MESSAGE = 4  # what a chat template adds
PER_ATTACHMENT = 1500  # an image of about a megapixel, or a page or two of a PDF


def request_tokens(request: ChatRequest) -> int:
    """About how many input tokens a request has."""
    return sum(map(_message_tokens, request.messages))


def _message_tokens(message: Message) -> int:
    return estimate_tokens(message.text) + PER_MESSAGE + PER_ATTACHMENT * len(message.attachments)
