"""Hostile Markdown in the renderer that the chat uses, without the policy that the page has besides."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import gradio as gr
import pytest
import uvicorn
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, Page, Route

from pages.kit.markdown import DELIMITERS, shown
from tests.hostile import FORMS, PIECES

pytestmark = pytest.mark.chromium

# What is in the answers and should not be; KaTeX draws with styles of its own.
WRONG = """() => {
  const wrong = [];
  for (const element of document.querySelectorAll(".talk .md *")) {
    const katex = element.closest(".katex"), copy = element.closest(".copy_code_button");
    const name = element.localName;
    if (/^(script|style|iframe|object|embed|form|video|audio|source|link|meta|base|button|image|use|picture)$/
        .test(name) && !copy) wrong.push(element.outerHTML);
    for (const {name: key, value} of element.attributes) {
      if (/^(on|ping|poster|srcset|background|formaction|action|data-do)/.test(key)) wrong.push(element.outerHTML);
      if (key === "style" && !katex && !/^text-align: ?(left|right|center);?$/.test(value))
        wrong.push(element.outerHTML);
      if (key === "src" && !/^data:image\\/(png|jpeg|gif|webp);/.test(value)) wrong.push(element.outerHTML);
      if (key.endsWith("href") && !["http:", "https:", "mailto:"].includes(new URL(value, location).protocol))
        wrong.push(element.outerHTML);
    }
  }
  return wrong;
}"""


class Stage:
    """A page with one conversation, whose answers are `answers` when it is loaded."""

    def __init__(self) -> None:
        self.answers: list[str] = []
        self.foreign: list[str] = []

    def app(self) -> FastAPI:
        with gr.Blocks() as demo:
            talk = gr.Chatbot(
                latex_delimiters=DELIMITERS, sanitize_html=True, allow_tags=False, elem_classes="talk", height=None
            )
            demo.load(self.drawn, None, talk)
        return gr.mount_gradio_app(FastAPI(), demo, path="/")

    def drawn(self) -> list[dict[str, object]]:
        texts = [*map(shown, self.answers), "the end"]
        return [{"role": "assistant", "content": [{"type": "text", "text": text}]} for text in texts]

    def check(self, page: Page, answers: list[str]) -> None:
        """Show these and look at what became of them."""
        self.answers = answers
        self.foreign.clear()
        page.reload()
        page.get_by_text("the end", exact=True).wait_for()
        page.wait_for_load_state("networkidle")
        assert page.evaluate(WRONG) == []
        assert self.foreign == []


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage()


@pytest.fixture(scope="module")
def page(stage: Stage, browser: Browser) -> Iterator[Page]:
    server = uvicorn.Server(uvicorn.Config(stage.app(), port=0, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.02)
    address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

    def watch(route: Route) -> None:
        if route.request.url.startswith((address, "data:", "blob:")):
            route.continue_()
        else:
            stage.foreign.append(route.request.url)
            route.abort()

    context = browser.new_context(bypass_csp=True)
    context.route("**/*", watch)
    page = context.new_page()
    page.on("dialog", lambda dialog: (stage.foreign.append(dialog.message), dialog.dismiss()))
    page.goto(address)
    yield page
    context.close()
    server.should_exit = True
    thread.join(20)


def test_the_check_sees_what_it_is_to_see(stage: Stage, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.browser.test_markdown.shown", lambda text: text)
    with pytest.raises(AssertionError):
        stage.check(page, list(FORMS))
    assert any("evil.example" in url for url in stage.foreign)


def test_hostile_forms(stage: Stage, page: Page) -> None:
    stage.check(page, list(FORMS))
    assert page.locator(".talk .md img").count() > 0  # what is in the text itself is shown


@settings(
    max_examples=4, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), database=None
)
@given(answers=st.lists(st.lists(st.sampled_from(PIECES), max_size=40).map("".join), min_size=60, max_size=60))
def test_any_combination(stage: Stage, page: Page, answers: list[str]) -> None:
    stage.check(page, answers)
