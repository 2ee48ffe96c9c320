"""The lossless format "parley-conversations": every branch, reasoning, meters, ratings, and files as base64.

    {"format": "parley-conversations", "version": 1, "exported": "2026-11-20T10:00:00+00:00", "conversations": [
      {"id", "title", "system", "model", "parameters": {…}, "prompt": {"ref", "values": {…}} or null,
       "leaf", "panes": [{"model", "leaf"}], "created", "updated",
       "turns": [{"id", "parent", "role", "text", "thinking", "files": [ids], "model", "status", "error",
                  "meter": {…} or null, "rating", "created"}],       parents before children
       "files": [{"id", "name", "media_type", "data"}]}]}

Ids are 32 hexadecimal digits, times ISO 8601. Fields that are not known are ignored, missing ones that are not
needed take their defaults.
"""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Sequence
from typing import Any, get_args

from core.conversations import Conversation, Conversations, Meter, Pane, StoredFile, Turn, Whole
from core.conversations.choice import PromptChoice, checked, choice_to_json
from core.conversations.clean import file_name, title
from core.conversations.formats._format import ConversationFormat
from core.conversations.formats._place import Place
from core.conversations.records import RATINGS, ROLES, STATUSES, meter_to_json, parameters_to_json
from core.errors import BadRequest
from core.messages import Effort, Parameters, Usage
from core.text import one_line

NAME = "parley-conversations"
VERSION = 1
LARGEST = 200 * 1024 * 1024  # bytes of a file that is imported


def export_json(conversations: Conversations, visitor: str, ids: Sequence[str]) -> str:
    """These conversations without loss. NotFound if one is not the visitor's."""
    exported = datetime.datetime.now(datetime.UTC).isoformat()
    wholes = [_whole_to_json(conversations.whole(visitor, id)) for id in ids]
    data = {"format": NAME, "version": VERSION, "exported": exported, "conversations": wholes}
    return json.dumps(data, ensure_ascii=False, indent=1)


def import_json(conversations: Conversations, visitor: str, text: str | bytes) -> list[Conversation]:
    """Add the conversations of an export, all or none. BadRequest names the place that is wrong.

    What is there already is never touched: a second import of the same file makes a second copy.
    """
    if len(text) > LARGEST:
        raise BadRequest(
            f"The file is larger than {LARGEST // 1024 // 1024} MB.", "Export fewer conversations at once."
        )
    try:
        top = Place(json.loads(text.decode("utf-8-sig") if isinstance(text, bytes) else text.removeprefix("\ufeff")))
    except (ValueError, RecursionError):
        raise BadRequest("The file is not JSON.", "Choose a file that was exported as JSON.") from None
    if not isinstance(top.value, dict) or top.value.get("format") != NAME:
        raise BadRequest("The file is not an export of conversations.", "Choose a file that was exported as JSON.")
    version = top.field("version").integer(1)
    if version > VERSION:
        raise BadRequest(
            f"The file was made by a newer Parley (its format is version {version}).",
            "Update this Parley, then try again.",
        )
    return conversations.restore(visitor, [_whole(place) for place in top.field("conversations").items()])


def _whole_to_json(whole: Whole) -> dict[str, Any]:
    own = whole.conversation
    files = {file.id: file for turn in whole.turns for file in turn.files if file.id in whole.contents}
    return {
        "id": own.id,
        "title": own.title,
        "system": own.system,
        "model": own.model,
        "parameters": parameters_to_json(own.parameters),
        "prompt": choice_to_json(own.prompt),
        "leaf": own.leaf,
        "panes": [{"model": pane.model, "leaf": pane.leaf} for pane in own.panes],
        "created": own.created.isoformat(),
        "updated": own.updated.isoformat(),
        "turns": [_turn_to_json(turn, files) for turn in whole.turns],
        "files": [
            {
                "id": file.id,
                "name": file.name,
                "media_type": file.media_type,
                "data": base64.b64encode(whole.contents[file.id]).decode(),
            }
            for file in files.values()
        ],
    }


def _turn_to_json(turn: Turn, files: dict[str, StoredFile]) -> dict[str, Any]:
    return {
        "id": turn.id,
        "parent": turn.parent,
        "role": turn.role,
        "text": turn.text,
        "thinking": turn.thinking,
        "files": [file.id for file in turn.files if file.id in files],
        "model": turn.model,
        "status": turn.status,
        "error": turn.error,
        "meter": meter_to_json(turn.meter),
        "rating": turn.rating,
        "created": turn.created.isoformat(),
    }


def _whole(place: Place) -> Whole:
    id = place.field("id").id()
    files: dict[str, StoredFile] = {}
    contents: dict[str, bytes] = {}
    for item in place.field("files").items():
        file, data = _file(item)
        if file.id in files:
            raise item.field("id").wrong("is there twice")
        files[file.id], contents[file.id] = file, data
    turns: dict[str, Turn] = {}
    for item in place.field("turns").items():
        turn = _turn(item, id, turns, files)
        turns[turn.id] = turn
    used = {file.id for turn in turns.values() for file in turn.files}
    conversation = Conversation(
        id,
        title(place.field("title").text("")),
        place.field("system").text(""),
        one_line(place.field("model").text("")),
        _parameters(place.field("parameters")),
        _leaf(place.field("leaf"), turns),
        tuple(
            Pane(one_line(item.field("model").text()), _leaf(item.field("leaf"), turns))
            for item in place.field("panes").items()
        ),
        place.field("created").moment(),
        place.field("updated").moment(),
        _prompt(place.field("prompt")),
    )
    return Whole(conversation, tuple(turns.values()), {id: data for id, data in contents.items() if id in used})


def _turn(place: Place, conversation: str, earlier: dict[str, Turn], files: dict[str, StoredFile]) -> Turn:
    id = place.field("id").id()
    if id in earlier:
        raise place.field("id").wrong("is there twice")
    parent = place.field("parent")
    if not parent.empty and parent.id() not in earlier:
        raise parent.wrong("is not the id of an earlier turn")
    held: list[StoredFile] = []
    for item in place.field("files").items():
        if item.id() not in files:
            raise item.wrong("is not among the conversation's files")
        held.append(files[item.id()])
    status = place.field("status").one_of(STATUSES)
    return Turn(
        id=id,
        conversation=conversation,
        parent=None if parent.empty else parent.id(),
        role=place.field("role").one_of(ROLES),
        text=place.field("text").text(),
        thinking=place.field("thinking").text(""),
        files=tuple(held),
        model=one_line(place.field("model").text("")),
        status="interrupted" if status == "streaming" else status,
        error=place.field("error").text(""),
        meter=_meter(place.field("meter")),
        rating=0 if place.field("rating").empty else place.field("rating").one_of(RATINGS),
        created=place.field("created").moment(),
        siblings=(),
    )


def _leaf(place: Place, turns: dict[str, Turn]) -> str | None:
    if place.empty:
        return None
    if place.id() not in turns:
        raise place.wrong("is not the id of a turn")
    return place.id()


def _file(place: Place) -> tuple[StoredFile, bytes]:
    data = place.field("data").data()
    media_type = one_line(place.field("media_type").text(""))[:200] or "application/octet-stream"
    return StoredFile(place.field("id").id(), file_name(place.field("name").text()), media_type, len(data)), data


def _prompt(place: Place) -> PromptChoice | None:
    if place.empty:
        return None
    ref, values = place.field("ref").text(), place.field("values")
    choice = PromptChoice(ref, {} if values.empty else values.object())
    try:
        return checked(choice)
    except BadRequest as error:
        raise place.wrong(f"is no choice of a prompt: {error.what.rstrip('.')}") from None


def _parameters(place: Place) -> Parameters:
    if place.empty:
        return Parameters()
    place.object()
    values: dict[str, Any] = {}
    for name in ("max_tokens", "seed", "logprobs"):
        if not (at := place.field(name)).empty:
            values[name] = at.integer(-(2**62) if name == "seed" else 0)
    for name in ("temperature", "top_p"):
        if not (at := place.field(name)).empty:
            values[name] = at.number(0, 100)
    for name in ("thinking", "json_object"):
        if not (at := place.field(name)).empty:
            values[name] = at.flag(False)
    if not (at := place.field("effort")).empty:
        values["effort"] = at.one_of(get_args(Effort))
    if not (at := place.field("response_schema")).empty:
        values["response_schema"] = at.object()
    return Parameters(stop=tuple(item.text() for item in place.field("stop").items()), **values)


def _meter(place: Place) -> Meter | None:
    if place.empty:
        return None
    at = place.field("usage")
    counts = ("input", "cached", "cache_write_5m", "cache_write_1h", "output", "reasoning")
    usage = {name: at.field(name).integer() for name in counts if not at.field(name).empty}
    first, call, cost, detail, prompt = (
        place.field(name) for name in ("first_token", "call", "cost", "detail", "prompt")
    )
    return Meter(
        None if call.empty else call.integer(0, 2**63 - 1),
        Usage(**usage, estimated=at.field("estimated").flag(False)),
        None if cost.empty else cost.integer(),
        None if first.empty else first.number(),
        place.field("duration").number(),
        one_line(place.field("stop_reason").text()),
        None if detail.empty else detail.text(),
        None if prompt.empty else one_line(prompt.text())[:200],
    )


FORMAT = ConversationFormat("json", "JSON", 10, "json", "application/json", export_json, import_json)
