"""A prompt of the registry in the Chat tab, in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from core.prompts.content import parse_content
from core.services import Services
from tests.browser.look import Open, Seen, answers, ask, box, choose, meters, rest

SYSTEM = "You answer for {{ company }}. Be {{ manner }}."


@pytest.fixture
def greeting(services: Services) -> str:
    """A prompt with two variables and a closing question; production is its first version."""
    name = "tests/greeting"
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Greet {{ company }}."}]
    variables = {"company": {"example": "Acme"}, "manner": {"default": "kind"}}
    content = parse_content({"messages": messages, "variables": variables, "model": "scripted/echo"})
    services.registry.save(name, content, description="Greets a company.")
    if services.registry.entry(name).labels.get("production") != 1:
        services.registry.move(name, "production", 1, by="Ada", why="first")
    return name


def sent(services: Services) -> list[tuple[str, str]]:
    request = services.providers["scripted"].requests[-1]  # type: ignore[attr-defined]
    return [(message.role, message.text) for message in request.messages]


def options(page: Page) -> None:
    page.get_by_role("button", name="Options").click()
    expect(page.locator("#prompt-ref input")).to_be_visible()


def pick(page: Page, entry: str) -> None:
    page.locator("#prompt-ref input").click()
    page.locator("#prompt-ref input").fill("")
    page.get_by_role("option", name=re.compile(entry.replace("/", "."))).click()


def test_a_prompt_by_its_label(visit: Open, services: Services, greeting: str, seen: Seen) -> None:
    page = visit()
    choose(page, "words")
    options(page)
    pick(page, f"^{greeting} .* production")
    expect(page.locator("#model input")).to_have_value(re.compile("^echo"))  # the model that it is made for
    expect(page.get_by_label("company")).to_be_visible()
    expect(page.get_by_label("manner")).to_have_attribute("placeholder", "kind")
    ask_nothing_yet = page.locator(".said")
    box(page).fill("Hello")
    box(page).press("Enter")
    expect(page.locator(".toast-body")).to_contain_text("company")  # it is missing, and nothing is asked
    expect(ask_nothing_yet).to_have_count(0)
    expect(box(page)).to_have_value("Hello")

    page.get_by_label("company").fill("{{ manner }} & Sons")
    ask(page, "Hello")
    rest(page)
    assert sent(services) == [("system", "You answer for {{ manner }} & Sons. Be kind."), ("user", "Hello")]
    expect(meters(page)).to_contain_text(f"{greeting}@1")

    page.reload()
    expect(answers(page)).to_have_text("Hello")
    options(page)
    expect(page.locator("#prompt-ref input")).to_have_value(re.compile(f"^{greeting}"))
    expect(page.get_by_label("company")).to_have_value("{{ manner }} & Sons")
    assert seen.complaints == []


def test_its_question_goes_into_the_box(visit: Open, greeting: str) -> None:
    page = visit()
    options(page)
    pick(page, f"^{greeting} .* production")
    page.get_by_role("button", name="Fill in the examples").click()
    expect(page.get_by_label("company")).to_have_value("Acme")
    page.get_by_role("button", name="Put its question into the message box").click()
    expect(box(page)).to_have_value("Greet Acme.")


def test_without_it_again(visit: Open, services: Services, greeting: str) -> None:
    page = visit()
    options(page)
    pick(page, f"^{greeting} .* production")
    expect(page.get_by_label("company")).to_be_visible()
    pick(page, "^No prompt")
    expect(page.get_by_label("company")).to_have_count(0)
    choose(page, "echo")
    ask(page, "plain")
    rest(page)
    assert sent(services) == [("user", "plain")]


def test_a_system_prompt_becomes_a_prompt_with_versions(visit: Open) -> None:
    page = visit()
    choose(page, "echo")
    options(page)
    page.get_by_label("System prompt").fill("You sell {{ thing }} at sea.")
    page.get_by_label("Temperature").fill("0.5")
    page.get_by_role("button", name="Keep it as a prompt with versions").click()
    expect(page.get_by_role("tab", name="Prompts")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_label("System message")).to_have_value("You sell {{ thing }} at sea.")
    expect(page.locator("#editor-values").get_by_label("thing", exact=True)).to_be_visible()
    expect(page.locator("#editor-model input")).to_have_value(re.compile("^echo"))
