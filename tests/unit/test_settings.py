from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import BadRequest, SettingsError
from core.names import check_label
from core.settings import SETTINGS, Settings

SECRET = "sk-secret-5up3r"


def read(**environ: str) -> Settings:
    return Settings.of(environ, env_file=None)


def refusal(**environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(**environ)
    return caught.value.what


def test_every_default_parses_and_every_row_has_a_help_text() -> None:
    settings = read()
    for setting in SETTINGS:
        settings[setting.name]
        assert setting.help.endswith("."), setting.name
    assert len({setting.name for setting in SETTINGS}) == len(SETTINGS)


def test_empty_means_the_default() -> None:
    assert read(PORT="", PARLEY_HOST="")["PORT"] == 7860


@pytest.mark.parametrize(
    ("name", "near"),
    [("PARLEY_HOTS", "PARLEY_HOST"), ("PARLEY_DATADIR", "PARLEY_DATA_DIR"), ("PARLEY_ENDPOINT", "PARLEY_ENDPOINTS")],
)
def test_an_unknown_name_is_refused_with_the_near_one(name: str, near: str) -> None:
    assert refusal(**{name: "x"}) == f"There is no setting called {name}. Did you mean {near}?"


def test_a_name_that_is_near_nothing_is_refused_without_a_guess() -> None:
    assert refusal(PARLEY_ZZZZZZ="x") == "There is no setting called PARLEY_ZZZZZZ."


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("PORT", "http", "is not a whole number"),
        ("PORT", "65536", "must lie between 0 and 65535"),
        ("PORT", "-1", "must lie between 0 and 65535"),
        ("PARLEY_RETRIES", "2.5", "is not a whole number"),
        ("PARLEY_IDLE_TIMEOUT", "soon", "is not a number of seconds"),
        ("PARLEY_IDLE_TIMEOUT", "nan", "must lie between 0.05 and 3600 seconds"),
        ("PARLEY_IDLE_TIMEOUT", "inf", "must lie between 0.05 and 3600 seconds"),
        ("PARLEY_CACHE", "maybe", "must be on or off"),
        ("PARLEY_SHARED", "perhaps", "must be one of on, off, auto"),
        ("PARLEY_TRUSTED_PROXIES", "10.0.0.1 *", "has '*', which is not an address or a network"),
        ("PARLEY_TRUSTED_PROXIES", "10.0.0.1/8", "which is not an address or a network"),
        ("PARLEY_ALLOWED_ORIGINS", "https://a.example/path", "which is not an origin"),
        ("PARLEY_ALLOWED_ORIGINS", "*", "has '*', which is not an origin"),
        ("PARLEY_FRAME_ANCESTORS", "https://a.example;script-src", "which is not an origin"),
        ("PARLEY_LOG_LEVEL", "loud", "must be one of debug, info, warning, error"),
        ("PARLEY_CONCURRENCY", "openai=lots", "has 'lots' for openai, which is not a positive whole number"),
        ("PARLEY_CONCURRENCY", "openai=0", "has '0' for openai, which is not a positive whole number"),
        ("PARLEY_CONCURRENCY", "openai=²", "has '²' for openai, which is not a positive whole number"),
        ("PARLEY_CONCURRENCY", "openai", "has 'openai', which is not name=value"),
        ("PARLEY_ENDPOINTS", "http://localhost:8000/v1", "has 'http://localhost:8000/v1', which is not name=value"),
        ("PARLEY_ENDPOINTS", "vllm=localhost:8000", "is not an address like http://host:8000"),
        ("PARLEY_ENDPOINTS", "vllm=http://[", "is not an address like http://host:8000"),
        ("OPENAI_BASE_URL", "localhost:8000", "is not an address like http://host:8000"),
        ("ANTHROPIC_BASE_URL", "http://[", "is not an address like http://host:8000"),
        ("OLLAMA_HOST", "http://[", "is not an address like http://127.0.0.1:11434"),
        ("OLLAMA_HOST", "host:port", "is not an address like http://127.0.0.1:11434"),
        ("PARLEY_CHROMA_URL", "http://host:port", "is not an address like http://host:8000"),
        ("PARLEY_ENDPOINTS", "a/b=http://x/v1", "use letters, digits, - and _"),
        ("PARLEY_PROTECTED_LABELS", "Production", "has 'Production', which no label can be called; use lower-case"),
        ("PARLEY_PROTECTED_LABELS", "live v3", "has 'v3', which no label can be called"),
        ("PARLEY_PROTECTED_LABELS", "latest", "has 'latest', which no label can be called"),
        ("PARLEY_PROTECTED_LABELS", "l" * 41, "which no label can be called"),
    ],
)
def test_a_bad_value_is_one_sentence_that_names_the_variable(name: str, value: str, reason: str) -> None:
    sentence = refusal(**{name: value})
    assert sentence.startswith(f"{name}={value} ")
    assert reason in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OLLAMA_API_KEY"])
@pytest.mark.parametrize("value", [f"{SECRET}\n{SECRET}", f"{SECRET} x", f"{SECRET}\x00", f"{SECRET}é", f"“{SECRET}”"])
def test_a_key_that_cannot_be_sent_is_refused_without_being_shown(name: str, value: str) -> None:
    sentence = refusal(**{name: value})
    assert sentence.startswith(f"{name} holds a space, a line break")
    assert SECRET not in sentence


def test_the_white_space_that_copying_brings_is_dropped() -> None:
    assert read(OPENAI_API_KEY=f"  {SECRET}\n")["OPENAI_API_KEY"] == SECRET


def test_an_endpoint_has_its_own_key() -> None:
    settings = read(PARLEY_ENDPOINTS="qwen=https://q.example/v1, my-vllm=http://localhost:8000/v1", MY_VLLM_API_KEY="k")
    assert settings["PARLEY_ENDPOINTS"] == {"qwen": "https://q.example/v1", "my-vllm": "http://localhost:8000/v1"}
    assert dict(settings.endpoint_keys) == {"my-vllm": "k"}
    sentence = refusal(PARLEY_ENDPOINTS="qwen=https://q.example/v1", QWEN_API_KEY=f"{SECRET}\nx")
    assert sentence.startswith("QWEN_API_KEY ")
    assert SECRET not in sentence


def test_secrets_are_not_in_the_repr() -> None:
    secrets = {setting.name: SECRET for setting in SETTINGS if setting.secret and "URL" not in setting.name}
    settings = read(
        **secrets,
        PARLEY_DATABASE_URL=f"postgresql://me:{SECRET}@localhost/parley",
        PARLEY_ENDPOINTS="qwen=https://q.example/v1",
        QWEN_API_KEY=SECRET,
    )
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings)


def test_folders_follow_the_data_folder(tmp_path: Path) -> None:
    settings = read(PARLEY_DATA_DIR=str(tmp_path))
    assert settings.models_dir == tmp_path / "models"
    assert settings.replay_dir == tmp_path / "replay"
    assert read(PARLEY_DATA_DIR=str(tmp_path), PARLEY_MODELS_DIR=str(tmp_path / "m")).models_dir == tmp_path / "m"


@pytest.mark.parametrize(
    ("host", "sharing", "loopback", "shared"),
    [
        ("127.0.0.1", "auto", True, False),
        ("127.0.0.2", "auto", True, False),
        ("::1", "auto", True, False),
        ("localhost", "auto", True, False),
        ("0.0.0.0", "auto", False, True),
        ("::", "auto", False, True),
        ("my-host", "auto", False, True),
        ("0.0.0.0", "off", False, False),
        ("127.0.0.1", "on", True, True),
    ],
)
def test_who_is_told_apart(host: str, sharing: str, loopback: bool, shared: bool) -> None:
    settings = read(PARLEY_HOST=host, PARLEY_SHARED=sharing)
    assert (settings.loopback, settings.shared) == (loopback, shared)


class TestEnvFile:
    def read(self, folder: Path, content: str | bytes, **environ: str) -> Settings:
        path = folder / ".env"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return Settings.of(environ, env_file=path)

    def refusal(self, folder: Path, content: str | bytes) -> str:
        with pytest.raises(SettingsError) as caught:
            self.read(folder, content)
        return str(caught.value)

    def test_the_environment_wins(self, tmp_path: Path) -> None:
        settings = self.read(tmp_path, "PORT=1111\nPARLEY_RETRIES=7\n", PORT="2222")
        assert (settings["PORT"], settings["PARLEY_RETRIES"]) == (2222, 7)

    def test_none_at_all_is_fine(self, tmp_path: Path) -> None:
        assert Settings.of({}, env_file=tmp_path / ".env")["PORT"] == 7860

    def test_byte_order_mark_and_windows_line_ends(self, tmp_path: Path) -> None:
        settings = self.read(tmp_path, b"\xef\xbb\xbfPORT=1111\r\n# a comment\r\n\r\nOPENAI_API_KEY=abc\r\n")
        assert (settings["PORT"], settings["OPENAI_API_KEY"]) == (1111, "abc")

    def test_quotes_and_export(self, tmp_path: Path) -> None:
        settings = self.read(tmp_path, "export PORT='1111'\nPARLEY_FALLBACKS=\"a/b c/d\" # two\n")
        assert (settings["PORT"], settings["PARLEY_FALLBACKS"]) == (1111, ("a/b", "c/d"))

    def test_an_unknown_name_in_it_is_refused(self, tmp_path: Path) -> None:
        assert "PARLEY_HOTS. Did you mean PARLEY_HOST?" in self.refusal(tmp_path, "PARLEY_HOTS=0.0.0.0\n")

    def test_names_of_other_programs_are_left_alone(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, "COMPOSE_PROJECT_NAME=x\n")["PORT"] == 7860

    def test_a_key_with_a_line_break_is_refused_without_being_shown(self, tmp_path: Path) -> None:
        sentence = self.refusal(tmp_path, f'OPENAI_API_KEY="{SECRET}\n{SECRET}"\n')
        assert sentence.startswith("OPENAI_API_KEY holds")
        assert SECRET not in sentence

    @pytest.mark.parametrize(
        "line", [f"OPENAI_API_KEY {SECRET}", f"PARLEY_HOST: {SECRET}", f"{SECRET}", f'PORT="{SECRET}']
    )
    def test_a_line_that_is_no_assignment_is_named_by_its_number(self, tmp_path: Path, line: str) -> None:
        sentence = self.refusal(tmp_path, f"PORT=1111\n\n\n{line}\n")
        assert sentence.startswith("Line 4 of .env cannot be read.")
        assert SECRET not in sentence

    def test_a_folder_in_its_place(self, tmp_path: Path) -> None:
        (tmp_path / ".env").mkdir()
        with pytest.raises(SettingsError, match="is a folder"):
            Settings.of({}, env_file=tmp_path / ".env")

    @pytest.mark.parametrize("content", [b"PORT=\xff\xfe\n", "PORT=1111\n".encode("utf-16")])
    def test_not_utf_8(self, tmp_path: Path, content: bytes) -> None:
        assert "UTF-8" in self.refusal(tmp_path, content)


@pytest.mark.parametrize(
    "label", ["a", "v", "v0", "v1a", "latest-1", "eu_2", "l" * 40, "V1", "é", "-a", "v1", "latest"]
)
def test_protected_labels_are_what_labels_can_be_called(label: str) -> None:
    try:
        check_label(label)
    except BadRequest:
        assert refusal(PARLEY_PROTECTED_LABELS=label)
    else:
        assert read(PARLEY_PROTECTED_LABELS=f"{label},live")["PARLEY_PROTECTED_LABELS"] == (label, "live")
