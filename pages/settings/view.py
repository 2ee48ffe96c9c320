"""What the Settings tab says, as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from core.errors import ParleyError
from core.gateway import BreakerState
from core.models.catalog import ProviderModels
from core.settings import Settings
from core.visitors import api_state
from pages.kit.format import text

STATES = {
    "ready": ("good", "Ready"),
    "no_key": ("off", "No key"),
    "unreachable": ("bad", "Not reachable"),
    "missing": ("off", "Missing"),
    "unknown": ("off", "Not known yet"),
}


class IndexState(Protocol):
    """What core.store.vectors says of the index."""

    @property
    def ready(self) -> bool: ...
    @property
    def indexed(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def progress(self) -> float | None: ...
    @property
    def problem(self) -> ParleyError | None: ...


def providers(groups: Iterable[ProviderModels], breakers: Mapping[str, BreakerState]) -> str:
    """All providers, their state and what to do."""
    rows = [_provider(group, breakers.get(group.provider)) for group in groups]
    return (
        '<div class="scroll"><table class="plain-table"><thead><tr><th>Provider</th><th>State</th>'
        f'<th class="number">Models</th><th>What to do</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def key_state(has: bool) -> str:
    """Whether a key is kept for this browser session; never the key."""
    return '<span class="state good">Set for this session</span>' if has else '<span class="state off">Not set</span>'


def index(state: IndexState, embedder: str, dimensions: int | None) -> str:
    """The embedder, and how much of what was said can be found by meaning."""
    size = f", {dimensions} dimensions" if dimensions else ""
    if state.problem is not None:
        what = f'<span class="state bad">Not working</span> {text(state.problem)}'
    elif state.progress is not None and state.progress < 1:
        share = 100 * state.progress
        what = (
            f'<span class="state off">Building</span> <span class="bar" role="progressbar" aria-valuenow="{share:.0f}" '
            f'aria-valuemin="0" aria-valuemax="100" aria-label="Building the index"><u style="width:{share:.0f}%"></u>'
            f"</span> {state.indexed:,} of {state.total:,} messages"
        )
    elif not state.ready or state.indexed < state.total:
        what = f'<span class="state off">Catching up</span> {state.indexed:,} of {state.total:,} texts'
    else:
        what = f'<span class="state good">Complete</span> {state.total:,} text{"s" * (state.total != 1)}'
    return facts({"Embedder": f"{text(embedder)}{size}", "Index": what})


def about(settings: Settings, version: str, problem: ParleyError | None) -> str:
    """Where things are. Of a server that others use, its folders are nobody's business."""
    folder = "A folder of the server" if settings.shared else f"<code>{text(settings.data_dir)}</code>"
    database = "PostgreSQL" if settings["PARLEY_DATABASE_URL"] else "SQLite, in the same folder"
    vectors = "A Chroma server" if settings["PARLEY_CHROMA_URL"] else "Chroma, in the same folder"
    if problem is not None:
        database = f'<span class="state bad">In memory only</span> {text(problem)}'
    _, api = api_state(settings)
    return facts(
        {
            "Data": folder,
            "Conversations": database,
            "Search index": vectors,
            "API": f"<code data-api>/v1</code> {text(api)}",
            "Version": f"Parley {text(version)}",
        }
    )


def facts(rows: Mapping[str, str]) -> str:
    """A list of names and values; the values are HTML."""
    return '<dl class="facts">' + "".join(f"<dt>{text(k)}</dt><dd>{v}</dd>" for k, v in rows.items()) + "</dl>"


def _provider(group: ProviderModels, breaker: BreakerState | None) -> str:
    kind, word = STATES.get(group.status.state, STATES["unknown"])
    do = " ".join(part for part in (group.status.what, group.status.fix) if part)
    if breaker is not None and breaker.state != "closed":
        kind = "bad"
        word = "Paused" if breaker.state == "open" else "Being tried again"
        do = f"{_paused(breaker)} The models of other providers go on working."
    elif breaker is not None and breaker.models:
        kind, word = "bad", "Partly paused"
        models = " ".join(f"{model}: {_paused(state)}" for model, state in breaker.models.items())
        do = f"{models} Its other models go on working."
    return (
        f'<tr><td><b>{text(group.label)}</b></td><td><span class="state {kind}">{word}</span></td>'
        f'<td class="number">{len(group.models)}</td><td>{text(do)}</td></tr>'
    )


def _paused(breaker: BreakerState) -> str:
    again = f" Tried again at {breaker.until.astimezone():%H:%M:%S}." if breaker.until else ""
    why = f" {breaker.why}" if breaker.why else ""
    return f"{breaker.failures} failures in a row.{why}{again}"
