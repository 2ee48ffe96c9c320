"""A plan into the registry: all of it is checked before the first byte is written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from core.errors import BadRequest, NotFound, ParleyError, StorageError
from core.names import LATEST, Ref, check_name
from core.prompts.content import LARGEST
from core.prompts.formats._given import NOTHING
from core.prompts.formats._model import Imported, ImportedVersion, Plan
from core.prompts.registry import changes, files, labels
from core.prompts.registry.records import Move
from core.prompts.templates.templates import Templates
from core.prompts.version import Version, from_text, to_text

if TYPE_CHECKING:
    from core.prompts.registry.registry import Registry


@dataclass(slots=True)
class _Prompt:
    """What is to be done with one prompt."""

    name: str
    known: dict[int, Version]  # what is in the registry
    drafts: list[ImportedVersion]
    exact: bool = False  # versions keep their numbers, authors and times
    history: tuple[Move, ...] = ()  # to be restored as it was
    numbers: dict[int, int] = field(default_factory=dict)  # position of a draft -> number in the registry


def apply(registry: Registry, plan: Plan, *, by: str, labels: bool = False) -> Imported:
    """Save what the plan holds. With `labels`, labels are moved too; the reason names the file.

    A prompt that is not here, or is here as a part of what the plan holds, gets its versions with their numbers,
    authors and times; its label history too if it has none. Elsewhere, versions that are here are recognised by
    their content, and others get new numbers. BadRequest: nothing was imported. StorageError says how far it came.
    """
    if registry.problem is not None:
        raise registry.problem
    prompts = [_prompt(registry, name, plan) for name in dict.fromkeys(draft.name for draft in plan.drafts)]
    templates = Templates(_Lookup(registry, prompts, labels))
    for prompt in prompts:
        prompt.drafts = [_checked(draft, templates, prompt, plan) for draft in prompt.drafts]
        if labels:
            prompt.history = _history(registry, prompt, plan)
            _ask_gates(registry, prompt)
    created: list[Version] = []
    unchanged: list[Version] = []
    moved: list[tuple[str, str, int]] = []
    try:
        for prompt in prompts:
            _save(registry, prompt, plan, by, created, unchanged)
        for prompt in prompts if labels else ():
            moved += _move(registry, prompt, plan, by)
    except StorageError as error:
        done = f"{len(created)} of {len(plan.drafts)} versions were imported before."
        raise StorageError(
            f"{error.what} {done}", f"{error.fix} Then import the file again: it goes on there."
        ) from None
    return Imported(tuple(created), tuple(unchanged), tuple(moved))


def _prompt(registry: Registry, name: str, plan: Plan) -> _Prompt:
    check_name(name)
    try:
        known = {version.number: version for version in registry.versions(name)}
        taken = {move.to for move in registry.history(name)}
        problems = registry.entry(name).problems
    except NotFound:
        known, taken, problems = {}, set(), ()
    drafts = [draft for draft in plan.drafts if draft.name == name]
    own = {draft.number: draft.content.digest() for draft in drafts}
    whole = all(draft.number is not None and draft.time is not None for draft in drafts)
    same = all(own.get(number) == version.hash for number, version in known.items())
    return _Prompt(name, known, drafts, exact=whole and same and not problems and taken <= own.keys() | {None})


class _Lookup:
    """What an include means once the plan is in the registry."""

    def __init__(self, registry: Registry, prompts: Iterable[_Prompt], labels: bool) -> None:
        self._registry = registry
        self._prompts = {prompt.name: prompt for prompt in prompts}
        self._labels = labels

    def __call__(self, ref: Ref) -> Version:
        prompt = self._prompts.get(ref.name)
        drafts = prompt.drafts if prompt else []
        planned = next((draft for draft in reversed(drafts) if self._fits(draft, ref, drafts)), None)
        if prompt is None or planned is None:
            return self._registry.version(ref)
        if ref.number is not None and not prompt.exact:
            here = prompt.known.get(ref.number)
            if here is None or here.hash != planned.content.digest():
                raise BadRequest(
                    f"{ref} is included, but version {ref.number} of {ref.name} is another one here.",
                    "Import into an empty registry, or include it by a label.",
                )
        return Version(ref.name, planned.number or 1, planned.content)

    def _fits(self, draft: ImportedVersion, ref: Ref, drafts: list[ImportedVersion]) -> bool:
        if ref.number is not None:
            return draft.number == ref.number
        return draft is drafts[-1] if ref.label == LATEST else self._labels and ref.label in draft.labels


def _checked(draft: ImportedVersion, templates: Templates, prompt: _Prompt, plan: Plan) -> ImportedVersion:
    """The draft as it is saved. What is restored keeps its content to the letter."""
    try:
        content = templates.check(draft.content, draft.name)
        if not prompt.exact:
            draft = replace(
                draft,
                content=content,
                description=changes.line(draft.description, "description"),
                change=changes.line(draft.change, "message of the change"),
                author=changes.line(draft.author, "author's name", changes.LONGEST_WHO),
            )
        version = _version(draft, 1)
        text = to_text(version)
        if len(text) > LARGEST:
            raise BadRequest(f"It is larger than {LARGEST // 1_000_000} MB.", "Shorten it.")
        if from_text(text, draft.name, 1).version != version:
            raise BadRequest("It holds something that a file of the registry cannot hold.", "Look at its texts.")
    except ParleyError as error:
        which = f"{draft.name} (version {draft.number})" if draft.number else draft.name
        raise BadRequest(f"{plan.source or 'The file'}: {which}: {error.what}", f"{error.fix} {NOTHING}") from None
    return draft


def _version(draft: ImportedVersion, number: int) -> Version:
    about = (draft.description, draft.tags, draft.change, draft.author)
    version = Version(draft.name, number, draft.content, *about, parent=draft.parent)
    return replace(version, time=draft.time or version.time.replace(microsecond=0))


def _save(
    registry: Registry, prompt: _Prompt, plan: Plan, by: str, created: list[Version], unchanged: list[Version]
) -> None:
    numbers: dict[int, int] = {}  # theirs -> ours
    for position, draft in enumerate(prompt.drafts):
        here = _same(prompt, draft)
        if here is not None:
            unchanged.append(here)
            prompt.numbers[position] = here.number
        elif prompt.exact and draft.number is not None:
            created.append(_restore(registry, _version(draft, draft.number)))
            prompt.numbers[position] = draft.number
            if position + 1 == len(prompt.drafts):
                registry.entry(prompt.name)  # has the list read it
        else:
            saved = registry.save(
                draft.name,
                draft.content,
                description=draft.description,
                tags=draft.tags,
                change=draft.change or f"Imported from {plan.source or plan.format} by {by}.",
                author=draft.author or by,
                parent=numbers.get(draft.parent or 0),
            )
            (created if saved.created else unchanged).append(saved.version)
            prompt.numbers[position] = saved.version.number
        if draft.number is not None:
            numbers[draft.number] = prompt.numbers[position]


def _same(prompt: _Prompt, draft: ImportedVersion) -> Version | None:
    """The version that the draft is, if it is here already. What the file does not say makes no difference."""
    if prompt.exact:
        return prompt.known.get(draft.number or 0)
    for version in sorted(prompt.known.values(), key=lambda version: version.number, reverse=True):
        same_about = draft.description in ("", version.description) and draft.tags in ((), version.tags)
        if same_about and version.content == draft.content:
            return version
    return None


def _restore(registry: Registry, version: Version) -> Version:
    """Write a version with its number and time. It is created like any other: whole, and never over another one."""
    try:
        folder = files.make_folders(registry.root, version.name)
        data = to_text(version).encode()
        if not files.create(folder, f"v{version.number}.yaml", data, files.Lock(registry.root)):
            raise BadRequest(f"{version.ref} was saved by somebody else a moment ago.", "Import the file again.")
    except OSError as error:
        raise files.not_kept(error, f"Version {version.number} of {version.name}") from None
    return version


def _history(registry: Registry, prompt: _Prompt, plan: Plan) -> tuple[Move, ...]:
    """The moves to restore as they were; () when the labels are to be moved like any others."""
    moves: tuple[Move, ...] = plan.moves.get(prompt.name, ())
    if not prompt.exact or not moves:
        return ()
    try:
        return () if registry.history(prompt.name) else moves
    except NotFound:
        return moves


def _ask_gates(registry: Registry, prompt: _Prompt) -> None:
    """Whatever guards a protected label may refuse before anything is written."""
    for number, draft in enumerate(prompt.drafts):
        for label in draft.labels:
            if label in registry.protected:
                for gate in registry.gates:
                    gate(_version(draft, draft.number or number + 1), label)


def _move(registry: Registry, prompt: _Prompt, plan: Plan, by: str) -> list[tuple[str, str, int]]:
    where = {label: prompt.numbers[n] for n, draft in enumerate(prompt.drafts) for label in draft.labels}
    if prompt.history:
        _restore_history(registry, prompt)
    else:
        now = registry.entry(prompt.name).labels
        where = {label: to for label, to in where.items() if now.get(label) != to}
        for label, to in where.items():
            registry.move(prompt.name, label, to, by=by, why=f"Imported from {plan.source or plan.format}.")
    return [(prompt.name, label, to) for label, to in sorted(where.items())]


def _restore_history(registry: Registry, prompt: _Prompt) -> None:
    data = b"".join(labels.line_of(move) + b"\n" for move in prompt.history)
    try:
        folder = files.make_folders(registry.root, prompt.name)
        if not files.create(folder, labels.FILE, data, files.Lock(registry.root)):
            raise BadRequest(f"A label of {prompt.name} was moved a moment ago.", "Import the file again.")
        registry.entry(prompt.name)
    except OSError as error:
        raise files.not_kept(error, f"The label history of {prompt.name}") from None
