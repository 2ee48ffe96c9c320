"""The editor of the Prompts tab in a real browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from core.ledger.store import Filter
from core.prompts.content import Content, Variable, parse_content
from core.services import Services
from tests.browser.look import Open, Seen

SCHEMA = '{"type": "object", "required": ["colour"]}'


def new(visit: Open, **more: Any) -> Page:
    """A page with a new prompt."""
    page = visit("?tab=prompts", **more)
    expect(page.locator("#editor .message").first).to_be_visible()
    page.get_by_role("button", name="New prompt").click()
    expect(page.get_by_label("Name", exact=True)).to_be_visible()
    expect(page.locator("#editor-model input")).not_to_have_value("")
    return page


def show(visit: Open, ref: str, **more: Any) -> Page:
    """A page with a prompt that is there."""
    name, _, number = ref.partition("@")
    page = visit(f"?tab=prompts&prompt={name}" + (f"&version={number}" if number else ""), **more)
    expect(page.locator("#editor .message").first).to_be_visible()
    expect(page.locator("#editor-model input")).not_to_have_value("")
    return page


def choose(page: Page, model: str) -> None:
    picker = page.locator("#editor-model input")
    picker.click()
    picker.fill(model)
    page.get_by_role("option", name=re.compile(f"^{re.escape(model)}")).click()
    expect(picker).to_have_value(re.compile(f"^{re.escape(model)}"))


def write(page: Page, system: str, user: str = "") -> None:
    page.get_by_label("System message").fill(system)
    page.get_by_label("User message", exact=True).fill(user)


def value(page: Page, name: str) -> Locator:
    return page.locator("#editor-values").get_by_label(name, exact=True)


def run(page: Page) -> Locator:
    return page.get_by_role("button", name="Run", exact=True)


def answer(page: Page) -> Locator:
    return page.locator("#editor-answer .message-content .md")


def meter(page: Page) -> Locator:
    return page.locator("#editor-answer .meter:not(.live)")


def unfold(page: Page, title: str) -> None:
    page.locator("#editor summary", has_text=title).click()


def save(page: Page, change: str = "") -> None:
    page.locator("#editor-foot .save").click()
    dialog = page.get_by_role("dialog")
    if change:
        dialog.get_by_role("textbox").fill(change)
    dialog.get_by_role("button", name="Save", exact=True).click()
    expect(dialog).to_have_count(0)


def keep(services: Services, name: str, system: str = "Answer as {{ who }}.", model: str = "scripted/echo") -> Content:
    """A prompt that is there."""
    content = parse_content(
        {"messages": [{"role": "system", "content": system}, {"role": "user", "content": "{{ ask }}"}], "model": model}
    )
    variables = {
        "who": Variable(description="", default="a pirate", required=True, example=None),
        "ask": Variable(description="The question", default=None, required=True, example="Where is it?"),
    }
    content = services.templates.check(content.model_copy(update={"variables": variables}))
    services.registry.save(name, content, description="A test", tags=("test",), author="Ada")
    return content


def test_write_preview_run_save_change_and_save_with_a_diff(visit: Open, services: Services, seen: Seen) -> None:
    page = new(visit)
    page.get_by_label("Name", exact=True).fill("shop/greeting")
    choose(page, "echo")
    write(page, "You greet {{ guest }} politely.", "Say hello to {{ guest }} from {{ host }}.")
    value(page, "guest").fill("Ada <b>")
    value(page, "host").fill("{{ guest }}")  # stays text
    expect(page.locator("#editor-values .value")).to_have_count(2)

    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#editor .preview .user .said")).to_have_text("Say hello to Ada <b> from {{ guest }}.")
    page.get_by_role("button", name="Template").click()
    expect(page.locator("#editor-run .cost")).to_contain_text(re.compile(r"about \d+ tokens in · price unknown"))

    run(page).click()
    expect(answer(page)).to_have_text("Say hello to Ada <b> from {{ guest }}.")
    expect(meter(page)).to_contain_text(re.compile(r"10 in · 2 out · price unknown · first token"))
    (call, *_) = services.ledger.calls(Filter(feature="prompt"))
    assert (call.prompt_name, call.prompt_version) == (None, None)  # there is no such prompt yet

    save(page)
    expect(page.locator("#editor-foot")).to_contain_text("v1 as it was saved")
    first = services.registry.version("shop/greeting@1")
    assert [message.content for message in first.content.messages] == [
        "You greet {{ guest }} politely.",
        "Say hello to {{ guest }} from {{ host }}.",
    ]
    assert set(first.content.variables) == {"guest", "host"}
    assert first.content.model == "scripted/echo"
    assert first.author.startswith("visitor-")

    run(page).click()
    expect(meter(page)).to_contain_text("shop/greeting@1")
    (call, *_) = services.ledger.calls(Filter(feature="prompt"))
    assert (call.prompt_name, call.prompt_version, call.prompt_hash) == ("shop/greeting", 1, first.hash)

    page.get_by_label("System message").fill("You greet {{ guest }} rudely.")
    expect(page.locator("#editor-foot")).to_contain_text("Changed since v1")
    page.locator("#editor-foot .save").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Save shop/greeting as v2")
    expect(dialog).to_contain_text("rudely")
    dialog.get_by_role("textbox").fill("Ruder")
    dialog.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#editor-foot")).to_contain_text("v2 as it was saved")
    second = services.registry.version("shop/greeting@2")
    assert (second.change, second.parent) == ("Ruder", 1)
    assert seen.complaints == []
    assert seen.foreign == []


def test_the_real_model_streams_its_answer(visit: Open, weights: Path) -> None:
    page = new(visit)
    choose(page, "SmolLM2")
    unfold(page, "Parameters")
    page.locator("#editor").get_by_label("Longest answer").fill("24")
    expect(page.locator("#editor-run .cost")).to_contain_text("$0 a run")
    value(page, "question").press("Control+Enter")
    expect(meter(page)).to_contain_text(re.compile(r"\d+ in.* · \d+ out · \$0 · first token"))
    expect(answer(page)).to_have_text(re.compile(r".{10,}", re.DOTALL))


def test_a_template_error_is_told_while_typing_and_loses_no_value(visit: Open) -> None:
    page = new(visit)
    write(page, "Be {{ mood }}.", "Hi")
    value(page, "mood").fill("grumpy")
    page.get_by_label("System message").fill("Be\n{{ mood }.")
    told = page.locator("#editor .template-error")
    expect(told).to_contain_text("line 2")
    expect(value(page, "mood")).to_have_value("grumpy")
    expect(run(page)).to_be_disabled()
    expect(page.get_by_label("System message")).to_be_focused()  # nothing took the cursor away
    page.get_by_label("System message").fill("Be {{ mood }}.")
    expect(told).to_be_hidden()
    expect(value(page, "mood")).to_have_value("grumpy")
    expect(run(page)).to_be_enabled()


def test_a_missing_value_is_named_at_its_field_in_the_preview_and_by_run(visit: Open) -> None:
    page = new(visit)
    choose(page, "echo")
    write(page, "", "About {{ topic }} for {{ reader }}")
    value(page, "reader").fill("you")
    expect(page.locator("[data-missing=topic]")).to_have_text("A value is needed.")
    expect(page.locator("[data-missing=reader]")).to_be_empty()
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#editor .preview mark")).to_have_text("⟨topic⟩")
    run(page).click()
    expect(page.locator("#editor-answer .trouble")).to_contain_text("The prompt needs a value for topic.")
    expect(run(page)).to_be_visible()
    unfold(page, "Variables")
    page.get_by_label("Default of topic").fill("cats")
    expect(page.locator("#editor .preview .said")).to_have_text("About cats for you")


def test_stop_at_once_and_a_failure_is_told(visit: Open, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services.providers["scripted"], "words", 1000)
    page = new(visit)
    choose(page, "silent")
    run(page).click()
    expect(page.locator("#editor-answer .meter.live")).to_contain_text("waiting for the first token")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(meter(page)).to_contain_text("stopped by you")
    choose(page, "words")
    run(page).click()
    expect(answer(page).last).to_contain_text("word3")
    page.get_by_role("button", name="Stop", exact=True).press("Escape")
    expect(meter(page)).to_contain_text("stopped by you")
    expect(answer(page).last).not_to_contain_text("word999")
    expect(run(page)).to_be_visible()
    choose(page, "fails")
    run(page).click()
    expect(page.locator("#editor-answer .trouble")).to_contain_text("Scripted is out of order.")


def test_an_answer_that_does_not_fit_the_schema_says_so(visit: Open) -> None:
    page = new(visit)
    choose(page, "echo")
    unfold(page, "JSON schema")
    schema = page.get_by_label("JSON schema", exact=True)
    schema.fill('{"type": "objekt"}')
    expect(page.locator("[data-trouble=schema]")).to_contain_text("The JSON schema is wrong at type")
    schema.fill(SCHEMA)
    expect(page.locator("[data-trouble=schema]")).to_be_empty()
    write(page, "", '{"color": "red"}')
    run(page).click()
    expect(page.locator("#editor-answer .trouble")).to_contain_text("'colour' is a required property")
    write(page, "", '{"colour": "red"}')
    run(page).click()
    expect(meter(page)).to_contain_text("fits the JSON schema")


def test_messages_are_added_moved_and_removed(visit: Open, services: Services) -> None:
    page = new(visit)
    page.get_by_label("Name", exact=True).fill("order")
    write(page, "", "one")
    page.get_by_role("button", name="Add assistant message").click()
    page.get_by_label("Assistant message", exact=True).fill("two")
    page.get_by_role("button", name="Add user message").click()
    page.get_by_label("User message", exact=True).last.fill("three")
    page.get_by_role("button", name="Move assistant message up").click()
    page.get_by_role("button", name="Remove user message").last.click()
    page.get_by_label("Role").last.select_option("assistant")
    expect(page.locator("#editor [data-asks]")).to_be_visible()  # nothing is asked any more
    save(page)
    expect(page.locator("#editor-foot")).to_contain_text("v1 as it was saved")
    content = services.registry.version("order").content
    assert [(m.role, m.content) for m in content.messages] == [("assistant", "two"), ("assistant", "one")]


def test_a_name_is_checked_while_it_is_typed(visit: Open, services: Services) -> None:
    keep(services, "taken/name")
    page = new(visit)
    name, told = page.get_by_label("Name", exact=True), page.locator("[data-trouble=name]")
    name.fill("Not This")
    expect(told).to_contain_text("or not-this")
    name.fill("taken/name")
    expect(told).to_contain_text("There is a prompt called taken/name already, with 1 version.")
    page.locator("#editor-foot .save").click()
    expect(page.locator(".toast-wrap")).to_contain_text("There is a prompt called taken/name already")
    expect(page.locator("#editor-foot .save")).to_be_enabled()
    name.fill("taken/not")
    expect(told).to_be_empty()


def test_unsaved_work_survives_another_prompt_and_a_reload(visit: Open, services: Services) -> None:
    keep(services, "draft/one")
    keep(services, "draft/two", "Another one for {{ who }}.")
    page = show(visit, "draft/one")
    system = page.get_by_label("System message")
    system.fill("Answer as {{ who }}, please.")
    value(page, "who").fill("a sailor")
    page.evaluate("parley.fire('open_prompt', {ref: 'draft/two@1'})")  # at once, before anything was asked
    expect(system).to_have_value("Another one for {{ who }}.")
    expect(page.locator("#editor .draft")).to_have_count(0)
    page.evaluate("parley.fire('open_prompt', {ref: 'draft/one@1'})")
    expect(system).to_have_value("Answer as {{ who }}, please.")
    expect(value(page, "who")).to_have_value("a sailor")
    expect(page.locator("#editor .draft")).to_contain_text("unsaved changes from just now")

    system.fill("Answer as {{ who }}, quickly.")
    page.reload()
    expect(system).to_have_value("Answer as {{ who }}, quickly.")
    page.locator("#editor .draft").get_by_role("button", name="Keep").click()
    expect(page.locator("#editor .draft")).to_have_count(0)
    expect(page.locator("#editor-foot")).to_contain_text("Changed since v1")
    page.reload()
    page.locator("#editor .draft").get_by_role("button", name="Discard").click()
    expect(system).to_have_value("Answer as {{ who }}.")
    expect(page.locator("#editor-foot")).to_contain_text("v1 as it was saved")
    page.reload()
    expect(system).to_have_value("Answer as {{ who }}.")
    expect(page.locator("#editor .draft")).to_have_count(0)


def test_the_same_again_is_no_new_version(visit: Open, services: Services) -> None:
    content = keep(services, "same")
    services.registry.save("same", content.model_copy(update={"model": ""}), description="A test", tags=("test",))
    page = show(visit, "same@2")
    choose(page, "echo")
    expect(page.locator("#editor-foot")).to_contain_text("Changed since v2")
    page.locator("#editor-foot .save").click()
    expect(page.locator(".toast-wrap")).to_contain_text("This is v1 already")
    expect(page.locator("#editor-foot")).to_contain_text("v1 as it was saved")
    assert services.registry.entry("same").numbers == (1, 2)


def test_somebody_else_was_faster(visit: Open, services: Services) -> None:
    content = keep(services, "race")
    page = show(visit, "race")
    page.get_by_label("System message").fill("Mine as {{ who }}.")
    theirs = content.model_copy(update={"model": "scripted/long"})
    services.registry.save("race", theirs, description="A test", tags=("test",), author="Grace", parent=1)
    page.locator("#editor-foot .save").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("v2 was saved by Grace just now, while you were working on v1.")
    expect(dialog).to_contain_text("v1 → v3: what you changed")
    expect(dialog).to_contain_text("v2 → v3: how yours differs from the newest")
    dialog.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#editor-foot")).to_contain_text("v3 as it was saved")
    assert services.registry.version("race@3").parent == 1


def test_where_nothing_can_be_saved_one_can_still_run_and_download(
    visit: Open, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(services, "locked")
    monkeypatch.setitem(services.settings.values, "PARLEY_PROMPTS_WRITE", "off")  # type: ignore[arg-type]
    page = show(visit, "locked")
    expect(page.locator("#editor-foot")).to_contain_text("prompts are not saved from the browser")
    page.get_by_label("System message").fill("Other words for {{ who }}.")
    expect(page.locator("#editor-foot .save")).to_be_disabled()
    run(page).click()
    expect(answer(page)).to_have_text("Where is it?")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as file").click()
    assert download.value.suggested_filename == "locked.v2.yaml"
    text = Path(download.value.path()).read_text("utf-8")
    assert "Other words for {{ who }}." in text and "parent: 1" in text
    assert services.registry.entry("locked").numbers == (1,)


def test_a_phone_has_room_for_it(visit: Open, services: Services) -> None:
    keep(services, "phone")
    page = show(visit, "phone", width=390, height=844)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    wide = "[...document.querySelectorAll('#editor *')].filter((e) => e.getBoundingClientRect().right > 391).length"
    assert page.evaluate(wide) == 0
    run(page).click()
    expect(answer(page)).to_have_text("Where is it?")


def test_two_tabs_with_one_version_keep_a_draft_each(visit: Open, services: Services) -> None:
    keep(services, "shop/twice")
    one = show(visit, "shop/twice@1")
    two = show(visit, "shop/twice@1")
    one.get_by_label("System message").fill("written in the first tab")
    two.get_by_label("System message").fill("written in the second tab")
    kept = "text => Object.values(localStorage).some((draft) => draft.includes(text))"
    for page, text in ((one, "written in the first tab"), (two, "written in the second tab")):
        expect(page.locator("#editor-foot")).to_contain_text("Changed since v1")
        page.wait_for_function(kept, arg=text)
    two.reload()
    expect(two.get_by_label("System message")).to_have_value("written in the second tab")
    save(two, "The second was faster")
    one.reload()  # there is a newer version now, and the draft of the one before is offered
    expect(one.locator("#editor .draft")).to_contain_text("unsaved changes to v1")
    one.locator("#editor .draft").get_by_role("button", name="Show").click()
    expect(one.get_by_label("System message")).to_have_value("written in the first tab")
