"""The whole registry out and in again, and what an import writes."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import BadRequest, NotFound, StorageError
from core.prompts.content import parse_content
from core.prompts.formats import Exported, Plan, apply, export, read
from core.prompts.registry import files
from core.prompts.registry.registry import Registry
from core.prompts.version import Version
from core.settings import Settings

Make = Callable[[str], Registry]
MakeSettings = Callable[..., Settings]


@pytest.fixture
def make(settings: MakeSettings, tmp_path: Path) -> Iterator[Make]:
    opened: list[Registry] = []

    def open_one(name: str) -> Registry:
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        (root / ".keep").touch()
        registry = Registry(root, tmp_path / f"data-{name}", ("production",))
        opened.append(registry)
        return registry

    yield open_one
    for registry in opened:
        registry.close()


def content(text: str, **more: Any) -> Any:
    return parse_content({"messages": [{"role": "system", "content": text}]} | more)


def fill(registry: Registry) -> None:
    """Two prompts with everything that a version can have, and labels that moved about."""
    rich = content(
        'Be {{ tone }}.\n\t"quotes" \\ é \U0001f600 {% if a %}\n  x\n{% endif %} \x07 # no: yes\n\n',
        variables={
            "tone": {"description": "How", "default": "kind", "example": 3.5},
            "a": {"default": [1, {"b": None}]},
        },
        examples=[{"input": " lead", "output": "trail \n\n"}],
        nearest=1,
        model="openai/gpt-6-luna",
        parameters={"temperature": 0.1, "stop": ["\n"], "effort": "low"},
        schema={"type": "object", "properties": {"n": {"type": "number", "maximum": 1e-7}}},
    )
    registry.save("shared/tone", rich, description="How we\nsound", tags=["a b", "c"], change="First", author="Ada")
    registry.save("shared/tone", content("Be brief."), author="Bob", parent=1)
    registry.save("shared/tone", content("Be kind."), author="Ada", change="Kinder", parent=2)
    registry.save("reply", content('Hi {% include "shared/tone@production" %}'), author="Zoë")
    registry.move("shared/tone", "production", 1, by="Ada", why="It begins")
    registry.move("shared/tone", "production", 3, by="Bob", why="Better «now»")
    registry.move("shared/tone", "staging", 2, by="Bob")
    registry.rollback("shared/tone", "production", by="Ada", why="Worse")
    registry.move("shared/tone", "staging", None, by="Ada")


def exported(registry: Registry) -> list[Exported]:
    return [
        Exported(tuple(registry.versions(entry.name)), dict(entry.labels), tuple(registry.history(entry.name)))
        for entry in registry.list()
    ]


def state(registry: Registry) -> dict[str, Any]:
    return {
        entry.name: (registry.versions(entry.name), dict(entry.labels), registry.history(entry.name))
        for entry in registry.list()
    }


def in_files(registry: Registry) -> dict[str, bytes]:
    found = [*registry.root.rglob("v*.yaml"), *registry.root.rglob("labels.jsonl")]
    return {path.relative_to(registry.root).as_posix(): path.read_bytes() for path in found}


def plan_of(registry: Registry, format_id: str) -> Plan:
    packed = export(exported(registry), format_id)
    assert packed.losses == ()
    plan = read(packed.files[0].data, packed.files[0].name)
    assert (plan.format, plan.losses) == (format_id, ())
    return plan


@pytest.mark.parametrize("format_id", ["json", "yaml"])
def test_a_registry_comes_back_byte_for_byte(make: Make, format_id: str) -> None:
    here, there = make("here"), make("there")
    fill(here)
    done = apply(there, plan_of(here, format_id), by="Eve", labels=True)
    assert state(there) == state(here)
    assert in_files(there) == in_files(here)
    assert there.verify() == here.verify() == []
    assert len(done.versions) == 4
    assert done.unchanged == ()
    assert done.labels_moved == (("shared/tone", "production", 1),)
    assert there.version("shared/tone@production").time == here.version("shared/tone@1").time
    # and once more: everything is there
    again = apply(there, plan_of(here, format_id), by="Eve", labels=True)
    assert (again.versions, len(again.unchanged), again.labels_moved) == ((), 4, ())
    assert in_files(there) == in_files(here)


@pytest.mark.parametrize("format_id", ["json", "yaml"])
def test_two_exports_are_the_same_file(make: Make, format_id: str) -> None:
    here = make("here")
    fill(here)
    assert export(exported(here), format_id).files[0].data == export(exported(here), format_id).files[0].data


def test_labels_stay_where_they_are_unless_asked(make: Make) -> None:
    here, there = make("here"), make("there")
    here.save("a", content("A"))
    here.move("a", "production", 1, by="Ada", why="Good")
    done = apply(there, plan_of(here, "json"), by="Eve")
    assert (dict(there.entry("a").labels), done.labels_moved) == ({}, ())


def test_into_a_filled_registry_new_versions_get_new_numbers(make: Make) -> None:
    here, there = make("here"), make("there")
    here.save("a", content("One"), author="Ada", change="Begun")
    here.save("a", content("Two"), author="Ada", parent=1)
    here.move("a", "production", 2, by="Ada", why="Good")
    there.save("a", content("Other"), author="Bob")
    there.save("a", content("One"), author="Bob")
    done = apply(there, plan_of(here, "yaml"), by="Eve", labels=True)
    assert [one.number for one in done.unchanged] == [2]
    (new,) = done.versions
    assert (new.number, new.author, new.change, new.parent) == (3, "Ada", "Imported from prompts.yaml by Eve.", 2)
    assert done.labels_moved == (("a", "production", 3),)
    (move,) = there.history("a")
    assert (move.by, move.why) == ("Eve", "Imported from prompts.yaml.")
    again = apply(there, plan_of(here, "yaml"), by="Eve", labels=True)
    assert (again.versions, again.labels_moved) == ((), ())
    assert len(there.versions("a")) == 3


def test_an_import_that_broke_off_goes_on(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = make("here"), make("there")
    fill(here)
    plan = plan_of(here, "json")
    real, left = files.create, [2]

    def full(*args: Any) -> bool:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "full")
        return real(*args)

    monkeypatch.setattr(files, "create", full)
    with pytest.raises(StorageError, match=r"disk is full. 2 of 4 versions were imported before.") as error:
        apply(there, plan, by="Eve", labels=True)
    assert "goes on there" in error.value.fix
    monkeypatch.undo()
    apply(there, plan, by="Eve", labels=True)
    assert in_files(there) == in_files(here)


def test_one_prompt_from_another_tool(make: Make) -> None:
    registry = make("here")
    text = "---\nname: Greeting\nmetadata:\n  authors: [Noor]\n---\nsystem:\nGreet {{ name }}.\n"
    plan = read(text.encode(), "greeting.prompty")
    done = apply(registry, plan, by="Eve")
    (new,) = done.versions
    assert (new.name, new.number, new.author) == ("greeting", 1, "Noor")
    assert list(new.content.variables) == ["name"]
    assert apply(registry, plan, by="Eve").unchanged == (new,)
    # A file that says less of it is still the same prompt.
    again = registry.save("greeting", new.content, description="Greets", tags=["x"])
    assert apply(registry, plan, by="Eve").unchanged == (again.version,)


def test_langfuse_labels_are_moved_when_asked(make: Make) -> None:
    registry = make("here")
    objects = [
        {
            "name": "a",
            "type": "text",
            "prompt": f"{n} {{{{x}}}}",
            "version": n,
            "labels": ["production"] if n == 7 else [],
        }
        for n in (7, 5)
    ]
    done = apply(registry, read(json.dumps(objects).encode(), "langfuse.json"), by="Eve", labels=True)
    assert [(one.number, one.content.messages[0].content) for one in done.versions] == [(1, "5 {{x}}"), (2, "7 {{x}}")]
    assert done.labels_moved == (("a", "production", 2),)
    assert registry.history("a")[0].why == "Imported from langfuse.json."


def test_a_gate_keeps_the_label_and_nothing_is_written(make: Make) -> None:
    here, there = make("here"), make("there")
    fill(here)

    def gate(version: Version, label: str) -> None:
        raise BadRequest(f"{version.ref} has passed no test for {label}.")

    there.gates.append(gate)
    with pytest.raises(BadRequest, match=r"shared/tone@1 has passed no test for production"):
        apply(there, plan_of(here, "json"), by="Eve", labels=True)
    assert in_files(there) == {}


@pytest.mark.parametrize(
    "bad",
    [
        {"messages": [{"role": "user", "content": "{{ 'x'.__class__.__mro__ | map('y') }}{% import 'os' %}"}]},
        {"messages": [{"role": "user", "content": "{{ x | nosuchfilter }}"}]},
        {"messages": [{"role": "user", "content": '{% include "not/here" %}'}]},
        {"messages": [{"role": "user", "content": '{% include "b" %}'}]},
    ],
)
def test_one_bad_template_and_nothing_is_imported(make: Make, bad: dict[str, Any]) -> None:
    registry = make("here")
    good = {"number": 1, "messages": [{"role": "user", "content": "Fine"}], "time": "2026-11-20T12:00:00Z"}
    value = {
        "format": "parley-prompts",
        "version": 1,
        "prompts": [{"name": "a", "versions": [good]}, {"name": "b", "versions": [good | bad]}],
    }
    with pytest.raises(BadRequest) as error:
        apply(registry, read(json.dumps(value).encode(), "all.json"), by="Eve")
    assert "all.json: b (version 1)" in error.value.what
    assert "Nothing was imported" in error.value.fix
    assert in_files(registry) == {}
    with pytest.raises(NotFound):
        registry.entry("a")


def test_prompts_of_one_file_may_include_each_other(make: Make) -> None:
    here, there = make("here"), make("there")
    fill(here)
    plan = plan_of(here, "json")
    with pytest.raises(BadRequest, match=r"shared/tone has no label production|no prompt called shared/tone"):
        apply(there, plan, by="Eve")  # reply needs the label
    assert in_files(there) == {}
    apply(there, plan, by="Eve", labels=True)
    assert there.version("reply@1").content == here.version("reply@1").content


def test_an_include_by_number_must_not_mean_another_text(make: Make) -> None:
    here, there = make("here"), make("there")
    here.save("tone", content("Kind"))
    here.save("reply", content('{% include "tone@1" %}'))
    there.save("tone", content("Rude"))
    with pytest.raises(BadRequest, match="version 1 of tone is another one here"):
        apply(there, plan_of(here, "json"), by="Eve")
    assert [entry.name for entry in there.list()] == ["tone"]


def test_a_registry_that_cannot_be_written_says_so(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = make("here"), make("there")
    fill(here)
    problem = StorageError("The folder of the prompts cannot be written.")
    monkeypatch.setattr(Registry, "problem", property(lambda self: problem))
    with pytest.raises(StorageError, match="cannot be written"):
        apply(there, plan_of(here, "json"), by="Eve")


def test_a_history_that_was_tampered_with_is_left_out(make: Make) -> None:
    here, there = make("here"), make("there")
    fill(here)
    value = json.loads(export(exported(here), "json").files[0].data)
    value["prompts"][1]["history"][0]["by"] = "Mallory"
    plan = read(json.dumps(value).encode(), "prompts.json")
    assert [(loss.place, loss.field) for loss in plan.losses] == [("shared/tone", "history")]
    apply(there, plan, by="Eve", labels=True)
    (move,) = there.history("shared/tone")
    assert (move.by, move.to, move.why) == ("Eve", 1, "Imported from prompts.json.")


def test_a_text_that_was_changed_in_the_file_is_told(make: Make) -> None:
    here = make("here")
    here.save("a", content("Kind"))
    text = export(exported(here), "json").files[0].data.decode().replace("Kind", "Rude")
    assert [(loss.place, loss.field) for loss in read(text.encode(), "p.json").losses] == [("a", "v1.hash")]
