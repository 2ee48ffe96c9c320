"""Runs the benchmarks one after the other, each in a process of its own: `python -m bench [name ...]`."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def benchmarks() -> dict[str, Path]:
    """Every file here that has a main() and no underscore in front."""
    return {
        path.stem: path
        for path in sorted(FOLDER.glob("[a-z]*.py"))
        if re.search(r"^def main\(", path.read_text("utf-8"), re.MULTILINE)
    }


def main() -> int:
    known = benchmarks()
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"which ones: {', '.join(known)}; without a name all of them")
    names = parser.parse_args().name or list(known)
    if unknown := [name for name in names if name not in known]:
        parser.error(f"there is no benchmark called {', '.join(unknown)}; there are {', '.join(known)}")
    failed = []
    for name in names:
        print(f"\n== {name}", flush=True)
        began = time.monotonic()
        if subprocess.run([sys.executable, "-m", f"bench.{name}"], cwd=FOLDER.parent).returncode:
            failed.append(name)
        print(f"({name}: {time.monotonic() - began:.0f} s)", flush=True)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
