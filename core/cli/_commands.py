"""What the subcommands share: what they are added to, and what they are called with."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from core.settings import Settings

Serve = Callable[[Settings], int | None]
if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # what add_subparsers() returns has no public name
