"""Every setting, in one table: name, default, help. Read from the environment or from `.env`."""

from __future__ import annotations

import difflib
import io
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from core.errors import SettingsError
from core.hosts import is_loopback, networks, origins


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table. `parse` raises ValueError with a reason that fits after "NAME=value: "."""

    name: str
    default: str
    help: str
    parse: Callable[[str], Any] = str
    secret: bool = False


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise ValueError("is not a whole number") from None
        if not low <= number <= high:
            raise ValueError(f"must lie between {low} and {high}")
        return number

    return parse


def _seconds(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            raise ValueError("is not a number of seconds") from None
        if not low <= number <= high:
            raise ValueError(f"must lie between {low:g} and {high:g} seconds")
        return number

    return parse


def _switch(text: str) -> bool:
    if text.lower() in ("on", "true", "yes", "1"):
        return True
    if text.lower() in ("off", "false", "no", "0", ""):
        return False
    raise ValueError("must be on or off")


def _choice(*options: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in options:
            raise ValueError(f"must be one of {', '.join(options)}")
        return text.lower()

    return parse


def _pairs(text: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for item in re.split(r"[,\s]+", text.strip()):
        if not item:
            continue
        name, equals, value = item.partition("=")
        if not equals or not name or not value:
            raise ValueError(f"has {item!r}, which is not name=value")
        pairs[name.lower()] = value
    return pairs


def _address(text: str) -> str:
    """An address to call, or nothing."""
    address = text.strip()
    if not address:
        return ""
    try:
        parts = urlsplit(address)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits:
        raise ValueError("is not an address like http://host:8000")
    return address


def _host(text: str) -> str:
    """An address in one of the forms that Ollama's programs take; its client fails at others as soon as it is loaded."""
    try:
        urlsplit(f"//{text.rpartition('://')[2]}").port  # noqa: B018
    except ValueError:
        raise ValueError("is not an address like http://127.0.0.1:11434") from None
    return text


def _endpoints(text: str) -> dict[str, str]:
    pairs = _pairs(text)
    for name, url in pairs.items():
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
            raise ValueError(f"has the name {name!r}; use letters, digits, - and _")
        try:
            _address(url)
        except ValueError as error:
            raise ValueError(f"has the address {url!r}, which {error}") from None
    return pairs


def _amounts(text: str) -> dict[str, int]:
    amounts: dict[str, int] = {}
    for name, value in _pairs(text).items():
        if not (value.isascii() and value.isdigit()) or int(value) == 0:
            raise ValueError(f"has {value!r} for {name}, which is not a positive whole number")
        amounts[name] = int(value)
    return amounts


def _list(text: str) -> tuple[str, ...]:
    return tuple(item for item in re.split(r"[,\s]+", text.strip()) if item)


def _labels(text: str) -> tuple[str, ...]:
    """Names of labels, by the rule of core.prompts: what none can have would protect nothing."""
    labels = _list(text)
    for label in labels:
        if not re.fullmatch(r"(?!v[1-9][0-9]{0,8}$|latest$)[a-z][a-z0-9_-]{0,39}", label):
            raise ValueError(f"has {label!r}, which no label can be called; use lower-case letters, digits, - and _")
    return labels


def _key(text: str) -> str:
    """A key, without the white space that copying brings. What cannot be a header is refused without being shown."""
    key = text.strip()
    if any(ord(c) < 33 or ord(c) > 126 for c in key):
        raise ValueError("holds a space, a line break or a character that no key has")
    return key


# fmt: off
SETTINGS: tuple[Setting, ...] = (
    Setting("PARLEY_HOST", "127.0.0.1", "Address to listen on. Other machines reach it only with 0.0.0.0 or an own address."),
    Setting("PORT", "7860", "Port to listen on.", _integer(0, 65535)),
    Setting("PARLEY_ROOT_PATH", "", "Path under which a reverse proxy serves the workbench, for example /parley."),
    Setting("PARLEY_DATA_DIR", "data", "Folder for everything that is made at run time."),
    Setting("PARLEY_MODELS_DIR", "", "Folder of *.gguf files for the embedded model. Empty: `models` in the data folder."),
    Setting("PARLEY_DATABASE_URL", "", "PostgreSQL address (postgresql://user:password@host/name). Empty: SQLite in the data folder.", secret=True),
    Setting("PARLEY_CHROMA_URL", "", "Address of a Chroma server (http://host:port). Empty: `chroma` in the data folder.", _address),
    Setting("PARLEY_EMBEDDER", "wordllama", "What turns texts into vectors for search by meaning: wordllama, onnx, ollama/<model> or openai/<model>."),
    Setting("PARLEY_DEFAULT_MODEL", "", "Model that a new chat begins with. Empty: the last one used, else the embedded one."),
    Setting("PARLEY_ENDPOINTS", "", "OpenAI-compatible endpoints, name=address with spaces between; the key of `qwen` is read from QWEN_API_KEY.", _endpoints),
    Setting("ANTHROPIC_API_KEY", "", "Key for Claude.", _key, secret=True),
    Setting("ANTHROPIC_BASE_URL", "", "Another address that speaks Anthropic's Messages API.", _address),
    Setting("OPENAI_API_KEY", "", "Key for GPT.", _key, secret=True),
    Setting("OPENAI_BASE_URL", "", "Another address that speaks OpenAI's Chat Completions API. Empty: api.openai.com with the Responses API.", _address),
    Setting("OLLAMA_HOST", "http://127.0.0.1:11434", "Address of the Ollama server.", _host),
    Setting("OLLAMA_API_KEY", "", "Key for an Ollama server that wants one.", _key, secret=True),
    Setting("PARLEY_EMBEDDED", "on", "The model that runs inside Parley: on or off.", _switch),
    Setting("PARLEY_EMBEDDED_CONTEXT", "8192", "Context window of the embedded model in tokens, for each of its four slots.", _integer(512, 131072)),
    Setting("PARLEY_REPLAY_DIR", "", "Folder of recordings (*.jsonl) offered as replay/<name>. Empty: `replay` in the data folder."),
    Setting("PARLEY_CONCURRENCY", "embedded=4 ollama=4 *=64", "Calls at once for each provider; * is every other provider. One visitor of a shared server has at most half of them, and of the limits a minute.", _amounts),
    Setting("PARLEY_REQUESTS_PER_MINUTE", "", "Requests a minute for each provider, for example anthropic=50. Empty: no limit.", _amounts),
    Setting("PARLEY_TOKENS_PER_MINUTE", "", "Input and output tokens a minute for each provider. Empty: no limit.", _amounts),
    Setting("PARLEY_VISITOR_REQUESTS_PER_DAY", "200", "Calls a day (UTC) with the server's keys for each anonymous visitor of a shared server; five times as many for each network address. 0: no limit.", _integer(0, 10**9)),
    Setting("PARLEY_RETRIES", "2", "How often a failed call is tried again before the first token.", _integer(0, 10)),
    Setting("PARLEY_RETRY_MAX_WAIT", "20", "Longest wait before another try, also when the provider asks for more.", _seconds(0, 600)),
    Setting("PARLEY_FIRST_TOKEN_TIMEOUT", "120", "Seconds to wait for the first token; five times as long once the provider has accepted the request, or for an answer in one piece.", _seconds(0.05, 3600)),
    Setting("PARLEY_IDLE_TIMEOUT", "60", "Seconds to wait for the next token of a running answer.", _seconds(0.05, 3600)),
    Setting("PARLEY_BREAKER_FAILURES", "5", "Failures in a row that stop calls to a provider, or to one of its models if only that fails.", _integer(1, 1000)),
    Setting("PARLEY_BREAKER_SECONDS", "30", "Seconds until a stopped provider or model is tried again.", _seconds(0.05, 3600)),
    Setting("PARLEY_FALLBACKS", "", "Models to try in order when the chosen one is unavailable.", _list),
    Setting("PARLEY_CACHE", "off", "Answer identical requests at temperature 0 from earlier answers: on or off.", _switch),
    Setting("PARLEY_PRICES", "", "Own price table (YAML) that goes before all others. Empty: `prices.own.yaml` in the data folder, when there is one."),
    Setting("PARLEY_PROMPTS_DIR", "prompts", "Folder of the prompt registry. A new one begins with the prompts that ship with Parley."),
    Setting("PARLEY_PROMPTS_WRITE", "auto", "Whether prompts can be saved and labels moved in the browser: on, off, or auto (on unless visitors are told apart).", _choice("on", "off", "auto")),
    Setting("PARLEY_PROTECTED_LABELS", "production", "Labels that move only with a reason, with spaces between.", _labels),
    Setting("PARLEY_API_KEYS", "", "Keys that open /v1, with spaces between. Empty: /v1 is open to programs on this machine, and off on a shared server and behind a proxy.", _list, secret=True),
    Setting("PARLEY_SHARED", "auto", "Whether each visitor has their own conversations: on, off, or auto (on unless the address is 127.0.0.1).", _choice("on", "off", "auto")),
    Setting("PARLEY_TRUSTED_PROXIES", "", "Addresses and networks (10.0.0.0/8) of proxies whose X-Forwarded-For, -Proto and -Host are believed. Empty: none, or on a Hugging Face Space its own.", networks),
    Setting("PARLEY_ALLOWED_ORIGINS", "", "Sites whose pages may call /v1 and /api/v1 with a key, for example https://app.example.", origins),
    Setting("PARLEY_FRAME_ANCESTORS", "", "Sites that may show the workbench in a frame. Empty: none, or on a Hugging Face Space huggingface.co.", origins),
    Setting("SPACE_ID", "", "Set by Hugging Face on a Space."),
    Setting("PARLEY_SECRET", "", "Signs the visitors' cookies. Empty: a random one, kept in the data folder.", secret=True),
    Setting("PARLEY_UNWATCHED_SECONDS", "60", "An answer that nobody watches any more (closed tab) is stopped after so many seconds.", _seconds(1, 86400)),
    Setting("PARLEY_MAX_UPLOAD_MB", "20", "Largest file that can be attached.", _integer(1, 1000)),
    Setting("PARLEY_VISITOR_UPLOADS_MB", "200", "Most that one visitor's uploads may take until they are sent. Unsent ones are removed within an hour.", _integer(1, 1_000_000)),
    Setting("PARLEY_UPLOADS_MB", "1000", "Most that all visitors' uploads together may take until they are sent.", _integer(1, 1_000_000)),
    Setting("PARLEY_LOG_LEVEL", "info", "debug, info, warning or error.", _choice("debug", "info", "warning", "error")),
    Setting("PARLEY_LOG_FORMAT", "console", "console or json.", _choice("console", "json")),
    Setting("PARLEY_LOG_CONTENT", "off", "Whether the log holds messages: on or off. Keys are never logged.", _switch),
)
# fmt: on
_BY_NAME = {setting.name: setting for setting in SETTINGS}


@dataclass(frozen=True)
class Settings:
    """The parsed settings. `settings["PARLEY_HOST"]` gives the parsed value; the properties below derive from several."""

    values: Mapping[str, Any] = field(repr=False)
    endpoint_keys: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @property
    def data_dir(self) -> Path:
        return Path(self["PARLEY_DATA_DIR"]).expanduser().absolute()

    @property
    def models_dir(self) -> Path:
        own = self["PARLEY_MODELS_DIR"]
        return Path(own).expanduser().absolute() if own else self.data_dir / "models"

    @property
    def replay_dir(self) -> Path:
        own = self["PARLEY_REPLAY_DIR"]
        return Path(own).expanduser().absolute() if own else self.data_dir / "replay"

    @property
    def prompts_dir(self) -> Path:
        return Path(self["PARLEY_PROMPTS_DIR"]).expanduser().absolute()

    @property
    def prompts_writable(self) -> bool:
        """Whether who uses the browser may save prompts and move labels."""
        return not self.shared if self["PARLEY_PROMPTS_WRITE"] == "auto" else self["PARLEY_PROMPTS_WRITE"] == "on"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self["PARLEY_HOST"])

    @property
    def shared(self) -> bool:
        """Whether visitors are told apart."""
        return not self.loopback if self["PARLEY_SHARED"] == "auto" else self["PARLEY_SHARED"] == "on"

    @classmethod
    def of(cls, environ: Mapping[str, str] | None = None, env_file: Path | None = Path(".env")) -> Settings:
        """Read the environment, over `.env`. Raises SettingsError with one clear sentence."""
        merged = {} if env_file is None else _read_env_file(env_file)
        merged.update(os.environ if environ is None else environ)

        for name in sorted(merged):
            if name.startswith("PARLEY_") and name not in _BY_NAME:
                near = difflib.get_close_matches(name, _BY_NAME, 1)
                hint = f" Did you mean {near[0]}?" if near else ""
                raise SettingsError(f"There is no setting called {name}.{hint}")

        values = {setting.name: _parse(setting, merged.get(setting.name) or setting.default) for setting in SETTINGS}
        keys: dict[str, str] = {}
        for endpoint in values["PARLEY_ENDPOINTS"]:
            variable = endpoint.upper().replace("-", "_") + "_API_KEY"
            if key := merged.get(variable, ""):
                keys[endpoint] = _parse(Setting(variable, "", "", _key, secret=True), key)
        return cls(values, keys)


def _read_env_file(path: Path) -> dict[str, str]:
    """The NAME=value lines of a `.env`; nothing when there is none. Raises SettingsError without quoting the file."""
    if not path.exists():
        return {}
    if path.is_dir():
        raise SettingsError("The file .env is a folder.", "Remove it, or put a text of NAME=value lines in its place.")
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise SettingsError("The file .env cannot be read.", "It must be a UTF-8 text of NAME=value lines.") from None
    for binding in parse_stream(io.StringIO(text)):
        if binding.error or (binding.key is not None and binding.value is None):
            blank = binding.original.string[: -len(binding.original.string.lstrip()) or None]
            line = binding.original.line + blank.count("\n")
            raise SettingsError(f"Line {line} of .env cannot be read.", "Every line must have the form NAME=value.")
    found = dotenv_values(stream=io.StringIO(text))
    return {name: value for name, value in found.items() if value is not None}


def _parse(setting: Setting, text: str) -> Any:
    try:
        return setting.parse(text)
    except ValueError as error:
        shown = setting.name if setting.secret else f"{setting.name}={text}"
        raise SettingsError(f"{shown} {error}.") from None
