"""Which of Gradio's addresses the page needs, and how much each takes. The others are of no use here, or do harm: they
write to the disk, fetch from other hosts, or tell what the interface is made of.
"""

from __future__ import annotations

from core.settings import Settings

MB = 1024 * 1024
EVENT = 8 * MB  # what an event of the page brings: texts, and the conversation in view
VALUES = 20_000  # of JSON in an event; what the page sends has some hundreds, and Gradio reads two million in 5 s
FILES = 4  # of the largest size in one request; more of smaller ones
_API = "/gradio_api"


def reachable(settings: Settings) -> tuple[tuple[str, str, int, int | None], ...]:
    """(method, pattern of the whole path, most bytes, most values where it is JSON)."""
    upload = FILES * settings["PARLEY_MAX_UPLOAD_MB"] * MB + MB
    small = 64 * 1024
    return (
        ("GET", r"/?|/config|/theme\.css|/favicon\.ico|/robots\.txt|/manifest\.json", small, VALUES),
        ("GET", r"/(assets|static|svelte)/.+", small, VALUES),
        ("GET", rf"{_API}/(info|app_id|queue/data|upload_progress|heartbeat/\w+)", small, VALUES),
        (
            "GET",
            rf"{_API}/file=(?!\w+://).+",
            small,
            VALUES,
        ),  # with the address of another host, Gradio would fetch from it
        ("POST", rf"{_API}/(queue/join|run/\w+)", EVENT, VALUES),
        ("POST", rf"{_API}/(cancel|reset)", small, VALUES),
        ("POST", rf"{_API}/upload", upload, None),
    )
