"""The parser of a model's Markdown: CommonMark with tables, strikethrough and formulas, HTML being text."""

from __future__ import annotations

import re

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline

_FORMULA = re.compile(
    r"""
      \$\$(?P<display>.{1,4000}?)\$\$ | \\\[(?P<bracket>.{1,4000}?)\\\] | \\\((?P<round>.{1,1000}?)\\\)
    | (?<![\\$\w])\$(?=[^\s$])(?P<dollar>[^$\n]{0,300}[^\s$\\])\$(?![\d$])
    """,
    re.DOTALL | re.VERBOSE,
)
LONGEST_FORMULA = 60  # lines


def _formula(state: StateInline, silent: bool) -> bool:
    """$$…$$, \\[…\\], \\(…\\), and $…$ where it looks like a formula and not like two prices."""
    if state.src[state.pos] not in "$\\":
        return False
    match = _FORMULA.match(state.src, state.pos, state.posMax)
    if match is None:
        return False
    if not silent:
        token = state.push("formula", "", 0)
        token.content = next(group for group in match.groups() if group is not None)
        token.block = match["display"] is not None or match["bracket"] is not None
    state.pos = match.end()
    return True


def _formula_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A formula on lines of its own, whose lines might look like lists or headings."""
    first = state.bMarks[start] + state.tShift[start]
    right = {"$$": "$$", "\\[": "\\]"}.get(state.src[first : first + 2])
    if right is None or state.is_code_block(start):
        return False
    lines = [state.src[first + 2 : state.eMarks[start]]]
    number = start
    while right not in lines[-1]:
        number += 1
        if number >= min(end, start + LONGEST_FORMULA) or state.isEmpty(number):
            return False
        if state.sCount[number] < state.blkIndent:
            return False
        lines.append(state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]])
    lines[-1], _, rest = lines[-1].partition(right)
    if rest.strip() or not any(line.strip() for line in lines):
        return False
    if not silent:
        token = state.push("formula", "", 0)
        token.content = "\n".join(lines)
        token.block = True
        token.map = [start, number + 1]
        state.line = number + 1
    return True


def parser() -> MarkdownIt:
    made = MarkdownIt("commonmark", {"html": False, "maxNesting": 60}).enable(["table", "strikethrough"])
    made.inline.ruler.before("escape", "formula", _formula)
    interrupts = ["paragraph", "reference", "blockquote", "list"]
    made.block.ruler.before("fence", "formula", _formula_block, {"alt": interrupts})
    return made
