"""Conversations to read elsewhere: Markdown, a page that harms nobody, a recording to replay."""

from __future__ import annotations

from html.parser import HTMLParser

from core.conversations import Conversations
from core.conversations.formats.html import export_html, rendered
from core.conversations.formats.markdown import export_markdown
from core.conversations.formats.recording import recording
from core.messages import Usage
from core.providers._recording import parse
from tests.unit._transfer import house, rich, store
from tests.unit.test_conversations import ME, talk

__all__ = ["house", "store"]


def test_markdown_shows_the_panes_side_by_side(store: Conversations) -> None:
    text = export_markdown(store, ME, [rich(store).id])
    assert text.startswith("# Rich\n")
    order = [
        "> Be <b>brief</b>.",
        "## You",
        "*File: notes.txt*",
        "Look & <tell>",
        "## With m/a",
        "**A** says",
        "## With m/b",
    ]
    places = [text.index(part) for part in [*order, "B says"]]
    assert places == sorted(places)
    assert "*m/a · 100 in, 40 out · $0.001235 · 2.5 s*" in text
    assert "another beginning" not in text
    assert "go on" not in text


def test_markdown_shows_the_branch_that_is_shown(store: Conversations) -> None:
    id = store.create(ME).id
    turns = talk(store, id, "one", "two")
    store.add(ME, id, parent=turns[0].id, role="assistant", text="two again")
    text = export_markdown(store, ME, [id, id])
    assert text.count("# one") == 2
    assert "two again" not in text
    store.update(ME, id, leaf=None)
    assert export_markdown(store, ME, [id])


class Page(HTMLParser):
    """What a browser would make of it: the tags, and every address that it would load or follow."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name in ("src", "srcset", "data", "poster", "background", "action"):
                self.loads.append(value or "")
            elif name == "href":
                (self.links if tag == "a" else self.loads).append(value or "")


EVIL = """
<script>alert(1)</script><img src=x onerror=alert(2)> <svg onload=alert(3)> <iframe src="https://evil.example"></iframe>
[a](javascript:alert(4)) [b](data:text/html,x) ![pixel](https://evil.example/p.png) [ok](https://good.example)
<style>@import url(https://evil.example)</style> <a href="javascript:alert(5)">x</a> &lt;script&gt;

```html
</code></pre><script>alert(6)</script>
```
"""


def test_html_is_one_harmless_file(store: Conversations) -> None:
    id = rich(store).id
    leaf = store.get(ME, id).leaf
    for role in ("user", "assistant"):
        turn = store.add(ME, id, parent=leaf, role=role, text=EVIL, model="<script>alert(7)</script>")
        store.save(turn.id, text=EVIL, thinking=EVIL, status="interrupted", error=EVIL)
        leaf = turn.id
    store.update(ME, id, leaf=leaf, panes=(), title="</title><script>alert(8)</script>", system=EVIL)
    text = export_html(store, ME, [id])
    page = Page(text)
    assert not {"script", "iframe", "svg", "link", "object", "form", "base"} & set(page.tags)
    assert not [name for name in page.attributes if name.startswith("on") or name == "style"]
    assert [load[:22] for load in page.loads] == ["data:image/png;base64,"]
    assert set(page.links) == {"https://evil.example/p.png", "https://good.example"}
    assert page.tags.count("style") == 1
    assert "url(" not in text.split("</style>")[0]
    assert "default-src &#x27;none&#x27;" in text
    assert "prefers-color-scheme: dark" in text
    assert {"table", "details", "pre", "code", "strong"} <= set(page.tags)
    assert "notes.txt" in text


def test_code_and_tables_survive_the_sanitiser() -> None:
    made = rendered("```python\nif a < b: print('&')\n```\n\n|a|b|\n|:-|-:|\n|1|**2**|\n\n3. three\n\n~~gone~~ `x<y>`")
    assert "<code class=\"language-python\">if a &lt; b: print('&amp;')" in made
    assert "<td>1</td>" in made
    assert "<strong>2</strong>" in made
    assert '<ol start="3">' in made
    assert "<s>gone</s>" in made
    assert "<code>x&lt;y&gt;</code>" in made


def test_a_page_of_several(store: Conversations) -> None:
    text = export_html(store, ME, [rich(store).id, store.create(ME).id])
    assert "<title>2 conversations</title>" in text
    assert text.count("<article>") == 2
    assert "With m/b" in text


def test_a_recording_can_be_replayed(store: Conversations) -> None:
    id = rich(store).id
    _, entries = parse(recording(store, ME, [id]).encode().splitlines())
    assert [(entry.model, entry.answer[:5]) for entry in entries] == [("m/a", "**A**")], "one answer to one question"
    [entry] = entries
    assert [(message.role, message.text) for message in entry.messages] == [
        ("system", "Be <b>brief</b>."),
        ("user", "Look & <tell>"),
    ]
    assert entry.usage == Usage(100, 50, 3, 2, 40, 10, False)
    assert (entry.thinking, entry.first_token, entry.duration, entry.stop_reason) == (
        "hm <i>",
        0.123456789,
        2.5,
        "length",
    )
    store.update(ME, id, panes=())
    assert recording(store, ME, [id]).count('"answer"') == 1
    long = store.create(ME).id
    talk(store, long, "one", "two\nlines", "three", "four")
    _, entries = parse(recording(store, ME, [long]).encode().splitlines())
    assert [(len(entry.messages), entry.answer) for entry in entries] == [(1, "two\nlines"), (3, "four")]
    assert parse(recording(store, ME, [store.create(ME).id]).encode().splitlines())[1] == []
