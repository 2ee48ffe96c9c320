"""Markdown with which a model or a stranger would make a browser fetch, run or fake something."""

from __future__ import annotations

EVIL = "https://evil.example/p.png"
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg"
    "=="
)
SVG = "data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciIG9ubG9hZD0iYWxlcnQoMSkiLz4="

FORMS = (
    # Pictures
    f"![x]({EVIL})",
    f"![x][1]\n\n[1]: {EVIL}",
    f"![x][]\n\n[x]: <{EVIL}> 'title'",
    f"![x]\n\n[x]: {EVIL}",
    "![x](<https://evil.example/a b.png>)",
    f"![a [nested] b]({EVIL})",
    f"![a ![inner]({EVIL}) b]({EVIL})",
    f"[![x]({EVIL})](https://other.example)",
    f"[![x][1]][1]\n\n[1]: {EVIL}",
    "![x](//evil.example/p.png)",
    "![x](/\\evil.example/p.png)",
    "![x](\\\\\\\\evil.example/p.png)",
    "![x](&#104;ttps://evil.example/p.png)",
    "![x](https&colon;//evil.example/p.png)",
    "![x](https\\://evil.example/p.png)",
    "!\\[x](https://evil.example/p.png) \\![x](https://evil.example/p.png)",
    f'![x]({EVIL} "a\' onerror=alert(1) \\" <img src={EVIL}>")',
    f"![x\ny](\n{EVIL}\n'a\nb')",
    f"# ![x]({EVIL})\n\n> ![x]({EVIL})\n> - ![x]({EVIL})",
    f"| a | b |\n|---|---|\n| ![x]({EVIL}) | `|` ![y]({EVIL}) |",
    f"- [ ] ![x]({EVIL})\n- [x] <img src={EVIL}>",
    f"![x]({SVG})",
    "![x](data:text/html,<img/src=https://evil.example>)",
    f"**![x]({EVIL})** ~~![x]({EVIL})~~ *![x]({EVIL})*",
    # Links
    "[x](javascript:alert(1))",
    "[x](java\tscript:alert(1)) [x](java&Tab;script:alert(1)) [x](java&NewLine;script:alert(1))",
    "[x](<java\u200bscript:alert(1)>) [x](&#1;javascript:alert(1)) [x](\u00a0javascript:alert(1))",
    "[x](&#x6A;avascript&colon;alert(1)) [x](JaVaScRiPt:alert(1)) [x](vbscript:msgbox(1))",
    f"[x](data:text/html;base64,PHNjcmlwdD4=) [x]({SVG})",
    "<javascript:alert(1)> <data:text/html,x> <vbscript:x>",
    '[x][j]\n\n[j]: javascript:alert(1) "t"',
    "[x](file:///etc/passwd) [x](ftp://evil.example) [x](intent://x) [x](blob:https://x/y) [x](ms-word:ofe|u|x)",
    "[x](https://a.example '\" onmouseover=alert(1) style=position:fixed ping=https://evil.example')",
    "ftp://evil.example www.evil.example a@evil.example https://evil.example/<img/src=https://evil.example/i>",
    # HTML
    f"<img src={EVIL}> <img srcset='{EVIL} 2x'> <picture><source srcset={EVIL}></picture>",
    f"<div style='background:url({EVIL})'>x</div>\n\n<p background={EVIL}>x</p>",
    f"<video poster={EVIL} src={EVIL}></video><audio src={EVIL}></audio><embed src={EVIL}><object data={EVIL}>",
    f"<a href=https://a.example ping={EVIL}>x</a> <link rel=stylesheet href={EVIL}> <style>@import '{EVIL}'</style>",
    f"<iframe src={EVIL}></iframe><form action={EVIL}><button data-do=delete_chat>x</button></form>",
    f"<svg><image href={EVIL} /><use href={EVIL} /></svg> <math><mtext><img src={EVIL}></mtext></math>",
    f"<!-- --><img src={EVIL}><!-- > <![CDATA[<img src={EVIL}>]]> <?x <img src={EVIL}> ?>",
    f"<details open ontoggle=alert(1)>\n\n![x]({EVIL})\n\n</details>",
    f"a &lt;img src={EVIL}&gt; &#60;img src={EVIL}&#62;",
    # Formulas and code that hide something
    f"$$<img src={EVIL}>$$ \\(<img src={EVIL}>\\) $<img/src={EVIL}>$ \\[<img src={EVIL}>\\]",
    f"$$\n![x]({EVIL})\n$$\n\n\ue0f0![x]({EVIL})\ue0f1 \ue0f2<img src={EVIL}>\ue0f3",
    f"$\\includegraphics{{{EVIL}}}$ $\\href{{javascript:alert(1)}}{{x}}$ $\\htmlStyle{{background:url({EVIL})}}{{x}}$",
    f"`````\n$$\n`````\n\n```\n$$\n```\n\n`````\n![x]({EVIL})\n`````",
    f"```\n%%%LATEX_BLOCK_0%%%\n```\n\n$<img/src={EVIL}>$ %%%LATEX_BLOCK_0%%%",
    f'```mermaid\n<img src={EVIL}>\n```\n\n```mermaid\nflowchart LR\nA@{{ img: "{EVIL}" }}\n```',
    f'```html" onclick=alert(1) <img src={EVIL}>\n<img src={EVIL}>\n```',
    f"- ![a]({PIXEL})\n  ```\n  <img src={EVIL}>\n  ```",
    f"- ```\n  x\n![x]({EVIL})\n- a\n\n      ![x]({EVIL})\n\t![x]({EVIL})",
    f"> ```\n![x]({EVIL})\n> ```\n![x]({EVIL})",
    f"`a\n![x]({EVIL})` ``![x]({EVIL})` ``` ![x]({EVIL})",
    f"~~~\n```\n~~~\n![x]({EVIL})\n```\n![x]({EVIL})",
    f"x[^1]\n\n[^1]: ![x]({EVIL}) <img src={EVIL}>",
    f"a\u2028![x]({EVIL})\u2029<img src={EVIL}>\r![x]({EVIL})\x0b![x]({EVIL})\x00<img src={EVIL}>",
)

# What the generated texts are made of.
PIECES = (
    *("![", "[", "]", "](", "(", ")", "<", ">", "`", "``", "```", "~~~", "$", "$$", "\\[", "\\]", "\\(", "\\)", "\\"),
    *("\n", "\n\n", "\n  ", "\n    ", "\t", " ", "- ", "1. ", "> ", "# ", "| ", "|\n|-|-|\n|", "---\n", "===\n", "***"),
    *("*", "_", "**", "~~", "[ ] ", "[x] ", "x", "1", "!", "&", "&lt;", "&#91;", ":", '"', "'", "\r", "\u2028", "\xa0"),
    *("\ue0f0", "\ue0f1", "\ue0f2", "\ue0f3", "%%%LATEX_BLOCK_0%%%", "mermaid", "html", "javascript:", "//", "www."),
    *(EVIL, f"![x]({EVIL})", f"<img src={EVIL}>", f"[1]: {EVIL}\n\n", "[x][1]", "![x][1]", "<a href=javascript:x>"),
    *("<!--", "-->", "<div>\n", "</div>\n", "<script>", "<pre>", "<code>", "</code>", f"![x]({PIXEL})", "<b>\n"),
)
