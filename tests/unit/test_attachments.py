from __future__ import annotations

import io
import random
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import docx
import pypdf
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from core.errors import BadRequest
from core.files import attachments
from core.files.attachments import MOST_CHARACTERS, ExtractedText, as_prompt_text, read, safe_name
from core.files.child import Child
from core.messages import Attachment
from core.models.info import Abilities, ModelInfo

PLAIN = ModelInfo("embedded/small")
SEES = ModelInfo("openai/sees", abilities=Abilities(vision=True, pdf=True))
LIMIT = 20 * 1024 * 1024
CHILD = Child()


@pytest.fixture(scope="module", autouse=True)
def _end() -> Iterator[None]:
    yield
    CHILD.close()


def prepare(name: str, data: bytes, model: ModelInfo, limit: int) -> Attachment | ExtractedText:
    return attachments.prepare(name, data, model, limit, CHILD)


def image(kind: str = "PNG", size: tuple[int, int] = (4, 3)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "red").save(file, kind)
    return file.getvalue()


def pdf(text: str = "Hello from page one.", pages: int = 1, password: str | None = None) -> bytes:
    """A PDF with text, drawn by hand: no library here writes text."""
    writer = pypdf.PdfWriter()
    font = pypdf.generic.DictionaryObject(
        {
            pypdf.generic.NameObject("/Type"): pypdf.generic.NameObject("/Font"),
            pypdf.generic.NameObject("/Subtype"): pypdf.generic.NameObject("/Type1"),
            pypdf.generic.NameObject("/BaseFont"): pypdf.generic.NameObject("/Helvetica"),
        }
    )
    for _ in range(pages):
        page = writer.add_blank_page(300, 300)
        if text:
            stream = pypdf.generic.StreamObject()
            stream.set_data(f"BT /F1 12 Tf 10 200 Td ({text}) Tj ET".encode())
            page[pypdf.generic.NameObject("/Contents")] = writer._add_object(stream)
            fonts = pypdf.generic.DictionaryObject({pypdf.generic.NameObject("/F1"): writer._add_object(font)})
            page[pypdf.generic.NameObject("/Resources")] = pypdf.generic.DictionaryObject(
                {pypdf.generic.NameObject("/Font"): fonts}
            )
    if password is not None:
        writer.encrypt(password, algorithm="RC4-128")
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue()


def word() -> bytes:
    document = docx.Document()
    document.add_paragraph("First line.")
    table = document.add_table(2, 2)
    for row in range(2):
        for column in range(2):
            table.cell(row, column).text = f"r{row}c{column}"
    table.cell(0, 0).add_table(1, 1).cell(0, 0).text = "inner"
    document.add_paragraph("Last line.")
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def archive(**members: Any) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return file.getvalue()


def refused(name: str, data: bytes, model: ModelInfo = SEES) -> str:
    with pytest.raises(BadRequest) as raised:
        prepare(name, data, model, LIMIT)
    assert raised.value.fix
    return raised.value.what


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_images_go_as_they_are_to_who_sees(kind: str) -> None:
    data = image(kind)
    assert prepare("a.bin", data, SEES, LIMIT) == Attachment("a.bin", f"image/{kind.lower()}", data)
    assert "cannot see images" in refused("a.png", data, PLAIN)


def test_images_that_are_not_taken() -> None:
    assert "kind BMP" in refused("a.png", image("BMP"))
    assert "damaged image" in refused("a.png", image(size=(200, 200))[:120])
    big = image(size=(20_000, 5_000))
    assert len(big) < 1_000_000
    assert "too many" in refused("bomb.png", big)


def test_pdf_goes_as_it_is_or_as_text() -> None:
    data = pdf()
    assert prepare("a.pdf", data, SEES, LIMIT) == Attachment("a.pdf", "application/pdf", data)
    assert prepare("a.pdf", data, PLAIN, LIMIT) == ExtractedText("a.pdf", "Hello from page one.")
    assert prepare("lies.txt", data, PLAIN, LIMIT) == ExtractedText("lies.txt", "Hello from page one.")


@pytest.mark.parametrize("model", [PLAIN, SEES])
def test_pdf_that_cannot_be_read(model: ModelInfo) -> None:
    assert "encrypted" in refused("a.pdf", pdf(password="secret"), model)
    assert "damaged" in refused("a.pdf", b"%PDF-1.7 and nothing else", model)
    assert "damaged" in refused("a.pdf", pdf()[:60], model)


def test_pdf_with_an_empty_password_and_a_scan() -> None:
    assert "Hello" in prepare("a.pdf", pdf(password=""), PLAIN, LIMIT).text  # type: ignore[union-attr]
    assert "may be a scan" in refused("a.pdf", pdf(text=""), PLAIN)


def test_word_with_tables_in_their_place() -> None:
    prepared = prepare("a.docx", word(), PLAIN, LIMIT)
    assert prepared == ExtractedText("a.docx", "First line.\nr0c0 inner | r0c1\nr1c0 | r1c1\nLast line.")


def test_archives_that_are_no_document() -> None:
    assert "is an archive" in refused("a.zip", archive(readme="hello"))
    assert "table or presentation" in refused("a.xlsx", archive(**{"[Content_Types].xml": "", "xl/workbook.xml": ""}))
    assert "damaged" in refused("a.docx", word()[:300])
    assert "damaged" in refused("a.docx", archive(**{"word/document.xml": "<broken"}))
    bomb = archive(**{"word/document.xml": b"<a/>", "word/media/x.bin": b"\0" * 150_000_000})
    assert len(bomb) < 1_000_000
    assert "unpacked" in refused("a.docx", bomb)


def test_entities_of_a_document_are_not_expanded() -> None:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "x" * 100}">' for n in range(9))
    evil = f'<!DOCTYPE a [{entities}<!ENTITY f SYSTEM "file:///etc/passwd">]>'
    data = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(word())) as source, zipfile.ZipFile(data, "w") as target:
        for member in source.namelist():
            content = source.read(member)
            if member == "word/document.xml":
                xml = content.decode().replace("First line.", "A&e8;&f;B")
                content = re.sub(r"(<\?xml[^>]*\?>)", lambda m: m[0] + evil, xml, count=1).encode()
            target.writestr(member, content)
    try:
        text = prepare("a.docx", data.getvalue(), PLAIN, LIMIT).text  # type: ignore[union-attr]
    except BadRequest:
        return
    assert "root:" not in text and len(text) < 10_000


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a,b\r\n1,2\r\n", "a,b\n1,2\n"),
        ("\ufeffна русском 🙂".encode(), "на русском 🙂"),
        ("héllo 你好".encode("utf-16"), "héllo 你好"),
        ("\ufeffhéllo".encode("utf-16-be"), "héllo"),
        ("Grüße aus Köln, schöne Zeit".encode("latin-1"), "Grüße aus Köln, schöne Zeit"),
        ("a price of 5 € – fine".encode("cp1252"), "a price of 5 € – fine"),
        (b'{"a": [1, 2]}', '{"a": [1, 2]}'),
        (b"<script>alert(1)</script>", "<script>alert(1)</script>"),
        (b"\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
    ],
)
def test_text_in_any_encoding(data: bytes, text: str) -> None:
    assert prepare("a.png", data, PLAIN, LIMIT) == ExtractedText("a.png", text)


def test_what_is_no_text() -> None:
    noise = random.Random(1).randbytes(5000)
    assert "no text, image" in refused("a.txt", noise)
    assert "no text, image" in refused("a.txt", b"abc\x00def" * 10)
    assert "a program" in refused("a.txt", b"\x7fELF" + b"a" * 100)
    assert "empty" in refused("a.txt", b"")
    assert "holds no text" in refused("a.txt", b" \n\t ")
    assert "20 MB is the most" in _too_large()


def _too_large() -> str:
    with pytest.raises(BadRequest) as raised:
        prepare("a.txt", b"a" * 21_000_000, PLAIN, 20_000_000)
    return raised.value.what


def test_long_text_is_cut_and_says_so() -> None:
    prepared = prepare("a.log", b"line\n" * 200_000, PLAIN, LIMIT)
    assert isinstance(prepared, ExtractedText)
    assert prepared.text.endswith(f"[Cut off here: only the first {MOST_CHARACTERS:,} characters were taken.]")
    assert len(prepared.text) < MOST_CHARACTERS + 100


def test_a_pdf_of_many_pages_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "MOST_CHARACTERS", 50)
    text = read(pdf(pages=9), "a.pdf", takes_pdf=False)["text"]
    assert "Cut off here" in text and len(text) < 150


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\notes.txt", "notes.txt"),
        ("..", "file"),
        ("", "file"),
        ("/", "file"),
        (".env", "env"),
        ("a\nb\x00c\u202e.txt", "abc.txt"),
        ("```\n<script>.md", "script.md"),
        ("\ud800x.txt", "x.txt"),
        ("a" * 300 + ".csv", "a" * 116 + ".csv"),
    ],
)
def test_names_are_made_safe(name: str, safe: str) -> None:
    assert safe_name(name).replace("?", "") == safe
    prepared = prepare(name, b"hello", PLAIN, LIMIT)
    assert prepared.name == safe_name(name)


def test_prompt_text_is_fenced() -> None:
    assert as_prompt_text(ExtractedText("a.md", "x\n")) == "File a.md:\n```\nx\n```"


@given(st.text(alphabet="`~\nab ", max_size=60))
def test_a_fence_cannot_be_ended_from_within(text: str) -> None:
    lines = as_prompt_text(ExtractedText("a.md", text)).split("\n")
    fence = lines[1]
    assert lines[-1] == fence
    assert not any(fence in line for line in lines[2:-1])


@given(
    st.binary(min_size=1, max_size=400),
    st.sampled_from([b"", b"%PDF-1.4\n", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF"]),
)
def test_any_bytes_give_a_result_or_a_clear_refusal(data: bytes, beginning: bytes) -> None:
    try:
        prepared = prepare("x", beginning + data, PLAIN, LIMIT)
    except BadRequest as error:
        assert error.what.endswith(".")
    else:
        assert isinstance(prepared, ExtractedText)
        prepared.text.encode()
