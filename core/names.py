"""Names: of prompts, of labels, of variables, and `name@selector`, which says which version is meant."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from core.errors import BadRequest

LONGEST_NAME = 120
LONGEST_PART = 60
LONGEST_LABEL = 40
DEEPEST = 5  # folders in a name
LATEST = "latest"  # the automatic label

# No dots and no capitals: a name is a folder on every file system, can never leave the registry, and never meets
# another one that differs only in case.
_PART = re.compile(r"[a-z0-9][a-z0-9_-]*")
_LABEL = re.compile(r"[a-z][a-z0-9_-]*")
_NUMBER = re.compile(r"v?([1-9][0-9]{0,8})")
_WINDOWS = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]")  # names that Windows keeps for devices
_LETTERS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "æ": "ae", "ø": "oe", "å": "aa", "ł": "l"})
RULE = "Use lower-case letters, digits, - and _, with / between folders, for example support/refund-reply."


@dataclass(frozen=True, slots=True)
class Ref:
    """`name`, `name@3` or `name@production`. Without a selector the label `latest` is meant."""

    name: str
    number: int | None = None
    label: str = LATEST

    @classmethod
    def parse(cls, text: str) -> Ref:
        """BadRequest for what is no reference."""
        name, at, selector = text.strip().partition("@")
        check_name(name)
        if not at:
            return cls(name)
        if found := _NUMBER.fullmatch(selector):
            return cls(name, int(found[1]), "")
        return cls(name, None, selector if selector == LATEST else check_label(selector))

    def __str__(self) -> str:
        return f"{self.name}@{self.label if self.number is None else self.number}"


def check_name(name: str) -> str:
    """The name itself. BadRequest says what is wrong with it and what would do."""
    if not name:
        raise BadRequest("The prompt has no name.", RULE)
    if len(name) > LONGEST_NAME:
        raise BadRequest(f"The name has {len(name)} characters.", f"At most {LONGEST_NAME} are possible.")
    parts = name.split("/")
    if len(parts) > DEEPEST:
        raise BadRequest(f"The name lies {len(parts) - 1} folders deep.", f"At most {DEEPEST - 1} are possible.")
    for part in parts:
        if len(part) > LONGEST_PART:
            raise BadRequest(f"A part of the name has {len(part)} characters.", f"At most {LONGEST_PART} are possible.")
        if _WINDOWS.fullmatch(part):
            raise BadRequest(f"{part!r} cannot be a name: Windows keeps it for a device.", "Choose another name.")
        if not _PART.fullmatch(part):
            near = suggest(name)
            hint = f"{RULE[:-1]} – or {near}." if near else RULE
            raise BadRequest(f"{name!r} cannot be the name of a prompt.", hint)
    return name


def suggest(text: str) -> str:
    """A name that is allowed and looks like `text`; "" when nothing is left of it."""
    plain = text.lower().translate(_LETTERS)
    plain = "".join(c for c in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(c))
    parts = [re.sub(r"[^a-z0-9_]+", "-", part).strip("-_")[:LONGEST_PART] for part in plain.split("/")]
    parts = [f"{part}-1" if _WINDOWS.fullmatch(part) else part for part in parts if part]
    return "/".join(parts[:DEEPEST])[:LONGEST_NAME].strip("/-_")


def check_label(label: str) -> str:
    """The label itself, if one can set it. BadRequest otherwise."""
    if label == LATEST:
        raise BadRequest("The label latest is automatic: it always names the newest version.", "Choose another label.")
    if not _LABEL.fullmatch(label) or _NUMBER.fullmatch(label) or len(label) > LONGEST_LABEL:
        raise BadRequest(
            f"{label[:80]!r} cannot be a label.",
            f"Use up to {LONGEST_LABEL} lower-case letters, digits, - and _, beginning with a letter, and not v1 or 3.",
        )
    return label
