"""What the Prompts tab shows: reads the registry and returns the components' new values. Blocking."""

from __future__ import annotations

import datetime
import threading
from typing import Any

from core.errors import NotFound, ParleyError, PermissionDenied
from core.names import LATEST, Ref
from core.prompts import PromptEntry
from core.prompts.editing.diff import diff
from core.prompts.version import Version
from core.services import Services
from pages.prompts import diff as prompts_diff
from pages.prompts import label_window, prompt_list, view
from pages.prompts.label_window import GONE, LabelWindow
from pages.prompts.parts import Parts
from pages.prompts.prompt_list import Frame
from pages.prompts.room import Room

MOST_FOUND = 30
READ_ONLY = "Prompts cannot be saved or moved here. Whoever runs this server can allow it with PARLEY_PROMPTS_WRITE=on."

Updates = dict[Any, Any]


class Screen:
    """Draws. Every method returns a dict of components and their values."""

    def __init__(self, services: Services, parts: Parts) -> None:
        self._services = services
        self._parts = p = parts
        self._generation = 0
        self._changed_in: dict[str, int] = {}  # by prompt the generation that it last changed in
        self._lock = threading.Lock()
        self.protected = frozenset(services.settings["PARLEY_PROTECTED_LABELS"])
        self.room_parts = [p.here, p.shown, p.place, p.head, p.views, p.diff, p.report, *p.editor.outputs]
        services.registry.watch(self._changed)

    @property
    def generation(self) -> int:
        """Grows with every change of the registry's folder, and when it has been read for the first time."""
        return 2 * self._generation + self._services.registry.scanned

    def changed(self, name: str, seen: str) -> bool:
        """Whether the prompt may have changed since the page was drawn with this generation."""
        return not seen.isascii() or not seen.isdigit() or self._changed_in.get(name, 0) > int(seen) // 2

    def _changed(self, names: set[str]) -> None:
        with self._lock:
            self._generation += 1
            self._changed_in.update(dict.fromkeys(names, self._generation))

    def cannot(self) -> str:
        """Why nothing can be saved or moved; "" when it can."""
        return self._problem() or ("" if self._services.settings.prompts_writable else READ_ONLY)

    def _problem(self) -> str:
        """What is wrong with the folder of the prompts."""
        return str(self._services.registry.problem or "")

    def must_write(self) -> None:
        """Raises PermissionDenied with the reason when nothing can be changed."""
        if sentence := self.cannot():
            raise PermissionDenied(sentence, "")

    def listing(self, here: str, query: str = "", chip: str = "") -> Updates:
        """The list at the side, or what a search finds."""
        registry = self._services.registry
        frame = self._frame(here)
        entries = registry.list()
        if query.strip():
            found = registry.search(query.strip(), MOST_FOUND)
            by_name = {entry.name: entry for entry in entries}
            html = prompt_list.found(found, by_name, query.strip(), chip, frame)
        else:
            html = prompt_list.whole(entries, chip, registry.problems(), frame)
        return {self._parts.list: html}

    def room(self, ref: str) -> Room:
        """Everything about one prompt. Raises NotFound, BadRequest."""
        registry, wanted = self._services.registry, Ref.parse(ref)
        entry = registry.entry(wanted.name)
        return Room(
            entry=entry,
            version=registry.version(wanted),
            versions=registry.versions(wanted.name),
            moves=registry.history(wanted.name),
            protected=self.protected,
            back={label: registry.earlier(wanted.name, label) for label in entry.labels},
            now=_now(),
            cannot=self.cannot(),
            problem=self._problem(),
            uses=self._services.prompt_usage.by_version(wanted.name),
        )

    def opened(self, ref: str, draft: Version | None = None) -> Updates:
        """One version in the room, and in the editor. A name alone means the newest one that can be read."""
        try:
            room = self.room(ref)
        except ParleyError as error:
            return self.lost(ref, error)
        p = self._parts
        return {
            p.here: room.version.ref,
            p.shown: room.version.ref,
            p.place: room.version.name if room.newest else room.version.ref,
            **self._drawn(room),
            p.diff: self.compared(room.version.name, *room.pair),
            p.report: "",
            **p.editor.fill(room.version, draft),
        }

    def lost(self, ref: str, error: ParleyError) -> Updates:
        """A prompt that cannot be shown, with the reason."""
        p = self._parts
        head = view.lost(ref.partition("@")[0], str(error))
        return {
            p.here: "",
            p.shown: "",
            p.place: ref,
            p.head: head,
            p.views: "",
            p.diff: "",
            p.report: "",
        } | p.editor.fill(None)

    def blank(self, draft: Version | None = None) -> Updates:
        """A new prompt."""
        p = self._parts
        first = not self.cannot() and not self._services.registry.list()
        head = view.new_head(self._problem(), first)
        return {
            p.here: "",
            p.shown: "",
            p.place: "",
            p.head: head,
            p.views: "",
            p.diff: "",
            p.report: "",
        } | p.editor.fill(None, draft)

    def arrived(self) -> Updates:
        """What is shown to who asks for no prompt: the one that was used last, or the first."""
        names = [entry.name for entry in self._services.registry.list() if entry.latest]
        uses = self._services.prompt_usage.uses()
        used = [(use.last, name) for name, use in uses.items() if name in names and use.last]
        if not names:
            return self.blank()
        updates = self.opened(max(used)[1] if used else names[0])
        return updates | {self._parts.place: ""}

    def refreshed(self, here: str) -> Updates:
        """Head, versions, labels and use of the version in view once more; the editor stays as it is."""
        p = self._parts
        if not here:
            return {}
        try:
            room = self.room(here)
        except NotFound as error:
            return {p.head: view.lost(here.partition("@")[0], str(error)), p.views: ""}
        return self._drawn(room)

    def all_versions(self, here: str) -> Updates:
        """The list of versions to its end."""
        return {self._parts.views: view.views(self.room(here), everything=True)}

    def compared(self, name: str, old: int, new: int) -> str:
        """The differences of two versions as HTML."""
        registry = self._services.registry
        if old == new:
            return prompts_diff.same(new)
        try:
            first, second = registry.version(Ref(name, old, "")), registry.version(Ref(name, new, ""))
        except ParleyError as error:
            return prompts_diff.trouble(error)
        return prompts_diff.whole(first, second, diff(first, second))

    def window(self, name: str, label: str, to: int, why: str = "", trouble: str = "") -> str:
        """The inside of the window about a label."""
        entry = self._services.registry.entry(name)
        if label == LATEST:
            label, trouble = "", "The label latest is automatic: it always names the newest version."
        to = to if to in entry.numbers or (to == GONE and label in entry.labels) else max(entry.numbers, default=GONE)
        at = entry.labels.get(label, GONE)
        difference = self._difference(name, at, to) if at and to and at != to else ""
        return label_window.window(
            LabelWindow(
                entry, label, to, self.protected, self._back(entry, label) == to != GONE, difference, why, trouble
            )
        )

    def _difference(self, name: str, old: int, new: int) -> str:
        registry = self._services.registry
        try:
            first, second = registry.version(Ref(name, old, "")), registry.version(Ref(name, new, ""))
        except ParleyError as error:
            return prompts_diff.trouble(error)
        return prompts_diff.fields(diff(first, second))

    def _back(self, entry: PromptEntry, label: str) -> int | None:
        return self._services.registry.earlier(entry.name, label) if label in entry.labels else None

    def _drawn(self, room: Room) -> Updates:
        return {self._parts.head: view.head(room), self._parts.views: view.views(room)}

    def _frame(self, here: str) -> Frame:
        return Frame(
            now=_now(),
            current=here.partition("@")[0],
            protected=self.protected,
            uses=self._services.prompt_usage.uses(),
            generation=self.generation,
            writable=not self.cannot(),
            reading=not self._services.registry.scanned,
        )


def _now() -> datetime.datetime:
    return datetime.datetime.now().astimezone()
