"""How long a start takes: from the command to the first page served, and from opening it to the first usable field.

Beside it, in the same run, the least that Gradio allows: a program with one chat box and nothing else. The browser's
cache is empty each time.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import time

from playwright.sync_api import Browser, sync_playwright

from bench._bare import PROGRAM
from bench._report import report
from bench._server import serving

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PROGRAMS: dict[str, tuple[str, ...]] = {"Parley": (), "bare Gradio": ("-c", PROGRAM)}


def first_field(browser: Browser, url: str) -> float:
    """Seconds from opening the page until a message could be typed."""
    context = browser.new_context()
    page = context.new_page()
    began = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.locator("textarea:visible:enabled").first.wait_for(timeout=60_000)
    taken = time.perf_counter() - began
    context.close()
    return taken


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.start", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="how often; the median is printed (default 3)")
    runs = parser.parse_args().runs
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    served: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    usable: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGS) if path else None
        if browser is None:
            print("no Chromium here, so the page is not opened: apt-get install chromium", file=sys.stderr)
        for _ in range(runs):
            for name, command in PROGRAMS.items():
                with serving(*command) as server:
                    served[name].append(server.first_page)
                    if browser is not None:
                        usable[name].append(first_field(browser, server.url))
    rows = [
        {
            "program": name,
            "first page served, s": statistics.median(served[name]),
            "first usable field, s": statistics.median(usable[name]) if usable[name] else None,
        }
        for name in PROGRAMS
    ]
    report("start", rows, f"from the command to the page, median of {runs}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
