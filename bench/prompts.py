"""The prompt registry with 10,000 versions: its start, the list, search, reading one version, saving one.

A read in the request path is compared with the least that it takes to use a file: opening it and parsing its YAML.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from bench._report import report
from core.prompts import Registry
from core.prompts.content import Content, parse_content
from core.prompts.version import Version, to_text
from core.settings import Settings
from core.store.embeddings import embedder
from core.store.vectors import Vectors

SHAPES = {"1,000 prompts x 10": (1000, 10), "10,000 prompts x 1": (10_000, 1)}
SUBJECTS = ("refund", "invoice", "shipping", "password", "translation", "poem", "contract", "recipe", "bug", "holiday")
MANNERS = ("polite", "short", "formal", "friendly", "strict", "patient", "plain", "cheerful")


def content(prompt: int, number: int) -> Content:
    """About 1.5 kB of text, a little different in every version."""
    subject, manner = SUBJECTS[prompt % len(SUBJECTS)], MANNERS[prompt // len(SUBJECTS) % len(MANNERS)]
    lines = [f"You are a {manner} assistant who answers questions about a {subject}.", f"This is draft {number}."]
    lines += [f"- Rule {rule}: mention {{{{ topic }}}} in sentence {prompt * 31 + rule}." for rule in range(25)]
    return parse_content(
        {
            "messages": [
                {"role": "system", "content": "\n".join(lines)},
                {"role": "user", "content": "{{ question }}"},
            ],
            "variables": {"topic": {"default": subject}, "question": {"description": "What is asked."}},
            "parameters": {"temperature": 0.3},
        }
    )


def fill(root: Path, prompts: int, versions: int) -> None:
    """Write the files as the registry would."""
    for prompt in range(prompts):
        subject = SUBJECTS[prompt % len(SUBJECTS)]
        name = f"team-{prompt % 10}/{subject}-{prompt}"
        folder = root / name
        folder.mkdir(parents=True)
        for number in range(1, versions + 1):
            version = Version(
                name, number, content(prompt, number), f"Answers questions about a {subject}.", (subject, "bench")
            )
            (folder / f"v{number}.yaml").write_text(to_text(version), "utf-8")


def until_listed(settings: Settings) -> tuple[Registry, float, float]:
    """An open registry; the seconds until `start` returned, and until the list was whole."""
    began = time.perf_counter()
    registry = Registry.open(settings)
    registry.start()
    returned = time.perf_counter() - began
    while not registry.scanned:
        time.sleep(0.005)
    return registry, returned, time.perf_counter() - began


def timed(work: Callable[[int], object], times: int) -> tuple[float, float]:
    """Median and 99th percentile in ms of `work(0)`, `work(1)` and so on."""
    taken = []
    for number in range(times):
        began = time.perf_counter()
        work(number)
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken), sorted(taken)[int(len(taken) * 0.99)]


def rows(shape: str, folder: Path, meaning: bool) -> list[dict[str, object]]:
    prompts, versions = SHAPES[shape]
    root = folder / "prompts"
    fill(root, prompts, versions)
    settings = Settings.of({"PARLEY_DATA_DIR": str(folder / "data"), "PARLEY_PROMPTS_DIR": str(root)}, None)
    found: list[dict[str, object]] = []

    def add(what: str, median: float, slow: float | None = None) -> None:
        found.append({"registry": shape, "what": what, "median ms": median, "p99 ms": slow})

    for kind in ("cold: nothing is known yet", "warm: a restart", "warm: a restart"):
        registry, returned, whole = until_listed(settings)
        if found:
            found = [row for row in found if kind not in str(row["what"])]
        add(f"start, {kind}; it returns after", returned * 1000)
        add(f"start, {kind}; all listed after", whole * 1000)
        registry.close()
    registry, _, _ = until_listed(settings)
    names = [entry.name for entry in registry.list()]
    assert len(names) == prompts
    for name in names[:20]:
        registry.move(name, "production", 1, by="bench", why="measured")
    time.sleep(2.5)  # so that the files are not as new as their clock is coarse
    add("list", *timed(lambda _: registry.list(), 100))
    add("list, filtered by words", *timed(lambda n: registry.list(SUBJECTS[n % 10]), 100))
    add("search, a word of every text", *timed(lambda _: registry.search("assistant"), 50))
    add("search, three words", *timed(lambda n: registry.search(f"{MANNERS[n % 8]} {SUBJECTS[n % 10]} rule"), 50))
    add("search, a word that is nowhere", *timed(lambda n: registry.search(f"xylophone{n}"), 50))
    add("version, first read", *timed(lambda n: registry.version(f"{names[50 + n]}@1"), 200))
    add("version, by number", *timed(lambda n: registry.version(f"{names[n % 20]}@1"), 2000))
    add("version, by label", *timed(lambda n: registry.version(f"{names[n % 20]}@production"), 2000))
    add("version, the latest", *timed(lambda n: registry.version(names[n % 20]), 2000))
    path = root / names[0] / "v1.yaml"
    add("open the file and parse its YAML, no more", *timed(lambda _: yaml.safe_load(path.read_bytes()), 100))
    add("save a new version", *timed(lambda n: registry.save(names[n], content(n, 999)), 100))
    add("save a new prompt", *timed(lambda n: registry.save(f"new/prompt-{n}", content(n, 1)), 100))
    add("move a label", *timed(lambda n: registry.move(names[n], "staging", 1, by="bench"), 100))
    if meaning:
        found += by_meaning(shape, registry, settings)
    began = time.perf_counter()
    assert registry.verify() == []
    add("verify everything", (time.perf_counter() - began) * 1000)
    registry.close()
    return found


def by_meaning(shape: str, registry: Registry, settings: Settings) -> list[dict[str, object]]:
    embed = embedder(settings)
    vectors = Vectors(settings, embed, delay=0)
    registry.attach(vectors)
    began = time.perf_counter()
    vectors.wait(600)
    indexed = (time.perf_counter() - began) * 1000
    texts = ("getting my money back", "I forgot how to log in", "something to cook tonight", "a trip to the sea")
    median, slow = timed(lambda n: registry.search(texts[n % 4]), 50)
    vectors.close()
    return [
        {"registry": shape, "what": "index all prompts by meaning, once", "median ms": indexed, "p99 ms": None},
        {"registry": shape, "what": "search, by words and meaning", "median ms": median, "p99 ms": slow},
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.prompts", description=__doc__)
    parser.add_argument("--folder", help="where the files are made (default: the system's temporary folder)")
    parser.add_argument("--words-only", action="store_true", help="without search by meaning, which loads Chroma")
    options = parser.parse_args()
    found: list[dict[str, object]] = []
    for shape in SHAPES:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            found += rows(shape, Path(folder), not options.words_only)
    report("prompts", found, "The prompt registry with 10,000 versions on disk, one process")
    return 0


if __name__ == "__main__":
    sys.exit(main())
