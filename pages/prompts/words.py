"""Small pieces that the Prompts tab's views share: names, labels, times, and how a version is called in a program."""

from __future__ import annotations

import datetime
import json
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence

from core.prompts.version import Version
from pages.kit.format import text

LONGEST_EXAMPLE = 300  # characters of an example value that go into a program's text
LONGEST_VALUE = 5000  # characters of an example that is handed to the chat
MODEL = "{model}"  # the one that is chosen on the page, for a prompt that names none
ADDRESS = "{address}"  # the workbench's own; the browser knows it
Labels = Mapping[str, int]


def ago(moment: datetime.datetime, now: datetime.datetime) -> str:
    """How long it is since: just now, 5 min ago, 3 h ago, 12 days ago, 3 Oct 2026."""
    passed = (now - moment).total_seconds()
    if passed < 60:
        return "just now"
    if passed < 3600:
        return f"{passed // 60:.0f} min ago"
    if passed < 86400:
        return f"{passed // 3600:.0f} h ago"
    days = (now.date() - moment.astimezone(now.tzinfo).date()).days
    if days <= 1:
        return "yesterday"
    return f"{days} days ago" if days < 31 else date(moment, now)


def date(moment: datetime.datetime, now: datetime.datetime) -> str:
    """3 Oct 2026 in the zone of `now`."""
    local = moment.astimezone(now.tzinfo)
    return f"{local.day} {local:%b %Y}"


def when(moment: datetime.datetime, now: datetime.datetime) -> str:
    """`ago` as HTML, with the exact time for who points at it. A file written by hand may know no time."""
    if moment.timestamp() <= 0:
        return "–"
    local = moment.astimezone(now.tzinfo)
    return f'<time datetime="{local.isoformat()}" title="{local:%Y-%m-%d %H:%M:%S %Z}">{ago(moment, now)}</time>'


def several(number: int, noun: str) -> str:
    """1 version, 12 versions."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def name(full: str) -> str:
    """A prompt's name with its folders in a quiet tone; it may break after each of them."""
    folder, _, last = full.rpartition("/")
    quiet = text(folder + "/").replace("/", "/<wbr>") if folder else ""
    return f'<span class="folder">{quiet}</span>{text(last)}' if quiet else text(last)


def label(word: str, number: int | None, protected: Iterable[str]) -> str:
    """A label as a small chip; protected ones carry a lock."""
    kind = " live" if word in protected else ""
    version = f" <b>v{number}</b>" if number is not None else ""
    return f'<span class="label{kind}">{text(word)}{version}</span>'


def labels(found: Labels, protected: Iterable[str], most: int = 50) -> str:
    """All labels of a prompt, the protected ones first."""
    order = sorted(found, key=lambda word: (word not in protected, word))
    more = f'<span class="label">+{len(order) - most}</span>' if len(order) > most else ""
    return "".join(label(word, found[word], protected) for word in order[:most]) + more


def examples(version: Version) -> dict[str, object]:
    """A value for each variable that has a short example; those with a default alone are left to it."""
    found = {word: one.example for word, one in version.content.variables.items() if one.example is not None}
    return {word: value for word, value in found.items() if len(json.dumps(value)) <= LONGEST_VALUE}


def _values(version: Version) -> dict[str, object]:
    """What a program's text shows as values: short examples, and null where one must be given, which is refused."""
    found: dict[str, object] = {}
    for word, one in version.content.variables.items():
        value = one.example
        if isinstance(value, str) and len(value) > LONGEST_EXAMPLE:
            value = value[:LONGEST_EXAMPLE] + "…"
        if value is not None or (one.default is None and one.required):
            found[word] = value
    return found


def _ref(version: Version, live: Labels, protected: Collection[str]) -> str:
    """What a program ought to ask for: the protected label that stands at this version, else the version."""
    at = [word for word in sorted(live) if word in protected and live[word] == version.number]
    return f"prompt/{version.name}@{at[0]}" if at else f"prompt/{version.ref}"


def _question(version: Version) -> list[dict[str, str]]:
    """A prompt that ends with a question of its own needs no other."""
    return [] if version.content.messages[-1].role == "user" else [{"role": "user", "content": "Your question"}]


def python(version: Version, live: Labels, protected: Collection[str]) -> str:
    """A program that runs this version with the openai SDK through this workbench."""
    messages = ", ".join(_written(message) for message in _question(version))
    lines = [
        "import os",
        "",
        "from openai import OpenAI",
        "",
        f'client = OpenAI(base_url="{ADDRESS}/v1", api_key=os.environ.get("PARLEY_API_KEY", "none"))',
        "answer = client.chat.completions.create(",
        f'    model="{_ref(version, live, protected)}",',
        f"    messages=[{messages}],",
    ]
    extra: list[str] = [] if version.content.model else [f'        "prompt_model": "{MODEL}",']
    if values := _values(version):
        extra.append('        "variables": {')
        for word, value in values.items():
            extra.append(f'            "{word}": {_written(value)},' + "  # a value is needed" * (value is None))
        extra += ["        },"]
    if extra:
        lines += ["    extra_body={", *extra, "    },"]
    return "\n".join([*lines, ")", "print(answer.choices[0].message.content)", ""])


def _written(value: object) -> str:
    """A JSON value as Python writes it, texts in double quotes."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_written(key)}: {_written(one)}" for key, one in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(_written, value)) + "]"
    return repr(value)


def curl(version: Version, live: Labels, protected: Collection[str]) -> str:
    """The same for a shell."""
    body: dict[str, object] = {"model": _ref(version, live, protected), "messages": _question(version)}
    if not version.content.model:
        body["prompt_model"] = MODEL
    if values := _values(version):
        body["variables"] = values
    written = json.dumps(body, ensure_ascii=False, indent=2)
    return "\n".join(
        [
            f"curl {ADDRESS}/v1/chat/completions \\",
            '  -H "Content-Type: application/json" \\',
            '  -H "Authorization: Bearer $PARLEY_API_KEY" \\',
            f"  -d {shlex.quote(written)}",
            "",
        ]
    )
