"""Saving and reading versions."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from core.errors import BadRequest, NotFound
from core.names import Ref
from core.prompts import Registry
from core.prompts.content import parse_content
from core.prompts.registry import prompt_folder
from core.prompts.version import Version, from_text, published_schema, to_text
from tests.prompt_files import again, registry, says

__all__ = ["again", "registry"]

ODD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))


def test_a_version_is_one_file_that_reads_well(registry: Registry, tmp_path: Path) -> None:
    content = parse_content(
        {
            "messages": [
                {"role": "system", "content": "Be kind.\nBe short.\n"},
                {"role": "user", "content": "{{ question }}"},
            ],
            "variables": {"question": {"description": "What is asked"}},
            "model": "embedded/smollm2-135m",
            "parameters": {"temperature": 0.5},
        }
    )
    saved = registry.save(
        "support/reply", content, description="Answers", tags=["mail", "mail"], change="First", author=" Ada "
    )
    assert saved.created
    path = tmp_path / "prompts/support/reply/v1.yaml"
    text = path.read_text("utf-8")
    assert text.startswith("# yaml-language-server: $schema=../../prompt.schema.json\n")
    assert "    Be kind.\n    Be short.\n" in text
    assert yaml.safe_load(text)["tags"] == ["mail"]
    version = registry.version("support/reply")
    assert version == saved.version == from_text(text, "support/reply", 1).version
    assert (version.author, version.content, version.ref) == ("Ada", content, "support/reply@1")
    assert abs(version.time - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(minutes=1)
    assert [child.name for child in path.parent.iterdir()] == ["v1.yaml"]


def test_the_schema_lies_in_the_root_and_is_renewed(registry: Registry, again: Callable[..., Registry]) -> None:
    path = registry.root / "prompt.schema.json"
    assert json.loads(path.read_text("utf-8")) == json.loads(json.dumps(published_schema()))
    path.write_text("{}")
    again()
    assert json.loads(path.read_text("utf-8"))["title"] == "A version of a prompt"


def test_versions_are_numbered_and_all_are_kept(registry: Registry) -> None:
    for number in (1, 2, 3):
        saved = registry.save("a", says(f"Text {number}"), parent=number - 1 or None)
        assert (saved.created, saved.version.number, saved.version.parent) == (True, number, number - 1 or None)
    assert [version.number for version in registry.versions("a")] == [3, 2, 1]
    assert registry.version("a").number == registry.version("a@latest").number == 3
    assert registry.version("a@2") == registry.version(Ref("a", 2, "")) == registry.version("a@v2")
    assert registry.version("a@1").content == says("Text 1")
    entry = registry.entry("a")
    assert (entry.name, entry.numbers, entry.latest, dict(entry.labels), entry.problems) == (
        "a",
        (1, 2, 3),
        registry.version("a"),
        {},
        (),
    )


def test_the_same_again_gives_the_version_that_is_there(registry: Registry, again: Callable[..., Registry]) -> None:
    first = registry.save("a", says("Same"), description="One", tags=["x"])
    registry.save("a", says("Other"))
    for one in (registry, again()):
        repeated = one.save("a", says("Same"), description="One", tags=["x"], change="Nothing", author="Bob")
        assert not repeated.created
        assert repeated.version == first.version
        assert one.save("a", says("Same"), description="One", tags=["y"]).version.number == 3
    assert registry.save("a", says("Same"), description="Another").version.number == 4
    assert registry.save("a", says("Same\r\n")).version.content == says("Same\n")


def test_a_number_that_a_label_knew_is_not_given_again(registry: Registry) -> None:
    registry.save("a", says("One"))
    registry.save("a", says("Two"))
    registry.move("a", "staging", 2, by="Ada")
    (registry.root / "a/v2.yaml").unlink()
    assert registry.save("a", says("Three")).version.number == 3


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../escape", "cannot be the name"),
        ("a/../../b", "cannot be the name"),
        ("/etc/passwd", "cannot be the name"),
        ("C:\\x", "cannot be the name"),
        ("a\\b", "cannot be the name"),
        ("con", "Windows"),
        ("a/com1", "Windows"),
        ("x" * 300, "300 characters"),
        ("Grüße", "cannot be the name"),
        ("名前", "cannot be the name"),
        ("Reply", "cannot be the name"),
        ("v1.yaml", "cannot be the name"),
        (".hidden", "cannot be the name"),
        ("a\0b", "cannot be the name"),
        ("", "no name"),
        ("a/", "cannot be the name"),
        ("a/b/c/d/e/f", "folders deep"),
    ],
)
def test_bad_names_are_refused_everywhere(registry: Registry, tmp_path: Path, name: str, said: str) -> None:
    before = {path for path in tmp_path.rglob("*") if path.parent.name != "data"}
    for use in (
        lambda: registry.save(name, says("x")),
        lambda: registry.entry(name),
        lambda: registry.version(f"{name}@1"),
        lambda: registry.versions(name),
        lambda: registry.move(name, "staging", 1, by="x"),
        lambda: registry.history(name),
        lambda: registry.restore(name, 1),
    ):
        with pytest.raises(BadRequest, match=said):
            use()
    assert {path for path in tmp_path.rglob("*") if path.parent.name != "data"} == before


def test_what_is_not_there_is_said_with_what_is(registry: Registry) -> None:
    registry.save("support/reply", says("x"))
    with pytest.raises(NotFound, match="Did you mean support/reply"):
        registry.version("support/repyl")
    with pytest.raises(NotFound, match="The newest is v1"):
        registry.version("support/reply@7")
    with pytest.raises(NotFound, match=r"has no label production\. It has latest"):
        registry.version("support/reply@production")
    with pytest.raises(NotFound, match="no prompt called support"):
        registry.entry("support")
    with pytest.raises(BadRequest, match="no version 5 that"):
        registry.save("support/reply", says("y"), parent=5)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"description": "x" * 2001}, "The description has 2,001 characters"),
        ({"author": "x" * 201}, "201 characters"),
        ({"change": "a\0b"}, "no file can hold"),
        ({"description": "\ud800"}, "no file can hold"),
        ({"tags": ["a,b"]}, "cannot be a tag"),
        ({"tags": ["x" * 41]}, "cannot be a tag"),
        ({"tags": [f"t{n}" for n in range(21)]}, "21 tags"),
    ],
)
def test_bad_fields_are_refused_and_nothing_is_written(registry: Registry, fields: dict, said: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(BadRequest, match=said):
        registry.save("a", says("x"), **fields)
    assert registry.list() == []
    assert not (registry.root / "a").exists()


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(texts=st.lists(ODD, min_size=1, max_size=3), about=ODD, change=ODD)
def test_any_text_is_read_as_it_was_written(texts: list[str], about: str, change: str) -> None:
    messages = [{"role": "user", "content": text} for text in texts]
    examples = [{"input": text, "output": about} for text in texts]
    content = parse_content(
        {"messages": messages, "examples": examples, "variables": {"a": {"default": about, "description": change}}}
    )
    version = Version("a/b", 1, content, about.replace("\r\n", "\n").replace("\r", "\n"), time=now())
    found = from_text(to_text(version), "a/b", 1)
    assert found.intact
    assert found.version == version


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def test_a_prompt_of_a_megabyte_is_like_any_other(
    registry: Registry, again: Callable[..., Registry], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "A line of a very long prompt about elephants.\n" * 22_000
    assert registry.save("big", says(text)).version.content.messages[0].content == text
    for one in (registry, again()):
        assert one.version("big").content.messages[0].content == text
        assert [entry.name for entry in one.list()] == ["big"]
        assert one.search("elephants")[0].name == "big"
        with monkeypatch.context() as patch:  # parsing it takes half a second, so it happens once
            patch.setattr(prompt_folder, "from_text", lambda *args: pytest.fail("parsed again"))
            one.version("big")
            one.list()
            one.search("elephants")
    with pytest.raises(BadRequest, match="larger than 2 MB"):
        registry.save("too-big", says(text * 2))
    with pytest.raises(NotFound):
        registry.version("too-big")


def test_the_list_is_sorted_and_can_be_filtered(registry: Registry) -> None:
    registry.save("support/refund", says("x"), description="Gives money back", tags=["mail", "höflich"])
    registry.save("support/reply", says("money"), tags=["mail"])
    registry.save("poem", says("x"), description="Écrit des poèmes")
    registry.move("poem", "staging", 1, by="Ada")

    def names(*args: str, **kwargs: str) -> list[str]:
        return [entry.name for entry in registry.list(*args, **kwargs)]

    assert names() == ["poem", "support/refund", "support/reply"]
    assert names("support re") == ["support/refund", "support/reply"]
    assert names("MONEY") == ["support/refund"]
    assert names("ecrit poemes") == ["poem"]
    assert names("hoflich") == ["support/refund"]
    assert names(tag="mail") == ["support/refund", "support/reply"]
    assert names("refund", tag="mail") == ["support/refund"]
    assert names(label="staging") == ["poem"]
    assert names(tag="nothing") == names("xylophone") == []
