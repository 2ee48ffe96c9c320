"""A real server with a real database, real Chroma and the embedded model, and a real Chromium.

Every test has a browser context of its own and, because the server is shared, is a visitor of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import uvicorn
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from app import create
from core.providers import discover
from core.services import Services
from core.settings import Settings
from tests.browser.look import Open, Seen
from tests.scripted import Scripted
from tests.waiting import LONG, wait_until

expect.set_options(timeout=LONG * 1000)  # as in all tests: how long something takes is not what is tested
ARGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Services:
    folder = tmp_path_factory.mktemp("browser")
    try:
        models = request.getfixturevalue("weights").parent
    except pytest.skip.Exception:  # all but one of the tests can do without
        models = folder
    environ = {
        "PARLEY_DATA_DIR": str(folder / "data"),
        "PARLEY_PROMPTS_DIR": str(folder / "prompts"),
        "PARLEY_PROMPTS_WRITE": "on",
        "PARLEY_MODELS_DIR": str(models),
        "PARLEY_EMBEDDED_CONTEXT": "2048",
        "PARLEY_SHARED": "on",
        "PARLEY_RETRIES": "0",
        "OLLAMA_HOST": "http://127.0.0.1:9",
    }
    settings = Settings.of(environ, env_file=None)
    scripted = Scripted(pace=0.05, words=40)
    return Services.open(settings, {**discover(settings), "scripted": scripted})


@pytest.fixture
def free(services: Services) -> threading.Event:
    """Until it is set, scripted/held waits in the middle of its answers."""
    found: threading.Event = services.providers["scripted"].free  # type: ignore[attr-defined]
    found.clear()
    return found


@pytest.fixture(scope="session")
def address(services: Services) -> Iterator[str]:
    """The address of the running workbench."""
    server = uvicorn.Server(
        uvicorn.Config(create(services), port=0, log_level="warning", timeout_graceful_shutdown=1, proxy_headers=False)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive())
        assert server.started, "the server did not start"
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    # Not for longer than a module: Playwright's loop would be in the way of the asynchronous tests.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGS, timeout=LONG * 1000)
        yield browser
        browser.close()


@pytest.fixture
def seen() -> Seen:
    """What the pages of a test asked for and complained of."""
    return Seen()


@pytest.fixture
def visit(browser: Browser, address: str, seen: Seen) -> Iterator[Open]:
    """`visit("?tab=settings", width=390, dark=True)` opens a page; pages of one test share cookies and storage."""
    contexts: dict[tuple[int, bool], Page] = {}
    cookies: list[dict[str, object]] = []

    def watch(page: Page) -> Page:
        def console(message: ConsoleMessage) -> None:
            if message.type == "error":
                seen.complaints.append(message.text)

        def request(request: Request) -> None:
            if not request.url.startswith((address, "data:", "blob:")):
                seen.foreign.append(request.url)

        page.on("console", console)
        page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        page.on("request", request)
        return page

    def go(where: str = "", *, width: int = 1280, height: int = 800, dark: bool = False) -> Page:
        first = contexts.get((width, dark))
        if first is None:
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
            )
            context.set_default_timeout(LONG * 1000)
            context.add_cookies(cookies)  # type: ignore[arg-type]
            first = contexts[width, dark] = context.new_page()
            page = first
        else:
            page = first.context.new_page()
        watch(page).goto(f"{address}/{where.lstrip('/')}")
        page.locator("#main [role=tab]").first.wait_for()
        cookies[:] = page.context.cookies()  # type: ignore[assignment]
        return page

    yield go
    for page in contexts.values():
        page.context.close()
