"""Prompts out of the registry as files, and files into it: first the report, then the import."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Sequence
from typing import Any

import gradio as gr

from core.errors import BadRequest, NotFound, ParleyError
from core.prompts import formats
from core.prompts.authors import author_of
from core.prompts.formats import Exported, ExportFile, Imported, Packed, Plan
from core.prompts.version import Version, to_text
from core.services import Services
from pages.kit import uploads
from pages.kit.format import text
from pages.kit.handlers import guarded, sent, visitor_of
from pages.prompts import report
from pages.prompts.parts import Parts
from pages.prompts.report import ReadFile, ReportRow
from pages.prompts.screen import Screen, Updates

OWN = "file"  # the version's own YAML file, as it lies in the registry
WHOLE = ("json", "yaml")  # formats that hold everything
MOST_FILES = 200
MOST_TOLD = 8  # fields that a message names


class Transfer:
    """Handlers that return their updates. Files are read and written in threads."""

    def __init__(self, services: Services, parts: Parts, screen: Screen) -> None:
        self._services = services
        self._threads = services.threads.files
        self._parts = parts
        self._screen = screen
        self._labels = {one.id: one.label for one in formats.formats()}

    @guarded
    async def one(self, event: gr.EventData, request: gr.Request) -> str:
        """The version in view as a file; formats that hold several versions get all of them."""
        ref, format = sent(event, "ref"), sent(event, "format")
        return await self._threads.run_for(visitor_of(request), self._one, ref, format)

    @guarded
    async def all(self, event: gr.EventData, request: gr.Request) -> str:
        """The whole registry, as one file or as an archive of many."""
        return await self._threads.run_for(visitor_of(request), self._all, sent(event, "format"))

    @guarded
    async def read(self, paths: Sequence[str] | None, request: gr.Request) -> Updates:
        """What files would bring in. Nothing is written."""
        p = self._parts
        if not paths:
            return {p.report: "", p.drafts: None}
        if len(paths) > MOST_FILES:
            raise BadRequest(f"These are {len(paths)} files.", f"Import at most {MOST_FILES} at a time.")
        contents = await uploads.take(self._services.uploads, request, paths)

        def work() -> list[ReadFile]:
            return [self._read(name, content) for name, content in contents]

        files = await self._threads.run_for(visitor_of(request), work)
        plans = [file.plan for file in files if file.plan is not None]
        return {p.report: report.before(files, self._screen.cannot()), p.drafts: plans}

    @guarded
    async def take(
        self, event: gr.EventData, plans: list[Plan] | None, here: str, query: str, chip: str, request: gr.Request
    ) -> Updates:
        """Import what the report shows."""
        p = self._parts
        self._screen.must_write()
        if not plans:
            raise BadRequest("There is nothing to import.", "Choose the file again.")
        by = author_of(visitor_of(request), self._services.settings)
        labels = sent(event, "labels") == "on"

        def work() -> tuple[list[tuple[str, Imported]], dict[str, str]]:
            done: list[tuple[str, Imported]] = []
            troubles: dict[str, str] = {}
            for plan in plans:
                try:
                    done.append((plan.source, formats.apply(self._services.registry, plan, by=by, labels=labels)))
                except ParleyError as error:
                    troubles[plan.source] = str(error)
            return done, troubles

        done, troubles = await self._threads.run_for(visitor_of(request), work)
        listed = await self._services.threads.index.run(self._screen.listing, here, query, chip)
        drawn = await self._services.threads.prompts.run(self._screen.refreshed, here)
        return {p.report: report.after(done, troubles), p.drafts: None, **listed, **drawn}

    @guarded
    async def cancel(self) -> Updates:
        return {self._parts.report: "", self._parts.drafts: None}

    def _one(self, ref: str, format: str) -> str:
        registry = self._services.registry
        version = registry.version(ref)
        stem = f"{version.name.replace('/', '-')}.v{version.number}"
        if format == OWN:
            return _packed([ExportFile(f"{stem}.yaml", to_text(version).encode())], stem)
        several = any(one.id == format and not one.one_file_per_prompt for one in formats.formats())
        entry = self._exported(version.name, registry.versions(version.name) if several else [version])
        return _packed(self._export([entry], format).files, stem)

    def _all(self, format: str) -> str:
        registry = self._services.registry
        found = [entry.name for entry in registry.list() if entry.latest]
        if not found:
            raise BadRequest("There is nothing to export.", "Save a prompt first.")
        entries = [self._exported(name, registry.versions(name)) for name in found]
        return _packed(self._export(entries, format).files, f"prompts-{format}")

    def _exported(self, name: str, versions: Sequence[Version]) -> Exported:
        registry = self._services.registry
        return Exported(tuple(versions), registry.entry(name).labels, tuple(registry.history(name)))

    def _export(self, entries: Sequence[Exported], format: str) -> Packed:
        """In another program's format, included prompts become text. What is lost is told."""
        includes = None if format in WHOLE else self._services.registry.version
        packed = formats.export(entries, format, includes=includes)
        lost = list(dict.fromkeys(loss.field.partition(".")[0].partition("[")[0] for loss in packed.losses))
        if lost:
            named = ", ".join(lost[:MOST_TOLD]) + (
                f" and {len(lost) - MOST_TOLD} more" if len(lost) > MOST_TOLD else ""
            )
            gr.Info(
                text(f"{self._labels[format]} does not hold {named}. JSON and YAML of the registry hold all."),
                duration=5,
            )
        return packed

    def _read(self, name: str, content: bytes) -> ReadFile:
        try:
            plan = formats.read(content, name)
        except ParleyError as error:
            return ReadFile(name, trouble=str(error))
        return ReadFile(name, self._labels[plan.format], plan, self._rows(plan))

    def _rows(self, plan: Plan) -> list[ReportRow]:
        """What each version of a file becomes here."""
        rows: list[ReportRow] = []
        known: dict[str, list[Version]] = {}
        next_: dict[str, int] = {}
        for draft in plan.drafts:
            name = draft.name
            if name not in known:
                known[name] = self._versions(name)
                next_[name] = max((version.number for version in known[name]), default=0) + 1
            same = next((version for version in known[name] if version.content == draft.content), None)
            if same is not None:
                rows.append(ReportRow(draft, same.number, True, False))
                continue
            fresh = not known[name]
            number = draft.number if fresh and draft.number and draft.time else next_[name]
            next_[name] = max(next_[name], number + 1)
            rows.append(ReportRow(draft, number, False, fresh))
        return rows

    def _versions(self, name: str) -> list[Version]:
        try:
            return self._services.registry.versions(name)
        except NotFound:
            return []


def _packed(files: Sequence[ExportFile], stem: str) -> str:
    """One file as it is, several as an archive, for the page's script."""
    name, data = files[0].name.rpartition("/")[2], files[0].data
    if len(files) > 1:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.writestr(file.name, file.data)
        name, data = f"{stem}.zip", out.getvalue()
    packed: dict[str, Any] = {"name": name, "type": "application/octet-stream"}
    return json.dumps(packed | {"base64": base64.b64encode(data).decode("ascii")})
