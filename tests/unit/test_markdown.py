"""What the chat makes of a model's Markdown. tests/browser/test_markdown.py has the browser's part."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from core.conversations.formats.html import TAGS, rendered
from pages.kit.markdown import EACH, Shown, shown
from tests.hostile import FORMS, PIECES, PIXEL

LINK = '<a href="{}" target="_blank" rel="noopener noreferrer">'
OURS = re.compile(
    r'</?(?:span|em|strong|del|code|br)>|</a>|<a href="[^"<>`]*"(?: title="[^"<>`]*")? target="_blank" '
    r'rel="noopener noreferrer">|<img src="data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+" alt="[^"<>`]*">'
)
READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
texts = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("a <b>x</b>", "a &#60;b&#62;x&#60;/b&#62;"),
        ("1 < 2", "&#49; &#60; 2"),
        ("`<b>` and **x**", "<span><code>&#60;b&#62;</code> and <strong>x</strong></span>"),
        ("```html\n<b>\n```\n<i>", "```html\n<b>\n```\n\n&#60;i&#62;"),
        ("```\n<b> still open", "```\n<b> still open\n```"),
        ("````\n```\n````", "````\n```\n````"),
        ("costs $5 and $6", "costs $5 and $6"),
        ("costs US$5, $x$.", "costs US$5, \ue0f2x\ue0f3."),
        ("$$a<b$$", "\ue0f0a&#60;b\ue0f1"),
        ("is $$a<b$$ \\(c\\)", "is \ue0f0a&#60;b\ue0f1 \ue0f2c\ue0f3"),
        ("so\n$$\na\n- b\n$$\nend", "so\n\n\ue0f0a&#10;- b\ue0f1\n\nend"),
        ("$x$ is so", "\ue0f2x\ue0f3 is so"),
        ("a\nb  \nc", "a<br>b<br>c"),
        ("- a\n  - b\n- c", "- a\n  - b\n- c"),
        ("- a\n\n- b", "- a\n\n- b"),
        ("3. a\n\n   ```py\n   x\n\n   y\n   ```", "3. a\n\n   ```py\n   x\n\n   y\n   ```"),
        ("- [ ] a\n- [x] b", "- [ ] a\n- [x] b"),
        ("> a\n>> b", "> a\n> \n> > b"),
        ("|a|b|\n|-|-:|\n|1|2|", "| a | b |\n| --- | ---: |\n| &#49; | &#50; |"),
        ("Title\n===\n\n---", "# Title\n\n___"),
        ("a ~~b~~", "a <del>b</del>"),
        ("a ![cat](https://a.b/c.png)", "a " + LINK.format("https&#58;//a.b/c.png") + "cat (a.b)</a>"),
        ("a ![](//a.b/c.png)", "a " + LINK.format("//a.b/c.png") + "picture (a.b)</a>"),
        ("a [![cat](//a.b/c)](/x)", "a " + LINK.format("/x") + "cat (a.b)</a>"),
        (f"a ![dot]({PIXEL})", f'a <img src="{PIXEL}" alt="dot">'),
        ("a [b](mailto:x@y.z)", "a " + LINK.format("mailto:x&#64;y.z") + "b</a>"),
        ("a [b](tel:1) [c](javascript:x)", "a b &#91;c&#93;(javascript:x)"),
        ("see https://a.b/c_d.", "see " + LINK.format("https&#58;//a.b/c&#95;d") + "https&#58;//a.b/c&#95;d</a>."),
    ],
)
def test_shown(written: str, seen: str) -> None:
    assert shown(written) == seen


def told(tokens: list[Token]) -> list[Token]:
    return [one for token in tokens for one in (token, *(told(token.children) if token.children else ()))]


def check(written: str) -> None:
    """Another reader of Markdown, which lets HTML through, finds only ours in it."""
    seen = shown(written)
    for token in told(READER.parse(seen)):
        assert token.type not in ("image", "link_open", "html_block", "code_block"), (token, seen)
        assert token.type != "html_inline" or OURS.fullmatch(token.content), (token, seen)
        assert token.type != "fence" or token.markup[0] == "`", (token, seen)


@pytest.mark.parametrize("written", FORMS)
def test_nothing_hostile_is_left(written: str) -> None:
    check(written)


@given(texts)
@example("- ![a](data:image/png;base64,AA==)\n  ```\n  <img src=x>\n  ```")
@example("`````\n$$\n`````\n\n```\n$$\n```\n\n`````\n![x](//x)\n`````")
def test_nothing_hostile_is_left_of_any_combination(written: str) -> None:
    check(written)


@given(st.lists(texts, max_size=6).map("\n\n".join), st.integers(1, 9))
@example("![\n\n>[1]: https://evil.example/p.png\n\n[x][1]", 1)
@example("[x][1]\n\n[1]: https://a.example/long\n\nend", 1)
def test_a_text_that_grows_ends_as_if_it_had_come_at_once(written: str, step: int) -> None:
    growing = Shown()
    for end in range(0, len(written), step):
        growing(written[:end])
    assert growing(written) == Shown()(written)


def test_what_can_no_longer_change_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    growing = Shown()
    text = "Some **words**.\n\n```python\nx = 1\n\ny = 2\n```\n\n" * 500
    growing(text)
    parse = READER.parse

    def counted(source: str, env: dict[str, object]) -> list[Token]:
        parsed.append(source)
        return parse(source, env)

    monkeypatch.setattr("pages.kit.markdown._PARSER.parse", counted)
    for end in range(1, 20):
        growing(text + "and so on and on"[:end])
    assert max(map(len, parsed)) < 200


def test_the_memory_is_bounded() -> None:
    growing = Shown(characters=5 * EACH)
    for number in range(20):
        growing(f"{number} begins\n\nand\n\nends")
    assert len(growing._starts) == 5
    growing("a" * 6 * EACH + "\n\nb\n\nc")
    assert growing._starts.currsize <= 5 * EACH


@pytest.mark.parametrize(
    "hostile", ["<`$![(", "```\n~~~", "$a ![[", "`" * 9, "\\(\\[", "$$\n", "> ", "|a\n|-\n", "*a_"]
)
def test_hostile_text_takes_time_in_proportion(hostile: str) -> None:
    began = time.process_time()
    shown(hostile * 10_000)
    assert time.process_time() - began < 10  # what is quadratic takes minutes


class Inside(HTMLParser):
    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        for name, value in attributes:
            assert name in ("href", "title", "class", "start", "rel")
            assert name != "href" or urlsplit(value or "").scheme in ("", "http", "https", "mailto")


@pytest.mark.parametrize("written", FORMS)
def test_the_page_that_is_exported_fetches_nothing(written: str) -> None:
    Inside().feed(rendered(written))
