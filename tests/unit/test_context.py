"""What a model is given to read: files as it takes them, prepared once."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from PIL import Image

import core.chat.history
from core.chat.history import ChatHistory, PreparedFiles
from core.conversations import Conversation, Turn
from core.files.attachments import ExtractedText
from core.messages import Attachment, Message
from core.models.info import Abilities, ModelInfo
from core.services import Services
from core.settings import Settings
from tests.scripted import Scripted

ME = "local"


class Seeing(Scripted):
    async def models(self, keys: object) -> list[ModelInfo]:
        return [
            ModelInfo("scripted/sees", "Sees", abilities=Abilities(vision=True)),
            ModelInfo("scripted/sees-too", "Sees too", abilities=Abilities(vision=True)),
            ModelInfo("scripted/blind", "Blind", abilities=Abilities()),
            ModelInfo("scripted/blind-too", "Blind too", abilities=Abilities()),
        ]


@pytest.fixture
async def services(settings: Callable[..., Settings]) -> AsyncIterator[Services]:
    opened = Services.open(settings(), {"scripted": Seeing()})
    await opened.catalog.list()
    yield opened
    await opened.close()


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were really looked into."""
    names: list[str] = []
    real = core.chat.history.prepare

    def noted(name: str, *rest: object) -> object:
        names.append(name)
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(core.chat.history, "prepare", noted)
    return names


def picture() -> bytes:
    output = io.BytesIO()
    Image.new("RGB", (4, 4)).save(output, "PNG")
    return output.getvalue()


def asked(services: Services) -> tuple[ChatHistory, Conversation, Turn]:
    """A question with a picture and a text, and the answer that is to be written."""
    store = services.conversations
    made = store.create(ME)
    named = [("a.png", picture()), ("b.txt", b"hello")]
    files = tuple(store.store_file(ME, made.id, name, "", data) for name, data in named)
    question = store.add(ME, made.id, parent=None, role="user", text="Look", files=files)
    answer = store.add(ME, made.id, parent=question.id, role="assistant", text="", model="scripted/sees")
    return ChatHistory(store, services.catalog, services.settings, services.child), made, answer


def test_files_are_prepared_once_for_all_models_that_take_the_same(services: Services, prepared: list[str]) -> None:
    context, made, answer = asked(services)

    def given(model: str) -> Message:
        [message] = context.messages(ME, made, replace(answer, model=f"scripted/{model}"))
        return message

    first = given("sees")
    assert [file.name for file in first.attachments] == ["a.png"]
    assert "hello" in first.text
    assert given("sees") == given("sees-too") == first
    assert prepared == ["a.png", "b.txt"]

    blind = given("blind")
    assert not blind.attachments
    assert "a.png is left out" in blind.text and "Blind cannot see" in blind.text
    assert given("blind") == blind
    assert prepared == ["a.png", "b.txt"] * 2
    assert "Blind too cannot see" in given("blind-too").text
    assert prepared == ["a.png", "b.txt"] * 2 + ["a.png"]


def test_a_file_that_is_gone_is_left_out_and_asked_for_again(services: Services) -> None:
    context, made, answer = asked(services)
    folder = services.settings.data_dir / "files"
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    for path in kept:
        path.unlink()
    [message] = context.messages(ME, made, answer)
    assert not message.attachments
    assert message.text.count("is left out") == 2
    for path, data in kept.items():
        path.write_bytes(data)
    [message] = context.messages(ME, made, answer)
    assert message.attachments


def test_an_answer_of_white_space_is_not_sent(services: Services) -> None:
    context, made, answer = asked(services)
    store = services.conversations
    store.save(answer.id, text="\n ", status="stopped")
    question = store.add(ME, made.id, parent=answer.id, role="user", text="Well?")
    next_one = store.add(ME, made.id, parent=question.id, role="assistant", text="", model="scripted/sees")
    [both] = context.messages(ME, made, next_one)
    assert both.role == "user"
    assert both.text.endswith("\n\nWell?")


def test_what_is_kept_is_bounded_by_number_and_by_size() -> None:
    kept = PreparedFiles(most=3, most_bytes=1000)
    for number in range(5):
        kept.put((number,), Attachment("a", "image/png", bytes(100)))
    assert len(kept) == 3
    assert kept.get((1,)) is None
    assert kept.get((2,)) is not None
    kept.put((5,), ExtractedText("b", "x" * 100))
    assert kept.get((2,)) is not None, "it was used last"
    assert kept.get((3,)) is None
    kept.put((6,), Attachment("c", "image/png", bytes(900)))
    assert len(kept) == 1, "all together have at most 1,000 bytes"
    assert kept.get((6,)) is not None
    kept.put((7,), Attachment("d", "image/png", bytes(1001)))
    assert kept.get((7,)) is None
    kept.put((6,), Attachment("c", "image/png", bytes(10)))
    kept.put((6,), Attachment("c", "image/png", bytes(10)))
    kept.put((8,), Attachment("e", "image/png", bytes(600)))
    assert kept.get((6,)) is not None, "what was put twice counts once"
