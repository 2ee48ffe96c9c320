"""A model's Markdown, made safe and right for the browser's renderer.

Outside of code and formulas, HTML is shown as the text that it is, pictures from other hosts become links (fetching
one would tell that host what was said), and $...$ is a formula only where it looks like one and not like two prices.
"""

from __future__ import annotations

import re

# What the renderer is told; a single $ is turned into \( \) here, because the renderer would take prices for formulas.
DELIMITERS: list[dict[str, str | bool]] = [
    {"left": "$$", "right": "$$", "display": True},
    {"left": "\\[", "right": "\\]", "display": True},
    {"left": "\\(", "right": "\\)", "display": False},
]

# Every repetition is bounded, so that no text takes more than a time in proportion to its length.
_PIECES = re.compile(
    r"""
      (?P<fence> ^[ ]{0,3}(?P<mark>`{3,32}|~{3,32})[^`\n]{0,300}\n
              (?: .*? ^[ ]{0,3}(?P=mark)[`~]{0,32}[ \t]{0,32}$ | .*\Z ) )
    | (?P<code> (?<!`)(?P<ticks>`{1,8})(?!`) .{1,2000}? (?<!`)(?P=ticks)(?!`) )
    | (?P<display> \$\$.{1,4000}?\$\$ | \\\[.{1,4000}?\\\] | \\\(.{1,1000}?\\\) )
    | (?P<formula> (?<![\\$\w])\$(?=[^\s$])(?P<inner>[^$\n]{0,300}[^\s$\\])\$(?![\d$]) )
    | !\[(?P<alt>[^\]\n]{0,300})\]\(\s{0,9}<?(?P<source>(?:https?:)?//[^)\s>]{1,2000})>?[^)\n]{0,300}\)
    | (?P<tag> <(?!https?://|mailto:)(?=[A-Za-z/!?]) )
    """,
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)


def shown(markdown: str) -> str:
    """`markdown` as the conversation shows it."""
    if not any(sign in markdown for sign in "<$!"):
        return markdown
    return _PIECES.sub(_replace, markdown)


def _replace(match: re.Match[str]) -> str:
    if match["tag"]:
        return "&lt;"
    if match["formula"]:
        return f"\\({match['inner']}\\)"
    if match["source"]:
        return f"[{match['alt'] or 'picture'}]({match['source']})"
    return match[0]
