"""Handlebars templates with the helpers of dotprompt, as messages of the common tree."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from core.prompts.content import RESERVED
from core.prompts.formats._nodes import Comment, Condition, Each, If, Node, Path, Text, Value, joined
from core.prompts.formats._reading import Reading

_TAG = re.compile(
    r"\{\{(?P<left>~)?(?:"
    r"!--(?P<long>.*?)--(?P<r1>~)?\}\}|!(?P<short>.*?)(?P<r2>~)?\}\}|"
    r"\{(?P<triple>[^{}]*)\}(?P<r3>~)?\}\}|"
    r"(?P<sigil>[#/^&>*]*)(?P<inner>[^{}]*?)(?P<r4>~)?\}\})",
    re.DOTALL,
)
_WORD = re.compile(r'"[^"]*"|\'[^\']*\'|[\w-]+=(?:"[^"]*"|\'[^\']*\'|\S+)|\S+')
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_TESTS = {"if": "is", "unless": "not", "ifEquals": "equals", "unlessEquals": "differs"}
_LOOP = {"@index": "index0", "@first": "first", "@last": "last"}


@dataclass(slots=True)
class _Token:
    kind: str  # "text" | "value" | "open" | "close" | "else" | "comment" | "other"
    text: str  # the text itself, or what stands in the tag
    source: str = ""
    words: list[str] = field(default_factory=list)
    left: bool = False
    right: bool = False


@dataclass(slots=True)
class Message:
    role: str
    nodes: list[Node]


def read(body: str, reading: Reading) -> list[tuple[str, tuple[Node, ...]]]:
    """The messages of a body: role and content. What cannot be said here is told and stays as text."""
    parser = _Parser(_stripped(_tokens(body)), reading, set(re.findall(r"\w+", body)))
    parser.nodes([], top=True)
    said = [message for message in parser.messages if _says_something(message.nodes)]
    return [(message.role, _trimmed(joined(message.nodes))) for message in said]


def _says_something(nodes: Sequence[Node]) -> bool:
    return any(not isinstance(node, Text) or node.text.strip() for node in nodes)


def _trimmed(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """Line breaks around a message separate it from the tags of the roles."""
    if isinstance(first := nodes[0], Text):
        nodes = (Text(first.text.lstrip("\n")), *nodes[1:])
    if isinstance(last := nodes[-1], Text):
        nodes = (*nodes[:-1], Text(last.text.rstrip("\n")))
    return joined(nodes)


def _tokens(body: str) -> list[_Token]:
    """Texts and tags in turns, beginning and ending with a text."""
    found = [_Token("text", "")]
    at = end = 0
    while (at := body.find("{{", at)) >= 0:
        before = body[end:at]
        if before.endswith("\\") and not before.endswith("\\\\"):  # \{{ is text up to the next tag
            stop = re.compile(r"\\{0,2}\{\{|\Z").search(body, at + 2)
            stop_at = stop.start() if stop else len(body)
            found[-1].text += before[:-1] + body[at:stop_at]
            at = end = stop_at
            continue
        if before.endswith("\\\\"):
            before = before[:-1]
        match = _TAG.match(body, at)
        if match is None:
            at += 2
            continue
        found[-1].text += before
        found += [_token(match), _Token("text", "")]
        at = end = match.end()
    found[-1].text += body[end:]
    return found


def _token(match: re.Match[str]) -> _Token:
    left = match["left"] is not None
    right = any(match[name] for name in ("r1", "r2", "r3", "r4"))
    source = match[0]
    comment = match["long"] if match["long"] is not None else match["short"]
    if comment is not None:
        return _Token("comment", comment.strip(), source, [], left, right)
    inner = match["triple"] if match["triple"] is not None else match["inner"]
    words = _WORD.findall(inner)
    kind = {"": "value", "&": "value", "#": "open", "/": "close"}.get(match["sigil"] or "", "other")
    if kind == "value" and words[:1] == ["else"]:
        kind = "else"
    return _Token(kind, inner, source, words, left, right)


def _stripped(tokens: list[_Token]) -> list[_Token]:
    """Without the white space that ~ and tags alone on their line take away. Texts and tags take turns."""
    texts = [token.text if token.kind == "text" else None for token in tokens]
    for number, token in enumerate(tokens):
        if token.kind == "text":
            continue
        before, after = (tokens[n] if 0 <= n < len(tokens) else None for n in (number - 1, number + 1))
        if token.kind in ("open", "close", "else", "comment") and before and after:
            was, will = texts[number - 1], texts[number + 1]
            alone_before = was is not None and re.search(r"(\n|\A)[ \t]*\Z" if number == 1 else r"\n[ \t]*\Z", was)
            at_end = number + 2 == len(tokens)
            alone_after = will is not None and re.match(r"[ \t]*(\n|\Z)" if at_end else r"[ \t]*\n", will)
            if alone_before and alone_after:
                before.text = re.sub(r"[ \t]+\Z", "", before.text)
                after.text = re.sub(r"\A[ \t]*\n?", "", after.text)
        if token.left and before:
            before.text = before.text.rstrip()
        if token.right and after:
            after.text = after.text.lstrip()
    return tokens


class _Parser:
    def __init__(self, tokens: list[_Token], reading: Reading, words: set[str]) -> None:
        self._tokens = tokens
        self._at = 0
        self._reading = reading
        self._words = words  # names that a loop's item must not take
        self._items: list[str] = []
        self._given: set[str] = set()  # names of items that the template itself gives
        self.messages = [Message("user", [])]

    def nodes(self, into: list[Node], top: bool = False) -> list[Node]:
        """Up to the tag that ends this block. At the top, into the messages."""
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            if token.kind in ("close", "else") and not top:
                return into
            self._at += 1
            target = self.messages[-1].nodes if top else into
            if token.kind == "text":
                target.append(Text(token.text))
            elif token.kind == "comment":
                target += [Comment(token.text)] if token.text else []
            elif token.kind == "open":
                target += self._block(token)
            elif token.kind == "value" and token.words[:1] == ["role"] and len(token.words) > 1 and top:
                self._role(token)
            else:
                target.append(self._value(token))
        return into

    def _role(self, token: _Token) -> None:
        role = token.words[1].strip("\"'")
        if role not in ("system", "user", "model", "assistant"):
            self._reading.lose("messages", f"a message of {role[:40]!r} is user here")
            role = "user"
        if len(token.words) > 2:
            self._reading.lose("messages", f"{token.source[:60]!r} says more than a role; the rest is left out")
        if _says_something(self.messages[-1].nodes):
            self.messages.append(Message(role, []))
        else:
            self.messages[-1] = Message(role, [])

    def _value(self, token: _Token) -> Node:
        words = token.words
        if token.kind == "value" and len(words) == 1 and words[0] not in ("history", "role"):
            if path := self._path(words[0]):
                return Value(path, tight=token.text == token.text.strip())
        elif token.kind == "value" and words[:1] == ["json"] and len(words) in (2, 3):
            indent = words[2].removeprefix("indent=") if len(words) == 3 else "0"
            if (path := self._path(words[1])) and indent.isdigit():
                return Value(path, False, int(indent))
        return self._unsaid(token)

    def _block(self, start: _Token) -> list[Node]:
        name = start.words[0] if start.words else ""
        item = self._item(start) if name == "each" else ""
        over = self._path(start.words[1]) if item else ()
        self._items += [item] if over else []
        parts = [(start, self.nodes([]))]
        self._items = self._items[:-1] if over else self._items
        while self._at < len(self._tokens) and self._tokens[self._at].kind == "else":
            self._at += 1
            parts.append((self._tokens[self._at - 1], self.nodes([])))
        end = self._tokens[self._at] if self._at < len(self._tokens) else None
        self._at += 1
        tests = [self._test(token.words[1:] if token.kind == "else" else token.words) for token, _ in parts]
        plain_else = len(parts) > 1 and parts[-1][0].words == ["else"]
        if end and over and (len(parts) == 1 or (len(parts) == 2 and plain_else)):
            return [Each(item, over, joined(parts[0][1]), joined(parts[1][1]) if plain_else else ())]
        if end and not item and all(tests[: len(tests) - plain_else]):
            return [If(tuple((test, joined(body)) for test, (_, body) in zip(tests, parts, strict=True)))]
        found: list[Node] = []
        for token, body in parts:
            found += [self._unsaid(token), *body]
        return [*found, self._unsaid(end)] if end else found

    def _item(self, token: _Token) -> str:
        """A name for the loop's item, or "" when the loop cannot be said."""
        words = token.words
        if len(words) == 4 and words[2] == "as" and (named := re.fullmatch(r"\|(\w+)\|", words[3])):
            self._given.add(named[1])
            return named[1]
        if len(words) != 2:
            return ""
        last = re.split(r"[./]", words[1])[-1]
        one = last.removesuffix("s")
        names = itertools.chain((one if one != last else "", "item"), (f"item{n}" for n in itertools.count(2)))
        name = next(name for name in names if name.isidentifier() and name not in self._words | RESERVED)
        self._words.add(name)
        return name

    def _test(self, words: list[str]) -> Condition | None:
        if not words or words[0] not in _TESTS:
            return None
        kind = _TESTS[words[0]]
        if len(words) != (3 if kind in ("equals", "differs") else 2) or not (path := self._path(words[1])):
            return None
        return Condition(kind, path, self._other(words[2]) if len(words) == 3 else None)

    def _other(self, word: str) -> Path | str | int | float | None:
        if word[0] in "\"'":
            return word[1:-1]
        if _NUMBER.fullmatch(word):
            return float(word) if "." in word else int(word)
        return self._path(word) or None

    def _path(self, text: str) -> Path:
        """A path of ours; () for what has none."""
        if text in _LOOP and self._items:
            return ("loop", _LOOP[text])
        up = text.count("../")
        rest = text.replace("../", "")
        root = rest.startswith("@root.")
        rest = rest.removeprefix("@root.").removeprefix("./")
        here = rest in ("this", ".", "") or rest.startswith("this.")
        parts = [part.strip("[]") for part in re.split(r"[./]", rest.removeprefix("this").lstrip(".")) if part]
        if not all(re.fullmatch(r"\w[\w -]*", part) for part in parts) or up > len(self._items):
            return ()
        if parts and parts[0] in self._given & set(self._items) and all(part.isidentifier() for part in parts):
            return tuple(parts)
        level = 0 if root else len(self._items) - up
        if level:
            return (self._items[level - 1], *parts) if all(part.isidentifier() for part in parts) else ()
        if not parts or (here and up) or not all(part.isidentifier() for part in parts[1:]):
            return ()
        return (self._reading.variable(parts[0]), *parts[1:])

    def _unsaid(self, token: _Token) -> Text:
        self._reading.lose("messages", f"{token.source[:60]!r} cannot be said here; it stays as text")
        return Text(token.source)
