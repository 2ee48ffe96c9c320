"""The messages of a request: roles, texts, and files that come inside as data: URLs. Nothing is ever fetched."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from core.api.fields import Fields
from core.errors import BadRequest
from core.files.attachments import ExtractedText, as_prompt_text
from core.messages import Attachment, Message, Role

MOST_MESSAGES = 10_000
ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w-]+=[^;,]*)*;base64,", re.ASCII | re.IGNORECASE)
_WHITE_SPACE = str.maketrans("", "", " \t\r\n")

Prepare = Callable[[str, bytes], Attachment | ExtractedText]


@dataclass(frozen=True, slots=True)
class RawFile:
    """A file as it came: base64 in the field `key` of `holder`, in the part `part` of the message."""

    name: str
    part: Fields
    holder: Fields
    key: str
    encoded: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A message whose files nobody has decoded or looked into yet: that takes time, so it is done in a thread."""

    role: Role
    parts: tuple[str | RawFile, ...]

    @property
    def text(self) -> str:
        """What is written in it, without the files."""
        return "\n\n".join(part for part in self.parts if isinstance(part, str))

    def message(self, prepare: Prepare) -> Message:
        """Attach what the model takes as it is and read out the rest. BadField if it can be neither."""
        texts: list[str] = []
        attachments: list[Attachment] = []
        for part in self.parts:
            if isinstance(part, str):
                texts.append(part)
                continue
            data = _decoded(part)
            try:
                prepared = prepare(part.name, data)
            except BadRequest as error:
                raise part.part.error("type", f"{part.name}: {error.what}", error.fix) from None
            if isinstance(prepared, Attachment):
                attachments.append(prepared)
            else:
                texts.append(as_prompt_text(prepared))
        return Message(self.role, "\n\n".join(texts), tuple(attachments))


def read_messages(body: Fields, *, needed: bool = True) -> list[Message | RawMessage]:
    """The messages in their order; those with files as RawMessage. Not `needed`: there may be none at all."""
    if not needed and body.any("messages") is None:
        return []
    messages = [message for item in body.objects("messages", MOST_MESSAGES) if (message := _message(item)) is not None]
    if needed and not any(message.role != "system" for message in messages):
        raise body.error("messages", "must hold at least one message of a user.")
    return messages


def _message(item: Fields) -> Message | RawMessage | None:
    name = item.required("role")
    if name in ("tool", "function") or item.given("tool_calls", "function_call"):
        raise item.error("role", "belongs to tool calls, which are not supported yet.", "Leave tools out.")
    role = ROLES.get(name)
    if role is None:
        raise item.error("role", f"must be one of {', '.join(ROLES)}, not {name[:100]!r}.")
    content = item.any("content")
    if isinstance(content, str):
        if content and not content.isspace():
            return Message(role, content)
    elif content is None and item.given("refusal"):
        return Message(role, item.required("refusal"))
    elif isinstance(content, list):
        parts = tuple(_part(part, role) for part in item.objects("content", MOST_MESSAGES))
        if any(isinstance(part, RawFile) for part in parts):
            return RawMessage(role, parts)
        text = "\n\n".join(part for part in parts if isinstance(part, str))
        if text and not text.isspace():
            return Message(role, text)
    else:
        raise item.wrong("content", "a string or a list of parts", content)
    if role == "system":
        return None  # an empty instruction is none
    raise item.error("content", "is empty.", "Write something.")


def _part(part: Fields, role: Role) -> str | RawFile:
    kind = part.required("type")
    if kind in ("text", "refusal"):
        text = part.text(kind)
        if text is None:
            raise part.error(kind, "is missing.")
        return text
    if kind not in ("image_url", "file"):
        raise part.error("type", f"must be text, image_url or file, not {kind[:100]!r}.")
    if role != "user":
        raise part.error("type", "must be text, because only messages of the user carry files.")
    if kind == "image_url":
        holder = part if isinstance(part.any("image_url"), str) else part.object("image_url")
        if holder is None:
            raise part.error("image_url", "is missing.")
        key = "image_url" if holder is part else "url"
        address = holder.required(key)
        if not address[:5].lower() == "data:":
            raise holder.error(
                key,
                "must be a data: URL, because nothing is fetched from the network.",
                "Send the image as data:image/png;base64,…",
            )
        return RawFile("image", part, holder, key, address)
    holder = part.object("file")
    if holder is None:
        raise part.error("file", "is missing.")
    if holder.given("file_id"):
        raise holder.error("file_id", "is not supported.", "Send the file itself in file_data.")
    name = (holder.text("filename") or "file").replace("\x00", "")[:200]
    return RawFile(name, part, holder, "file_data", holder.required("file_data"))


def _decoded(file: RawFile) -> bytes:
    holder, key, text = file.holder, file.key, file.encoded
    if text[:5].lower() == "data:":
        match = _DATA_URL.match(text)
        if match is None:
            raise holder.error(key, "is not a data: URL in base64.", "It begins like data:image/png;base64,")
        text = text[match.end() :]
    try:
        data = base64.b64decode(text.translate(_WHITE_SPACE), validate=True)
    except (binascii.Error, ValueError):
        raise holder.error(key, "is not valid base64.") from None
    if not data:
        raise holder.error(key, "is an empty file.")
    return data
