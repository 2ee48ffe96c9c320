"""/api/v1/prompts: reading the registry and rendering its prompts. A read costs so little that it can sit in the path
of every request of a program.

A name may hold slashes. One whose last part is `versions` or `render` is asked for with its slashes as %2F.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import OrderedDict
from typing import Any, Protocol

from starlette.types import Receive, Scope, Send

from core.api.endpoint import Endpoint, only
from core.api.fields import Fields
from core.api.prompt_models import filled_in
from core.api.query import Query
from core.api.schemas import largest_body, parsed
from core.api.wire import BadField, dumps, read_body, send_body, send_json
from core.errors import NotFound, ParleyError
from core.prompts.names import LATEST, Ref, check_label, check_name
from core.prompts.plain import history_json, labels_of, move_json, rendered_json, summary_json, version_json
from core.prompts.records import Entry
from core.prompts.registry import Registry
from core.prompts.templates import Templates
from core.prompts.version import Version
from core.settings import Settings

READING = ("GET", "HEAD")
ACTIONS = ("versions", "render")
MOST_LISTED = 1000
SOME_LISTED = 100
MOST_WARM = 20_000  # names
MOST_KEPT = 512  # answers in memory
LARGEST_KEPT = 64_000  # bytes of an answer in memory


class Needs(Protocol):
    """What of the services the registry's addresses are built on."""

    @property
    def settings(self) -> Settings: ...
    @property
    def registry(self) -> Registry: ...
    @property
    def templates(self) -> Templates: ...


class Prompts(Endpoint):
    """The ASGI application for everything below /api/v1."""

    def __init__(self, services: Needs) -> None:
        super().__init__(services.settings)
        self._registry = services.registry
        self._templates = services.templates
        self._largest_body = largest_body(services.settings)
        self._bodies = _Bodies()
        self._warm: set[str] = set()  # names that were read lately

    async def respond(self, scope: Scope, receive: Receive, send: Send, visitor: str) -> None:
        name, action = _target(scope)
        query = Query.of(scope)
        if action == "render":
            only(scope, "POST")
            await self._render(name, query, await read_body(scope, receive, self._largest_body), send)
            return
        only(scope, *READING)
        if not name and not action:
            await self._list(query, send)
        elif action == "versions":
            query.only()
            await send_json(send, await asyncio.to_thread(self._history, name), headers=_FRESH)
        else:
            await self._read(_ref(name, query), scope, send)

    async def _list(self, query: Query, send: Send) -> None:
        query.only("query", "tag", "label", "limit", "offset")
        limit = query.integer("limit", 1, MOST_LISTED, SOME_LISTED)
        offset = query.integer("offset", 0, 10**9, 0)
        label = query.text("label")
        if label and label != LATEST:
            check_label(label)
        found: list[Entry] = await asyncio.to_thread(
            self._registry.list, query.text("query"), tag=query.text("tag"), label="" if label == LATEST else label
        )
        data = [summary_json(entry) for entry in found[offset : offset + limit]]
        await send_json(send, {"data": data, "total": len(found)}, headers=_FRESH)

    async def _read(self, ref: Ref, scope: Scope, send: Send) -> None:
        if ref.name in self._warm:
            try:
                body, tag = self._answer(ref)  # some looks at the disk, together 50 microseconds
            except ParleyError:
                self._warm.discard(ref.name)
                raise
        else:  # the first look reads files, and what is not there is compared with all names
            body, tag = await asyncio.to_thread(self._answer, ref)
            if len(self._warm) >= MOST_WARM:
                self._warm.clear()
            self._warm.add(ref.name)
        headers = [(b"etag", tag), *_FRESH]
        if _known(scope, tag):
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await send_body(send, body, headers=headers)

    def _answer(self, ref: Ref) -> tuple[bytes, bytes]:
        """The body and its ETag."""
        version = self._registry.version(ref)
        latest = version if ref.label == LATEST else self._registry.version(Ref(ref.name))
        return self._bodies.of(version, labels_of(version, self._registry.labels(ref.name), latest))

    async def _render(self, name: str, query: Query, raw: bytes, send: Send) -> None:
        ref = _ref(name, query)
        body = parsed(raw) if raw.strip() else Fields({})
        body.only("variables", "question")
        values, question = body.mapping("variables"), body.text("question")

        def work() -> dict[str, Any]:
            version = self._registry.version(ref)
            return rendered_json(version, filled_in(self._templates, version, values, question))

        await send_json(send, await asyncio.to_thread(work), headers=_FRESH)

    def _history(self, name: str) -> dict[str, Any]:
        entry = self._registry.entry(check_name(name))
        versions = self._registry.versions(name)
        return {
            "name": name,
            "data": [history_json(version, labels_of(version, entry.labels, entry.latest)) for version in versions],
            "labels": dict(sorted(entry.labels.items())),
            "moves": [move_json(move) for move in self._registry.history(name)],
        }


_FRESH = [(b"cache-control", b"no-cache")]  # to be asked for again each time; the ETag makes that cheap


class _Bodies:
    """Answers with their ETags, so that what is read again and again is written once. A version never changes, but the
    labels that point to it do. For several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[Version, list[str], bytes, bytes]] = OrderedDict()

    def of(self, version: Version, labels: list[str]) -> tuple[bytes, bytes]:
        with self._lock:
            kept = self._kept.get(version.ref)
            if kept is not None and kept[0] is version and kept[1] == labels:
                self._kept.move_to_end(version.ref)
                return kept[2], kept[3]
        body = dumps(version_json(version, labels))
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'.encode()
        if len(body) <= LARGEST_KEPT:
            with self._lock:
                self._kept[version.ref] = (version, labels, body, tag)
                if len(self._kept) > MOST_KEPT:
                    self._kept.popitem(last=False)
        return body, tag


def _target(scope: Scope) -> tuple[str, str]:
    """The prompt's name and what of it is asked for; both "" for the list. NotFound for what is no prompt at all."""
    path: str = scope["path_params"]["path"]
    group, _, name = path.partition("/")
    if group != "prompts":
        raise NotFound(f"There is no /api/v1/{path[:100]} here.", "There is /api/v1/prompts.")
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
