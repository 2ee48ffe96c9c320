"""The Prompts tab around its editor in a real browser: list, versions, labels, use, import and export."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from core.prompts.content import parse_content
from core.prompts.version import Version
from core.services import Services
from tests.browser.look import Open, Seen, box

LINES = "You answer customers of {{ shop }}.\nBe friendly and exact.\nAnswer in at most four sentences.\n"
Make = Callable[..., str]


@pytest.fixture
def make(services: Services, request: pytest.FixtureRequest) -> Make:
    """`make("reply", "first text", "second text")` saves a prompt of this test with these versions."""

    def save(name: str, *systems: str, **about: object) -> str:
        full = f"{re.sub(r'[^a-z]+', '-', request.node.name.removeprefix('test_'))[:50].strip('-')}/{name}"
        for number, system in enumerate(systems, 1):
            version(services, full, system, change=f"Change {number}", **about)
        return full

    return save


def version(services: Services, name: str, system: str, **about: object) -> Version:
    messages = [{"role": "system", "content": system}, {"role": "user", "content": "{{ question }}"}]
    variables = {"shop": {"example": "Acme"}, "question": {"example": "Where is my parcel?"}}
    content = services.templates.check(parse_content({"messages": messages, "variables": variables}))
    return services.registry.save(name, content, author="ada", **about).version  # type: ignore[arg-type]


def show(visit: Open, name: str, view: str = "", **more: object) -> Page:
    ref, _, number = name.partition("@")
    page = visit(
        f"?tab=prompts&prompt={ref}{f'&version={number}' * bool(number)}{f'&view={view}' * bool(view)}", **more
    )
    expect(page.locator("#prompt-head h1")).to_have_text(ref)
    return page


def arrive(visit: Open) -> Page:
    """The tab as it opens."""
    page = visit("?tab=prompts")
    expect(page.locator("#prompt-list .prompt").first).to_be_visible()
    return page


def row(page: Page, name: str) -> Locator:
    return page.locator(f'#prompt-list .prompt[data-name="{name}"]')


def search(page: Page) -> Locator:
    return page.get_by_label("Search prompts")


def window(page: Page) -> Locator:
    return page.locator("dialog.label-ask")


def test_the_list_is_searched_by_words_and_by_meaning(visit: Open, make: Make) -> None:
    refund = make("refund", LINES, description="Answers people who want their money back for a broken article.")
    other = make("poem", "You write poems about the sea.", description="Writes short poems.")
    page = arrive(visit)
    expect(row(page, refund)).to_contain_text("1 version")
    page.keyboard.press("/")
    expect(search(page)).to_be_focused()
    search(page).fill("broken article")
    expect(row(page, refund)).to_contain_text("words")
    expect(row(page, refund).locator("mark").first).to_have_text(re.compile("broken", re.IGNORECASE))
    expect(row(page, other)).to_have_count(0)
    search(page).fill("customer demands a reimbursement")
    expect(row(page, refund)).to_contain_text("meaning")
    search(page).fill("zzzz qqqq")
    search(page).fill("")
    expect(row(page, other)).to_be_visible()


def test_tags_and_labels_narrow_the_list(visit: Open, make: Make, services: Services) -> None:
    one = make("one", LINES, tags=("narrow-a",))
    two = make("two", LINES, tags=("narrow-b",))
    services.registry.move(two, "narrow-label", 1, by="ada")
    page = arrive(visit)
    expect(row(page, one)).to_be_visible()
    page.locator("#prompt-list .narrow summary").click()
    page.locator("#prompt-list").get_by_role("button", name="narrow-a").click()
    expect(row(page, two)).to_have_count(0)
    expect(row(page, one)).to_be_visible()
    page.get_by_role("button", name="narrow-a", pressed=True).click()
    page.locator("#prompt-list").get_by_role("button", name="narrow-label", exact=True).click()
    expect(row(page, one)).to_have_count(0)
    expect(row(page, two)).to_contain_text("narrow-label v1")


def test_the_address_follows_and_a_reload_shows_the_same(visit: Open, make: Make, seen: Seen) -> None:
    one, two = make("one", LINES, LINES + "Be brief."), make("two", LINES)
    page = arrive(visit)
    row(page, one).click()
    expect(page).to_have_url(re.compile(f"prompt={one}$"))
    row(page, two).click()
    expect(page).to_have_url(re.compile(f"prompt={two}$"))
    expect(row(page, two)).to_have_attribute("aria-current", "true")
    page.go_back()
    expect(page.locator("#prompt-head h1")).to_have_text(one)
    expect(row(page, one)).to_have_attribute("aria-current", "true")
    page.get_by_label("Version", exact=True).select_option(f"{one}@1")
    expect(page).to_have_url(re.compile(f"prompt={one}&version=1"))
    page.get_by_role("tab", name="Versions").click()
    expect(page).to_have_url(re.compile("view=versions"))
    assert seen.complaints == []  # a reload breaks off what is being asked
    page.reload()
    expect(page.get_by_label("Version", exact=True)).to_have_value(f"{one}@1")
    expect(page.get_by_role("tab", name="Versions")).to_have_attribute("aria-selected", "true")
    expect(page.locator(".versions tbody tr")).to_have_count(2)
    expect(page.locator("#prompt-edit")).to_be_hidden()
    assert seen.foreign == []


def test_the_list_is_worked_with_the_keyboard(visit: Open, make: Make) -> None:
    make("one", LINES)
    two = make("two", LINES)
    page = arrive(visit)
    expect(row(page, two)).to_be_visible()
    page.keyboard.press("Control+k")
    search(page).press("ArrowDown")
    page.locator("#prompt-list .prompt:focus").press("End")
    row(page, two).focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowDown")
    expect(row(page, two)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#prompt-head h1")).to_have_text(two)


def test_two_versions_are_compared_word_by_word(visit: Open, make: Make) -> None:
    long = LINES + "".join(f"- Rule {n} stays as it is.\n" for n in range(30))
    name = make("reply", long, long.replace("four sentences", "three short sentences"), long + "One more rule.\n")
    page = show(visit, f"{name}@2", "versions", width=1440)
    diff = page.locator("#prompt-diff")
    expect(diff.locator("h2")).to_have_text("v1 → v2+1 −1")
    expect(diff.locator(".line.del del")).to_have_text(["four"])
    expect(diff.locator(".line.add ins")).to_have_text(["three short"])
    expect(diff.locator(".line.add u")).to_have_text("+")
    expect(diff.get_by_role("button", name="Side by side")).to_have_attribute("aria-pressed", "true")
    left, right = diff.locator(".line.del").bounding_box(), diff.locator(".line.add").bounding_box()
    assert left and right and abs(left["y"] - right["y"]) < 1 and right["x"] > left["x"] + left["width"] - 2
    diff.get_by_role("button", name="Inline").click()
    left, right = diff.locator(".line.del").bounding_box(), diff.locator(".line.add").bounding_box()
    assert left and right and right["y"] > left["y"] and abs(right["x"] - left["x"]) < 1
    fold = diff.get_by_role("button", name=re.compile("unchanged lines"))
    expect(diff.get_by_text("- Rule 20 stays").first).to_be_hidden()
    fold.click()
    expect(diff.get_by_text("- Rule 20 stays").first).to_be_visible()
    page.get_by_label("Compare from v1").check()
    page.get_by_label("Compare to v3").check()
    expect(diff.locator("h2")).to_contain_text("v1 → v3")
    expect(diff.locator(".line.add")).to_contain_text("One more rule.")


def test_a_protected_label_moves_with_a_reason_and_back(visit: Open, make: Make, services: Services) -> None:
    name = make("reply", LINES, LINES + "Be brief.\n")
    services.registry.move(name, "production", 1, by="ada", why="first")
    page = show(visit, name, "labels")
    page.locator("#prompt-views").get_by_role("button", name="Move…", exact=True).click()
    expect(window(page)).to_contain_text("protected")
    expect(window(page).locator(".line.add")).to_contain_text("Be brief.")
    window(page).get_by_role("button", name="Move to v2").click()
    expect(window(page)).to_be_visible()  # the browser wants the reason
    assert services.registry.entry(name).labels["production"] == 1
    window(page).get_by_label("Reason").fill("Shorter answers are <b>read</b>.")
    window(page).get_by_role("button", name="Move to v2").click()
    expect(window(page)).to_have_count(0)
    expect(page.locator(".prompt-head .label.live")).to_have_text("production v2")
    expect(page.locator(".moves li").first).to_contain_text("Shorter answers are <b>read</b>.")
    expect(page.locator(".chain")).to_contain_text("Whole 2 moves")

    page.get_by_role("button", name="Roll back to v1").click()
    window(page).get_by_label("Reason").fill("Too short after all")
    window(page).get_by_role("button", name="Roll back to v1").click()
    expect(page.locator(".prompt-head .label.live")).to_have_text("production v1")
    assert services.registry.history(name)[0].why == "Too short after all"


def test_a_label_that_somebody_else_moved_meanwhile(visit: Open, make: Make, services: Services) -> None:
    name = make("reply", LINES, LINES + "Two.", LINES + "Three.")
    services.registry.move(name, "staging", 1, by="ada")
    page = show(visit, name, "labels")
    page.locator("#prompt-views").get_by_role("button", name="Move…", exact=True).click()
    window(page).get_by_label("Reason").fill("mine")
    services.registry.move(name, "staging", 2, by="grace")
    window(page).get_by_role("button", name="Move to v3").click()
    expect(window(page).get_by_role("alert")).to_contain_text("moved to v2 by grace")
    expect(window(page).get_by_label("Reason")).to_have_value("mine")
    assert services.registry.entry(name).labels["staging"] == 2
    window(page).get_by_role("button", name="Move to v3").click()
    expect(window(page)).to_have_count(0)
    assert services.registry.entry(name).labels["staging"] == 3


def test_a_new_label_and_its_end(visit: Open, make: Make, services: Services) -> None:
    name = make("reply", LINES)
    page = show(visit, name, "versions")
    page.get_by_role("button", name="Set a label on v1").click()
    window(page).get_by_label("Label", exact=True).fill("3")
    window(page).get_by_role("button", name="Set to v1").click()
    expect(window(page).get_by_role("alert")).to_contain_text("cannot be a label")
    window(page).get_by_label("Label", exact=True).fill("canary")
    window(page).get_by_label("Reason").click()
    window(page).get_by_role("button", name="Set to v1").click()
    expect(page.locator(".versions .label", has_text="canary")).to_be_visible()
    page.get_by_role("tab", name="Labels").click()
    page.get_by_role("button", name="Remove…").click()
    window(page).get_by_role("button", name="Remove the label").click()
    expect(page.locator(".moves li").first).to_contain_text("removed from v1")
    assert services.registry.entry(name).labels == {}


def test_what_changes_in_the_folder_shows_up(visit: Open, make: Make, services: Services) -> None:
    name = make("reply", LINES)
    page = show(visit, name)
    version(services, name, LINES + "From an editor.")
    expect(row(page, name)).to_contain_text("2 versions")
    expect(page.locator("#prompt-head").get_by_role("tab", name="Versions")).to_contain_text("2")


# Look all the time, until the new version has come into view: the last answers are on their way then.
LOOKING = """(ref) => {
  const timer = setInterval(() => {
    parley.fire('look_prompts', {seen: '-'});
    if (document.querySelector('#prompt-head .pick')?.value === ref) clearInterval(timer);
  }, 15);
}"""


def test_a_new_version_stays_in_view_while_the_list_is_looked_at(visit: Open, make: Make) -> None:
    name = make("reply", LINES)
    page = show(visit, name)
    for number in (2, 3, 4):
        page.evaluate(LOOKING, f"{name}@{number}")
        page.get_by_label("System message").fill(f"Text number {number} for {{{{ shop }}}}.")
        page.get_by_role("button", name="Save as new version").click()
        page.locator("dialog .ask-yes").click()
        expect(page.get_by_label("Version", exact=True)).to_have_value(f"{name}@{number}")
        page.wait_for_timeout(400)  # what was asked before the save comes back
        expect(page.get_by_label("Version", exact=True)).to_have_value(f"{name}@{number}")
        expect(page).to_have_url(re.compile(f"prompt={name}$"))


def test_a_file_changed_by_hand_is_offered_and_can_be_put_back(visit: Open, make: Make, services: Services) -> None:
    name = make("reply", LINES, LINES + "Be brief.")
    page = show(visit, name)
    file = services.registry.root / name / "v1.yaml"
    saved = file.read_text("utf-8")
    file.write_text(saved.replace("four sentences", "nine sentences"), "utf-8")
    problems = page.locator("#prompt-list .problems")
    expect(problems).to_contain_text("needs a look")
    problems.locator("summary").click()
    mine = problems.locator("li", has_text=name)
    mine.get_by_role("button", name="Save as a new version").click()
    expect(page.get_by_label("System message")).to_have_value(re.compile("nine sentences"))
    mine.get_by_role("button", name="Put the original back").click()
    page.get_by_role("button", name="Put it back").click()
    expect(mine).to_have_count(0)
    assert file.read_text("utf-8") == saved


def test_it_goes_out_as_a_program_and_as_files(visit: Open, make: Make) -> None:
    name = make("reply", LINES, LINES + "Be brief.")
    page = show(visit, f"{name}@1")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    copy = page.locator("#prompt-head [data-do=prompt_copy]")
    copy.click()
    page.get_by_role("menuitem", name="Copy as Python").click()
    expect(copy).to_have_text("Copied")
    program = page.evaluate("navigator.clipboard.readText()")
    compile(program, "program", "exec")
    assert f'model="prompt/{name}@1"' in program
    assert page.url.partition("/?")[0] + "/v1" in program
    expect(copy).to_have_text("Copy")
    for item, ending, inside in (
        ("Download v1 as YAML", ".v1.yaml", "four sentences"),
        ("Download as Prompty", ".prompty", "four sentences"),
        ("All versions: JSON", ".json", "Be brief."),
    ):
        copy.click()
        with page.expect_download() as download:
            page.get_by_role("menuitem", name=item).click()
        assert download.value.suggested_filename.endswith(ending)
        assert inside in Path(download.value.path()).read_text("utf-8")
    page.get_by_role("button", name="Export all").click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name="Registry as JSON").click()
    assert name in {prompt["name"] for prompt in json.loads(Path(download.value.path()).read_text("utf-8"))["prompts"]}


def test_an_import_is_shown_before_it_is_done(visit: Open, services: Services, tmp_path: Path) -> None:
    good, bad = tmp_path / "imported-greeting.prompty", tmp_path / "bad.json"
    good.write_text("---\nname: imported-greeting\n---\nsystem:\nYou greet {{who}}.\n", "utf-8")
    bad.write_text('{"prompts": ', "utf-8")
    page = arrive(visit)
    page.locator("#prompt-side-foot input[type=file]").set_input_files([good, bad])
    report = page.locator("#prompt-report")
    expect(report).to_contain_text("v1 of a new prompt")
    expect(report.locator(".trouble")).to_contain_text("bad.json")
    assert "imported-greeting" not in {entry.name for entry in services.registry.list()}
    report.get_by_role("button", name="Import 1 prompt").click()
    expect(report).to_contain_text("1 version imported")
    assert services.registry.version("imported-greeting").content.messages[0].content.startswith("You greet")
    report.get_by_role("button", name="imported-greeting").click()
    expect(page.locator("#prompt-head h1")).to_have_text("imported-greeting")


def test_it_goes_to_the_chat_and_to_a_comparison(visit: Open, make: Make) -> None:
    name = make("reply", LINES)
    page = show(visit, name)
    page.get_by_role("button", name="Open in chat").click()
    expect(box(page)).to_have_value("Where is my parcel?")
    expect(page.get_by_role("tab", name="Chat")).to_have_attribute("aria-selected", "true")
    page.get_by_role("tab", name="Prompts").click()
    page.get_by_role("button", name="Test against").click()
    expect(page.locator("#models input")).to_be_focused()
    expect(page.get_by_role("button", name="Single model")).to_be_visible()


def test_on_a_phone_and_in_the_dark(visit: Open, make: Make, services: Services, seen: Seen) -> None:
    name = make("a-rather-long-name-that-has-to-break-somewhere-on-a-phone", LINES + "x" * 300, LINES + "y" * 300)
    services.registry.move(name, "production", 1, by="ada", why="first")
    page = show(visit, name, "versions", width=390, height=844, dark=True)
    expect(page.locator("#prompt-side")).to_be_hidden()
    expect(page.locator("#prompt-diff .ways")).to_be_hidden()
    for view in ("Versions", "Labels", "Use", "Edit"):
        page.locator("#prompt-head").get_by_role("tab", name=view).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate("document.getElementById('prompt-room').scrollWidth") <= 390
    page.get_by_role("button", name="List of prompts").click()
    expect(page.locator("#prompt-side")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#prompt-side")).to_be_hidden()
    page.get_by_role("button", name="List of prompts").click()
    row(page, name).click()
    expect(page.locator("#prompt-side")).to_be_hidden()
    assert page.evaluate("document.body.classList.contains('dark')")
    assert seen.complaints == []
    assert seen.foreign == []


def test_where_nothing_may_be_written(
    visit: Open, make: Make, services: Services, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = make("reply", LINES, LINES + "Be brief.")
    services.registry.move(name, "staging", 1, by="ada")
    monkeypatch.setitem(services.settings.values, "PARLEY_PROMPTS_WRITE", "off")  # type: ignore[arg-type]
    page = show(visit, name, "labels")
    expect(page.locator("#prompt-views section:visible")).to_contain_text("PARLEY_PROMPTS_WRITE")
    expect(page.locator("#prompt-views").get_by_role("button", name="Move…", exact=True)).to_have_count(0)
    # What the page does not offer is not possible either.
    page.evaluate(
        "(data) => parley.fire('move_label', data)",
        {"name": name, "label": "staging", "to": "2", "why": "", "expect": "1"},
    )
    file = tmp_path / "refused-greeting.prompty"
    file.write_text("---\nname: refused-greeting\n---\nsystem:\nHello\n", "utf-8")
    page.locator("#prompt-side-foot input[type=file]").set_input_files(file)
    expect(page.locator("#prompt-report")).to_contain_text("v1 of a new prompt")
    expect(page.get_by_role("button", name=re.compile("^Import 1"))).to_have_count(0)
    page.evaluate("parley.fire('import_prompts', {labels: ''})")
    expect(page.locator(".toast-body")).to_contain_text("cannot be saved or moved here")
    assert services.registry.entry(name).labels == {"staging": 1}
    assert "refused-greeting" not in {entry.name for entry in services.registry.list()}
