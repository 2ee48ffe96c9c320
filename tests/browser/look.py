"""What the browser tests do and look at, in a user's words."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from playwright.sync_api import Locator, Page, expect

Open = Callable[..., Page]


@dataclass
class Seen:
    """Complaints in the console and requests to other hosts."""

    complaints: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)


def box(page: Page) -> Locator:
    return page.locator("#box textarea")


def choose(page: Page, model: str) -> None:
    """Pick a model from the list."""
    picker = page.locator("#model input")
    picker.click()
    page.get_by_role("option", name=re.compile(f"^{re.escape(model)}")).click()
    expect(picker).to_have_value(re.compile(f"^{re.escape(model)}"))


def ask(page: Page, text: str) -> None:
    """Write a message and send it."""
    box(page).fill(text)
    box(page).press("Enter")
    expect(page.locator(".said").last).to_have_text(text)


def answers(page: Page) -> Locator:
    """The texts of the answers in view, without what stands below them."""
    return page.locator("#panes .bot-row .message-content .md")


def meters(page: Page) -> Locator:
    return page.locator("#panes .below .meter:not(.live)")


def rest(page: Page) -> None:
    """Wait until no answer is being written."""
    expect(page.locator("#box .submit-button")).to_be_visible()
    expect(page.locator("#panes .meter.live")).to_have_count(0)
