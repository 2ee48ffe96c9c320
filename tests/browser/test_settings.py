"""The Settings tab and what holds for all tabs, in a real browser."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from core.services import Services
from tests.browser.look import Open, Seen, ask, choose, rest

KEY = "sk-scripted-0123456789abcdef"
EVERYTHING_KEPT = """async () => JSON.stringify([
  {...localStorage}, {...sessionStorage}, document.cookie, (await indexedDB.databases()).map((d) => d.name),
  document.documentElement.outerHTML, location.href,
  [...document.querySelectorAll('input, textarea')].map((e) => e.value),
])"""


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def test_a_key_is_used_and_never_seen_again(visit: Open, services: Services) -> None:
    page = visit("?tab=settings")
    state = page.locator("#state-scripted")
    expect(state).to_have_text("Not set")
    page.get_by_label("Key for Scripted").fill(f"  {KEY}\n")
    page.locator("#save-scripted").click()
    expect(state).to_have_text("Set for this session")
    expect(page.get_by_label("Key for Scripted")).to_have_value("")
    assert KEY not in page.evaluate(EVERYTHING_KEPT)

    tab(page, "Chat")
    choose(page, "echo")
    ask(page, "with a key")
    rest(page)
    scripted = services.providers["scripted"]
    assert scripted.requests[-1].keys["scripted"] == KEY  # type: ignore[attr-defined]
    page.reload()
    expect(page.locator(".said")).to_have_text("with a key")
    assert KEY not in page.evaluate(EVERYTHING_KEPT)

    tab(page, "Settings")
    expect(state).to_have_text("Set for this session")
    page.locator("#forget-scripted").click()
    expect(state).to_have_text("Not set")


def test_a_key_that_cannot_be_one_is_refused_and_not_shown(visit: Open) -> None:
    page = visit("?tab=settings")
    page.get_by_label("Key for Scripted").fill("two words")
    page.locator("#save-scripted").click()
    expect(page.locator(".toast-body")).to_contain_text("The key holds a space")
    expect(page.get_by_label("Key for Scripted")).to_have_value("")
    expect(page.locator("#state-scripted")).to_have_text("Not set")


def test_providers_say_what_to_do_and_the_picker_too(visit: Open) -> None:
    page = visit("?tab=settings")
    expect(page.locator("#providers tr", has_text="Scripted")).to_contain_text("Ready")
    missing = page.locator("#providers tr", has_text="Anthropic")
    expect(missing).to_contain_text("No key")
    expect(missing).to_contain_text("ANTHROPIC_API_KEY")
    tab(page, "Chat")
    page.locator("#model input").click()
    expect(page.get_by_role("option", name=re.compile("Anthropic.*ANTHROPIC_API_KEY"))).to_be_visible()


def test_the_picker_searches_what_is_typed_after_a_click(visit: Open) -> None:
    page = visit()
    choose(page, "echo")
    page.locator("#model input").click()
    page.keyboard.type("anthropic")
    expect(page.locator("#model input")).to_have_value("anthropic")
    expect(page.get_by_role("option", name=re.compile("Anthropic"))).to_be_visible()
    expect(page.get_by_role("option", name=re.compile("^echo"))).to_have_count(0)


def test_a_link_may_ask_for_the_dark_theme(visit: Open) -> None:
    page = visit("?__theme=dark")
    expect(page.locator("body")).to_have_class(re.compile(r"\bdark\b"))
    expect(page).to_have_url(re.compile("__theme=dark"))


def test_the_index_can_be_rebuilt(visit: Open) -> None:
    page = visit("?tab=settings")
    expect(page.locator("#index")).to_contain_text("wordllama, 256 dimensions")
    page.get_by_role("button", name="Rebuild the index").click()
    expect(page.locator("#index")).to_contain_text("Complete")


def test_the_address_of_the_api_is_whole(visit: Open, address: str) -> None:
    page = visit("?tab=settings")
    expect(page.locator("#about code").last).to_have_text(f"{address}/v1")


def test_every_tab_opens_without_a_complaint_and_without_a_foreign_request(visit: Open, seen: Seen) -> None:
    page = visit()
    names = page.get_by_role("tab").all_inner_texts()
    assert names[0] == "Chat"
    assert names[-1] == "Settings"
    for name in names:
        tab(page, name)
        expect(page.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")
        page.wait_for_timeout(300)
    assert seen.complaints == []
    assert seen.foreign == []


def test_a_tab_has_an_address_and_a_shortcut(visit: Open) -> None:
    page = visit("?tab=settings")
    expect(page.get_by_role("tab", name="Settings")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()
    page.keyboard.press("Alt+1")
    expect(page.locator("#box textarea")).to_be_visible()
    expect(page).to_have_url(re.compile("tab=chat"))
    page.keyboard.press("Alt+3")
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()
    expect(page).to_have_url(re.compile("tab=settings"))
    page.reload()
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()
    expect(page).to_have_url(re.compile("tab=settings"))


def test_the_theme_is_remembered(visit: Open) -> None:
    page = visit("?tab=settings")
    page.locator("#theme").get_by_label("Dark").check()
    expect(page.locator("body")).to_have_class(re.compile("dark"))
    page.reload()
    expect(page.locator("body")).to_have_class(re.compile("dark"))
    expect(page.locator("#theme").get_by_label("Dark")).to_be_checked()
    page.locator("#theme").get_by_label("Like the system").check()
    expect(page.locator("body")).not_to_have_class(re.compile("dark"))


def test_the_page_itself_forbids_foreign_hosts(visit: Open, seen: Seen) -> None:
    page = visit()
    page.locator("#box textarea").wait_for()
    asked = "fetch('https://example.com/').then(() => 'answered', () => 'refused')"
    assert page.evaluate(asked) == "refused"
    assert any("Content Security Policy" in complaint for complaint in seen.complaints)
