"""`python app.py prompts …`: what it prints, its exit codes, and that it stands beside a running server."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.prompts import Registry
from core.prompts.content import parse_content
from core.settings import Settings
from tests.unit._prompts_cli import VERSION, Prompts, as_json, at_home

ROOT = Path(__file__).resolve().parents[2]


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
def refund(prompts: Prompts) -> Prompts:
    prompts.fill()
    return prompts


def test_list(refund: Prompts) -> None:
    refund("new", "hello", "--user", "Hi")
    code, out, _ = refund("list")
    assert code == 0
    assert [re.split(r"\s{2,}", line.strip()) for line in out.splitlines()] == [
        ["NAME", "LATEST", "LABELS", "TAGS", "DESCRIPTION"],
        ["hello", "v1"],
        ["support/refund", "v2", "production=v1", "support", "Answers about refunds"],
    ]
    found = as_json(refund("list", "--json"))
    assert [one["name"] for one in found] == ["hello", "support/refund"]
    assert found[1]["versions"] == [1, 2] and found[1]["labels"] == {"production": 1}
    for argv in (["refunds"], ["--tag", "support"], ["--label", "production"]):
        assert [one["name"] for one in as_json(refund("list", *argv, "--json"))] == ["support/refund"]
    assert refund("list", "nothing-like-it")[1] == "No prompt fits.\n"
    assert refund("list", "--label", "No Label")[0] == 1


def test_list_says_what_is_no_prompt(refund: Prompts, registry: Registry) -> None:
    (registry.root / "Team").mkdir()
    (registry.root / "link").symlink_to(registry.root / "support")
    out = refund("list")[1]
    assert "The folder 'Team' is left out" in out and "link is a link. Links are not followed." in out
    assert "Team" not in refund("list", "refund")[1]


def test_verify_gives_no_all_clear_when_a_prompt_is_gone(refund: Prompts, registry: Registry) -> None:
    shutil.rmtree(registry.root / "support")
    code, out, _ = refund("verify")
    assert code == 1 and "tampered: support/refund: support/refund is gone" in out and "all are" not in out


def test_an_empty_registry_says_what_to_do(prompts: Prompts) -> None:
    code, out, _ = prompts("list")
    assert code == 0 and "prompts new" in out
    assert as_json(prompts("list", "--json")) == []


def test_show(refund: Prompts) -> None:
    code, out, _ = refund("show", "support/refund@production")
    assert code == 0
    assert out.startswith("support/refund@1  production\nAnswers about refunds\nsaved 20")
    for line in (
        "change: the first one",
        "tags: support",
        "model: openai/gpt-6-luna",
        "parameters: temperature 0.2",
        '  shop: Who we are (default "Northwind")',
        '  question: (required; for example "Where is it?")',
    ):
        assert line in out.splitlines()
    templates = "[system]\nYou answer for {{ shop }}.\n\n[user]\n{{ question }}\n"
    assert out.endswith(f"\n{templates}")
    assert refund("show", "support/refund@1", "--template")[1] == templates
    assert "You speak" in refund("show", "support/refund")[1]
    found = as_json(refund("show", "support/refund@v1", "--json"))
    assert (found["version"], found["labels"], found["parameters"]) == (1, ["production"], {"temperature": 0.2})


def test_show_with_values(refund: Prompts) -> None:
    code, out, _ = refund("show", "support/refund@1", "--values", "question={{ 7*7 }}=x", "shop=Ada's")
    assert (code, out) == (0, "[system]\nYou answer for Ada's.\n\n[user]\n{{ 7*7 }}=x\n")
    found = as_json(refund("show", "support/refund@1", "--json", "--values", "question=q"))
    assert found["messages"] == [
        {"role": "system", "content": "You answer for Northwind."},
        {"role": "user", "content": "q"},
    ]
    refund("new", "list", "--user", "{% for one in names %}{{ one }};{% endfor %}")
    assert refund("show", "list", "--values", 'names:=["a", "b"]')[1] == "[user]\na;b;\n"
    assert "not JSON" in refund("show", "list", "--values", "names:=[")[2]
    code, out, err = refund("show", "support/refund@1", "--values")
    assert (code, out) == (1, "") and "question" in err
    assert refund("show", "support/refund@1", "--values", "question")[0] == 2


def test_show_sends_the_nearest_examples_only(prompts: Prompts) -> None:
    Path("shots.yaml").write_text(
        "messages: [{role: user, content: '{{ text }}'}]\nnearest: 1\nexamples:\n"
        "- {input: The parcel is late., output: delivery}\n- {input: The invoice is wrong., output: billing}\n"
    )
    assert prompts("new", "shots", "--file", "shots.yaml")[0] == 0
    out = prompts("show", "shots", "--values", "text=My bill shows the wrong amount.")[1]
    assert "billing" in out and "delivery" not in out
    assert "examples: 2, nearest sent: 1" in prompts("show", "shots")[1]


def test_diff(refund: Prompts) -> None:
    code, out, _ = refund("diff", "support/refund@1", "support/refund@2")
    lines = out.splitlines()
    assert code == 0
    assert lines[:2] == ["--- support/refund@1", "+++ support/refund@2"]
    assert lines[2:] == [
        "@@ System message @@",
        "-You answer for {{ shop }}.",
        "+You speak for {{ shop }}.",
        "@@ Parameters @@",
        "-temperature: 0.2",
        "+temperature: 0.7",
    ]
    assert "\x1b" not in out, "colours are for terminals"
    assert not any(word in out for word in ("hash", "seal", "author"))
    found = as_json(refund("diff", "support/refund@1", "support/refund@2", "--json"))
    assert (found["same"], found["fields"], found["diff"]) == (False, ["messages", "parameters"], out)
    assert as_json(refund("diff", "support/refund@1", "support/refund@production", "--json"))["same"] is True


def test_new_from_a_file_keeps_what_it_says(refund: Prompts, registry: Registry) -> None:
    first, second = registry.version("support/refund@1"), registry.version("support/refund@2")
    assert (first.author, first.change, first.tags, first.parent) == ("ada", "the first one", ("support",), None)
    assert (second.change, second.parent) == ("warmer", 1)
    assert refund("new", "support/refund", "--file", "refund.yaml") == (
        0,
        "support/refund@1 says the same already, so nothing was saved. The latest is v2, another one.\n",
        "",
    )
    same = "support/refund@2 says the same already, so nothing was saved.\n"
    assert refund("new", "support/refund", "--file", "second.yaml") == (0, same, "")
    found = as_json(refund("new", "support/refund", "--file", "refund.yaml", "--json"))
    assert found == {"name": "support/refund", "version": 1, "hash": first.hash, "created": False}


def test_new_takes_the_file_that_a_version_is(refund: Prompts, registry: Registry) -> None:
    stored = registry.root / "support" / "refund" / "v1.yaml"
    assert refund("new", "copy", "--file", str(stored))[0] == 0
    assert registry.version("copy").hash == registry.version("support/refund@1").hash


def test_new_from_standard_input(prompts: Prompts, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(VERSION.encode())))
    assert prompts("new", "piped", "--file", "-")[0] == 0
    assert registry.version("piped").description == "Answers about refunds"


def test_new_from_texts(refund: Prompts, registry: Registry) -> None:
    code, _, _ = refund("new", "support/refund", "--system", "Be {{ how }}.", "--user", "Hi", "--model", "a/b")
    version = registry.version("support/refund@3")
    assert code == 0
    assert [(one.role, one.content) for one in version.content.messages] == [
        ("system", "Be {{ how }}."),
        ("user", "Hi"),
    ]
    assert (version.content.model, list(version.content.variables)) == ("a/b", ["how"])
    assert (version.description, version.tags, version.parent) == ("Answers about refunds", ("support",), 2)


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["new", "x"], 2, "--file"),
        (["new", "x", "--file", "refund.yaml", "--user", "Hi"], 2, "--file"),
        (["new", "x", "--file", "nowhere.yaml"], 1, "nowhere.yaml cannot be read"),
        (["new", "x", "--file", "."], 1, "cannot be read"),
        (["new", "../x", "--user", "Hi"], 1, "cannot be the name"),
        (["new", "CON", "--user", "Hi"], 1, "con-1"),
        (["new", "x", "--user", "{{ a"], 1, "line 1"),
        (["new", "x", "--file", "wrong.yaml"], 1, "wrong.yaml, line 3"),
        (["new", "x", "--file", "field.yaml"], 1, "massages is not a field"),
        (["new", "x", "--file", "bytes.yaml"], 1, "not UTF-8"),
        (["new", "x", "--file", "large.yaml"], 1, "larger than 2 MB"),
        (["show", "support/refnud"], 1, "support/refund"),
        (["show", "support/refund@9"], 1, "no version 9"),
        (["show", "support/refund@1", "--template", "--values"], 2, "not allowed"),
        (["diff", "support/refund@1"], 2, "required"),
        (["diff", "support/refund@1", "support/refund@staging"], 1, "staging"),
        (["promote", "support/refund@2", "production"], 1, "reason"),
        (["promote", "support/refund@2", "latest"], 1, "automatic"),
        (["promote", "support/refund@2", "production", "--why", "x", "--expect", "2"], 1, "ada"),
        (["promote", "support/refund@2", "production", "--why", "x", "--expect", "two"], 2, "number"),
        (["rollback", "support/refund", "production", "--why", "x"], 1, "before"),
        (["rollback", "support/refund", "staging"], 1, "staging"),
        (["nonsense"], 2, "invalid choice"),
        ([], 2, "required"),
    ],
)
def test_what_cannot_be(refund: Prompts, tmp_path: Path, argv: list[str], code: int, says: str) -> None:
    (tmp_path / "wrong.yaml").write_text("messages:\n  - [")
    (tmp_path / "field.yaml").write_text("massages: []")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe")
    (tmp_path / "large.yaml").write_bytes(b"#" * 2_000_001)
    before = refund("list", "--json")[1]
    found, out, err = refund(*argv)
    assert (found, out) == (code, ""), err
    assert says in err and "Traceback" not in err
    assert refund("list", "--json")[1] == before, "nothing was changed"


def test_promote_and_rollback(refund: Prompts, registry: Registry) -> None:
    done = refund("promote", "support/refund", "production", "--why", "warmer", "--expect", "1")
    assert done == (0, "production of support/refund is v2 now; it was v1.\n", "")
    found = as_json(refund("rollback", "support/refund", "production", "--why", "too warm", "--json"))
    assert (found["name"], found["label"], found["from"], found["to"]) == ("support/refund", "production", 2, 1)
    assert (found["by"], found["why"]) == ("ada", "too warm")
    assert registry.labels("support/refund") == {"production": 1}
    done = refund("promote", "support/refund@production", "staging", "--expect", "0")
    assert done == (0, "staging of support/refund is v1 now; it was not set.\n", "")
    assert refund("promote", "support/refund@2", "staging", "--expect", "0")[0] == 1


def test_verify(refund: Prompts, registry: Registry) -> None:
    code, out, _ = refund("verify")
    assert code == 0 and out.startswith("2 versions of 1 prompt were read: all are as they were saved")
    assert as_json(refund("verify", "--json")) == {"intact": True, "findings": []}
    history = registry.root / "support" / "refund" / "labels.jsonl"
    history.write_text(history.read_text("utf-8").replace("tested", "tasted"), "utf-8")
    code, out, _ = refund("verify")
    assert code == 1 and "support/refund" in out and "tampered" in out
    code, out, _ = refund("verify", "--json")
    found = json.loads(out)
    assert (code, found["intact"], found["findings"][0]["severity"]) == (1, False, "tampered")


def test_verify_sees_a_version_that_was_changed(refund: Prompts, registry: Registry) -> None:
    path = registry.root / "support" / "refund" / "v2.yaml"
    path.write_text(path.read_text("utf-8").replace("0.7", "0.9"), "utf-8")
    code, out, _ = refund("verify")
    assert code == 1 and out.startswith("edited: support/refund: v2 ") and "all are" not in out
    assert "v2" in refund("list")[1], "the list says it, too"


def test_a_terminal_gets_colours_and_nothing_that_it_would_obey(
    refund: Prompts, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.save("evil", parse_content({"messages": [{"role": "user", "content": "a\x1b[2Jb\u202e\tc"}]}))
    assert "\x1b[2J" in refund("show", "evil")[1], "a file gets what is written"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    out = refund("show", "evil")[1]
    assert "\x1b" not in out and "\u202e" not in out and "\tc" in out
    out = refund("diff", "support/refund@1", "support/refund@2")[1]
    assert out.startswith("--- support/refund@1\n+++ support/refund@2\n\x1b[36m@@ System message @@\x1b[0m\n")
    assert "\x1b[31m-You answer for {{ shop }}.\x1b[0m\n" in out
    assert "\x1b[32m+You speak for {{ shop }}.\x1b[0m\n" in out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in refund("diff", "support/refund@1", "support/refund@2")[1]


def test_notes_and_errors_play_no_tricks_with_a_terminal(prompts: Prompts, registry: Registry) -> None:
    Path("evil.yaml").write_text('"a\\e]0;pwned\\a": 1\nmessages: []\n')
    code, out, err = prompts("new", "evil", "--file", "evil.yaml")
    assert code == 1 and "pwned" in err and not out
    assert "\x1b" not in err and "\x07" not in err
    Path("evil.json").write_text(
        json.dumps({"name": "hi", "type": "text", "prompt": "Hi", "config": {"a\x9b2Jb": 1}, "version": 1})
    )
    code, out, err = prompts("import", "evil.json", "--format", "langfuse")
    assert code == 0 and "2Jb" in err and "\x9b" not in err
    registry.save("evil", parse_content({"messages": [{"role": "user", "content": "a\x9b2J\u202eb"}]}))
    code, out, _ = prompts("show", "evil", "--json")
    assert "\x9b" not in out and "\u202e" not in out
    assert json.loads(out)["messages"][0]["content"] == "a\x9b2J\u202eb"


def test_somebody_without_a_name(prompts: Prompts, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("uid")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert prompts("new", "x", "--user", "Hi")[0] == 0
    assert registry.version("x").author == "local"


def app(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, ROOT / "app.py", *argv], capture_output=True, text=True, timeout=120)


def test_the_real_program_beside_a_server_that_watches(registry: Registry, tmp_path: Path) -> None:
    """It opens no database and takes no lock of the data folder, and what it saves the server has at once."""
    registry.start()
    done = app("prompts", "new", "hello", "--user", "Grüße, {{ who }}", "--json")
    assert done.returncode == 0, done.stderr
    assert registry.version("hello@1").content.messages[0].content == "Grüße, {{ who }}"
    done = app("prompts", "promote", "hello", "production", "--why", "nice")
    assert (done.returncode, done.stdout) == (0, "production of hello is v1 now; it was not set.\n")
    assert registry.labels("hello") == {"production": 1}
    assert not [path.name for path in (tmp_path / "data").iterdir() if not path.name.startswith("prompt-")]


def test_an_encoding_that_cannot_hold_it_loses_nothing(prompts: Prompts) -> None:
    prompts("new", "hello", "--user", "Grüße")
    environ = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [sys.executable, str(ROOT / "app.py"), "prompts", "show", "hello", "--template"]
    done = subprocess.run(command, env=environ, capture_output=True, timeout=120)
    assert done.stdout == "[user]\nGrüße\n".encode()
