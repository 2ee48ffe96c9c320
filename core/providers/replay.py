"""Answers from recordings: `replay/<name>` is the file <name>.jsonl in the replay folder; format in `_recording.py`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import BadRequest, ModelNotFound
from core.messages import Begun, ChatRequest, Done, Event, Message, TextDelta, ThinkingDelta, TokenLogprob, Usage
from core.models.info import Abilities, ModelInfo
from core.providers import Provider, Status
from core.providers._parameters import check_attachments, left_out
from core.providers._recording import Recorded, parse
from core.settings import Settings
from core.threads import Pool
from core.tokens import estimate_tokens

_WORD = re.compile(r"\s*\S+\s?|\s+")
_Delta = TextDelta | ThinkingDelta
_TICK = 0.02  # seconds; what falls due within is given out together
_SHOWN = 3
_LONGEST_SHOWN = 80


@dataclass(frozen=True, slots=True)
class _Tape:
    """A file that has been read. `wrong` says what is the matter with one that cannot be used."""

    stamp: tuple[int, int]
    speed: float = 1.0
    entries: tuple[Recorded, ...] = ()
    wrong: str = ""


class Replay:
    """Implements Provider. A file is read at its first use, and again when it has changed."""

    name = "replay"
    label = "Recordings"
    takes_key = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._threads = Pool("replay", 2)
        self._tapes: dict[Path, _Tape] = {}

    async def models(self, keys: Mapping[str, str]) -> list[ModelInfo]:
        """One for each file. One that cannot be used is listed with a note that says why."""
        return await self._threads.run(lambda: [_info(path, self._tape(path)) for path in self._files()])

    async def status(self, keys: Mapping[str, str]) -> Status:
        if await self._threads.run(self._files):
            return Status("ready")
        return Status(
            "missing",
            "There are no recordings.",
            "Export a conversation as a recording into the replay folder (PARLEY_REPLAY_DIR).",
        )

    async def stream(self, request: ChatRequest, model: ModelInfo) -> AsyncIterator[Event]:
        check_attachments(request, model)
        tape = await self._threads.run(self._named, request.model_name)
        entry = _find(tape.entries, request.messages)
        if entry is None:
            known = "; ".join(f'"{_short(each.question)}"' for each in _different(tape.entries)[:_SHOWN])
            raise BadRequest("This recording has no answer to that.", f"It has answers to: {known}.")
        if notice := left_out(request.parameters, model):
            yield notice
        yield Begun(entry.model)
        wants_logprobs = request.parameters.logprobs is not None
        async for event in _played(entry, tape.speed if request.stream else 0.0, logprobs=wants_logprobs):
            yield event
        yield Done(entry.usage or _estimate(request, entry), entry.stop_reason)

    async def close(self) -> None:
        self._tapes.clear()

    def _files(self) -> list[Path]:
        try:
            return sorted(path for path in self._folder.glob("*.jsonl") if path.is_file() and path.stem)
        except OSError:
            return []

    def _named(self, name: str) -> _Tape:
        path = next((path for path in self._files() if path.stem == name), None)
        if path is None:
            raise ModelNotFound(f"There is no recording called {name}.")
        tape = self._tape(path)
        if tape.wrong:
            raise BadRequest(f"The recording {tape.wrong}.", "Correct the file; it is read again at the next question.")
        return tape

    def _tape(self, path: Path) -> _Tape:
        try:
            state = path.stat()
            stamp = state.st_mtime_ns, state.st_size
            known = self._tapes.get(path)
            if known is None or known.stamp != stamp:
                with path.open("rb") as file:
                    speed, entries = parse(file)
                known = _Tape(stamp, speed, tuple(entries), "" if entries else f"{path.name} is empty")
        except ValueError as error:
            known = _Tape(stamp, wrong=f"{path.name}: {error}")
        except OSError:
            return _Tape((0, 0), wrong=f"{path.name} cannot be read")
        self._tapes[path] = known
        return known


def _info(path: Path, tape: _Tape) -> ModelInfo:
    abilities = Abilities(
        temperature=False,
        stop=False,
        logprobs=any(entry.logprobs for entry in tape.entries),
        thinking=any(entry.thinking for entry in tape.entries),
        thinking_off=False,
    )
    count = f"{len(tape.entries)} recorded answer{'' if len(tape.entries) == 1 else 's'}"
    return ModelInfo(f"replay/{path.stem}", path.stem, abilities=abilities, note=tape.wrong or count)


def _find(entries: Sequence[Recorded], messages: tuple[Message, ...]) -> Recorded | None:
    """The answer to exactly these messages, else to the last one of the user."""
    history = [(message.role, message.text) for message in messages]
    for entry in entries:
        if [(message.role, message.text) for message in entry.messages] == history:
            return entry
    question = next((message.text.strip() for message in reversed(messages) if message.role == "user"), "")
    return next((entry for entry in entries if entry.question.strip() == question), None)


async def _played(entry: Recorded, speed: float, *, logprobs: bool) -> AsyncIterator[_Delta]:
    """The pieces of an answer, spread evenly between the first token and the end; at once if `speed` is 0."""
    duration = entry.duration or 0.0
    first = min(duration, entry.first_token if entry.first_token is not None else duration * 0.2)
    if speed == 0 or duration == 0:
        for event in _pieces(entry, whole=True, logprobs=logprobs):
            yield event
        return
    pieces = list(_pieces(entry, whole=False, logprobs=logprobs))
    started = asyncio.get_running_loop().time()
    waiting: list[_Delta] = []
    for number, piece in enumerate(pieces):
        due = started + (first + (duration - first) * number / max(1, len(pieces) - 1)) / speed
        wait = due - asyncio.get_running_loop().time()
        if wait > (0 if number == 0 else _TICK):
            for event in _merged(waiting):
                yield event
            waiting.clear()
            await asyncio.sleep(wait)
        waiting.append(piece)
    for event in _merged(waiting):
        yield event
    if not pieces:
        await asyncio.sleep(duration / speed)


def _pieces(entry: Recorded, *, whole: bool, logprobs: bool) -> Iterator[_Delta]:
    if entry.thinking:
        yield from map(ThinkingDelta, [entry.thinking] if whole else _WORD.findall(entry.thinking))
    # Tokens whose text is not the answer (a reasoning model's, or bytes of one character) go with it as a whole.
    fits = "".join(token.token for token in entry.logprobs) == entry.answer
    if not entry.answer:
        return
    if whole or (logprobs and entry.logprobs and not fits):
        yield TextDelta(entry.answer, entry.logprobs if logprobs else ())
    elif entry.logprobs and fits:
        yield from (TextDelta(token.token, (token,) if logprobs else ()) for token in entry.logprobs)
    else:
        yield from map(TextDelta, _WORD.findall(entry.answer))


def _merged(pieces: Sequence[_Delta]) -> Iterator[_Delta]:
    thinking = "".join(piece.text for piece in pieces if isinstance(piece, ThinkingDelta))
    if thinking:
        yield ThinkingDelta(thinking)
    answer = [piece for piece in pieces if isinstance(piece, TextDelta)]
    tokens: list[TokenLogprob] = [token for piece in answer for token in piece.logprobs]
    if answer:
        yield TextDelta("".join(piece.text for piece in answer), tuple(tokens))


def _estimate(request: ChatRequest, entry: Recorded) -> Usage:
    sent = sum(estimate_tokens(message.text) + 4 for message in request.messages)
    reasoning = estimate_tokens(entry.thinking)
    return Usage(input=sent, output=estimate_tokens(entry.answer) + reasoning, reasoning=reasoning, estimated=True)


def _different(entries: Sequence[Recorded]) -> list[Recorded]:
    return list({entry.question: entry for entry in entries}.values())


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1].rstrip() + "…"


def providers(settings: Settings) -> list[Provider]:
    return [Replay(settings.replay_dir)]
