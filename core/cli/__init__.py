"""The command line: `python app.py [command …]`. A module here without a leading _ is a subcommand, found by its
presence: its `register(commands)` adds a parser and sets its `action`.

Exit codes: 0 done, 1 it could not be done, 2 a setting or an argument is wrong.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence

from core import __version__, permissions
from core.cli import serve
from core.cli._commands import Serve
from core.errors import ParleyError, SettingsError
from core.settings import Settings


def main(argv: Sequence[str], run_server: Serve) -> int:
    """Run one command and return the exit code. `run_server` serves the workbench until it is stopped."""
    arguments = parser().parse_args(argv)
    address = {"PARLEY_HOST": arguments.host, "PORT": arguments.port}
    given = {name: value for name, value in address.items() if value is not None}
    try:
        settings = Settings.of({**os.environ, **given})
        permissions.private(settings.data_dir)
        from core import logs  # not before it is needed: --help is to be quick

        logs.setup(settings)
        return arguments.action(arguments, settings, run_server) or 0
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
    serve.add_address(top, None)
    top.set_defaults(action=serve.run)
    commands = top.add_subparsers(title="commands", metavar="command")
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"{__name__}.{module.name}").register(commands)
    return top
