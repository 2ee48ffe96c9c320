"""Saving what the editor holds: what is different, as a new version, or as a file where nothing can be saved."""

from __future__ import annotations

import datetime
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import gradio as gr

from core.errors import NotFound, ParleyError, PermissionDenied
from core.prompts.authors import author_of
from core.prompts.content import Content
from core.prompts.editing.drafts import Draft
from core.prompts.version import Version, to_text
from core.services import Services
from pages.kit.handlers import guarded, sent, visitor_of
from pages.prompts.editor import review as view
from pages.prompts.editor.looks import DraftChecks

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Made:
    """A draft that can be saved."""

    name: str
    content: Content
    description: str
    tags: tuple[str, ...]
    parent: int | None

    def same_as(self, version: Version) -> bool:
        """Whether saving it would be that version again."""
        mine = self.content.digest(), self.description, self.tags
        return mine == (version.hash, version.description, version.tags)


class Saving:
    """Handlers of events. They return what the window before saving shows, and the version that was saved."""

    def __init__(self, services: Services, looks: DraftChecks) -> None:
        self._services = services
        self._looks = looks

    @guarded
    async def review(self, source: str, request: gr.Request) -> tuple[str, Version | None]:
        """Nothing to show and a version, if that one is the same already."""
        return await self._run(request, self._review, Draft.read(source))

    async def save(self, source: str, event: gr.EventData, request: gr.Request) -> tuple[str, Version | None]:
        """An error is told in the window, which would hide it otherwise."""
        change = sent(event, "change").strip()
        try:
            return "", await self._run(request, self._save, Draft.read(source), change, visitor_of(request))
        except ParleyError as error:
            return _packed(error=str(error)), None

    @guarded
    async def download(self, source: str, request: gr.Request) -> str:
        """The file that would be saved, packed for the page's script."""
        return await self._run(request, self._download, Draft.read(source), visitor_of(request))

    def locked(self) -> str:
        """Why nothing can be saved; "" when it can."""
        problem = self._services.registry.problem
        if problem is not None:
            return str(problem)
        if not self._services.settings.prompts_writable:
            return "On this server prompts are not saved from the browser. You can edit, run and download them."
        return ""

    async def _run(self, request: gr.Request, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """In turn with other visitors: a template or a schema may take seconds to check."""
        return await self._services.threads.requests.run_for(visitor_of(request), work, *args, **kwargs)

    def _review(self, draft: Draft) -> tuple[str, Version | None]:
        if why := self.locked():
            raise PermissionDenied(why, "")
        made = self._made(draft)
        versions = self._versions(made.name)
        if same := next((version for version in versions if made.same_as(version)), None):
            gr.Info(f"This is v{same.number} already: there is nothing to save.")
            return "", same
        number = max([0, *(version.number for version in versions)]) + 1
        parent = next((version for version in versions if version.number == made.parent), None)
        newer = [version for version in versions if parent is not None and version.number > parent.number]
        mine = Version(made.name, number, made.content, made.description, made.tags)
        now = datetime.datetime.now().astimezone()
        heading = f"Save {made.name} as v{number}"
        return _packed(heading=heading, title="Save", html=view.review(mine, parent, newer[:1], now)), None

    def _save(self, draft: Draft, change: str, visitor: str) -> Version:
        if why := self.locked():
            raise PermissionDenied(why, "")
        made = self._made(draft)
        saved = self._services.registry.save(
            made.name,
            made.content,
            description=made.description,
            tags=made.tags,
            change=change,
            author=author_of(visitor, self._services.settings),
            parent=made.parent,
        )
        done = f"Saved as v{saved.version.number}." if saved.created else f"This is v{saved.version.number} already."
        gr.Info(done)
        return saved.version

    def _made(self, draft: Draft) -> Made:
        """BadRequest says what is in the way."""
        name = draft.name if draft.made_from else draft.check_new_name(self._looks.taken)
        content = self._looks.content(draft)
        return Made(name, content, draft.description.strip(), draft.tag_list(), draft.made_from)

    def _versions(self, name: str) -> list[Version]:
        try:
            return self._services.registry.versions(name)
        except NotFound:
            return []

    def _download(self, draft: Draft, visitor: str) -> str:
        name = draft.name.strip() or "prompt"
        content = self._looks.content(draft)
        made = next((one for one in self._versions(name) if one.number == draft.made_from), None)
        if made and (made.content, made.description, made.tags) == (content, draft.description, draft.tag_list()):
            return _file(made)
        number = 1
        if draft.made_from:
            number = max([draft.made_from, *(version.number for version in self._versions(name))]) + 1
        author = author_of(visitor, self._services.settings)
        description, tags = draft.description.strip(), draft.tag_list()
        version = Version(name, number, content, description, tags, author=author, parent=draft.made_from)
        return _file(version)


def _file(version: Version) -> str:
    stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in version.name) or "prompt"
    return json.dumps({"name": f"{stem}.v{version.number}.yaml", "type": "application/yaml", "text": to_text(version)})


def _packed(**values: str) -> str:
    return json.dumps({**values, "nonce": secrets.token_hex(4)}, ensure_ascii=False)
