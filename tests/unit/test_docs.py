"""What the documents say is what the program does."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import core
from core import cli
from core.prompts.formats import formats
from core.prompts.version import PromptFile
from core.settings import SETTINGS, Setting

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
SETTINGS_PAGE = PAGES["docs/settings.md"]
DOCUMENTS = {"README.md": README, "CHANGELOG.md": (ROOT / "CHANGELOG.md").read_text("utf-8"), **PAGES}
MOST_LINES = 200  # of the README: who opens it reads it to the end


def row(setting: Setting) -> str:
    """A setting's line in the table of docs/settings.md."""
    default = f"`{setting.default}`" if setting.default else ""
    text = setting.help.replace("<", "&lt;").replace("|", "\\|")
    return f"| `{setting.name}` | {default} | {text} |"


def code(text: str) -> Iterator[str]:
    """What Markdown shows as code: indented lines, fenced lines and `spans`."""
    fenced = False
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield line.strip()
        else:
            yield from re.findall(r"`([^`]+)`", line)


def commands(text: str, name: str) -> list[str]:
    """The commands in a text that call `name`, from the name on, without comments."""
    pattern = re.compile(rf"(?:^|[\s/]){re.escape(name)}(?=\s|$)")
    return [
        shlex.join(shlex.split(snippet[match.start() :].strip().lstrip("/"), comments=True))
        for snippet in code(text)
        if not snippet.startswith("#") and (match := pattern.search(snippet))
    ]


def test_the_settings_table_is_the_one_in_the_code() -> None:
    section = SETTINGS_PAGE.split("## Settings", 1)[1].split("\n## ", 1)[0]
    documented = [line for line in section.splitlines() if line.startswith("| `")]
    assert documented == [row(setting) for setting in SETTINGS]


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
    named = {command.split()[1] for text in DOCUMENTS.values() for command in commands(text, "make")}
    assert {"run", "test", "lint", "bench"} <= targets
    assert {"run", "test"} <= named
    assert named <= targets


def test_readme_opens_with_the_two_commands() -> None:
    assert commands(README, "make")[:2] == ["make run", "make test"]


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    assert len(README.splitlines()) < MOST_LINES
    linked = {target.partition("#")[0] for target in links(README)}
    assert sorted(set(PAGES) - linked) == []


def test_every_command_line_that_is_named_parses() -> None:
    named = [command for text in DOCUMENTS.values() for command in commands(text, "app.py")]
    makefile = re.findall(r"app\.py [a-z ]+", MAKEFILE)
    assert "app.py models list" in named
    for command in [*named, *makefile]:
        arguments = shlex.split(command)[1:]
        if "--version" not in arguments:
            cli.parser().parse_args(arguments)


def subparsers(parser: argparse.ArgumentParser, path: str) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, child in action.choices.items():
                yield f"{path} {name}", child, helps.get(name, "")
                yield from subparsers(child, f"{path} {name}")


def test_every_command_and_option_has_a_help_text_and_every_command_is_in_the_table() -> None:
    found = list(subparsers(cli.parser(), "python app.py"))
    table = SETTINGS_PAGE.split("## Commands", 1)[1].split("\n## ", 1)[0]
    assert {name for name, _, _ in found} >= {"python app.py serve", "python app.py models list"}
    for name, parser, text in found:
        assert text, name
        assert all(action.help for action in parser._actions if action.option_strings), name
        if not any(isinstance(action, argparse._SubParsersAction) for action in parser._actions):
            assert re.search(rf"`{name}[ `]", table), name
        for action in parser._actions:
            for option in action.option_strings:
                assert option in ("-h", "--help") or option in table, f"{name} {option}"


def test_the_example_env_file_names_only_what_exists() -> None:
    known = {setting.name for setting in SETTINGS}
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    named = {match.group(1) for line in lines if (match := re.match(r"#?([A-Z][A-Z0-9_]+)=", line))}
    assert named - known == {"QWEN_API_KEY"}, "the key of the endpoint that the file shows"
    assert {"ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OLLAMA_HOST", "PARLEY_ENDPOINTS"} <= named
    assert all(line == "" or line.startswith("#") for line in lines), "it sets nothing by itself"


def test_settings_that_the_texts_name_exist() -> None:
    known = {setting.name for setting in SETTINGS}
    for text in (DOCKERFILE, MAKEFILE, *DOCUMENTS.values()):
        assert set(re.findall(r"\bPARLEY_[A-Z][A-Z_]*[A-Z]\b", text)) <= known


def test_the_front_matter_is_a_docker_space_on_the_images_port() -> None:
    front: dict[str, Any] = yaml.safe_load(README.split("---\n")[1])
    colors = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert README.startswith("---\n")
    assert front["sdk"] == "docker"
    assert front["license"] == "apache-2.0"
    assert {front["colorFrom"], front["colorTo"]} <= colors
    assert f"PORT={front['app_port']}" in DOCKERFILE
    assert f"EXPOSE {front['app_port']}" in DOCKERFILE


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    newest = re.search(r"^## \[([\d.]+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest
    assert project["version"] == core.__version__ == newest.group(1)


def test_the_fields_formats_and_prompts_that_the_document_on_prompts_names() -> None:
    text = (ROOT / "docs/prompts.md").read_text("utf-8")
    sections = {part.partition("\n")[0]: part for part in text.split("\n## ")}

    def named(section: str) -> set[str]:
        return {name for row in re.findall(r"^\| (`.+?) \|", sections[section], re.M) for name in row.split("`")[1::2]}

    assert named("Files") == set(PromptFile.model_json_schema()["properties"]) - {"format"}
    assert named("Import and export") == {one.id for one in formats()}
    for name in named("The prompts that ship"):
        assert (ROOT / "prompts" / name / "v1.yaml").is_file(), name


def links(text: str) -> list[str]:
    """Where a document links to in this repository, with the heading behind a #."""
    return re.findall(r"\]\(([^):]+)\)", text)


def anchors(text: str) -> set[str]:
    """What a # can name in a document: its headings, as GitHub writes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    for link in links(DOCUMENTS[name]):
        target, _, anchor = link.partition("#")
        path = ((ROOT / name).parent / target).resolve() if target else ROOT / name
        assert path.exists(), link
        assert not anchor or anchor in anchors(path.read_text("utf-8")), link


def test_pages_that_the_program_names_exist() -> None:
    """In what it says to people; docstrings also name pages of other projects."""
    said = [(ROOT / ".env.example").read_text("utf-8"), DOCKERFILE, MAKEFILE]
    for path in (path for folder in ("core", "pages") for path in (ROOT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        strings = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docstrings)
        said += [node.value for node in strings if isinstance(node.value, str)]
    named = {page for text in said for page in re.findall(r"docs/[\w-]+\.md", text)}
    assert "docs/settings.md" in named
    assert sorted(named - set(PAGES)) == []


def test_the_pictures_are_small() -> None:
    pictures = sorted((ROOT / "docs").glob("*.png"))
    assert {f"docs/{picture.name}" for picture in pictures} <= set(links(README))
    assert all(picture.stat().st_size < 300_000 for picture in pictures)


@pytest.mark.parametrize("name", ["LICENSE", "CHANGELOG.md", ".env.example"])
def test_the_files_that_a_repository_needs(name: str) -> None:
    assert (ROOT / name).stat().st_size > 0


class TestTheChecks:
    """They see what they look for."""

    def test_code(self) -> None:
        text = "Run `make x`.\n\n    make y  # why\n\n```sh\nPORT=1 make z\n```\nWe make w and `remake v`."
        assert commands(text, "make") == ["make x", "make y", "make z"]

    def test_app(self) -> None:
        text = "`python app.py` and `.venv/bin/python app.py models list --json | head`, not `myapp.py x`."
        assert commands(text, "app.py")[0] == "app.py"
        assert commands(text, "app.py")[1].startswith("app.py models list --json")
        assert len(commands(text, "app.py")) == 2

    def test_links(self) -> None:
        assert links("[a](b.md) ![c](d.png) [e](f.md#g-h) [i](https://j.example/k)") == ["b.md", "d.png", "f.md#g-h"]

    def test_anchors(self) -> None:
        assert anchors("# Is it well?\n```\n# no\n```\n## A *b*, c-d\n") == {"is-it-well", "a-b-c-d"}

    def test_row(self) -> None:
        assert row(Setting("A", "", "One <of>|two.")) == "| `A` |  | One &lt;of>\\|two. |"
