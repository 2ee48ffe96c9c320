"""Conversations out of Parley and into it: JSON without loss, Markdown and HTML to read, recordings to replay."""

from core.conversations.formats.html import export_html
from core.conversations.formats.json import export_json, import_json
from core.conversations.formats.markdown import export_markdown
from core.conversations.formats.recording import recording

__all__ = ["export_html", "export_json", "export_markdown", "import_json", "recording"]
