"""promptfoo: a config with its prompts, or a file with the messages of one chat, as YAML or JSON.

Followed: site/docs/configuration/prompts.md at 01ec114 (2026), src/prompts/utils.ts (`maybeFilePath`) and the
configuration reference of promptfoo.dev. Templates are Nunjucks, without trim_blocks; a chat is a text that holds JSON.
What is written here was rendered with nunjucks 3.2.4. Defaults are in `defaultTest.vars`, examples in the `vars` of a
test. Files that a config names are never read.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from core.errors import BadRequest
from core.prompts import yamltext
from core.prompts.formats import _jinja
from core.prompts.formats._fields import Fields, Place
from core.prompts.formats._given import NOTHING, Given, load_json
from core.prompts.formats._jinja_out import write
from core.prompts.formats._model import Format, ImportedVersion, Loss, Plan
from core.prompts.formats._reading import Names, Reading, model_in
from core.prompts.formats._writing import OPENAI, OPENAI_READ, Writing, as_it_stands, one_file_each, without_nothing

_SCHEMA = "https://promptfoo.dev/config-schema.json"
_PROVIDERS = ("openai", "anthropic", "ollama")
_FILE = re.compile(
    r"(file|exec|langfuse|portkey|helicone|https?):\S*|"
    r"\S+\.(txt|md|j2|json|jsonl|yaml|yml|js|ts|mjs|cjs|py|csv)(:\w+)?"
)
_FILTERS = frozenset(
    re.findall(
        r"\w+",
        "abs batch capitalize center default d dictsort e escape first float forceescape groupby indent int join last "
        "length list lower random reject rejectattr replace reverse round safe select selectattr slice sort string "
        "striptags sum title tojson trim truncate upper urlencode urlize wordcount",
    )
)


def _file(writing: Writing) -> bytes:
    writing.lose_about("description")
    writing.lose_variables("default", "example")
    messages = [
        {"role": message.role, "content": _text(message.content, f"messages[{number}].content", writing)}
        for number, message in enumerate(writing.messages())
    ]
    plain = len(messages) == 1 and messages[0]["role"] == "user" and not _misread(messages[0]["content"])
    prompt = {
        "label": writing.version.name,
        "raw": messages[0]["content"] if plain else json.dumps(messages, ensure_ascii=False, indent=2),
        "config": without_nothing({**writing.parameters(OPENAI), "response_format": writing.response_format()}),
    }
    maker, slash, model = writing.content.model.partition("/")
    known = slash and maker in _PROVIDERS
    if writing.content.model and not known:
        writing.lose("model", "promptfoo has no such provider")
    examples = writing.values("example")
    fields = {
        "description": writing.version.description,
        "prompts": [without_nothing(prompt)],
        "providers": [f"{maker}:{'chat:' if maker == 'ollama' else ''}{model}"] if known else None,
        "defaultTest": {"vars": defaults} if (defaults := writing.values("default")) else None,
        "tests": [{"vars": examples}] if examples else None,
    }
    return yamltext.dump(without_nothing(fields), _SCHEMA).encode()


def _misread(text: str) -> bool:
    """Whether promptfoo would take the text for a file's path or for a chat."""
    start = text.lstrip()
    if start[:1] in ("[", "{") or start.startswith(("- role:", "file:", "exec:")):
        return not start.startswith("{{") or "\n" not in text
    return "\n" not in text and (any(mark in text for mark in "/\\*.") or not start)


def _text(text: str, field: str, writing: Writing) -> str:
    try:
        if problems := _jinja.beyond(text, _FILTERS, calls=False):
            writing.lose(field, as_it_stands("promptfoo", problems))
        if any(mark in text for mark in ("{%", "{#", "#}", "tojson")):
            return write(_jinja.parse(text), trim=False, json="dump")
    except BadRequest as error:
        writing.lose(field, error.what)
    return text


@dataclass(slots=True)
class _Shared:
    """What a config says for all of its prompts."""

    model: str
    config: Any  # of the provider
    values: dict[str, dict[str, Any]]  # by variable: default, example
    description: str


def read(given: Given) -> Plan:
    names = Names()
    stem = given.path.stem
    whole = Reading("", given.filename, given.value)
    if isinstance(given.value, list):
        whole.call(stem, names)
        return Plan((whole.draft(whole.chat(whole.place.items(), _ours)),), whole.losses)
    losses: list[Loss] = []
    top = whole.place.fields()
    place = top.take("prompts")
    items = place.items() if isinstance(place.value, list) else [place]
    model, config = _provider(top, whole)
    shared = _Shared(model, config, _values(top, whole), top.take("description").text(""))
    if len(items) > 1 and shared.description:
        whole.lose("description", "tells of several prompts; it is left out")
        shared.description = ""
    drafts: list[ImportedVersion] = []
    used: set[str] = set()
    for number, item in enumerate(items, 1):
        one = _prompt(item, stem if len(items) == 1 else f"{stem}-{number}", names, shared, losses)
        if one is not None:
            drafts.append(one)
            used.update(one.content.variables)
    if not drafts:
        why = "; ".join(f"{loss.field} {loss.why}" for loss in losses[:3])
        raise BadRequest(f"{given.filename} holds no prompt: {why or 'its list of prompts is empty'}.", NOTHING)
    for name in shared.values.keys() - used:
        whole.lose(f"vars.{name}", "no prompt uses it")
    whole.name = drafts[0].name
    return Plan(tuple(drafts), tuple(dict.fromkeys([*losses, *whole.losses])))


def _prompt(item: Place, fallback: str, names: Names, shared: _Shared, losses: list[Loss]) -> ImportedVersion | None:
    reading = Reading("", item.where, {"raw": item.value} if isinstance(item.value, str) else item.value, item.path)
    fields = reading.place.fields()
    label = fields.take("label").text("")
    id = fields.take("id").text("")
    raw = fields.take("raw").text("") or id
    if not raw.strip() or _FILE.fullmatch(raw.strip()):
        what = f"points to {raw.strip()[:80]!r}, which is not read; import that file itself" if raw else "is empty"
        losses.append(Loss(label or fallback, item.path, what))
        return None
    reading.call(label or fallback, names)
    if id and id != raw:
        reading.lose(f"{item.path}.id", "has no place here")
    messages = _messages(raw, item, reading)
    parameters: dict[str, Any] = {}
    for config in (reading.at(shared.config, "providers[0].config").fields(), fields.take("config").fields()):
        parameters |= reading.parameters(config, OPENAI_READ)
        schema = reading.response_format(config.take("response_format"))
    texts = [name for message in messages for name in _jinja.names_in(message["content"])]
    draft = reading.draft(
        messages,
        {name: value for name, value in shared.values.items() if name in texts},
        model=shared.model,
        parameters=parameters,
        schema=schema,
        description=shared.description,
    )
    losses += reading.losses
    return draft


def _messages(raw: str, item: Place, reading: Reading) -> list[dict[str, Any]]:
    start = raw.lstrip()
    value: Any = None
    try:
        if start.startswith("["):
            value = load_json(raw, item.path)
        elif start.startswith("- role:"):
            value = yamltext.load_value(raw, item.path)
    except BadRequest:
        reading.lose(item.path, "begins like a chat but is none; it is one message now")
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        return reading.chat(reading.at(value, f"{item.path}.raw").items(), _ours)
    return [{"role": "user", "content": _ours(raw, item.path)}]


def _ours(text: str, place: str) -> str:
    """Nunjucks as Jinja: they differ in `dump`, and in what tags do to the lines that they stand on."""
    text = re.sub(r"(\|\s*)dump\b(?=\s*[(}|])", r"\1tojson", text)
    if "{%" not in text and "{#" not in text:
        return text
    try:
        return write(_jinja.parse(text, trim=False))
    except BadRequest as error:
        raise BadRequest(f"{place}: {error.what}", NOTHING) from None


def _provider(top: Fields, whole: Reading) -> tuple[str, Any]:
    place = top.take("providers", "targets")
    items = place.items() if isinstance(place.value, list) else [place]
    if len(items) > 1:
        whole.lose("providers", "a prompt is made for one model here; the first is taken")
    first = items[0] if items else place
    config: Any = None
    id = first.value
    if isinstance(id, dict):
        fields = first.fields()
        id, config = fields.take("id").text(""), fields.take("config").value
    if not isinstance(id, str) or not id:
        return "", config
    maker, colon, model = id.partition(":")
    if not colon or maker in ("file", "exec", "python", "javascript", "http", "https"):
        whole.lose(first.path, f"{id[:60]!r} names no model")
        return "", config
    return model_in(re.sub(r"^(chat|messages|responses|completion):", "", model), maker), config


def _values(top: Fields, whole: Reading) -> dict[str, dict[str, Any]]:
    """What is known of each variable: its default, and its value in the first test that has one."""
    found: dict[str, dict[str, Any]] = {}
    place = top.take("tests")
    tests = [place] if isinstance(place.value, str) else place.items()
    for kind, test in [("default", top.take("defaultTest")), *(("example", test) for test in tests)]:
        if isinstance(test.value, str):
            whole.lose(test.path, "points to a file, which is not read")
            continue
        for name, value in test.fields().take("vars").fields().each():
            known = found.setdefault(whole.variable(name), {})
            if known.setdefault(kind, value.value) != value.value:
                whole.lose("tests", "of several values of a variable, the first is its example")
    return found


def fits(given: Given) -> int:
    value = given.value
    if isinstance(value, dict):
        return 70 if isinstance(value.get("prompts"), list | str) and "format" not in value else 0
    first = value[0] if isinstance(value, list) and value else None
    return 50 if isinstance(first, dict) and "role" in first and "content" in first else 0


FORMATS = (
    Format(
        "promptfoo",
        "promptfoo",
        (".yaml", ".yml", ".json"),
        True,
        one_file_each("promptfoo", ".yaml", _file),
        read,
        fits,
    ),
)
