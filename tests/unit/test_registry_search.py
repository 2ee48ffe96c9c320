"""Search in the prompts, by words and by meaning, with the real embedder and the real Chroma."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from core.prompts import Registry
from core.prompts.content import parse_content
from core.prompts.registry.words import LONGEST, fold
from core.store.embeddings import embedder
from core.store.items import Match
from core.store.vectors import Vectors
from core.text import MARK_BEGIN, MARK_END
from tests.prompt_files import Make, again, registry, says
from tests.waiting import wait_until

__all__ = ["again", "registry"]


def found(registry: Registry, text: str) -> list[str]:
    return [hit.name for hit in registry.search(text)]


def test_words_are_found_in_everything_that_a_version_says(registry: Registry) -> None:
    content = parse_content(
        {
            "messages": [
                {"role": "system", "content": "Talk about zebras"},
                {"role": "user", "content": "{{ quagga }}"},
            ],
            "examples": [{"input": "a giraffe", "output": "an okapi"}],
            "variables": {"quagga": {"description": "an extinct animal"}},
            "model": "ollama/qwen3:4b",
        }
    )
    registry.save("animals/striped", content, description="For the zoo", tags=["savanna"], change="Added a wildebeest")
    registry.save("other", says("Nothing of that"))
    words = ["striped", "zebra", "quagga", "giraffe", "okapi", "extinct", "qwen3", "zoo", "savanna", "wildebeest"]
    for word in [*words, "ZEBRAS", "zèbras", "animal"]:
        assert found(registry, word) == ["animals/striped"], word
    assert found(registry, "zebra okapi zoo") == ["animals/striped"]
    assert found(registry, "zebra nothing") == found(registry, "  ") == found(registry, "\x00") == []


def test_the_name_goes_before_tags_description_and_texts(registry: Registry) -> None:
    registry.save("in-text", says("Something on refunds"))
    registry.save("in-description", says("x"), description="Something on refunds")
    registry.save("in-tags", says("x"), tags=["refunds"])
    registry.save("refunds", says("x"))
    registry.save("long-name-with-refunds", says("x"))
    assert found(registry, "refunds") == ["refunds", "long-name-with-refunds", "in-tags", "in-description", "in-text"]
    assert found(registry, "something refunds") == ["in-description", "in-text"]
    assert [hit.name for hit in registry.search("refunds", limit=2)] == ["refunds", "long-name-with-refunds"]
    assert registry.search("refunds", limit=0) == []


def test_of_a_prompt_the_newest_version_that_fits_is_found_once(registry: Registry) -> None:
    registry.save("a", says("elephants and lions"))
    registry.save("a", says("elephants"))
    registry.save("a", says("tigers"))
    (hit,) = registry.search("elephants")
    assert (hit.number, hit.how) == (2, "words")
    assert hit.snippet == f"{MARK_BEGIN}elephants{MARK_END}"
    assert [hit.number for hit in registry.search("lions")] == [1]
    assert registry.search("lions tigers") == []


def test_the_snippet_shows_where_it_stands(registry: Registry) -> None:
    registry.save("a", says("word " * 100 + "the élan of it " + "word " * 100), description="About something")
    (hit,) = registry.search("elan")
    assert f"{MARK_BEGIN}élan{MARK_END}" in hit.snippet
    assert hit.snippet.startswith("…") and len(hit.snippet) < 200
    assert registry.search("something")[0].snippet == f"About {MARK_BEGIN}something{MARK_END}"
    registry.save("b", says("x" * (2 * LONGEST) + " behind"))
    assert registry.search("behind") == []


@pytest.mark.parametrize("text", ["GRÜSSE", "Straße", "ﬁne", "한국어", "日本語", "e\u0301"])
def test_case_and_accents_do_not_count(registry: Registry, text: str) -> None:
    registry.save("a", says(f"Before {text} after"))
    for form in (text, text.upper(), text.lower(), text.casefold()):
        assert found(registry, form) == ["a"], form
    assert fold("Été") == "ete"


def test_an_edited_file_is_found_by_what_was_saved(registry: Registry) -> None:
    registry.save("a", says("elephants"))
    path = registry.root / "a/v1.yaml"
    path.write_text(path.read_text("utf-8").replace("elephants", "crocodiles"), "utf-8")
    assert found(registry, "elephants") == ["a"]
    assert found(registry, "crocodiles") == []


@pytest.fixture
def meaning(registry: Registry, settings: Make) -> Iterator[Vectors]:
    registry.save("support/refund", says("You handle refunds."), description="Gives customers their money back")
    registry.save(
        "drafts/two", says("You are a chef who suggests a dish for tonight."), description="Recipes and dishes"
    )
    registry.save("travel", says("Plan a journey by train."), description="Holiday trips")
    vectors = Vectors(settings(), embedder(settings()), delay=0)
    registry.start()
    registry.attach(vectors)
    assert vectors.wait(60)
    yield vectors
    vectors.close()


def test_a_prompt_is_found_by_other_words(registry: Registry, meaning: Vectors) -> None:
    (hit, *_) = registry.search("what shall I cook for dinner")
    assert (hit.name, hit.number, hit.how) == ("drafts/two", 1, "meaning")
    assert hit.snippet == "Recipes and dishes"
    assert registry.search("a client wants to be paid back")[0].name == "support/refund"
    assert registry.search("dish")[0].how == "both"
    assert meaning.state().total == meaning.state().indexed == 3


def test_the_index_of_meanings_follows(
    registry: Registry, meaning: Vectors, again: Callable[..., Registry], settings: Make
) -> None:
    registry.save("drafts/two", says("You repair bicycles."), description="Chains, brakes and tyres")
    assert meaning.wait(30)
    assert found(registry, "cook a meal for dinner") == []
    assert registry.search("my bike has a flat")[0].number == 2
    for path in (registry.root / "drafts/two").iterdir():
        path.unlink()
    wait_until(registry.list, lambda entries: len(entries) == 2)
    assert meaning.wait(30)
    assert found(registry, "my bike has a flat") == []
    assert meaning.state().total == meaning.state().indexed == 2


def test_what_is_gone_from_the_folder_but_not_yet_from_the_index_is_not_found(
    registry: Registry, meaning: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = [Match("gone@1:0123456789ab", 0, 0.9), Match("travel@7:0123456789ab", 0, 0.8)]
    monkeypatch.setattr(meaning, "query", lambda *args: late)
    assert registry.search("getting my money back") == []


def test_what_changed_while_nothing_ran_is_indexed_at_the_start(
    registry: Registry, meaning: Vectors, again: Callable[..., Registry], settings: Make
) -> None:
    registry.close()
    meaning.close()
    again().save("drafts/two", says("You repair bicycles."), description="Chains, brakes and tyres")
    one = again()
    vectors = Vectors(settings(), embedder(settings()), delay=0)
    one.attach(vectors)
    assert vectors.wait(60)
    assert [(hit.name, hit.number) for hit in one.search("my bike has a flat")][:1] == [("drafts/two", 2)]
    assert found(one, "cook a meal for dinner") == []
    vectors.close()
