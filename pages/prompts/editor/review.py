"""The window before a version is saved, as HTML."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from core.prompts.editing.diff import diff
from core.prompts.version import Version
from pages.kit.format import text
from pages.prompts import diff as prompts_diff
from pages.prompts.words import ago, several


def review(mine: Version, parent: Version | None, newer: Sequence[Version], now: datetime.datetime) -> str:
    """What saving `mine` changes of `parent`, and of what somebody else has saved since (`newer`, if there is one)."""
    if parent is None:
        return f'<p class="hint">{text(_first(mine))}</p>'
    mine_to = _difference(parent, mine)
    if not newer:
        return f'<p class="hint">What changes: v{parent.number} → v{mine.number}</p>{mine_to}'
    other = newer[0]
    by = f" by {other.author}" if other.author else ""
    sentence = (
        f"v{other.number} was saved{by} {ago(other.time, now)}, while you were working on v{parent.number}. "
        f"It stays as it is. Yours becomes v{mine.number} and does not hold what v{other.number} changed."
    )
    return (
        f'<div class="calm">{text(sentence)}</div>'
        f'<details class="fold" open><summary><b>v{parent.number} → v{mine.number}: what you changed</b></summary>'
        f'{mine_to}</details><details class="fold"><summary><b>v{other.number} → v{mine.number}: how yours differs '
        f"from the newest</b></summary>{_difference(other, mine)}</details>"
    )


def _difference(old: Version, new: Version) -> str:
    return f'<div class="ask-diff">{prompts_diff.fields(diff(old, new))}</div>'


def _first(version: Version) -> str:
    """What the first version holds."""
    content = version.content
    parts = [several(len(content.messages), "message")]
    parts += [several(len(content.variables), "variable")] if content.variables else []
    parts += [several(len(content.examples), "example")] if content.examples else []
    made_for = f" It is made for {content.model}." if content.model else ""
    return f"The first version: {', '.join(parts)}.{made_for}"
