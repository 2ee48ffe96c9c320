"""What is written to the log: structured, on stderr, without keys and, unless asked for, without contents.

Everything goes through the same processors, also what libraries log by the standard `logging`.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from core.errors import ParleyError
from core.settings import SETTINGS, Settings

HIDDEN = "[hidden]"
SHORTEST_SECRET = 6  # a shorter one would hide ordinary words

# Fields that hold what people and models write. Their length is logged instead.
CONTENT = re.compile(
    r"answer|arguments|body|completion|contents?|data|document|input|messages?|output|prompt|question|system|texts?|"
    r"thinking|title|tools"
)
# Fields that hold secrets, also as the last words of a longer name (openai_api_key, x-parley-session).
SECRET = re.compile(
    r"(?i)(^|[_\-.])(keys?|authorization|bearer|password|passwd|secrets?|credentials?|cookies?|session)$"
    r"|(^|(auth|access|api|refresh|bearer)[_\-])token$"
)
# Values that look like keys, wherever they stand.
KEYS = re.compile(
    r"""(?x)
      \b(?:sk|pk|rk|gsk|xai|hf|ghp|gho|ghs|github_pat|glpat|r8|nvapi|pplx|fw|tgp|csk|AIza|AKIA|ASIA|xox[abp])
        (?:[-_][A-Za-z0-9_\-]{8,}|[A-Za-z0-9_\-]{16,})
    | \beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]+
    | (?<=://)[^\s/@]+(?=@)
    """
)
NAMED = re.compile(
    r"(?i)\b(bearer\s+|basic\s+|(?:x-)?api[_-]?key[\"']?\s*[=:]\s*[\"']?|[?&](?:key|token|api_key)=)[^\s\"'&,;]+"
)
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")  # would let a text play tricks with a terminal

# These say too much, or say the same again.
QUIET = ("httpx", "httpx2", "httpcore", "httpcore2", "openai", "anthropic", "chromadb", "alembic", "urllib3", "asyncio")


def setup(settings: Settings, stream: TextIO | None = None) -> None:
    """Set up structlog and the standard `logging`. Safe to call again."""
    stream = sys.stderr if stream is None else stream
    level = logging.getLevelNamesMapping()[settings["PARLEY_LOG_LEVEL"].upper()]
    as_json = settings["PARLEY_LOG_FORMAT"] == "json"
    redact = redactor(_secrets(settings), contents=settings["PARLEY_LOG_CONTENT"])
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _plain_exceptions(contents=settings["PARLEY_LOG_CONTENT"]),
        redact,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    last: Processor = (
        structlog.processors.JSONRenderer(default=repr)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    root = logging.getLogger()
    for old in [h for h in root.handlers if getattr(h, "parley", False)]:
        root.removeHandler(old)
    handler.parley = True  # type: ignore[attr-defined]
    root.addHandler(handler)
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def redactor(secrets: Iterable[str] = (), *, contents: bool = False) -> Processor:
    """A processor that hides `secrets`, all that looks like a key and, unless `contents`, what people wrote."""
    known = sorted({secret for secret in secrets if len(secret) >= SHORTEST_SECRET}, key=len, reverse=True)
    exactly = re.compile("|".join(map(re.escape, known))) if known else None

    def hide(text: str) -> str:
        if exactly is not None:
            text = exactly.sub(HIDDEN, text)
        return CONTROL.sub("?", NAMED.sub(rf"\g<1>{HIDDEN}", KEYS.sub(HIDDEN, text)))

    def clean(value: Any, name: str = "") -> Any:
        if isinstance(value, bool | int | float) or value is None:
            return value
        if name and SECRET.search(name):
            return HIDDEN
        if name and not contents and CONTENT.fullmatch(name):
            return _size(value)
        if isinstance(value, str):
            return hide(value)
        if isinstance(value, Mapping):
            return {hide(str(key)): clean(inner, str(key).lower()) for key, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [clean(inner) for inner in value]
        return hide(str(value))

    def process(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        for name, value in event.items():
            if not name.startswith("_"):
                event[name] = hide(str(value)) if name == "event" else clean(value, name.lower())
        return event

    return process


def describe(error: BaseException, *, contents: bool = False) -> str:
    """Where an exception came from. Its own words are left out unless they are ours: they may quote a message."""
    parts: list[str] = []
    current: BaseException | None = error
    seen: set[int] = set()
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        frames = "".join(traceback.format_tb(current.__traceback__))
        parts.append(f"{frames}{type(current).__module__}.{type(current).__qualname__}{_words(current, contents)}")
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\ncaused by\n".join(parts)


def _words(error: BaseException, contents: bool) -> str:
    if contents or isinstance(error, ParleyError):
        return f": {error}"
    return f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""


def _plain_exceptions(*, contents: bool) -> Processor:
    def process(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        found = event.pop("exc_info", None)
        if found is True:
            found = sys.exc_info()[1]
        elif isinstance(found, tuple):
            found = found[1]
        if isinstance(found, BaseException):
            event["exception"] = describe(found, contents=contents)
        return event

    return process


def _size(value: Any) -> str:
    return f"[{len(value)} characters]" if isinstance(value, str) else HIDDEN


def _secrets(settings: Settings) -> list[str]:
    """Every secret of the settings, and the passwords within addresses."""
    found: list[str] = list(settings.endpoint_keys.values())
    for setting in SETTINGS:
        if setting.secret:
            value = settings[setting.name]
            found += [value] if isinstance(value, str) else value
    return [secret for secret in found if secret]
