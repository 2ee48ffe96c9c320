"""The command line: `python app.py [serve | models … | prompts …]`.

Exit codes: 0 done, 1 it could not be done, 2 a setting or an argument is wrong.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from core import __version__, permissions
from core.cli import prompts
from core.errors import ParleyError, SettingsError
from core.settings import Settings

Serve = Callable[[Settings], int | None]
Action = Callable[[argparse.Namespace, Settings, Serve], int | None]
if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # what add_subparsers() returns has no public name


def main(argv: Sequence[str], serve: Serve) -> int:
    """Run one command and return the exit code. `serve` runs the workbench until it is stopped."""
    arguments = parser().parse_args(argv)
    address = {"PARLEY_HOST": arguments.host, "PORT": arguments.port}
    given = {name: value for name, value in address.items() if value is not None}
    try:
        settings = Settings.of({**os.environ, **given})
        permissions.private(settings.data_dir)
        from core import logs  # not before it is needed: --help is to be quick

        logs.setup(settings)
        return arguments.action(arguments, settings, serve) or 0
    except ParleyError as error:
        print(f"parley: {error}", file=sys.stderr)
        return 2 if isinstance(error, SettingsError) else 1
    except BrokenPipeError:  # `models list | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """The whole command line. Without a command it serves."""
    top = argparse.ArgumentParser(
        prog="python app.py",
        description="Parley, a workbench for people who build chatbots. Without a command: serve.",
    )
    top.add_argument("--version", action="version", version=f"Parley {__version__}")
    _add_address(top, None)
    top.set_defaults(action=_run_server)
    commands = top.add_subparsers(title="commands", metavar="command")
    for register in COMMANDS:
        register(commands)
    return top


def _add_address(command: argparse.ArgumentParser, default: str | None) -> None:
    command.add_argument("--host", default=default, help="address to listen on, instead of PARLEY_HOST")
    command.add_argument("--port", default=default, help="port to listen on, instead of PORT")


def _serve(commands: Commands) -> None:
    command = commands.add_parser("serve", help="start the workbench and print its address")
    _add_address(command, argparse.SUPPRESS)  # what stands before `serve` holds too
    command.set_defaults(action=_run_server)


def _run_server(arguments: argparse.Namespace, settings: Settings, serve: Serve) -> int | None:
    return serve(settings)


def _models(commands: Commands) -> None:
    group = commands.add_parser("models", help="the models that can be used, and the embedded one's weights")
    below = group.add_subparsers(title="commands", metavar="command", required=True, dest="models command")
    listing = below.add_parser("list", help="show every provider, its state and its models with prices")
    listing.add_argument("--json", action="store_true", help="print JSON for programs")
    listing.set_defaults(action=_list_models)
    fetch = below.add_parser("fetch", help="get the embedded model's weights (93 MB) into the models folder")
    fetch.set_defaults(action=_fetch_weights)


def _list_models(arguments: argparse.Namespace, settings: Settings, serve: Serve) -> None:
    from core.cli import _model_list  # the providers' SDKs take seconds to import
    from core.models import prices  # the providers' SDKs take seconds to import

    table = prices.Prices(settings)
    found = _model_list.shelves(settings)
    today = datetime.datetime.now(datetime.UTC).date()
    print(_model_list.as_json(found, table) if arguments.json else _model_list.as_text(found, table, today), flush=True)


def _fetch_weights(arguments: argparse.Namespace, settings: Settings, serve: Serve) -> None:
    from core.models.weights import fetch

    if settings["PARLEY_EMBEDDED"]:
        fetch(settings)
    else:
        print("The embedded model is off (PARLEY_EMBEDDED), so nothing is fetched.")


# One function a command: it adds its parser and sets `action`.
COMMANDS: tuple[Callable[[Commands], None], ...] = (_serve, _models, prompts.register)
