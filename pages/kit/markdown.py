"""A model's Markdown, parsed and written anew in a form that the browser's renderer can read in one way only.

The browser parses what it gets once more, with another parser. So nothing that a model wrote reaches it as Markdown:
every character that could begin something is an entity, what is inside a line is HTML of our own, and only the frames
(headings, lists, quotes, tables, blocks of code) are Markdown, always in the same form. What can be fetched without a
click, a picture, is shown only if it is in the text itself; other pictures and all HTML are told in words.

Invariants, on which the safety rests: a line of a paragraph begins with a letter, an entity or `<span>`, so that it
opens no block; a block of code is closed by a run of backticks that does not occur in it; formulas stand between
characters that are taken out of everything else.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import MutableMapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from cachetools import LRUCache
from markdown_it.token import Token

from pages.kit.markdown_parser import parser

# Characters for private use begin and end a formula: the renderer looks for them in code too, where $$ is not rare.
DISPLAY, INLINE = ("\ue0f0", "\ue0f1"), ("\ue0f2", "\ue0f3")
DELIMITERS: list[dict[str, str | bool]] = [
    {"left": DISPLAY[0], "right": DISPLAY[1], "display": True},
    {"left": INLINE[0], "right": INLINE[1], "display": False},
]
NEVER = str.maketrans({**dict.fromkeys("\ue0f0\ue0f1\ue0f2\ue0f3", "\ufffd"), "\u2028": " ", "\u2029": " "})

_ENTITIES = str.maketrans({sign: f"&#{ord(sign)};" for sign in "\\`*_[]<>&|~!\"'@#\n"})
_ADDRESS_START = re.compile(r":(?=//)|(?<=www)\.", re.IGNORECASE)  # what the renderer would make a link of
_ADDRESS = re.compile(r"https?://[^\s<>\"'`]{1,2000}", re.IGNORECASE)
_TASK = re.compile(r"\[[ xX]\] (?=\S)")
# What a browser drops from an address before it looks for the scheme, and the scheme.
_IGNORED = re.compile(r"[\x00-\x20\x7f-\x9f\u200b-\u200f\u2060\ufeff]+")
_SCHEME = re.compile(r"[^/?#\\]*?:")
_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+")
_LANGUAGE = re.compile(r"[\w+#.-]{1,40}")
EACH = 16_000
TAGS = {"em": "em", "strong": "strong", "s": "del"}
_PARSER = parser()


class Shown:
    """Renders texts that grow: what can no longer change is kept, so that only the last block is parsed again."""

    def __init__(self, characters: int = 8_000_000) -> None:
        # Start of a text: itself, its form, its references. A text counts as EACH characters at least.
        self._starts: LRUCache[str, tuple[str, str, dict[str, Any]]] = LRUCache(characters, _size)
        self._lock = threading.Lock()

    def __call__(self, markdown: str) -> str:
        """`markdown` as the conversation shows it."""
        source = markdown.translate(NEVER).replace("\r\n", "\n").replace("\r", "\n")
        start, done, references = self._longest(source)
        env: MutableMapping[str, Any] = {"references": dict(references)}
        tokens = _PARSER.parse(source[len(start) :], env)
        if start and env["references"] != references:  # a link further up may mean something now
            start, done, references, env = "", "", {}, {"references": {}}
            tokens = _PARSER.parse(source, env)
        cut, line = _closed(tokens, source[len(start) :])
        earlier = _joined([done, *_blocks(tokens[:cut])])
        if cut:
            lines = source[len(start) :].split("\n")
            # What the rest defines is not complete yet: an address may be cut off.
            sure = {name: one for name, one in env["references"].items() if name in references or one["map"][1] <= line}
            self._keep(start + "\n".join(lines[:line]) + "\n", earlier, sure)
        return _joined([earlier, *_blocks(tokens[cut:])])

    def _longest(self, source: str) -> tuple[str, str, dict[str, Any]]:
        with self._lock:
            start = max((start for start in self._starts if source.startswith(start)), key=len, default="")
            if not start:
                return "", "", {}
            return self._starts[start]

    def _keep(self, start: str, form: str, references: dict[str, Any]) -> None:
        with self._lock:
            # The shorter start of the same text is of no use any more.
            for other in [other for other in self._starts if start.startswith(other)]:
                del self._starts[other]
            if _size(kept := (start, form, references)) <= self._starts.maxsize:
                self._starts[start] = kept


def _size(kept: tuple[str, str, dict[str, Any]]) -> int:
    return max(EACH, len(kept[0]) + len(kept[1]))


shown = Shown()


def _closed(tokens: Sequence[Token], source: str) -> tuple[int, int]:
    """How many of `tokens` belong to blocks that more text cannot change, and the line where the others begin."""
    lines = source.split("\n")
    for index in range(len(tokens) - 1, 0, -1):
        token = tokens[index]
        # Only after an empty line: until it ends, what follows a paragraph may become a part of a formula in it.
        if token.level == 0 and token.nesting >= 0 and token.map and not lines[token.map[0] - 1].strip():
            return index, token.map[0]
    return 0, 0


def _joined(blocks: Sequence[str]) -> str:
    return "\n\n".join(block for block in blocks if block)


def _end(tokens: Sequence[Token], begin: int) -> int:
    """Where the block ends that `tokens[begin]` opens."""
    level = tokens[begin].level
    return next(at for at in range(begin + 1, len(tokens)) if tokens[at].level == level and tokens[at].nesting < 0)


def _blocks(tokens: Sequence[Token]) -> list[str]:
    made, at = [], 0
    while at < len(tokens):
        token = tokens[at]
        end = _end(tokens, at) if token.nesting > 0 else at
        inside = tokens[at + 1 : end]
        match token.type:
            case "paragraph_open":
                made.append(_line(inside[0]))
            case "heading_open":
                made.append(f"{'#' * int(token.tag[1])} {_line(inside[0])}")
            case "fence" | "code_block":
                made.append(_code(token))
            case "hr":
                made.append("___")
            case "formula":
                made.append(_mathematics(token))
            case "blockquote_open":
                made.append(_prefixed(_joined(_blocks(inside)), "> ", "> "))
            case "bullet_list_open" | "ordered_list_open":
                made.append(_list(token, inside))
            case "table_open":
                made.append(_table(inside))
        at = end + 1
    return made


def _line(token: Token) -> str:
    """What a paragraph, a heading or a cell says, in one line that begins nothing else."""
    return _begun(_inline(token.children or []).strip())


def _begun(line: str) -> str:
    if not line or line[0] == "<":
        return f"<span>{line}</span>"
    return line if line[0] in ("&", DISPLAY[0], INLINE[0]) or line[0].isalpha() else f"&#{ord(line[0])};{line[1:]}"


def _code(token: Token) -> str:
    content = token.content.removesuffix("\n")
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", content)), default=0))
    match = _LANGUAGE.match(token.info.strip())
    # A diagram of Mermaid is drawn out of HTML and may have pictures: it is shown as the code that it is.
    language = match[0] if match and match[0].lower() != "mermaid" else ""
    return f"{fence}{language}\n{content}\n{fence}"


def _list(token: Token, inside: Sequence[Token]) -> str:
    loose = any(one.type == "paragraph_open" and one.level == token.level + 2 and not one.hidden for one in inside)
    number = int(token.attrGet("start") or 1) if token.type == "ordered_list_open" else None
    items, at = [], 0
    while at < len(inside):
        end = _end(inside, at)
        blocks = _blocks(inside[at + 1 : end]) or ["<span></span>"]
        first = inside[at + 2].content if end > at + 2 else ""
        if inside[at + 1].type == "paragraph_open" and _TASK.match(first):
            blocks[0] = first[:4] + _begun(blocks[0][len(_escaped(first[:4])) :])
        body = "\n\n".join(blocks) if loose else _tight(blocks)
        mark = f"{token.markup} " if number is None else f"{min(number, 999_999_999)}{token.markup} "
        items.append(_prefixed(body, mark, " " * len(mark), empty=""))
        number = None if number is None else number + 1
        at = end + 1
    return ("\n\n" if loose else "\n").join(items)


def _tight(blocks: Sequence[str]) -> str:
    """Without empty lines, which would make a list loose, but for quotes and tables: they go on until there is one."""
    body = blocks[0]
    for before, block in itertools.pairwise(blocks):
        body += ("\n\n" if before[0] in ">|" else "\n") + block
    return body


def _prefixed(body: str, first: str, others: str, empty: str | None = None) -> str:
    lines = body.split("\n")
    rest = [others + line if line or empty is None else empty for line in lines[1:]]
    return "\n".join([first + lines[0], *rest])


def _table(inside: Sequence[Token]) -> str:
    rows: list[list[str]] = []
    rules: list[str] = []
    for at, token in enumerate(inside):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            rows[-1].append(_line(inside[at + 1]))
            if token.type == "th_open":
                style = str(token.attrGet("style") or "")
                left, right = "left" in style or "center" in style, "right" in style or "center" in style
                rules.append(f"{':' * left}---{':' * right}")
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], rules, *rows[1:]])


def _inline(tokens: Sequence[Token]) -> str:
    made: list[str] = []
    links: list[bool] = []
    for token in tokens:
        kind, _, part = token.type.rpartition("_")
        if token.type == "text":
            made.append(_escaped(token.content) if links else _linked(token.content))
        elif token.type in ("softbreak", "hardbreak"):
            made.append("<br>")
        elif token.type == "code_inline":
            made.append(f"<code>{_escaped(token.content)}</code>")
        elif token.type == "formula":
            made.append(_mathematics(token))
        elif token.type == "image":
            made.append(_image(token, inside_link=bool(links)))
        elif token.type == "link_open":
            start = _link(str(token.attrGet("href") or ""), str(token.attrGet("title") or ""))
            links.append(bool(start))
            made.append(start)
        elif token.type == "link_close":
            made.append("</a>" * links.pop())
        elif kind in TAGS:
            made.append(f"<{'/' * (part == 'close')}{TAGS[kind]}>")
        else:
            made.append(_escaped(token.content))
    return "".join(made)


def _escaped(text: str) -> str:
    """Text, or the value of an attribute, that begins nothing and is no address."""
    return _ADDRESS_START.sub(lambda match: f"&#{ord(match[0])};", text.translate(_ENTITIES))


def _linked(text: str) -> str:
    """Text, with a link for each address in it."""
    if "://" not in text:
        return _escaped(text)
    made, at = "", 0
    for match in _ADDRESS.finditer(text):
        address = match[0].rstrip(".,;:!?*_~")
        if address.endswith(")") and "(" not in address:
            address = address.rstrip(")")
        made += _escaped(text[at : match.start()]) + _link(address) + _escaped(address)
        made += "</a>" if _link(address) else ""
        at = match.start() + len(address)
    return made + _escaped(text[at:])


def _link(address: str, title: str = "") -> str:
    """The start of a link; "" where it leads to something else than a page, a place in it, or a message."""
    bare = _IGNORED.sub("", address)
    scheme = _SCHEME.match(bare)
    if not bare or (scheme and scheme[0].lower() not in ("http:", "https:", "mailto:")):
        return ""
    says = f' title="{_escaped(title)}"' if title else ""
    return f'<a href="{_escaped(bare)}"{says} target="_blank" rel="noopener noreferrer">'


def _image(token: Token, inside_link: bool) -> str:
    source, name = str(token.attrGet("src") or ""), token.content.strip()
    if _PICTURE.fullmatch(source):
        return f'<img src="{_escaped(source)}" alt="{_escaped(name)}">'
    try:
        host = urlsplit(_IGNORED.sub("", source).replace("\\", "/")).netloc.rpartition("@")[2]
    except ValueError:
        host = ""
    says = _escaped(f"{name or 'picture'} ({host})" if host else name or "picture")
    start = "" if inside_link else _link(source)
    return f"{start}{says}</a>" if start else says


def _mathematics(token: Token) -> str:
    left, right = DISPLAY if token.block else INLINE
    return f"{left}{_escaped(token.content.strip())}{right}"
