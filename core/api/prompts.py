"""/api/v1/prompts: reading the registry and rendering its prompts. A read costs so little that it can sit in the path
of every request of a program: an answer that was given before is given again at once while its files have not changed.
All else that reads files does so in a thread.

A name may hold slashes. One whose last part is `versions` or `render` is asked for with its slashes as %2F.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cachetools import LRUCache
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from core.api.endpoint import ApiEndpoint, for_pages, only
from core.api.fields import Fields
from core.api.prompt_models import filled_in
from core.api.query import Query
from core.api.schemas import parsed
from core.api.wire import BadField, dumps, read_body, send_body, send_json
from core.names import LATEST, Ref, check_label, check_name
from core.prompts.json_views import history_json, labels_of, move_json, rendered_json, summary_json, version_json
from core.prompts.registry import files, labels
from core.prompts.registry.listing import FILE
from core.prompts.registry.records import PromptEntry
from core.prompts.version import Version
from core.services import Services

READING = ("GET", "HEAD")
ACTIONS = ("versions", "render")
MOST_LISTED = 1000
SOME_LISTED = 100
MOST_KEPT = 32_000_000  # bytes of all answers in memory
LARGEST_KEPT = 64_000  # bytes of one of them
EACH = 1000  # bytes that an answer in memory takes beside its own


def routes(services: Services) -> list[BaseRoute]:
    registry = for_pages(PromptRoutes(services), services.settings)
    return [Route("/api/v1/prompts", registry), Route("/api/v1/prompts/{path:path}", registry)]


class PromptRoutes(ApiEndpoint):
    """The ASGI application for everything below /api/v1/prompts."""

    def __init__(self, services: Services) -> None:
        super().__init__(services.settings)
        self._registry = services.registry
        self._templates = services.templates
        self._threads = services.threads
        self._kept = _AnswerCache()

    async def respond(self, scope: Scope, receive: Receive, send: Send, visitor: str) -> None:
        name, action = _target(scope)
        query = Query.of(scope)
        if action == "render":
            only(scope, "POST")
            raw = await read_body(receive)
            await self._render(visitor, name, query, raw, send)
            return
        only(scope, *READING)
        if not name and not action:
            await self._list(query, send)
        elif action == "versions":
            query.only()
            await send_json(send, await self._threads.prompts.run(self._history, name), headers=_FRESH)
        else:
            await self._read(_ref(name, query), scope, send)

    async def _list(self, query: Query, send: Send) -> None:
        query.only("query", "tag", "label", "limit", "offset")
        limit = query.integer("limit", 1, MOST_LISTED, SOME_LISTED)
        offset = query.integer("offset", 0, 10**9, 0)
        label = query.text("label")
        if label and label != LATEST:
            check_label(label)

        def work() -> dict[str, Any]:
            found: list[PromptEntry] = self._registry.list(
                query.text("query"), tag=query.text("tag"), label="" if label == LATEST else label
            )
            data = [summary_json(entry) for entry in found[offset : offset + limit]]  # reads the newest versions
            return {"data": data, "total": len(found)}

        await send_json(send, await self._threads.index.run(work), headers=_FRESH)

    async def _read(self, ref: Ref, scope: Scope, send: Send) -> None:
        kept = self._kept.fresh(ref)
        body, tag = kept if kept is not None else await self._threads.prompts.run(self._answer, ref)
        headers = [(b"etag", tag), *_FRESH]
        if _known(scope, tag):
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await send_body(send, body, headers=headers)

    def _answer(self, ref: Ref) -> tuple[bytes, bytes]:
        """The body and its ETag."""
        now = time.time_ns()
        version = self._registry.version(ref)
        latest = version if ref.label == LATEST else self._registry.version(Ref(ref.name))
        body = dumps(version_json(version, labels_of(version, self._registry.labels(ref.name), latest)))
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'.encode()
        self._kept.keep(ref, _Answer(body, tag, *_files(self._registry.root, version, latest)), now)
        return body, tag

    async def _render(self, visitor: str, name: str, query: Query, raw: bytes, send: Send) -> None:
        ref = _ref(name, query)

        def work() -> dict[str, Any]:
            body = parsed(raw) if raw.strip() else Fields({})
            body.only("variables", "question")
            values, question = body.mapping("variables"), body.text("question")
            version = self._registry.version(ref)
            return rendered_json(version, filled_in(self._templates, version, values, question))

        await send_json(send, await self._threads.previews.run_for(visitor, work), headers=_FRESH)

    def _history(self, name: str) -> dict[str, Any]:
        entry = self._registry.entry(check_name(name))
        versions = self._registry.versions(name)
        return {
            "name": name,
            "data": [history_json(version, labels_of(version, entry.labels, entry.latest)) for version in versions],
            "labels": dict(sorted(entry.labels.items())),
            "moves": [move_json(move) for move in self._registry.history(name)],
        }


_State = tuple[tuple[tuple[int, int], ...], tuple[files.Stamp | None, ...]]
_FRESH = [(b"cache-control", b"no-cache")]  # to be asked for again each time; the ETag makes that cheap


@dataclass(frozen=True, slots=True)
class _Answer:
    body: bytes
    tag: bytes
    folders: tuple[str, ...]  # around the prompt's own
    files: tuple[str, ...]  # the prompt's folder among them


class _AnswerCache:
    """Answers with the state of all files that they were made from. For several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # held for moments only, never while a file is looked at
        self._answers: LRUCache[Ref, tuple[_Answer, _State]] = LRUCache(
            MOST_KEPT, lambda kept: len(kept[0].body) + EACH
        )

    def fresh(self, ref: Ref) -> tuple[bytes, bytes] | None:
        """Body and ETag if nothing has changed: some looks at the disk, 20 microseconds, that wait for nobody."""
        with self._lock:
            kept = self._answers.get(ref)
        if kept is None:
            return None
        answer, state = kept
        return (answer.body, answer.tag) if _state(answer) == state else None

    def keep(self, ref: Ref, answer: _Answer, since: int) -> None:
        """`since`: when its making began (ns). A file that has changed so lately might change again unseen."""
        state = _state(answer) if answer.files and len(answer.body) <= LARGEST_KEPT else None
        with self._lock:
            if state is not None and all(files.settled(stamp, since) for stamp in state[1] if stamp):
                self._answers[ref] = answer, state
            else:
                self._answers.pop(ref, None)


def _files(root: Path, version: Version, latest: Version) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The folders around a prompt's, and what decides on its versions and labels; nothing when that is not so plain,
    because the newest file cannot be used."""
    folder = os.fspath(root.joinpath(*version.name.split("/")))
    try:
        numbers = [int(found[1]) for name in os.listdir(folder) if (found := FILE.fullmatch(name))]  # noqa: PTH208 - hot
    except OSError:
        return (), ()
    if latest.number != max(numbers, default=0):
        return (), ()
    own = [f"v{number}.yaml" for number in sorted({version.number, latest.number})]
    parts = version.name.split("/")[:-1]
    around = tuple(os.fspath(root.joinpath(*parts[:depth])) for depth in range(1, len(parts) + 1))
    return around, (folder, *(os.path.join(folder, name) for name in (*own, labels.FILE)))  # noqa: PTH118 - hot


def _state(answer: _Answer) -> _State | None:
    """What a change would change: which folders lie around, and the stamps. None when a file cannot be looked at."""
    try:
        around = tuple((status.st_ino, status.st_mode) for status in map(os.lstat, answer.folders))
        *own, history = answer.files
        stamps: list[files.Stamp | None] = [files.stamp_of(os.lstat(path)) for path in own]
    except OSError:
        return None
    try:
        stamps.append(files.stamp_of(os.lstat(history)))
    except OSError:  # no label has been set yet
        stamps.append(None)
    return around, tuple(stamps)


def _target(scope: Scope) -> tuple[str, str]:
    """The prompt's name and what of it is asked for; both "" for the list."""
    name: str = scope["path_params"].get("path", "")
    # Told apart before %2F became a slash.
    action = scope["raw_path"].rpartition(b"/")[2].decode("latin-1")
    if action in ACTIONS and name.endswith(f"/{action}"):
        return name[: -len(action) - 1], action
    return name, ""


def _ref(name: str, query: Query) -> Ref:
    """Which version is meant: by ?label= or ?version=, or by name@label or name@3, or else the latest."""
    query.only("label", "version")
    label, number = query.filled("label"), query.filled("version")
    if (label != "") + (number != "") + ("@" in name) > 1:
        raise BadField("label", "The address says twice which version is meant.", "Give a label or a version.")
    if number:
        return Ref(check_name(name), query.integer("version", 1, 10**9 - 1, 1), "")
    if label:
        return Ref(check_name(name), None, label if label == LATEST else check_label(label))
    return Ref.parse(name)


def _known(scope: Scope, tag: bytes) -> bool:
    """Whether the client has this answer already (If-None-Match)."""
    for name, value in scope["headers"]:
        if name == b"if-none-match":
            tags = [one.strip().removeprefix(b"W/") for one in value.split(b",")]
            return tag in tags or b"*" in tags
    return False
