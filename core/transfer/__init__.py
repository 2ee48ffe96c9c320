"""Conversations out of Parley and into it: JSON without loss, Markdown and HTML to read, recordings to replay."""

from core.transfer.as_html import export_html
from core.transfer.as_json import export_json, import_json
from core.transfer.as_markdown import export_markdown
from core.transfer.as_recording import recording

__all__ = ["export_html", "export_json", "export_markdown", "import_json", "recording"]
