"""`python app.py prompts import` and `export`."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.cli import _prompt_files
from core.cli.prompts import FORMATS
from core.prompts import Registry, formats
from core.prompts.formats import _given
from core.settings import Settings
from tests.prompt_files import empty_root
from tests.unit._prompts_cli import Prompts, as_json, at_home

OTHER = json.dumps(
    {
        "name": "greeting",
        "type": "chat",
        "prompt": [{"role": "system", "content": "Greet {{who}}."}],
        "config": {"temperature": 0.1, "unknown": 1},
        "version": 4,
        "labels": ["production", "latest"],
        "tags": ["hello"],
    }
)


@pytest.fixture(autouse=True)
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Callable[..., Settings]) -> Iterator[Registry]:
    at_home(tmp_path, monkeypatch)
    opened = Registry.open(settings())
    yield opened
    opened.close()


@pytest.fixture
def prompts(capfdbinary: pytest.CaptureFixture[bytes]) -> Prompts:
    return Prompts(capfdbinary)


@pytest.fixture
def included(prompts: Prompts) -> Prompts:
    """Beside support/refund, a prompt that includes another one."""
    prompts.fill()
    assert prompts("new", "shared/tone", "--system", "Be kind to {{ who }}.")[0] == 0
    assert prompts("new", "hello", "--user", "{% include 'shared/tone' %} Say hello.")[0] == 0
    return prompts


def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Registry:
    """Commands go to another, empty registry from now on."""
    root = tmp_path / "elsewhere"
    empty_root(root)
    monkeypatch.setenv("PARLEY_PROMPTS_DIR", str(root))
    return Registry(root, tmp_path / "data", ["production"])


def test_the_help_names_every_format() -> None:
    assert FORMATS.replace(" or ", ", ").split(", ") == [one.id for one in formats.formats()]


@pytest.mark.parametrize("out", ["all.json", "all.yaml", "-"])
def test_everything_there_and_back(
    included: Prompts, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    code, text, notes = included("export", "--out", out)
    assert (code, notes) == (0, "")
    source = out
    if out == "-":
        source = "piped.json"
        Path(source).write_text(text, "utf-8")
    else:
        assert text == f"Wrote {out}.\n"
    other = elsewhere(monkeypatch, tmp_path)
    code, text, notes = included("import", source, "--labels")
    assert (code, notes) == (0, "")
    assert "Saved support/refund@2." in text and "production of support/refund is v1 now." in text
    for name in ("hello", "shared/tone", "support/refund"):
        assert other.versions(name) == registry.versions(name)
        assert other.history(name) == registry.history(name)
    again = as_json(included("import", source, "--labels", "--json"))
    assert (again["saved"], again["labels"], len(again["unchanged"])) == ([], [], 4)


def test_labels_move_only_when_asked(
    included: Prompts, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    included("export", "--out", "all.json")
    other = elsewhere(monkeypatch, tmp_path)
    assert included("import", "all.json")[0] == 0
    assert not other.labels("support/refund")


def test_a_dry_run_says_what_would_be_and_does_nothing(included: Prompts, registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "greeting.json").write_text(OTHER)
    before = sorted(registry.root.rglob("*"))
    code, text, notes = included("import", "greeting.json", "--labels", "--dry-run")
    assert code == 0
    assert text == "Would save greeting@1.\nproduction of greeting would be v1 now.\n"
    assert "unknown" in notes
    assert sorted(registry.root.rglob("*")) == before
    found = as_json(included("import", "greeting.json", "--dry-run", "--json"))
    assert (found["dry_run"], found["format"], found["labels"]) == (True, "langfuse", [])
    assert [one["name"] for one in found["saved"]] == ["greeting"]
    assert any("unknown" in loss["field"] for loss in found["losses"])


def test_a_dry_run_copies_the_prompts_and_nothing_else(
    included: Prompts, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(registry.root / "pipe")
    os.mkfifo(registry.root / "hello" / "v2.yaml")
    (registry.root / "hello" / "notes.txt").write_text("mine")
    (registry.root / "hello" / "v7.yaml").symlink_to("v1.yaml")
    (registry.root / ".git").mkdir()
    (registry.root / ".git" / "v1.yaml").write_text("x")
    Path("hello.yaml").write_text("format: 1\nmessages: [{role: user, content: Another hello}]\n")
    seen: list[str] = []
    apply = formats.apply

    def spy(copy: Registry, *args: Any, **more: Any) -> Any:
        seen.extend(one.relative_to(copy.root).as_posix() for one in copy.root.rglob("*") if one.is_file())
        return apply(copy, *args, **more)

    monkeypatch.setattr(formats, "apply", spy)
    code, text, _ = included("import", "hello.yaml", "--dry-run")
    assert (code, text) == (0, "Would save hello@3.\n"), "a file that cannot be read keeps its number"
    own = {"hello/v1.yaml", "hello/v2.yaml", "shared/tone/v1.yaml", "support/refund/v1.yaml", "support/refund/v2.yaml"}
    assert {one for one in seen if "/" in one} == own | {"support/refund/labels.jsonl"}
    assert not {one for one in seen if one.endswith(".txt") or one.startswith(".git/")}


def test_a_dry_run_without_room_says_so(included: Prompts, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_prompt_files, "_copy", full)
    Path("greeting.json").write_text(OTHER)
    code, out, err = included("import", "greeting.json", "--dry-run")
    assert (code, out) == (1, "") and "cannot be copied to try it: No space left" in err


def test_a_pipe_in_a_folder_is_left_out(prompts: Prompts) -> None:
    Path("mixed").mkdir()
    os.mkfifo("mixed/pipe.json")
    Path("mixed/greeting.json").write_text(OTHER)
    assert prompts("import", "mixed")[1] == "Saved greeting@1.\n"


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_an_export_may_be_larger_than_the_files_of_others(
    included: Prompts, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(_given, "LARGEST", 1000)
    assert included("export", "--out", f"all.{form}")[0] == 0
    assert Path(f"all.{form}").stat().st_size > 1000
    other = elsewhere(monkeypatch, tmp_path)
    found = as_json(included("import", f"all.{form}", "--labels", "--json"))
    assert (found["format"], len(found["saved"])) == (form, 4)
    assert other.versions("support/refund") == registry.versions("support/refund")
    Path("large.json").write_text(OTHER + " " * 1000)
    code, _, err = included("import", "large.json")
    assert code == 1 and "large.json is larger than 0.001 MB" in err
    monkeypatch.setattr(_given, "LARGEST_OWN", 1100)
    code, _, err = included("import", f"all.{form}")
    assert code == 1 and f"all.{form} is larger than 0.0011 MB" in err


def test_import_from_standard_input(included: Prompts, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(OTHER.encode())))
    assert included("import", "-")[:2] == (0, "Saved greeting@1.\n")
    assert registry.version("greeting").tags == ("hello",)


def test_a_folder_of_files_there_and_back(
    included: Prompts, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, text, notes = included("export", "--format", "dotprompt", "--out", "out")
    assert code == 0
    assert sorted(text.splitlines()) == [
        f"Wrote {Path('out', name)}." for name in ("hello.prompt", "shared/tone.prompt", "support/refund.prompt")
    ]
    assert "support/refund: " in notes, "dotprompt cannot hold the history"
    assert "Be kind" in Path("out/hello.prompt").read_text("utf-8"), "includes are put in"
    other = elsewhere(monkeypatch, tmp_path)
    assert included("import", "out")[0] == 0
    assert [entry.name for entry in other.list()] == ["hello", "shared/tone", "support/refund"]
    assert other.version("support/refund").content.messages == registry.version("support/refund").content.messages


def test_a_registrys_own_folder_can_be_imported(
    included: Prompts, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(registry.root, tmp_path / "copy")
    other = elsewhere(monkeypatch, tmp_path)
    assert included("import", "copy")[0] == 0
    assert [version.content for version in other.versions("support/refund")] == [
        version.content for version in registry.versions("support/refund")
    ]


def test_the_files_of_versions_are_taken_in_the_order_of_their_numbers(prompts: Prompts, registry: Registry) -> None:
    Path("copy/tale").mkdir(parents=True)
    for number in (10, 9, 2):
        Path(f"copy/tale/v{number}.yaml").write_text(
            f"format: 1\nmessages: [{{role: user, content: Take {number}.}}]\n"
        )
    assert prompts("import", "copy")[0] == 0
    texts = [version.content.messages[0].content for version in registry.versions("tale")]
    assert texts == ["Take 10.", "Take 9.", "Take 2."]


def test_one_version_of_one_prompt(included: Prompts) -> None:
    code, text, _ = included("export", "support/refund@1", "--format", "prompty")
    assert code == 0 and "You answer" in text
    found = as_json(included("export", "support/refund@1", "--json"))
    [prompt] = json.loads(found["files"][0]["text"])["prompts"]
    assert [version["number"] for version in prompt["versions"]] == [1]
    assert prompt["labels"] == {"production": 1}
    found = as_json(included("export", "hello", "support/refund", "--format", "llm", "--json"))
    assert len(found["files"]) == 2 and found["losses"]
    done = as_json(included("export", "hello", "--out", "x.prompty", "--json"))
    assert (done["format"], done["files"]) == ("prompty", ["x.prompty"]), "the file's end says the format"


def test_files_that_belong_together_are_taken_together(included: Prompts, registry: Registry) -> None:
    Path("b.prompt").write_text("---\nmodel: a/b\n---\nSay {{who}}.\n")
    Path("c.json").write_text(OTHER)
    found = as_json(included("import", "b.prompt", "c.json", "--json"))
    assert [one["name"] for one in found["saved"]] == ["b", "greeting"]
    assert found["format"] == "dotprompt, langfuse"
    Path("broken.json").write_text(OTHER[:-5])
    Path("new.prompt").write_text("Say {{when}}.\n")
    code, out, err = included("import", "new.prompt", "broken.json")
    assert (code, out) == (1, "") and "broken.json, line 1" in err
    assert "new" not in [entry.name for entry in registry.list()], "nothing is half imported"


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["import", "nowhere.json"], "nowhere.json cannot be read"),
        (["import", "empty"], "no prompts in empty"),
        (["import", "x.bin"], "x.bin"),
        (["import", "x.json", "--format", "nonsense"], "nonsense"),
        (["import", "list.json", "--format", "langfuse"], "list.json"),
        (["import", "twice"], "same version"),
        (["export", "nobody"], "no prompt called nobody"),
        (["export", "hello@7"], "no version 7"),
        (["export", "../x"], "cannot be the name"),
        (["export", "--format", "nonsense"], "nonsense"),
        (["export", "--format", "llm"], "--out"),
        (["export", "hello", "--out", "prompts/x.json"], "inside of the registry"),
        (["export", "hello", "--out", "x.json/y.json"], "cannot be written"),
    ],
)
def test_what_cannot_be(included: Prompts, registry: Registry, argv: list[str], says: str) -> None:
    Path("empty").mkdir()
    Path("x.bin").write_bytes(b"\x00\xff")
    Path("x.json").write_text(OTHER)
    Path("list.json").write_text('{"name": 3}')
    for folder in ("twice", "twice/twice"):
        Path(folder).mkdir()
    for name in ("twice/a.json", "twice/twice/a.json"):
        Path(name).write_text(OTHER)
    before = sorted(registry.root.rglob("*"))
    code, out, err = included(*argv)
    assert (code, out) == (1, ""), err
    assert says in err and "Traceback" not in err
    assert sorted(registry.root.rglob("*")) == before
