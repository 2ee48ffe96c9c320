"""What `python app.py prompts …` does: one function a command, from arguments to what is printed."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from core.cli._command_context import STDIN, CommandContext, Output, read_input
from core.cli._prompt_files import bring_in, bring_out
from core.cli._terminal import about, counted, messages, table
from core.errors import BadRequest, NotFound
from core.files.child import Child
from core.names import LATEST, Ref, check_label, check_name
from core.prompts.authors import system_user
from core.prompts.content import Content, parse_content
from core.prompts.editing.diff import diff, unified_text
from core.prompts.json_views import labels_of, move_json, rendered_json, summary_json, version_json
from core.prompts.registry.records import ANY, Move, PromptEntry
from core.prompts.registry.registry import Registry
from core.prompts.templates.fewshot import Examples
from core.prompts.templates.templates import Templates
from core.prompts.version import Version, from_text
from core.settings import Settings
from core.store.embeddings import embedder

# Not what a version says, but how it came to be.
_HISTORY = ("format", "change", "author", "time", "parent", "hash", "seal")


Command = Callable[[CommandContext, argparse.Namespace], Output]


def run(name: str, arguments: argparse.Namespace, settings: Settings) -> Output:
    """Open the registry, do one command, and close it again. Raises ParleyError."""
    registry = Registry.open(settings)
    try:
        examples = Examples(tuple, embedder(settings))  # loads nothing before a prompt wants the nearest ones
        with contextlib.closing(Templates(registry.version, examples.nearest, Child(1))) as templates:
            return COMMANDS[name](CommandContext(registry, templates, system_user()), arguments)
    finally:
        registry.close()


def _list(context: CommandContext, arguments: argparse.Namespace) -> Output:
    label = "" if arguments.label == LATEST else arguments.label and check_label(arguments.label)
    found = context.registry.list(arguments.query, tag=arguments.tag, label=label)
    narrowed = arguments.query or arguments.tag or label
    problems = [problem for entry in found for problem in entry.problems] if narrowed else context.registry.problems()
    troubles = [f"{problem.what} {problem.fix}" for problem in problems]
    nothing = "No prompt fits.\n" if narrowed else "There are no prompts yet. Make one with `prompts new`.\n"
    text = table(found) if found else nothing
    return Output(text + "".join(f"\n{one}\n" for one in troubles), [summary_json(entry) for entry in found])


def _show(context: CommandContext, arguments: argparse.Namespace) -> Output:
    version = context.registry.version(Ref.parse(arguments.prompt))
    entry = context.registry.entry(version.name)
    labels = labels_of(version, entry.labels, entry.latest)
    if arguments.values is not None:
        rendered = context.templates.render(version, dict(map(_value, arguments.values)))
        return Output(messages(rendered.messages), rendered_json(version, rendered))
    text = messages(version.content.as_messages())
    if not arguments.template:
        text = f"{about(version, labels)}\n{text}"
    return Output(text, version_json(version, labels))


def _diff(context: CommandContext, arguments: argparse.Namespace) -> Output:
    old, new = (context.registry.version(Ref.parse(one)) for one in (arguments.old, arguments.new))
    before, after = _said(old), _said(new)
    fields = [name for name in dict.fromkeys([*before, *after]) if before.get(name) != after.get(name)]
    changed = unified_text(diff(old, new))
    text = f"--- {old.ref}\n+++ {new.ref}\n{changed}" if changed else ""
    data = {
        "old": {"name": old.name, "version": old.number, "hash": old.hash},
        "new": {"name": new.name, "version": new.number, "hash": new.hash},
        "same": not fields,
        "fields": fields,
        "diff": text,
    }
    return Output(text or f"{old.ref} and {new.ref} say the same.\n", data)


def _new(context: CommandContext, arguments: argparse.Namespace) -> Output:
    name = check_name(arguments.name)
    entry = _entry(context.registry, name)
    latest = entry.latest if entry else None
    if arguments.file:
        given = _from_file(name, arguments.file)
        content, description, tags = given.content, given.description, given.tags
    else:
        given = None
        content = _quick(arguments)
        description, tags = (latest.description, latest.tags) if latest else ("", ())
    saved = context.registry.save(
        name,
        context.templates.check(content, name),
        description=description,
        tags=tags,
        change=arguments.message if arguments.message is not None else given.change if given else "",
        author=context.author,
        parent=latest.number if latest else None,
    )
    ref, number = saved.version.ref, saved.version.number
    newest = f" The latest is v{latest.number}, another one." if latest and latest.number != number else ""
    text = f"Saved {ref}.\n" if saved.created else f"{ref} says the same already, so nothing was saved.{newest}\n"
    return Output(text, {"name": name, "version": number, "hash": saved.version.hash, "created": saved.created})


def _promote(context: CommandContext, arguments: argparse.Namespace) -> Output:
    version = context.registry.version(Ref.parse(arguments.prompt))
    expect = ANY if arguments.expect is None else arguments.expect or None
    label = check_label(arguments.label)
    move = context.registry.move(
        version.name, label, version.number, by=context.author, why=arguments.why, expect=expect
    )
    return _moved(version.name, move)


def _rollback(context: CommandContext, arguments: argparse.Namespace) -> Output:
    name = check_name(arguments.name)
    return _moved(
        name, context.registry.rollback(name, check_label(arguments.label), by=context.author, why=arguments.why)
    )


def _verify(context: CommandContext, arguments: argparse.Namespace) -> Output:
    findings = context.registry.verify()
    intact = all(finding.severity == "note" for finding in findings)
    lines = [f"{one.severity}: {one.name}: {one.what} {one.fix}".rstrip() for one in findings]
    if intact:
        entries = context.registry.list()
        count = sum(len(entry.numbers) for entry in entries)
        read = f"{counted(count, 'version')} of {counted(len(entries), 'prompt')}"
        lines.append(f"{read} were read: all are as they were saved, and so are the labels' histories.")
    data = {"intact": intact, "findings": [asdict(finding) for finding in findings]}
    return Output("".join(f"{line}\n" for line in lines), data, 0 if intact else 1)


COMMANDS: dict[str, Command] = {
    "list": _list,
    "show": _show,
    "diff": _diff,
    "new": _new,
    "promote": _promote,
    "rollback": _rollback,
    "import": bring_in,
    "export": bring_out,
    "verify": _verify,
}


def _value(pair: tuple[str, str]) -> tuple[str, Any]:
    """NAME=TEXT as it is, NAME:=JSON as what it stands for."""
    name, text = pair
    if not name.endswith(":"):
        return name, text
    try:
        return name[:-1], json.loads(text)
    except (ValueError, RecursionError):
        raise BadRequest(
            f"The value of {name[:-1]} is not JSON.", "Quote it for the shell: 'names:=[\"a\"]'."
        ) from None


def _said(version: Version) -> dict[str, Any]:
    return {name: value for name, value in version.as_dict().items() if name not in _HISTORY}


def _entry(registry: Registry, name: str) -> PromptEntry | None:
    try:
        return registry.entry(name)
    except NotFound:
        return None


def _from_file(name: str, file: str) -> Version:
    where = "Standard input" if file == STDIN else file
    try:
        text = read_input(file).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadRequest(f"{where} is not UTF-8 text.", "Save it as UTF-8.") from None
    return from_text(text, name, 1, where).version


def _quick(arguments: argparse.Namespace) -> Content:
    texts = (("system", arguments.system), ("user", arguments.user))
    found = [{"role": role, "content": text} for role, text in texts if text]
    return parse_content({"messages": found, "model": arguments.model or ""})


def _moved(name: str, move: Move) -> Output:
    before = "it was not set" if move.before is None else f"it was v{move.before}"
    now = "is not set any more" if move.to is None else f"is v{move.to} now"
    return Output(f"{move.label} of {name} {now}; {before}.\n", {"name": name, **move_json(move)})
