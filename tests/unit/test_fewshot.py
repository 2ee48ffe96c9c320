"""Few-shot examples: all in order, or those nearest to the question, whether Chroma holds them already or not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from core.errors import StorageError
from core.prompts.content import Content, parse_content
from core.prompts.templates.fewshot import COLLECTION, Examples
from core.settings import Settings
from core.store.embeddings import Embedder, Lazy, embedder
from core.store.vectors import Vectors
from tests.rendering import templates_of

INPUTS = {
    "My parcel has not arrived yet.": "delivery",
    "I was charged twice for the same order.": "payment",
    "The app crashes when I open a photo.": "fault",
    "How do I change my password?": "account",
    "Can I have my money back?": "payment",
    "  ": "nothing",
    "The courier left the box in the rain.": "delivery",
}
QUESTIONS = (
    "Where is my package?",
    "You took the money two times from my card.",
    "The program stops as soon as a picture is shown.",
    "I forgot my login.",
    "Wo ist mein Paket?",
)


def content(nearest: int | None = 2, text: str = "{{ q }}", inputs: dict[str, str] | None = None) -> Content:
    examples = [{"input": one, "output": other} for one, other in (inputs or INPUTS).items()]
    return parse_content(
        {
            "messages": [{"role": "system", "content": "Sort it."}, {"role": "user", "content": text}],
            "examples": examples,
            **({"nearest": nearest} if nearest else {}),
        }
    )


@pytest.fixture
def words(settings: Callable[..., Settings]) -> Embedder:
    return embedder(settings())


@pytest.fixture
def vectors(settings: Callable[..., Settings], words: Embedder) -> Iterator[Vectors]:
    index = Vectors(settings(), words, delay=0)
    yield index
    index.close()


def never_embeds() -> Embedder:
    def fail(texts: list[str]) -> None:
        pytest.fail(f"embedded {texts}")

    return Lazy("wordllama", lambda: fail)


def test_all_examples_stand_between_the_system_message_and_the_rest() -> None:
    made = templates_of(lambda ref: pytest.fail("nothing is included")).render(content(nearest=None), {"q": "Hello?"})
    assert [message.role for message in made.messages] == ["system"] + ["user", "assistant"] * len(INPUTS) + ["user"]
    assert [message.text for message in made.messages[1:5]] == [
        "My parcel has not arrived yet.",
        "delivery",
        "I was charged twice for the same order.",
        "payment",
    ]


def test_the_nearest_come_last(words: Embedder) -> None:
    chosen = Examples(list, words).nearest(content(), "Where is my package?")
    assert [example.output for example in chosen] == ["delivery", "delivery"]
    assert chosen[-1].input == "My parcel has not arrived yet."


def test_chroma_and_the_embedder_choose_the_same(words: Embedder, vectors: Vectors) -> None:
    sets = [content(), content(3, inputs=dict(list(INPUTS.items())[:4])), content(4, text="other {{ q }}")]
    directly = Examples(lambda: sets, words)
    expected = [[directly.nearest(one, question) for question in QUESTIONS] for one in sets]

    indexed = Examples(lambda: sets, never_embeds(), vectors)
    assert indexed.count() == 11 and len(indexed.ids()) == 10  # two sets have the same inputs; one input is blank
    vectors.attach(COLLECTION, indexed)
    assert vectors.wait()
    assert [[indexed.nearest(one, question) for question in QUESTIONS] for one in sets] == expected


def test_a_set_that_is_not_indexed_yet_is_embedded(words: Embedder, vectors: Vectors) -> None:
    known: list[Content] = []
    examples = Examples(lambda: known, words, vectors)
    vectors.attach(COLLECTION, examples)
    assert vectors.wait()
    draft = content(1)
    before = examples.nearest(draft, QUESTIONS[1])
    assert before[0].output == "payment"

    known.append(draft)
    vectors.changed(COLLECTION, examples.ids_of(draft))
    assert vectors.wait()
    assert Examples(lambda: known, never_embeds(), vectors).nearest(draft, QUESTIONS[1]) == before


def test_a_slow_start_deletes_no_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    known: list[Content] = []
    slow = Examples(lambda: known, never_embeds(), whole=lambda: bool(known))
    threading.Timer(0.3, lambda: known.append(content(1))).start()
    assert len(slow.ids()) == len(INPUTS) - 1  # one is blank
    known.clear()
    monkeypatch.setattr("core.prompts.templates.fewshot.PATIENCE", 0.1)
    with pytest.raises(StorageError, match="not been read yet"):
        slow.ids()


def test_a_half_indexed_set_is_not_used(words: Embedder, vectors: Vectors) -> None:
    whole = content(1)
    examples = Examples(lambda: [whole], words, vectors)
    vectors.attach(COLLECTION, Examples(list, words))
    assert vectors.wait()
    vectors._sources[COLLECTION] = examples  # as if the rest were still to come
    vectors.changed(COLLECTION, examples.ids_of(whole)[2:])
    assert vectors.wait()
    assert examples.nearest(whole, "Where is my package?")[0].input == "My parcel has not arrived yet."


def test_without_a_question_the_first_are_taken(words: Embedder) -> None:
    chosen = Examples(list, words).nearest(content(2), " \n")
    assert [example.output for example in chosen] == ["delivery", "payment"]


def test_as_many_as_there_are_need_no_embedder() -> None:
    few = content(50)
    assert Examples(list, never_embeds()).nearest(few, "anything") == few.examples


def test_examples_with_the_same_input_keep_their_order(words: Embedder) -> None:
    twins = parse_content(
        {
            "messages": [{"role": "user", "content": "x"}],
            "examples": [
                {"input": "a parcel", "output": "1"},
                {"input": "bread", "output": "2"},
                {"input": "a parcel", "output": "3"},
            ],
            "nearest": 2,
        }
    )
    assert [example.output for example in Examples(list, words).nearest(twins, "a parcel")] == ["3", "1"]


def test_what_they_are_chosen_for(words: Embedder) -> None:
    asked: list[str] = []

    def nearest(one: Content, question: str) -> tuple[()]:
        asked.append(question)
        return ()

    templates = templates_of(lambda ref: pytest.fail("nothing is included"), nearest)
    prompt = content(2, text="My question: {{ q }}")
    templates.render(prompt, {"q": "Where?"}, question="Whither?")
    templates.render(prompt, {"q": "Where?"})
    system_only = prompt.model_copy(update={"messages": prompt.messages[:1], "variables": {}})
    with_values = templates.check(
        system_only.model_copy(
            update={"messages": (prompt.messages[0].model_copy(update={"content": "{{ a }} {{ b }}"}),)}
        )
    )
    templates.render(with_values, {"a": "first", "b": 2})
    assert asked == ["Whither?", "My question: Where?", "first\n2"]


def test_examples_are_no_templates(words: Embedder) -> None:
    odd = content(None, inputs={"{{ q }} {% if %}": "{{ 7 * 7 }}"})
    made = templates_of(lambda ref: pytest.fail("nothing is included")).render(odd, {"q": "x"})
    assert [message.text for message in made.messages[1:3]] == ["{{ q }} {% if %}", "{{ 7 * 7 }}"]


def test_ids_of_others_are_no_items(words: Embedder) -> None:
    examples = Examples(lambda: [content()], words)
    (first, *_) = examples.ids()
    name = first.rpartition("-")[0]
    found = examples.items([first, f"{name}-99", f"{name}-x", "0000000000000000-0", "nonsense"])
    assert [item.id for item in found] == [first]
    assert found[0].tags == {"set": name} and found[0].pieces == ("My parcel has not arrived yet.",)
    assert examples.ids_of(content(None)) == []
