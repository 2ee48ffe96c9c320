"""The Chat tab in a real browser."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from core.services import Services
from tests.browser.look import Open, Seen, answers, ask, box, choose, meters, rest
from tests.waiting import LONG, until


def test_the_real_model_answers(visit: Open, weights: Path, seen: Seen) -> None:
    page = visit()
    choose(page, "SmolLM2")
    page.get_by_role("button", name="Options").click()
    page.get_by_label("Longest answer").fill("40")
    page.get_by_role("button", name=re.compile("Why is the sky blue")).click()  # a starter
    expect(meters(page)).to_have_count(1)
    rest(page)
    expect(answers(page)).to_have_text(re.compile(r".{20,}", re.DOTALL))
    expect(meters(page)).to_contain_text(re.compile(r"\d+ in · \d+ out · \$0 · first token \d.*s · \d+ tok/s"))
    expect(page.locator("#foot")).to_contain_text(re.compile(r"context \d+ of 2,048 tokens"))
    assert seen.complaints == []
    assert seen.foreign == []


def test_stop_before_the_first_token_and_in_the_middle(visit: Open, free: threading.Event) -> None:
    page = visit()
    choose(page, "silent")
    ask(page, "Say nothing")
    expect(page.locator(".meter.live")).to_contain_text("waiting for the first token")
    page.locator("#box .stop-button").click()
    rest(page)
    expect(meters(page)).to_contain_text("stopped by you")

    choose(page, "held")
    ask(page, "Say much")
    expect(answers(page).last).to_contain_text("word5")
    box(page).press("Escape")
    rest(page)
    expect(meters(page).last).to_contain_text("stopped by you")
    kept = answers(page).last.inner_text()
    assert "word5" in kept
    assert "word39" not in kept

    free.set()
    page.get_by_role("button", name="Continue").click()
    expect(answers(page).last).to_contain_text("word39")
    rest(page)
    assert answers(page).last.inner_text().startswith(kept.strip())


def test_edit_makes_a_branch_and_one_can_go_back(visit: Open) -> None:
    page = visit()
    choose(page, "echo")
    ask(page, "first question")
    rest(page)
    page.locator(".asked").hover()
    page.get_by_role("button", name="Edit").click()
    expect(box(page)).to_have_value("first question")
    ask(page, "second question")
    rest(page)
    expect(answers(page)).to_have_text("second question")
    expect(page.locator(".asked .branches")).to_have_text("2/2")
    page.get_by_role("button", name="Earlier version").click()
    expect(answers(page)).to_have_text("first question")
    expect(page.locator(".asked .branches")).to_have_text("1/2")


def test_retry_gives_another_version(visit: Open) -> None:
    page = visit()
    choose(page, "echo")
    ask(page, "again")
    rest(page)
    choose(page, "long")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".below .branches")).to_have_text("2/2")
    expect(meters(page)).to_contain_text("cut off at its token limit")
    page.get_by_role("button", name="Earlier version").click()
    expect(answers(page)).to_have_text("again")


def test_a_thumb_is_kept(visit: Open) -> None:
    page = visit()
    choose(page, "echo")
    ask(page, "rate me")
    rest(page)
    page.get_by_role("button", name="Good answer").click()
    expect(page.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "true")
    page.reload()
    expect(page.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name="Bad answer")).to_have_attribute("aria-pressed", "false")


def test_reload_in_mid_answer_goes_on(visit: Open, free: threading.Event) -> None:
    page = visit()
    choose(page, "held")
    ask(page, "a long story")
    expect(answers(page).last).to_contain_text("word5")
    page.reload()
    expect(answers(page).last).to_contain_text("word5")
    expect(page.locator(".meter.live")).to_contain_text("writing")
    free.set()
    expect(answers(page).last).to_contain_text("word39")
    rest(page)
    expect(page.locator(".said")).to_have_text("a long story")
    expect(page.locator("#history [aria-current] .open, #history .open[aria-current]")).to_have_text("a long story")


def test_two_browser_tabs_lose_nothing(visit: Open) -> None:
    one = visit()
    choose(one, "echo")
    ask(one, "from the first tab")
    rest(one)
    expect(one).to_have_url(re.compile("chat="))
    two = visit(one.url.partition("/?")[2] and "?" + one.url.partition("/?")[2])
    expect(answers(two)).to_have_text("from the first tab")
    ask(two, "from the second tab")
    rest(two)
    ask(one, "and the first again")
    rest(one)
    expect(one.locator(".said")).to_have_text(["from the first tab", "from the second tab", "and the first again"])


def test_compare_and_pick_one(visit: Open) -> None:
    page = visit()
    choose(page, "echo")
    page.get_by_role("button", name="Compare").click()
    page.locator("#models input").click()
    page.get_by_role("option", name=re.compile("^long")).click()
    page.keyboard.press("Escape")
    box(page).fill("both of you")
    box(page).press("Enter")
    expect(page.locator(".said")).to_have_text(["both of you", "both of you"])
    expect(meters(page)).to_have_count(2)
    rest(page)
    box(page).fill("once more")
    box(page).press("Enter")
    expect(meters(page)).to_have_count(4)
    rest(page)
    page.reload()
    expect(page.locator("#pane-1 .said")).to_have_text(["both of you", "once more"])
    page.locator("#pane-1").get_by_role("button", name="Continue with this").click()
    expect(page.locator("#pane-1")).to_be_hidden()
    expect(page.locator("#pane-0 .said")).to_have_text(["both of you", "once more"])
    expect(answers(page).first).to_contain_text("word39")
    expect(page.locator("#model input")).to_have_value(re.compile("^long"))


def test_search_by_meaning_finds_a_conversation(visit: Open, services: Services) -> None:
    page = visit()
    choose(page, "echo")
    ask(page, "Customers may send goods back within forty days")
    rest(page)
    page.get_by_role("button", name="New chat").click()
    expect(page.locator(".said")).to_have_count(0)
    ask(page, "My cat sleeps on the piano")
    rest(page)
    page.keyboard.press("Control+k")
    search = page.get_by_label("Search conversations")
    expect(search).to_be_focused()
    hit = page.locator(".hit").first
    assert services.vectors.wait(LONG), "the index has caught up"
    search.fill("returning a purchase to the shop")
    expect(hit).to_contain_text("Customers may send goods back")
    expect(hit).to_contain_text("found by meaning")
    hit.click()
    expect(page.locator(".said")).to_have_text("Customers may send goods back within forty days")


def test_html_from_a_model_is_text(visit: Open, seen: Seen) -> None:
    page = visit()
    choose(page, "echo")
    evil = (
        "<script>window.pwned=1</script><img src=x onerror='window.pwned=2'> ![](https://example.com/leak.png) "
        "<iframe src='https://example.com'></iframe><button data-do='delete_chat'>x</button>"
    )
    ask(page, evil)
    rest(page)
    expect(answers(page)).to_contain_text("<script>window.pwned=1</script>")
    assert page.evaluate("window.pwned") is None
    assert page.locator(".message-wrap :is(script, iframe, img, form)").count() == 0
    assert seen.foreign == []
    assert seen.complaints == []


def test_markdown_code_tables_and_formulas(visit: Open) -> None:
    page = visit()
    choose(page, "echo")
    box(page).fill("```python\nif a < b:\n    x = 1\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n$x^2$ costs $5 and $6")
    box(page).press("Enter")
    expect(meters(page)).to_have_count(1)
    expect(answers(page).locator("pre code")).to_have_text("if a < b:\n    x = 1\n")
    expect(answers(page).locator("td")).to_have_text(["1", "2"])
    expect(answers(page).locator(".katex")).to_have_count(1)
    expect(answers(page)).to_contain_text("costs $5 and $6")


def test_a_failure_is_a_quiet_box_with_a_way_out(visit: Open) -> None:
    page = visit()
    choose(page, "fails")
    ask(page, "please")
    rest(page)
    trouble = page.locator(".trouble")
    expect(trouble).to_contain_text("Scripted is out of order. Try again in a moment, or choose another model.")
    choose(page, "breaks")
    trouble.get_by_role("button", name="Retry").click()
    expect(page.locator(".trouble")).to_contain_text("The stream broke off.")
    rest(page)
    expect(answers(page).last).to_contain_text("word2")
    expect(page.locator(".trouble").get_by_role("button", name="Continue")).to_be_visible()


def test_attachments_are_shown_and_read(visit: Open) -> None:
    page = visit()
    choose(page, "echo")
    page.locator("#box input[type=file]").set_input_files(
        [{"name": "notes.txt", "mimeType": "text/plain", "buffer": b"The parrot is called Ada."}]
    )
    expect(page.get_by_label("File thumbnail")).to_be_visible()
    ask(page, "What is in the file?")
    rest(page)
    expect(page.locator(".asked .file")).to_contain_text("notes.txt")
    expect(answers(page)).to_contain_text("The parrot is called Ada.")

    page.locator("#box input[type=file]").set_input_files(
        [{"name": "photo.png", "mimeType": "image/png", "buffer": b"\x00\x01\x02 not a picture"}]
    )
    expect(page.get_by_label("File thumbnail")).to_be_visible()
    box(page).fill("And this?")
    box(page).press("Enter")
    expect(page.locator(".toast-body")).to_contain_text("photo.png")
    expect(box(page)).to_have_value("And this?")  # nothing is lost


def test_rename_export_delete_and_import(visit: Open, tmp_path: Path) -> None:
    page = visit()
    choose(page, "echo")
    ask(page, "to be renamed")
    rest(page)

    def menu(item: str) -> None:
        page.locator("#history .row").first.hover()
        page.locator("#history .more").first.click()
        page.get_by_role("menuitem", name=item).click()

    menu("Rename")
    page.get_by_label("Name of the conversation").fill("A <b>new</b> name")
    page.locator("dialog").get_by_role("button", name="Rename").click()
    expect(page.locator("#history .open")).to_have_text("A <b>new</b> name")
    with page.expect_download() as markdown:
        menu("Export as Markdown")
    assert "to be renamed" in Path(markdown.value.path()).read_text("utf-8")
    with page.expect_download() as packed:
        menu("Export as JSON")
    kept = tmp_path / "kept.json"
    packed.value.save_as(kept)
    menu("Delete")
    expect(page.locator("dialog")).to_contain_text("cannot be undone")
    page.locator("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator("#history")).to_contain_text("Your conversations will be listed here.")
    expect(page.locator(".said")).to_have_count(0)
    expect(page).not_to_have_url(re.compile("chat="))
    page.locator("#side input[type=file]").set_input_files(kept)
    expect(page.locator("#history .open")).to_have_text("A <b>new</b> name")
    page.locator("#history .open").click()
    expect(answers(page)).to_have_text("to be renamed")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_phone(visit: Open, dark: bool) -> None:
    page = visit(width=390, height=844, dark=dark)
    expect(page.locator("#side")).to_be_hidden()
    choose(page, "echo")
    ask(page, "a-very-long-word-" * 30)
    rest(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.querySelector('#pane-0').offsetWidth") >= 368  # the whole width; one model is shown
    page.get_by_role("button", name="History").click()
    expect(page.locator("#history .open")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#side")).to_be_hidden()
    page.get_by_role("button", name="Options").click()
    expect(page.get_by_label("System prompt")).to_be_visible()
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (light == "rgb(255, 255, 255)") is not dark


def test_back_and_forward_go_from_conversation_to_conversation(visit: Open) -> None:
    page = visit()
    choose(page, "echo")
    ask(page, "the first one")
    rest(page)
    expect(page).to_have_url(re.compile("chat="))
    page.get_by_role("button", name="New chat").click()
    expect(answers(page)).to_have_count(0)
    expect(page).not_to_have_url(re.compile("chat="))
    ask(page, "the second one")
    expect(answers(page)).to_have_text(["the second one"])
    rest(page)
    expect(page).to_have_url(re.compile("chat="))
    page.go_back()
    expect(answers(page)).to_have_count(0)
    page.go_back()
    expect(answers(page)).to_have_text(["the first one"])
    page.go_forward()
    page.go_forward()
    expect(answers(page)).to_have_text(["the second one"])


def test_a_starter_answers_before_the_list_of_models_has_come(
    visit: Open, services: Services, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_time, clicked = services.catalog.list, threading.Event()

    async def late(*args: Any, **given: Any) -> Any:
        await until(clicked.is_set)
        return await in_time(*args, **given)

    monkeypatch.setattr(services.catalog, "list", late)
    page = visit()
    page.get_by_text("Why is the sky blue?").click()
    clicked.set()
    expect(page.locator("#pane-0 .said")).to_have_text("Why is the sky blue?")
    page.locator("#box .stop-button").click()
    rest(page)
