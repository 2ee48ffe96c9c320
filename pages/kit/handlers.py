"""What every handler of an event needs: who is asking, what the page sent along, and errors that say what to do."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import gradio as gr
import structlog
from starlette.requests import Request

from core.errors import ParleyError
from pages.kit.format import text

log = structlog.get_logger()

Updates = dict[Any, Any]  # new values by component
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
QUICK: dict[str, Any] = {**PRIVATE, "queue": False}
UNEXPECTED = "Something went wrong inside Parley. Try again; the server's log says more."


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
