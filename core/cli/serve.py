"""`python app.py serve`: the workbench. It is also what runs without a command."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from core.cli._commands import Serve
from core.settings import Settings

if TYPE_CHECKING:
    from core.cli._commands import Commands


def register(commands: Commands) -> None:
    command = commands.add_parser("serve", help="start the workbench and print its address")
    add_address(command, argparse.SUPPRESS)  # what stands before `serve` holds too
    command.set_defaults(action=run)


def add_address(command: argparse.ArgumentParser, default: str | None) -> None:
    """Add --host and --port."""
    command.add_argument("--host", default=default, help="address to listen on, instead of PARLEY_HOST")
    command.add_argument("--port", default=default, help="port to listen on, instead of PORT")


def run(arguments: argparse.Namespace, settings: Settings, serve: Serve) -> int | None:
    return serve(settings)
