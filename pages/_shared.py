"""What every page needs: numbers as people read them, who is asking, and errors that say what to do."""

from __future__ import annotations

import datetime
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from html import escape
from typing import Any

import gradio as gr
import structlog
from starlette.requests import Request

from core.errors import ParleyError

log = structlog.get_logger()

NANO = 1_000_000_000
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
QUICK: dict[str, Any] = {**PRIVATE, "queue": False}
UNEXPECTED = "Something went wrong inside Parley. Try again; the server's log says more."


def money(nano: int | None) -> str:
    """Nano-dollars as $0, $0.0012 or $1.23; None is an unknown price and says so."""
    if nano is None:
        return "price unknown"
    if nano == 0:
        return "$0"
    dollars = nano / NANO
    sign, size = ("-" if dollars < 0 else ""), abs(dollars)
    if size >= 1:
        return f"{sign}${size:,.2f}"
    if size < 1e-6:
        return f"{sign}<$0.000001"
    places = 3 if size >= 0.01 else 4 if size >= 0.001 else 5 if size >= 0.0001 else 6
    return f"{sign}${size:.{places}f}"


def count(number: int) -> str:
    """A number of tokens or rows: 31, 8,192, 12.4k, 1.05M."""
    if abs(number) < 10_000:
        return f"{number:,}"
    if abs(number) < 999_950:
        return f"{number / 1000:.1f}".removesuffix(".0") + "k"
    return f"{number / 1_000_000:.2f}".rstrip("0").rstrip(".") + "M"


def seconds(value: float) -> str:
    """A duration: 0.10 s, 1.3 s, 12 s, 2 min 5 s."""
    if value < 0.995:
        return f"{value:.2f} s"
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"


def size(octets: int) -> str:
    """A file's size: 320 B, 12 kB, 3.4 MB."""
    if octets < 1000:
        return f"{octets} B"
    if octets < 999_500:
        return f"{octets / 1000:.0f} kB"
    return f"{octets / 1_000_000:.1f} MB"


def day(moment: datetime.datetime, now: datetime.datetime) -> str:
    """The heading under which something of `moment` is listed: Today, Yesterday, Last 7 days, October 2026."""
    days = (now.date() - moment.astimezone(now.tzinfo).date()).days
    if days <= 0:
        return "Today"
    if days == 1:
        return "Yesterday"
    if days < 7:
        return "Last 7 days"
    return moment.astimezone(now.tzinfo).strftime("%B %Y")


def text(value: object) -> str:
    """Safe to put into HTML, in text and in attributes."""
    return escape(str(value).replace("\x00", ""), quote=True)


def visitor_of(request: gr.Request | Request) -> str:
    """Whose conversations are meant; the header is set by core.visitors and cannot be forged from outside."""
    return str(request.headers.get("x-parley-visitor", ""))


def session_of(request: gr.Request) -> str:
    """The browser session that a visitor's own keys are kept under."""
    return str(request.headers.get("x-parley-session", ""))


def sent(event: gr.EventData, name: str) -> str:
    """One value that the page's script sent along with an event; "" if it is missing or no text."""
    data = getattr(event, "_data", None)
    value = data.get(name, "") if isinstance(data, Mapping) else ""
    return value if isinstance(value, str) else ""


def as_toast(error: BaseException) -> gr.Error:
    """What a person reads of an error, and nothing more."""
    if isinstance(error, gr.Error):
        return error
    if isinstance(error, ParleyError):
        return gr.Error(text(error), title="This did not work", print_exception=False)
    log.error("page.failed", exc_info=error)
    return gr.Error(UNEXPECTED, title="This did not work", print_exception=False)


def guarded(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap an event's handler (function, coroutine or async generator) so that nothing but a sentence gets out."""
    if inspect.isasyncgenfunction(handler):

        @functools.wraps(handler)
        async def stream(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            try:
                async for value in handler(*args, **kwargs):
                    yield value
            except Exception as error:
                raise as_toast(error) from None

        return stream
    if inspect.iscoroutinefunction(handler):

        @functools.wraps(handler)
        async def wait(*args: Any, **kwargs: Any) -> Any:
            try:
                return await handler(*args, **kwargs)
            except Exception as error:
                raise as_toast(error) from None

        return wait

    @functools.wraps(handler)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return handler(*args, **kwargs)
        except Exception as error:
            raise as_toast(error) from None

    return call
