"""What the documents say is what the program does."""

from __future__ import annotations

import argparse
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


def row(setting: Setting) -> str:
    """A setting's line in the README's table."""
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
    section = README.split("## Settings", 1)[1].split("\n## ", 1)[0]
    documented = [line for line in section.splitlines() if line.startswith("| `")]
    assert documented == [row(setting) for setting in SETTINGS]


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
    named = {command.split()[1] for text in (README, *_other_documents()) for command in commands(text, "make")}
    assert {"run", "test", "lint", "bench"} <= targets
    assert {"run", "test"} <= named
    assert named <= targets


def test_readme_opens_with_the_two_commands() -> None:
    assert commands(README, "make")[:2] == ["make run", "make test"]


def _other_documents() -> list[str]:
    return [path.read_text("utf-8") for path in (ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))]


def test_every_command_line_that_is_named_parses() -> None:
    named = [command for text in (README, *_other_documents()) for command in commands(text, "app.py")]
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


def test_every_command_and_option_has_a_help_text_and_every_command_is_in_the_readme() -> None:
    found = list(subparsers(cli.parser(), "python app.py"))
    assert {name for name, _, _ in found} >= {"python app.py serve", "python app.py models list"}
    for name, parser, text in found:
        assert text, name
        assert all(action.help for action in parser._actions if action.option_strings), name
        if not any(isinstance(action, argparse._SubParsersAction) for action in parser._actions):
            assert re.search(rf"`{name}[ `]", README), name
        for action in parser._actions:
            for option in action.option_strings:
                assert option in ("-h", "--help") or option in README, f"{name} {option}"


def test_the_example_env_file_names_only_what_exists() -> None:
    known = {setting.name for setting in SETTINGS}
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    named = {match.group(1) for line in lines if (match := re.match(r"#?([A-Z][A-Z0-9_]+)=", line))}
    assert named - known == {"QWEN_API_KEY"}, "the key of the endpoint that the file shows"
    assert {"ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OLLAMA_HOST", "PARLEY_ENDPOINTS"} <= named
    assert all(line == "" or line.startswith("#") for line in lines), "it sets nothing by itself"


def test_settings_that_the_texts_name_exist() -> None:
    known = {setting.name for setting in SETTINGS}
    for text in (README, DOCKERFILE, MAKEFILE, *_other_documents()):
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


def test_links_lead_somewhere_and_the_picture_is_small() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
    for document in _other_documents():
        for target in re.findall(r"\]\(([^)#:]+)\)", document):
            assert (ROOT / "docs" / target).exists(), target
    assert (ROOT / "docs/chat.png").stat().st_size < 300_000


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

    def test_row(self) -> None:
        assert row(Setting("A", "", "One <of>|two.")) == "| `A` |  | One &lt;of>\\|two. |"
