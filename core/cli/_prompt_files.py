"""`prompts import` and `prompts export`: the registry and the files of others."""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.cli._command_context import STDIN, CommandContext, Output, read_input
from core.cli._terminal import counted
from core.errors import BadRequest
from core.names import Ref
from core.permissions import make_open
from core.prompts import formats
from core.prompts.formats import Exported, ExportFile, Imported, ImportedVersion, Loss, Plan, _given
from core.prompts.registry import files, labels
from core.prompts.registry.listing import FILE
from core.prompts.registry.registry import Registry
from core.prompts.version import SCHEMA_FILE, Version

WHOLE = ("json", "yaml")  # formats that hold all versions, labels and includes
_ROOM = "Make room in the folder for temporary files."
SHOWN = 20  # versions that are named one by one


def bring_in(context: CommandContext, arguments: argparse.Namespace) -> Output:
    """All files are read before the first byte is written."""
    plans = [
        formats.read(data, name, arguments.format or None)
        for given in arguments.file
        for name, data in _inputs(given, arguments.format)
    ]
    plan = _together(plans)
    if arguments.dry_run:
        with _copied(context.registry) as copy:  # what would happen is tried there
            done = formats.apply(copy, plan, by=context.author, labels=arguments.labels)
    else:
        done = formats.apply(context.registry, plan, by=context.author, labels=arguments.labels)
    data = {
        "dry_run": arguments.dry_run,
        "format": plan.format,
        "saved": [_plain(version) for version in done.versions],
        "unchanged": [_plain(version) for version in done.unchanged],
        "labels": [{"name": name, "label": label, "to": to} for name, label, to in done.labels_moved],
        "losses": [asdict(loss) for loss in plan.losses],
    }
    text = "".join(f"{line}\n" for line in _told(done, arguments.dry_run))
    return Output(text, data, notes=_losses(plan.losses))


def bring_out(context: CommandContext, arguments: argparse.Namespace) -> Output:
    """A single file may go to standard output; what the format cannot hold is told on standard error."""
    out = Path(arguments.out).expanduser()
    names = arguments.prompt or [entry.name for entry in context.registry.list() if entry.numbers]
    format_id = arguments.format or _format_of(arguments.out)
    entries = [_exported(context.registry, name) for name in names]
    includes = None if format_id in WHOLE else context.registry.version
    packed = formats.export(entries, format_id, includes=includes)
    losses = [asdict(loss) for loss in packed.losses]
    if arguments.out == STDIN:
        if len(packed.files) > 1 and not arguments.json:
            raise BadRequest(f"These are {len(packed.files)} files.", "Name a folder for them with --out.")
        written = [{"name": file.name, "text": file.data.decode()} for file in packed.files]
        text = packed.files[0].data.decode()
        return Output(text, {"format": format_id, "files": written, "losses": losses}, notes=_losses(packed.losses))
    if out.resolve().is_relative_to(context.registry.root.resolve()):
        raise BadRequest("That is inside of the registry itself.", "Choose a folder elsewhere.")
    paths = _write(
        out, packed.files, folder=len(packed.files) > 1 or out.is_dir() or arguments.out.endswith(("/", "\\"))
    )
    data = {"format": format_id, "files": paths, "losses": losses}
    return Output("".join(f"Wrote {path}.\n" for path in paths), data, notes=_losses(packed.losses))


def _inputs(given: str, format_id: str) -> Iterator[tuple[str, bytes]]:
    """Names and bytes: of one file, or of all in a folder that look like prompts.

    A prompt is called like its file; in a folder, like its place in that folder.
    """
    path = Path(given).expanduser()
    if given == STDIN or not path.is_dir():
        near = ("stdin",) if given == STDIN else path.absolute().parts[-2:]
        yield "/" + "/".join(part.strip("/\\") for part in near), read_input(given, _given.LARGEST, _given.most_bytes)
        return
    known = {end for one in formats.formats() if format_id in ("", one.id) for end in one.extensions}
    found = sorted(
        file
        for file in path.rglob("*")
        if file.suffix.lower() in known
        and file.name != SCHEMA_FILE
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
        and not file.is_symlink()
        and file.is_file()  # and no pipe, which never ends
    )
    if not found:
        raise BadRequest(f"There are no prompts in {given}.", f"Files end with {', '.join(sorted(known))}.")
    for file in found:
        yield file.relative_to(path).as_posix(), read_input(str(file), _given.LARGEST, _given.most_bytes)


@contextlib.contextmanager
def _copied(registry: Registry) -> Iterator[Registry]:
    """The prompts and their labels, in a place of their own. What cannot be read leaves its number taken."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "prompts"
        try:
            root.mkdir()
            (root / SCHEMA_FILE).touch()  # so that nobody fills it with the prompts that ship
            for here, folders, names in os.walk(registry.root):
                folders[:] = [one for one in folders if not one.startswith(".")]
                own = [one for one in names if FILE.fullmatch(one) or one == labels.FILE]
                target = root / Path(here).relative_to(registry.root)
                if own:
                    target.mkdir(parents=True, exist_ok=True)
                for name in own:
                    _copy(Path(here) / name, target / name)
        except OSError as error:
            raise BadRequest(f"The prompts cannot be copied to try it: {error.strerror}.", _ROOM) from None
        copy = Registry(root, Path(folder), tuple(registry.protected))
        try:
            yield copy
        finally:
            copy.close()


def _copy(source: Path, target: Path) -> None:
    if source.is_symlink():
        return
    try:
        data, _ = files.read(source, labels.LARGEST)
    except OSError:
        data = b""
    target.write_bytes(data)


def _together(plans: Sequence[Plan]) -> Plan:
    """One plan, so that all of it or nothing is taken, and prompts may include others of another file."""
    if len(plans) == 1:
        return plans[0]
    drafts: dict[str, list[ImportedVersion]] = {}
    for plan in plans:
        for draft in plan.drafts:
            drafts.setdefault(draft.name, []).append(draft)
    for name, own in drafts.items():
        numbers = [draft.number for draft in own if draft.number is not None]
        if len(set(numbers)) < len(numbers):
            raise BadRequest(f"Several files hold the same version of {name}.", "Import them one after the other.")
        if len(numbers) == len(own):
            own.sort(key=lambda draft: draft.number or 0)
    return Plan(
        tuple(draft for own in drafts.values() for draft in own),
        tuple(loss for plan in plans for loss in plan.losses),
        ", ".join(sorted({plan.format for plan in plans})),
        {name: moves for plan in plans for name, moves in plan.moves.items()},
        f"{len(plans)} files",
    )


def _told(done: Imported, dry: bool) -> Iterator[str]:
    save, be = ("Would save", "would be") if dry else ("Saved", "is")
    for saved in done.versions[:SHOWN]:
        yield f"{save} {saved.ref}."
    if len(done.versions) > SHOWN:
        yield f"{save} {counted(len(done.versions) - SHOWN, 'version')} more."
    if done.unchanged:
        known = ", ".join(version.ref for version in done.unchanged[:SHOWN])
        yield f"Here already: {known}{', …' if len(done.unchanged) > SHOWN else ''}."
    for name, label, to in done.labels_moved[:SHOWN]:
        yield f"{label} of {name} {be} v{to} now."
    if len(done.labels_moved) > SHOWN:
        yield f"And {counted(len(done.labels_moved) - SHOWN, 'label')} more."


def _losses(losses: Iterable[Loss]) -> str:
    return "".join(f"{f'{loss.place}: ' if loss.place else ''}{loss.field} {loss.why}.\n" for loss in losses)


def _plain(version: Version) -> dict[str, Any]:
    return {"name": version.name, "version": version.number, "hash": version.hash}


def _format_of(out: str) -> str:
    """The format that a file's name asks for; without one the whole registry's JSON."""
    end = Path(out).suffix.lower()
    return next((one.id for one in formats.formats() if end in one.extensions), WHOLE[0])


def _exported(registry: Registry, text: str) -> Exported:
    """`name` with all its versions, labels and history; `name@3` with that version alone."""
    ref = Ref.parse(text)
    if "@" not in text:
        entry = registry.entry(ref.name)
        versions = registry.versions(ref.name)
        if not versions:
            raise BadRequest(f"{ref.name} has no version that can be used.", "Look at `prompts verify`.")
        return Exported(tuple(versions), dict(entry.labels), tuple(registry.history(ref.name)))
    version = registry.version(ref)
    labels = registry.labels(ref.name)
    return Exported((version,), {label: to for label, to in labels.items() if to == version.number})


def _write(out: Path, found: Sequence[ExportFile], *, folder: bool) -> list[str]:
    """Each file whole or not at all; an older one of that name is replaced."""
    written = []
    for file in found:
        path = out / file.name if folder else out
        try:
            make_open(path.parent)
            files.replace(path, file.data)
        except OSError as error:
            raise BadRequest(f"{path} cannot be written: {error.strerror}.", "Choose another place.") from None
        written.append(str(path))
    return written
