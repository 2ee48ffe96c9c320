"""What went wrong, in core's errors: from an HTTP status, from an error inside a stream, from a broken connection.

The SDKs' exceptions are told apart by what they carry (`status_code` and `response`, or the cause that the HTTP client
gave), so that no SDK must be imported to explain an error.
"""

from __future__ import annotations

import datetime
import email.utils
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from core.errors import (
    AuthenticationFailed,
    BadRequest,
    BudgetExceeded,
    ContextTooLong,
    Interrupted,
    ModelNotFound,
    ModelUnavailable,
    ParleyError,
    PermissionDenied,
    ProviderTimedOut,
    ProviderUnavailable,
    RateLimited,
    Refused,
    TimedOut,
    Unreadable,
)
from core.providers._json import decode

LONGEST = 300

_SECRET = re.compile(
    r"""\b(?:sk|pk|rk|gsk|xai|key|hf|r8|nvapi|sess|api)[-_][\w\-*.]{6,}  # the usual prefixes, masked ones too
      | \bAIza[\w\-]{20,} | \beyJ[\w\-]+\.[\w\-]+\.[\w\-]*               # Google, JSON web tokens
      | \bBearer\s+\S+ | \b[0-9a-fA-F]{32,}\b | \b\w*\*{4,}\w*""",
    re.VERBOSE | re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"prompt is too long|context.?length|context.?window|context.?size|maximum context|exceed\w* (?:the )?context"
    r"|context limit|too many (?:input )?tokens|input token count|reduce the length of the (?:messages|prompt|input)"
    r"|input tokens exceed|too large for model",
    re.IGNORECASE,
)
_LIMITS = (  # the first that fits
    re.compile(r"> *([\d,]+)"),
    re.compile(r"([\d,]+) maximum", re.IGNORECASE),
    re.compile(
        r"(?:context (?:length|window|size)|maximum(?: number of tokens allowed)?|limit)(?: is| of|:)? *\(?([\d,]+)",
        re.IGNORECASE,
    ),
)
_NUMBER = re.compile(r"(?<![\w.-])\d[\d,]*(?![\w-])")  # not one inside a model's name
# By name, because aiohttp's own errors hide behind the wrong ones of httpx2: what is refused comes as ConnectTimeout.
_LATE = {"ServerTimeoutError", "SocketTimeoutError"}
_CLOSED = {"ServerDisconnectedError", "ClientOSError", "ClientPayloadError", "ConnectionResetError", "ReadError"}
_CLOSED |= {"RemoteProtocolError", "WriteError"}
_DISTRUSTED = {"ClientConnectorCertificateError", "SSLCertVerificationError"}
_ABSENT = {"ClientConnectorError", "ClientConnectorDNSError", "ClientConnectorSSLError", "ConnectionRefusedError"}
_OUT_OF_MONEY = ("insufficient_quota", "billing", "credit balance", "insufficient credit", "insufficient_balance")
_FILTERED = ("content_filter", "content_policy", "moderation", "flagged", "safety system")


@dataclass(frozen=True, slots=True)
class CallTarget:
    """Whom was asked for what: all that a sentence about a failure needs."""

    label: str
    address: str
    model: str = ""
    key_fix: str = "Check the key in Settings or in the environment."
    has_key: bool = True
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def where(self) -> str:
        return self.label if " at " in self.label else f"{self.label} at {self.address}"


def explain(error: Exception, target: CallTarget, *, began: bool = False) -> ParleyError:
    """The error for an exception of an SDK or of its HTTP client. `began`: part of the answer has arrived."""
    if isinstance(error, ParleyError):
        return error
    response = getattr(error, "response", None)
    if isinstance(response, httpx2.Response):
        return from_status(response.status_code, response.content, response.headers, target)
    chain = _chain(error)
    if any(isinstance(link, httpx2.DecodingError) for link in chain):
        return malformed(target, began=began)
    if began:
        return broken_off(target)
    names = {type(link).__name__ for link in chain}
    if "ConnectionTimeoutError" in names:
        return ProviderTimedOut(f"{target.where} did not take a connection in time.")
    if names & _LATE:
        return TimedOut(f"{target.where} did not answer in time.")
    if names & _CLOSED:
        return ModelUnavailable(f"{target.where} closed the connection without an answer.")
    if names & _DISTRUSTED:
        return ProviderUnavailable(
            f"The certificate of {target.address} is not trusted.",
            "Install this system's certificates (ca-certificates), or that of your own server.",
        )
    if not names & _ABSENT and any(isinstance(link, (httpx2.TimeoutException, TimeoutError)) for link in chain):
        if names & {"ConnectTimeout", "PoolTimeout"}:
            return ProviderTimedOut(f"{target.where} did not take a connection in time.")
        return TimedOut(f"{target.where} did not answer in time.")
    if any(isinstance(link, (httpx2.UnsupportedProtocol, httpx2.InvalidURL)) for link in chain):
        return BadRequest(f"{target.address} is not an address that can be called.", "Check the address.")
    if any(isinstance(link, (httpx2.HTTPError, OSError)) for link in chain):
        return ProviderUnavailable(
            f"{target.label.partition(' at ')[0]} cannot be reached at {target.address}.",
            "Check that the server runs, that the address is right, and the network.",
        )
    return ProviderUnavailable(f"The call to {target.label} failed ({type(error).__name__}).")


def from_status(status: int, body: bytes, headers: Mapping[str, str], target: CallTarget) -> ParleyError:
    """The error for an HTTP answer that is not a 2xx."""
    try:
        data = decode(body)
    except ValueError:
        text = body[:4096].decode("utf-8", "replace")
        data = {} if "<html" in text.lower() else {"message": text}
    return _classify(status, _inner(data), retry_after(headers), target)


def from_event(data: Any, target: CallTarget) -> ParleyError:
    """The error for an event, or a whole answer, that says `error` though the HTTP status was 200."""
    error = _inner(data)
    kind = f"{error.get('type') or ''} {error.get('code') or ''}".lower()
    code = error.get("code")
    status = code if isinstance(code, int) and 400 <= code < 600 else 0
    for word, meaning in _STATUS_OF_TYPE:
        if not status and word in kind:
            status = meaning
    return _classify(status or 500, error, None, target)


def broken_off(target: CallTarget) -> Interrupted:
    """The stream ended without its proper end."""
    return Interrupted(f"The answer of {target.label} broke off before its end.")


def malformed(target: CallTarget, *, began: bool) -> ParleyError:
    """An event, or an answer, that cannot be read."""
    if began:
        return Interrupted(f"{target.label} sent a part of the answer that cannot be read.")
    return Unreadable(
        f"{target.where} sent an answer that cannot be read.",
        "Check that the address is that of a model's API, or choose another model.",
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from `retry-after-ms` or `retry-after` (seconds or an HTTP date); None if there is none."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) * scale
        except ValueError:
            try:
                when = email.utils.parsedate_to_datetime(value)
            except ValueError:
                continue
            if when.tzinfo is None:
                when = when.replace(tzinfo=datetime.UTC)
            seconds = (when - datetime.datetime.now(datetime.UTC)).total_seconds()
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return None


def tidy(message: object, target: CallTarget) -> str:
    """A provider's own words: one line, bounded, and without anything that looks like a key. "" if it said nothing."""
    text = message if isinstance(message, str) else ""
    for secret in target.secrets:
        if len(secret) >= 8:
            text = text.replace(secret, "…")
    text = _SECRET.sub("…", " ".join(text[: 20 * LONGEST].split()))
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + "…"


_STATUS_OF_TYPE = (
    ("insufficient_quota", 402),
    ("billing", 402),
    ("overloaded", 529),
    ("rate_limit", 429),
    ("authentication", 401),
    ("invalid_api_key", 401),
    ("permission", 403),
    ("not_found", 404),
    ("too_large", 413),
    ("timeout", 408),
    ("server_error", 500),
    ("api_error", 500),
    ("context", 400),
    ("invalid", 400),
    ("content_filter", 400),
)


def _classify(status: int, error: Mapping[str, Any], wait: float | None, target: CallTarget) -> ParleyError:
    said = tidy(error.get("message") or error.get("detail"), target)
    words = f"{error.get('type') or ''} {error.get('code') or ''} {said}".lower()
    label = target.label
    quoted = f"{label} says: {_sentence(said)}" if said else ""
    if status == 402 or (status in (400, 403, 429) and any(word in words for word in _OUT_OF_MONEY)):
        return BudgetExceeded(f"The account with {label} has no credit or quota left.")
    if status in (400, 403, 422, 451) and any(word in words for word in _FILTERED):
        return Refused(quoted or f"{label} declined this request.")
    if status == 401:
        if not target.has_key:
            return AuthenticationFailed(f"{label} wants a key, and there is none.", target.key_fix)
        return AuthenticationFailed(f"{label} does not accept the key.", target.key_fix)
    if status == 403:
        return PermissionDenied(quoted or f"The key may not use {target.model or 'this'} at {label}.")
    if status in (400, 413, 422, 500) and ("exceed_context_size" in words or _TOO_LONG.search(words)):
        return _too_long(error, said, target)
    if status == 404:
        if "model" in words or not said:
            return ModelNotFound(f"{label} has no model called {target.model}, or it may not be used with this key.")
        return ModelNotFound(
            f"No chat service answers at {target.address}.", "Check the address; it often ends in /v1."
        )
    if status == 413:
        return ContextTooLong(
            f"The request is too large for {label}.", "Shorten the conversation, or leave attachments out."
        )
    if status == 429:
        soon = "" if wait is None else f" It asks to wait {wait:.0f} s."
        return RateLimited(f"{label} has received too many requests.{soon}", retry_after=wait)
    of_model = status in (500, 501) or "model" in said.lower()  # else a gateway's, or an overload of all
    if status in (408, 504):
        late = ProviderTimedOut if status == 504 and not of_model else TimedOut
        return late(f"{label} gave up on the request because it took too long.")
    if status >= 500:
        failed = ModelUnavailable if of_model else ProviderUnavailable
        if status in (503, 529) and not of_model:
            quoted = f"{label} is overloaded at the moment ({status})."
        return failed(quoted or f"{label} has an internal error ({status}).", retry_after=wait)
    if 300 <= status < 400:
        return BadRequest(f"{target.address} sends callers on to another address.", "Set the final address.")
    return BadRequest(quoted or f"{label} does not accept the request ({status}).")


def _too_long(error: Mapping[str, Any], said: str, target: CallTarget) -> ContextTooLong:
    prompt, limit = error.get("n_prompt_tokens"), error.get("n_ctx")
    if not (isinstance(prompt, int) and isinstance(limit, int)):
        limit = next((_number(found[1]) for pattern in _LIMITS if (found := pattern.search(said))), 0)
        others = [number for text in _NUMBER.findall(said) if (number := _number(text)) not in (0, limit)]
        prompt = max(others, default=0)
    if not prompt or not limit:
        return ContextTooLong(f"The conversation is too long for {target.model or target.label}.")
    return ContextTooLong(
        f"The conversation has {prompt:,} tokens and does not fit {target.model or target.label}, "
        f"which takes {limit:,}."
    )


def _number(text: str) -> int:
    digits = text.replace(",", "")
    return int(digits) if digits and len(digits) < 12 else 0


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _inner(data: Any) -> Mapping[str, Any]:
    """The object with type, code and message, wherever a server puts it."""
    if isinstance(data, list) and data:
        data = data[0]
    if not isinstance(data, dict):
        return {"message": data} if isinstance(data, str) else {}
    error = data.get("error")
    if isinstance(error, dict):
        return error
    if isinstance(error, str):
        return {**data, "message": error}
    return data


def _chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and len(chain) < 10:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return chain
