"""`python app.py prompts …`: the registry from a terminal. It needs no server, and none is in its way."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from core.errors import ParleyError
from core.settings import Settings

if TYPE_CHECKING:
    from core.cli._commands import Commands

# Those of core.prompts.formats, which is not imported for a help text.
FORMATS = "json, yaml, dotprompt, langfuse, llm, openai, promptfoo or prompty"


def register(commands: Commands) -> None:
    """Add `prompts` and what is below it."""
    group = commands.add_parser("prompts", help="the prompt registry: read, save, label, compare, move in and out")
    below = group.add_subparsers(title="commands", metavar="command", required=True, dest="prompts command")
    for add in (_list, _show, _diff, _new, _promote, _rollback, _import, _export, _verify):
        add(below)


def _list(below: Commands) -> None:
    command = _command(below, "list", "show the prompts with their versions, labels and tags")
    command.add_argument("query", nargs="?", default="", help="words that name, description or tags must hold")
    command.add_argument("--tag", default="", help="only prompts with this tag")
    command.add_argument("--label", default="", help="only prompts that have this label")


def _show(below: Commands) -> None:
    command = _command(below, "show", "show one version of a prompt, as it is written or with values filled in")
    command.add_argument("prompt", help="name, name@3 or name@production; without @ the latest version")
    how = command.add_mutually_exclusive_group()
    how.add_argument("--template", action="store_true", help="print the messages only, as they are written")
    how.add_argument(
        "--values",
        nargs="*",
        type=_pair,
        metavar="NAME=TEXT",
        help="print the messages with these values filled in; NAME:=JSON for a list or a number",
    )


def _diff(below: Commands) -> None:
    command = _command(below, "diff", "show what is different between two versions")
    command.add_argument("old", help="name@version or name@label to compare with")
    command.add_argument("new", help="the other one")


def _new(below: Commands) -> None:
    command = _command(below, "new", "save a new prompt, or a new version of one")
    command.add_argument("name", help="lower-case letters, digits, - and _, with / between folders")
    command.add_argument("--file", help="a version as a YAML file, or - to read it from standard input")
    command.add_argument("--system", help="instead of a file: the text of the system message")
    command.add_argument("--user", help="instead of a file: the text of the user message")
    command.add_argument("--model", help="instead of a file: the model it is made for, maker/model")
    command.add_argument("--message", help="what is different from the version before, and why")


def _promote(below: Commands) -> None:
    command = _command(below, "promote", "let a label point to a version")
    command.add_argument("prompt", help="name@3; without @ the latest version")
    command.add_argument("label", help="production, staging or any other word")
    _add_why(command)
    command.add_argument(
        "--expect",
        type=_expected,
        metavar="N",
        help="move it only if it points to version N now, 0 if it is not set yet",
    )


def _rollback(below: Commands) -> None:
    command = _command(below, "rollback", "let a label point to where it pointed before")
    command.add_argument("name", help="the prompt")
    command.add_argument("label", help="the label")
    _add_why(command)


def _import(below: Commands) -> None:
    command = _command(below, "import", "take prompts of other programs, or an export, into the registry")
    command.add_argument("file", nargs="+", help="a file, a folder of files, or - for standard input; all or nothing")
    command.add_argument("--format", default="", help=f"what the files are, where that cannot be seen: {FORMATS}")
    command.add_argument("--dry-run", action="store_true", help="say what would be taken, and save nothing")
    command.add_argument("--labels", action="store_true", help="set the labels that the files hold, too")


def _export(below: Commands) -> None:
    command = _command(below, "export", "write prompts for other programs, or the whole registry")
    command.add_argument("prompt", nargs="*", help="name, or name@version for that one alone; without any all prompts")
    command.add_argument("--format", default="", help=f"{FORMATS}; without it as --out ends, else json")
    command.add_argument("--out", default="-", help="a folder or a file; without it, or with -, standard output")


def _verify(below: Commands) -> None:
    _command(below, "verify", "read everything again and say whether anything was changed behind the registry's back")


def _add_why(command: argparse.ArgumentParser) -> None:
    command.add_argument("--why", default="", help="the reason, kept in the label's history; some labels need one")


def _command(below: Commands, name: str, text: str) -> argparse.ArgumentParser:
    command = below.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    command.add_argument("--json", action="store_true", help="print JSON for programs")
    command.set_defaults(action=_run, prompts_command=name, complain=command.error)
    return command


def _run(arguments: argparse.Namespace, settings: Settings, serve: Callable[[Settings], int | None]) -> int:
    if arguments.prompts_command == "new" and bool(arguments.file) == bool(arguments.system or arguments.user):
        arguments.complain("give --file, or else --system, --user or both")
    from core.cli import _prompt_commands, _terminal  # pydantic and jinja2 take their time

    try:
        output = _prompt_commands.run(arguments.prompts_command, arguments, settings)
    except ParleyError as error:  # it may name what stands in a file of somebody else's
        error.what, error.fix = _terminal.harmless(error.what), _terminal.harmless(error.fix)
        raise
    if arguments.json:
        text = _terminal.escaped(json.dumps(output.data, indent=2, ensure_ascii=False)) + "\n"
    else:
        text = output.text
        if sys.stdout.isatty():
            text = _terminal.harmless(text)
            if arguments.prompts_command == "diff" and not os.environ.get("NO_COLOR"):
                text = _terminal.coloured(text)
    sys.stderr.write(_terminal.harmless(output.notes))
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "replace"))
    sys.stdout.buffer.flush()
    return output.code


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is not NAME=TEXT")
    return name, value


def _expected(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is not the number of a version")
    return int(text)
