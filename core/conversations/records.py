"""What a conversation is made of, and how it is written into rows."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from core.conversations.choice import PromptChoice, choice_of
from core.messages import Parameters, Usage
from core.store.fusion import How

Role = Literal["user", "assistant"]
TurnStatus = Literal["complete", "streaming", "stopped", "interrupted", "failed"]
ROLES: tuple[Role, ...] = ("user", "assistant")
STATUSES: tuple[TurnStatus, ...] = ("complete", "streaming", "stopped", "interrupted", "failed")
Rating = Literal[-1, 0, 1]
RATINGS: tuple[Rating, ...] = (-1, 0, 1)


@dataclass(frozen=True, slots=True)
class Pane:
    """One column of a comparison: who answers in it, and the end of its branch."""

    model: str
    leaf: str | None


@dataclass(frozen=True, slots=True)
class Conversation:
    """A tree of turns. `leaf` is the end of the branch that is shown; with `panes`, each shows a branch of its own."""

    id: str
    title: str
    system: str
    model: str
    parameters: Parameters
    leaf: str | None
    panes: tuple[Pane, ...]
    created: datetime.datetime
    updated: datetime.datetime  # when the newest turn was added
    prompt: PromptChoice | None = None  # its messages go before all turns, at every answer anew


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that was sent with a turn. `media_type` is what was claimed: look at the bytes before trusting it."""

    id: str
    name: str
    media_type: str
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class Meter:
    """What an answer took."""

    call: int | None  # the ledger's id
    usage: Usage
    cost: int | None  # nano-dollars; None = unknown
    first_token: float | None  # seconds
    duration: float  # seconds
    stop_reason: str
    detail: str | None = None
    prompt: str | None = None  # the version of a prompt that it was made with: name@3


@dataclass(frozen=True, slots=True)
class Turn:
    """A question or an answer. `siblings` are the turns with the same parent, this one included, oldest first."""

    id: str
    conversation: str
    parent: str | None
    role: Role
    text: str
    thinking: str
    files: tuple[StoredFile, ...]
    model: str
    status: TurnStatus
    error: str
    meter: Meter | None
    rating: Rating
    created: datetime.datetime
    siblings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Whole:
    """A conversation with all its branches, oldest turn first, and its files' contents by id."""

    conversation: Conversation
    turns: tuple[Turn, ...]
    contents: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Hit:
    """A conversation that was found. `turn_id` is None when only its title fits.

    `snippet` is plain text of one line with MARK_BEGIN and MARK_END around the words found; escape it before it is
    drawn. `score` compares within one search only.
    """

    conversation_id: str
    title: str
    turn_id: str | None
    snippet: str
    how: How
    score: float


def parameters_to_json(parameters: Parameters) -> dict[str, Any]:
    """The fields that are not at their default."""
    plain = Parameters()
    return {
        f.name: list(value) if isinstance(value, tuple) else value
        for f in fields(Parameters)
        if (value := getattr(parameters, f.name)) != getattr(plain, f.name)
    }


def parameters_of(stored: Any) -> Parameters:
    """Parameters from what was stored. Names that this version does not know are left out."""
    names = {f.name for f in fields(Parameters)}
    values = {name: value for name, value in (stored or {}).items() if name in names}
    if "stop" in values:
        values["stop"] = tuple(values["stop"])
    return Parameters(**values)


def meter_to_json(meter: Meter | None) -> dict[str, Any] | None:
    return None if meter is None else asdict(meter)


def meter_of(stored: Any) -> Meter | None:
    if stored is None:
        return None
    names = {f.name for f in fields(Meter)} - {"usage"}
    usage = {f.name: stored["usage"][f.name] for f in fields(Usage) if f.name in stored["usage"]}
    return Meter(usage=Usage(**usage), **{name: value for name, value in stored.items() if name in names})


def panes_to_json(panes: Sequence[Pane]) -> list[dict[str, Any]]:
    return [asdict(pane) for pane in panes]


def as_text(value: Any) -> str | None:
    """A JSON column's value as a prepared row statement takes it."""
    return None if value is None else json.dumps(value)


def conversation_of(row: Any) -> Conversation:
    """A row of `conversations`."""
    panes = tuple(Pane(pane["model"], pane["leaf"]) for pane in row.panes)
    return Conversation(
        row.id,
        row.title,
        row.system,
        row.model,
        parameters_of(row.parameters),
        row.leaf,
        panes,
        row.created,
        row.updated,
        choice_of(row.prompt),
    )


def turn_of(row: Any, files: Mapping[str, StoredFile], siblings: Sequence[str]) -> Turn:
    """A row of `messages`, with the files of its conversation."""
    return Turn(
        id=row.id,
        conversation=row.conversation,
        parent=row.parent,
        role=row.role,
        text=row.text,
        thinking=row.thinking,
        files=tuple(files[id] for id in row.files if id in files),
        model=row.model,
        status=row.status,
        error=row.error,
        meter=meter_of(row.meter),
        rating=row.rating,
        created=row.created,
        siblings=tuple(siblings),
    )
