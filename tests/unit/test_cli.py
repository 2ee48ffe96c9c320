from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

import core
from core import cli
from core.cli import _model_list
from core.errors import ProviderUnavailable, SettingsError
from core.models.catalog import ProviderModels
from core.models.info import ModelInfo
from core.models.prices import Prices
from core.providers import Status
from core.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("gradio", "pandas", "anthropic", "openai", "chromadb", "sqlalchemy", "numpy", "pydantic", "fastapi", "asyncio")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No .env of the developer's, and a data folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARLEY_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")


class Serving:
    """Stands for the server: keeps the settings that it was started with."""

    def __init__(self, answer: int | None = 0) -> None:
        self.answer = answer
        self.settings: list[Settings] = []

    def __call__(self, settings: Settings) -> int | None:
        self.settings.append(settings)
        return self.answer


@pytest.mark.parametrize("argv", [[], ["serve"]])
def test_it_serves_with_and_without_the_word(argv: list[str]) -> None:
    serve = Serving()
    assert cli.main(argv, serve) == 0
    assert [(s["PARLEY_HOST"], s["PORT"]) for s in serve.settings] == [("127.0.0.1", 7860)]


@pytest.mark.parametrize(
    "argv",
    [
        ["--host", "0.0.0.0", "--port", "8000"],
        ["serve", "--host", "0.0.0.0", "--port", "8000"],
        ["--host", "0.0.0.0", "serve", "--port", "8000"],
        ["--port", "1", "--host", "0.0.0.0", "serve", "--port", "8000"],
    ],
)
def test_the_address_goes_before_the_settings(argv: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9999")
    serve = Serving()
    cli.main(argv, serve)
    assert [(s["PARLEY_HOST"], s["PORT"]) for s in serve.settings] == [("0.0.0.0", 8000)]


def test_the_servers_exit_code_is_the_programs() -> None:
    assert cli.main([], Serving(3)) == 3
    assert cli.main([], Serving(None)) == 0


def test_a_wrong_setting_is_one_sentence_and_code_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARLEY_HOTS", "x")
    serve = Serving()
    assert cli.main([], serve) == 2
    captured = capsys.readouterr()
    assert serve.settings == []
    assert captured.out == ""
    expected = "parley: There is no setting called PARLEY_HOTS. Did you mean PARLEY_HOST? "
    expected += "docs/settings.md lists every setting."
    assert captured.err.strip() == expected


def test_a_port_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--port", "http"], Serving()) == 2
    assert capsys.readouterr().err.startswith("parley: PORT=http is not a whole number.")


def test_other_errors_are_one_sentence_and_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    def serve(_: Settings) -> int:
        raise ProviderUnavailable("It is not there.", "Switch it on.")

    assert cli.main([], serve) == 1
    assert capsys.readouterr().err == "parley: It is not there. Switch it on.\n"


def test_a_setting_that_the_server_refuses_is_code_2() -> None:
    def serve(_: Settings) -> int:
        raise SettingsError("The port is taken.")

    assert cli.main([], serve) == 2


def test_an_interrupted_server_leaves_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def serve(_: Settings) -> int:
        raise KeyboardInterrupt

    assert cli.main([], serve) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("argv", [["nonsense"], ["models"], ["models", "nonsense"], ["--nonsense"]])
def test_a_command_that_does_not_exist_is_code_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(argv, Serving())
    assert stopped.value.code == 2
    assert "usage: python app.py" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--version"], Serving())
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"Parley {core.__version__}\n"


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from core import cli; cli.parser().format_help(); "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def group(provider: str, status: Status, *models: ModelInfo) -> ProviderModels:
    return ProviderModels(provider, provider.title(), True, status, models)


FOUND = [
    group(
        "embedded",
        Status("ready"),
        ModelInfo("embedded/smollm2-135m", context=8192, note="demonstration model, expect mistakes"),
    ),
    group(
        "openai",
        Status("no_key", "No key for OpenAI.", "Add OPENAI_API_KEY."),
        ModelInfo("openai/gpt-6-luna", context=1_050_000, live=False, retires=datetime.date(2026, 12, 11)),
    ),
    group("vllm", Status("unreachable", "vllm does not answer.", "Start it."), ModelInfo("vllm/nobody-knows-it")),
    group("empty", Status("ready")),
]


def test_the_table(settings: Callable[..., Settings]) -> None:
    text = _model_list.as_text(FOUND, Prices(settings()), datetime.date(2026, 11, 20))
    lines = text.splitlines()
    assert "Embedded (embedded): ready" in lines
    assert "Openai (openai): No key for OpenAI. Add OPENAI_API_KEY." in lines
    assert "Vllm (vllm): vllm does not answer. Start it." in lines
    assert lines[-2:] == ["", _model_list.LEGEND]
    cells = {line.split()[0]: line.split() for line in lines if line.startswith("  ")}
    assert cells["MODEL"] == ["MODEL", "CONTEXT", "IN", "OUT", "NOTE"]
    assert cells["embedded/smollm2-135m"][:4] == ["embedded/smollm2-135m", "8,192", "0", "0"]
    assert cells["openai/gpt-6-luna"][1:4] == ["1,050,000", "0.1", "0.5"]
    assert cells["openai/gpt-6-luna"][4:] == ["retires", "2026-12-11"]
    assert cells["vllm/nobody-knows-it"][1:] == ["-", "-", "-"], "what is not known is not free"
    ends = {line.index("OUT") + len("OUT") for line in lines if "MODEL" in line.split()}
    assert len(ends) == 1, "one layout for all providers"


def test_the_table_of_nothing(settings: Callable[..., Settings]) -> None:
    assert _model_list.as_text([], Prices(settings()), datetime.date(2026, 11, 20)).strip() == _model_list.LEGEND


@pytest.mark.parametrize(("rate", "shown"), [("0", "0"), ("0.10", "0.1"), ("1E+1", "10"), ("0.003625", "0.003625")])
def test_rates_have_no_needless_digits(rate: str, shown: str) -> None:
    assert _model_list._dollars(Decimal(rate)) == shown


def test_the_json(settings: Callable[..., Settings]) -> None:
    found = json.loads(_model_list.as_json(FOUND, Prices(settings())))
    assert [entry["provider"] for entry in found] == ["embedded", "openai", "vllm", "empty"]
    assert (found[1]["state"], found[1]["fix"]) == ("no_key", "Add OPENAI_API_KEY.")
    assert found[1]["models"][0]["retires"] == "2026-12-11"
    assert found[1]["models"][0]["prices"][0]["input"] == 0.1
    assert found[0]["models"][0]["prices"][0]["output"] == 0
    assert found[0]["models"][0]["abilities"]["temperature"] is True
    assert found[2]["models"][0]["prices"] is None


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "app.py", *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_models_list_with_the_real_providers() -> None:
    done = run("models", "list", "--json", OPENAI_API_KEY="", ANTHROPIC_API_KEY="")
    assert done.returncode == 0, done.stderr
    states = {entry["provider"]: entry["state"] for entry in json.loads(done.stdout)}
    assert states["anthropic"] == states["openai"] == "no_key"
    assert states["ollama"] == "unreachable"
    assert "embedded" in states


def test_a_reader_that_has_read_enough_is_no_error() -> None:
    program = f"'{sys.executable}' '{ROOT / 'app.py'}' models list --json | head -c 1"
    done = subprocess.run(["sh", "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("[", "")


def test_a_wrong_setting_stops_the_real_program() -> None:
    done = run(PORT="http")
    assert done.returncode == 2
    assert done.stderr.startswith("parley: PORT=http is not a whole number.")
    assert "Traceback" not in done.stderr
