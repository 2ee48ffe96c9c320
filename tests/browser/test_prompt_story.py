"""One prompt's whole way through the workbench: written, run, saved, changed, made live, used, rolled back, found."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from core.ledger.store import Filter
from core.services import Services
from tests.browser.look import Open, Seen, answers, ask, meters, rest

NAME = "bakery/complaints"


def view(page: Page, name: str) -> None:
    page.locator("#prompt-head").get_by_role("tab", name=re.compile(f"^{name}")).click()


def save(page: Page, change: str) -> None:
    page.locator("#editor-foot .save").click()
    dialog = page.get_by_role("dialog")
    if change:
        expect(dialog.locator(".line.add").first).to_be_visible()  # what is different, before one agrees
    dialog.get_by_role("textbox").fill(change)
    dialog.get_by_role("button", name="Save", exact=True).click()
    expect(dialog).to_have_count(0)


def move(page: Page, button: str, reason: str, label: str = "") -> None:
    page.get_by_role("button", name=button).click()
    window = page.get_by_role("dialog")
    if label:
        window.get_by_label("Label").fill(label)
    window.get_by_label("Reason").fill(reason)
    window.locator("button[type=submit]").click()
    expect(window).to_have_count(0)


def test_from_the_first_word_to_the_rollback(visit: Open, services: Services, seen: Seen) -> None:
    page = visit("?tab=prompts")
    page.get_by_role("button", name="New prompt").click()
    page.get_by_label("Name", exact=True).fill(NAME)
    page.get_by_label("Description", exact=True).fill("Calms a customer whose bread was stale and offers a voucher.")
    page.get_by_label("System message").fill("You answer for the bakery {{ bakery }}. Be {{ manner }}.")
    page.get_by_label("User message", exact=True).fill("")
    values = page.locator("#editor-values")
    values.get_by_label("bakery", exact=True).fill("Krume")
    values.get_by_label("manner", exact=True).fill("kind")
    page.get_by_label("Message to answer").fill("My bread was stale.")
    picker = page.locator("#editor-model input")
    picker.click()
    picker.fill("echo")
    page.get_by_role("option", name=re.compile("^echo")).click()
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("#editor-answer .meter:not(.live)")).to_be_visible()
    save(page, "")
    expect(page.locator("#prompt-head h1")).to_have_text(NAME)

    page.get_by_label("System message").fill("You answer for the bakery {{ bakery }}. Be {{ manner }} and brief.")
    save(page, "Shorter answers")
    expect(page.locator("#editor-foot")).to_contain_text("v2 as it was saved")
    view(page, "Versions")
    expect(page.locator("#prompt-diff .line.add ins")).to_have_text(["and brief"])

    view(page, "Labels")
    move(page, "Set a label", "First one that is good enough", "production")
    expect(page.locator(".prompt-head .label.live")).to_have_text("production v2")

    page.get_by_role("button", name="Open in chat").click()
    expect(page.locator("#prompt-ref input")).to_have_value(re.compile("^bakery.complaints"))
    page.get_by_role("button", name="Options").click()
    page.locator("#prompt-fields").get_by_label("bakery").fill("Krume")
    page.locator("#prompt-fields").get_by_label("manner").fill("kind")
    ask(page, "My rolls were hard.")
    rest(page)
    expect(answers(page)).to_have_text("My rolls were hard.")
    expect(meters(page)).to_contain_text(f"{NAME}@2")
    request = services.providers["scripted"].requests[-1]  # type: ignore[attr-defined]
    assert request.messages[0].text == "You answer for the bakery Krume. Be kind and brief."
    version = services.registry.version(f"{NAME}@2")
    (call,) = services.ledger.calls(Filter(feature="chat", prompt_name=NAME))
    assert (call.prompt_version, call.prompt_hash) == (2, version.hash)

    page.get_by_role("tab", name="Prompts").click()
    view(page, "Versions")
    page.get_by_label("Compare from v1").check()
    view(page, "Labels")
    services.registry.move(NAME, "production", 1, by="Ada", why="Tried the first one")
    page.reload()
    view(page, "Labels")
    move(page, "Roll back", "The second is better after all")
    expect(page.locator(".prompt-head .label.live")).to_have_text("production v2")

    page.get_by_label("Search prompts").fill("apologise to somebody who is unhappy with an old loaf")
    found = page.locator(f'#prompt-list .prompt[data-name="{NAME}"]')
    expect(found).to_be_visible()
    expect(found).to_contain_text("meaning")
    assert seen.complaints == []
    assert seen.foreign == []
