"""What no file can hold, or nobody could read back: refused when it is saved, told when it lies there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import BadRequest
from core.prompts import Registry, content
from core.prompts.content import LARGEST, Content, parse_content
from core.prompts.registry import changes
from core.prompts.version import Version, from_text, to_text
from tests.prompt_files import again, registry, says

__all__ = ["again", "registry"]

HUGE = 10**5000


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"properties": value}
    return value


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"variables": {"x": {"default": float("inf")}}}, "variables.x.default holds a number that is infinite"),
        ({"variables": {"x": {"example": [float("nan")]}}}, "variables.x.example holds a number that is infinite"),
        ({"variables": {"x": {"default": HUGE}}}, "variables.x.default holds a number of more than 1000 digits"),
        ({"variables": {"x": {"default": "\ud800"}}}, "no file can hold"),
        ({"variables": {"x": {"default": {"\udfff": 1}}}}, "no file can hold"),
        ({"variables": {"x": {"description": "\0"}}}, "no file can hold"),
        ({"schema": {"maximum": float("-inf")}}, "schema holds a number that is infinite"),
        ({"schema": {"maximum": -HUGE}}, "more than 1000 digits"),
        ({"schema": {"enum": ["\ud800"]}}, "schema holds a character"),
        ({"schema": deep(41)}, "schema has more than 40 levels"),
        ({"schema": deep(200)}, "schema has more than 40 levels"),
        ({"parameters": {"stop": ["\ud800"]}}, r"parameters.stop\[0\] holds a character that no file can hold"),
        ({"parameters": {"stop": ["\0"]}}, "no file can hold"),
        ({"parameters": {"temperature": float("nan")}}, "parameters.temperature"),
        ({"parameters": {"seed": HUGE}}, "parameters.seed"),
        ({"model": "a/\ud800"}, "model holds a character that no file can hold"),
        ({"model": "a/\0"}, "model holds a character that no file can hold"),
        ({"odd\ud800" + "x" * 500: 1}, "The prompt cannot be read"),
    ],
)
def test_what_no_file_can_hold_is_no_content(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest, match=said) as caught:
        parse_content({"messages": [{"role": "user", "content": "x"}], **fields})
    assert len(str(caught.value).encode()) < 400


@pytest.mark.parametrize(
    "line",
    [
        "default: 1e999",
        "default: -1e999",
        "default: [1.0e+400]",
        f"default: 0x{'f' * 6000}",
        f"default: {'9' * 5000}",
        'default: "\\0"',
        'default: "\\uD800"',
        'description: "\\0"',
        "default: 2026-11-20\n    time: 1e999",
    ],
)
def test_one_odd_file_stops_nothing(registry: Registry, again: Callable[..., Registry], line: str) -> None:
    registry.save("good", says("x"))
    bad = registry.root / "bad/v1.yaml"
    bad.parent.mkdir()
    bad.write_text(f"messages:\n- role: user\n  content: hi\nvariables:\n  x:\n    {line}\n", "utf-8")
    for one in (registry, again()):
        assert [entry.name for entry in one.list()] == ["bad", "good"]
        (problem,) = one.problems()
        assert (problem.kind, problem.name, problem.number) == ("unreadable", "bad", 1)
        assert one.version("good").number == 1
        assert [finding.name for finding in one.verify()] == ["bad"]
        with pytest.raises(BadRequest):
            one.version("bad@1")


def test_what_nobody_thought_of_stops_nothing_either(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object) -> None:
        raise ValueError("Out of range float values are not JSON compliant")

    registry.save("a", says("x"))
    (registry.root / "b").mkdir()
    (registry.root / "b/v1.yaml").write_text("x: y")
    monkeypatch.setattr("core.prompts.registry.prompt_folder.from_text", fails)
    assert [problem.what for problem in registry.problems()] == ["b/v1.yaml holds something that no version can hold."]


def test_what_could_not_be_read_back_is_not_saved(registry: Registry, again: Callable[..., Registry]) -> None:
    registry.save("a", says("x", schema=deep(39)))
    assert again().version("a").content.answer_schema == deep(39)
    with pytest.raises(BadRequest, match=r"a cannot be saved: its file could .* more than 40 levels\. "):
        registry.save("a", says("x", schema=deep(40)))
    with pytest.raises(BadRequest, match="b cannot be saved"):
        registry.save("b", says("x", variables={"v": {"default": deep(38)}}))
    assert [path.name for path in registry.root.iterdir() if path.is_dir()] == ["a"]
    assert registry.version("a").number == 1


def test_a_content_that_was_never_checked_is_not_saved(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    good = says("x")
    for update in (
        {"model": "\ud800"},
        {"model": "a\rb\0"},
        {"variables": {"x": content.Variable.model_construct(default=float("inf"))}},
        {"variables": {"x": content.Variable.model_construct(default=HUGE)}},
    ):
        with pytest.raises(BadRequest, match="a cannot be saved"):
            registry.save("a", good.model_copy(update=update))
    monkeypatch.setattr(changes, "to_text", lambda version: to_text(version).replace("content: |", "content: >"))
    with pytest.raises(BadRequest, match="would not be read as it was written"):
        registry.save("a", says("Two\nlines"))
    assert not (registry.root / "a").exists()


def test_how_large_a_version_may_be_is_counted_in_bytes(registry: Registry) -> None:
    many = says("ü" * (LARGEST // 2))  # in characters it would fit
    with pytest.raises(BadRequest, match="larger than 2 MB"):
        registry.save("a", many)
    with pytest.raises(BadRequest, match="larger than 2 MB"):
        from_text(to_text(Version("a", 1, many)), "a", 1)
    assert registry.save("a", says("ü" * (LARGEST // 2 - 500))).created


def test_old_content_is_given_back_and_latest_stays(registry: Registry) -> None:
    registry.save("a", says("Old"))
    registry.save("a", says("New"))
    saved = registry.save("a", says("Old"))
    assert (saved.created, saved.version.number, registry.version("a").number) == (False, 1, 2)


def test_a_time_is_kept_to_the_letter() -> None:
    text = to_text(Version("a", 1, says("x")))
    for odd in ("2026-11-20", "2026-11-20T12:00:00+02:00", "2026-11-20T12:00Z", "now", "٢٠٢٦-11-20T12:00:00Z"):
        with pytest.raises(BadRequest, match="time"):
            from_text(text.replace(text.split("time: ")[1].split("\n")[0], f"'{odd}'"), "a", 1)
    version = Version("a", 1, says("x"))  # now, with its microseconds
    assert from_text(to_text(version), "a", 1).version == version


def test_a_seal_fits_its_own_name_and_number_only(registry: Registry, again: Callable[..., Registry]) -> None:
    registry.save("a", says("One"))
    registry.save("b", says("Two"))
    data = (registry.root / "a/v1.yaml").read_bytes()
    for place in ("a/v9.yaml", "b/v1.yaml", "b/v2.yaml"):
        (registry.root / place).write_bytes(data)
    one = again(PARLEY_DATA_DIR=registry.root.parent / "elsewhere")
    told = [(problem.name, problem.number, problem.kind) for problem in one.problems()]
    assert told == [("a", 9, "edited"), ("b", 1, "edited"), ("b", 2, "edited")]
    assert one.version("a").number == 1
    with pytest.raises(BadRequest, match="changed by hand"):
        one.version("b@1")


@pytest.mark.parametrize("place", ["v1.yaml", "labels.jsonl"])
def test_a_pipe_is_not_waited_for(registry: Registry, again: Callable[..., Registry], place: str) -> None:
    (registry.root / "a").mkdir()
    os.mkfifo(registry.root / "a" / place)
    one = again()
    assert [problem.kind for problem in one.problems()] == ["unreadable" if place == "v1.yaml" else "history"]
    number = 2 if place == "v1.yaml" else 1
    assert one.save("a", says("x")).version.number == number
    if place == "labels.jsonl":
        with pytest.raises(BadRequest, match="cannot be read"):
            one.move("a", "staging", number, by="Ada")


@pytest.mark.parametrize("place", [".lock", "prompt.schema.json"])
def test_a_pipe_in_the_root_is_not_waited_for(again: Callable[..., Registry], tmp_path: Path, place: str) -> None:
    root = tmp_path / "prompts"
    root.mkdir()
    os.mkfifo(root / place)
    os.mkfifo(root / "pipe")
    one = again()
    assert one.writable == (place != ".lock")
    assert one.list() == []
    assert isinstance(one.save("a", says("x")).version.content, Content)
