"""The common tree as Jinja."""

from __future__ import annotations

import re
from collections.abc import Sequence

from core.prompts.formats._nodes import Comment, Condition, Each, Foreign, If, Include, Node, Text, Value

_OPENS = re.compile(r"\{(?=[{%#])")  # a brace that begins a tag together with the next character
_BRACE = "{{ '{' }}"
_NEEDLESS = re.compile(re.escape(_BRACE) + r"(?=\Z|[^{%#])")


def escape(text: str) -> str:
    """A plain text as a template."""
    return write((Text(text),))


def write(nodes: Sequence[Node], trim: bool = True, json: str = "tojson") -> str:
    """The tree as a template. `trim` as in `parse`; `json` is the name of the filter that writes JSON."""
    writer = _Writer(trim, json)
    writer.write(nodes)
    return _NEEDLESS.sub("{", "".join(writer.out))


class _Writer:
    def __init__(self, trim: bool, json: str) -> None:
        self.out: list[str] = []
        self._trim = trim
        self._json = json
        self._depth = -1

    def write(self, nodes: Sequence[Node]) -> None:
        self._depth += 1
        for position, node in enumerate(nodes):
            following = nodes[position + 1] if position + 1 < len(nodes) else None
            match node:
                case Text(text):
                    text = _OPENS.sub(_BRACE, text)
                    if self._json != "tojson":  # Nunjucks
                        text = text.replace("#}", "{{ '#}' }}")
                    self.out.append(text[:-1] + _BRACE if text.endswith("{") else text)
                case Value(path, tight, json):
                    inside = ".".join(path)
                    if json is not None:
                        indent = f"(indent={json})" if self._json == "tojson" else f"({json})"
                        inside += f" | {self._json}{indent if json else ''}"
                    self.out.append(f"{{{{{inside}}}}}" if tight else f"{{{{ {inside} }}}}")
                case Comment(text):
                    self._tag(f"# {text.replace('#}', '# }')} #", following)
                case Include(ref):
                    self._tag(f'% include "{ref}" %', following)
                case Foreign(source):
                    if source.startswith("{%"):
                        self._tag(source[1:-1], following)
                    else:
                        self.out.append(source)
                case If(branches):
                    for number, (test, body) in enumerate(branches):
                        word = "if" if not number else "elif" if test else "else"
                        self._tag(f"% {word} {said(test)} %" if test else f"% {word} %", body[0] if body else None)
                        self.write(body)
                    self._tag("% endif %", following)
                case Each(item, path, body, otherwise):
                    self._tag(f"% for {item} in {'.'.join(path)} %", body[0] if body else None)
                    self.write(body)
                    if otherwise:
                        self._tag("% else %", otherwise[0])
                        self.write(otherwise)
                    self._tag("% endfor %", following)
        self._depth -= 1

    def _tag(self, inside: str, following: Node | None) -> None:
        """A tag on a line of its own takes that line with it; elsewhere it must not take anything."""
        line = current_line(self.out)
        text = following.text if isinstance(following, Text) else ""
        if not self._trim:
            last = following is None and not self._depth  # must not take what comes after the template
            own = not line and not last and text[:1].strip() == text[:1]
            self.out.append(f"{{{inside[:-1]}-{inside[-1]}}}\n" if own else f"{{{inside}}}")
        elif not line:
            self.out.append(f"{{{inside}}}\n")
        else:
            before = "+" if not line.strip() else ""
            after = "+" if text.startswith("\n") else ""
            self.out.append(f"{{{inside[0]}{before}{inside[1:-1]}{after}{inside[-1]}}}")


def current_line(out: Sequence[str]) -> str:
    """What stands after the last line break of all that was written."""
    line = ""
    for text in reversed(out):
        _, found, last = text.rpartition("\n")
        line = last + line
        if found:
            break
    return line


def said(test: Condition) -> str:
    path = ".".join(test.path)
    if test.kind in ("is", "not"):
        return path if test.kind == "is" else f"not {path}"
    other = ".".join(test.other) if isinstance(test.other, tuple) else repr(test.other)
    return f"{path} {'==' if test.kind == 'equals' else '!='} {other}"
