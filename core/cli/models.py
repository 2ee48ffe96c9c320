"""`python app.py models …`: the models that can be used, and the embedded one's weights."""

from __future__ import annotations

import argparse
import datetime
from typing import TYPE_CHECKING

from core.cli._commands import Serve
from core.settings import Settings

if TYPE_CHECKING:
    from core.cli._commands import Commands


def register(commands: Commands) -> None:
    group = commands.add_parser("models", help="the models that can be used, and the embedded one's weights")
    below = group.add_subparsers(title="commands", metavar="command", required=True, dest="models command")
    listing = below.add_parser("list", help="show every provider, its state and its models with prices")
    listing.add_argument("--json", action="store_true", help="print JSON for programs")
    listing.set_defaults(action=_list)
    fetch = below.add_parser("fetch", help="get the embedded model's weights (98 MB) into the models folder")
    fetch.set_defaults(action=_fetch)


def _list(arguments: argparse.Namespace, settings: Settings, serve: Serve) -> None:
    from core.cli import _model_list  # the providers' SDKs take seconds to import
    from core.models.prices import Prices

    table = Prices(settings)
    found = _model_list.provider_models(settings)
    today = datetime.datetime.now(datetime.UTC).date()
    print(_model_list.as_json(found, table) if arguments.json else _model_list.as_text(found, table, today), flush=True)


def _fetch(arguments: argparse.Namespace, settings: Settings, serve: Serve) -> None:
    from core.models.weights import fetch

    if settings["PARLEY_EMBEDDED"]:
        fetch(settings)
    else:
        print("The embedded model is off (PARLEY_EMBEDDED), so nothing is fetched.")
