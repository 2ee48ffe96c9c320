"""Files that people attach: what they are by their content, and how a model is given them.

What is in a file is looked at in a child process alone (`read`, `thumbnail`), because a file can be made to take any
time and any memory.
"""

from __future__ import annotations

import base64
import io
import re
import unicodedata
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import PurePosixPath

from core.errors import BadRequest
from core.files.child import Child, Unfinished
from core.messages import Attachment
from core.models.info import ModelInfo

MOST_CHARACTERS = 400_000  # of text out of one file; about 100,000 tokens
SECONDS = 12.0  # that reading a file may take
_MOST_PIXELS = 50_000_000
_IMAGES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}
_PDF = "application/pdf"
_LONGEST_NAME = 120
# Beginnings that are no text even where they decode as such, and what to call them.
_BINARY = (
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"\x1f\x8b", "a compressed file"),
    (b"7z\xbc\xaf\x27\x1c", "an archive"),
    (b"Rar!", "an archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a file of an old Office"),
    (b"SQLite format 3\x00", "a database"),
    (b"OggS", "a sound or a film"),
    (b"ID3", "a sound"),
    (b"RIFF", "a sound or a film"),
    (b"{\\rtf", "an RTF document"),
)


@dataclass(frozen=True, slots=True)
class ExtractedText:
    """A file as the text that it holds."""

    name: str
    text: str


def prepare(name: str, data: bytes, model: ModelInfo, max_bytes: int, child: Child) -> Attachment | ExtractedText:
    """A file as `model` can take it: itself for an image and a PDF where the model reads them, else its text.

    What it claims to be does not count. Raises BadRequest for what is empty, too large, damaged, encrypted, of a kind
    that cannot be read, that takes too long or too much memory to read, or an image for a model that sees none;
    RateLimited while too many files are read. Blocks for up to seconds.
    """
    name = safe_name(name)
    if not data:
        raise BadRequest(f"{name} is empty.", "Choose another file.")
    if len(data) > max_bytes:
        raise BadRequest(
            f"{name} has {len(data) / 1e6:.1f} MB; {max_bytes / 1e6:.0f} MB is the most.",
            "Choose a smaller file, or raise PARLEY_MAX_UPLOAD_MB.",
        )
    try:
        found = child.run("read", data, seconds=SECONDS, name=name, takes_pdf=model.abilities.pdf)
    except Unfinished as error:
        raise BadRequest(f"{name} could not be read: it {error.why}.", "Choose a smaller or simpler file.") from None
    if "text" in found:
        return ExtractedText(name, found["text"])
    media_type: str = found["media_type"]
    if media_type != _PDF and not model.abilities.vision:
        raise BadRequest(
            f"{name} is an image, and {model.label or model.id} cannot see images.",
            "Choose a model that can, or remove the file.",
        )
    return Attachment(name, media_type, data)


def read(data: bytes, name: str, takes_pdf: bool) -> dict[str, str]:
    """In the child: {media_type} of an image and of a PDF where it is taken as it is, {text} of all else."""
    if media_type := _image_type(name, data):
        return {"media_type": media_type}
    if b"%PDF-" in data[:1024]:
        if takes_pdf:
            _check_pdf(name, data)
            return {"media_type": _PDF}
        return _text(name, _pdf(name, data))
    if data[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _text(name, _docx(name, data))
    for beginning, kind in _BINARY:
        if data.startswith(beginning):
            raise _unreadable(name, kind)
    return _text(name, _decoded(name, data))


def thumbnail(data: bytes, widest: int, most_pixels: int) -> str:
    """In the child: an image of at most `widest` pixels as a data: address; "" for what is none or has too many."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > most_pixels:
                return ""
            image.thumbnail((widest, widest))
            out = io.BytesIO()
            image.convert("RGBA").save(out, "WEBP", quality=80)
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, Image.DecompressionBombError):
        return ""
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def as_prompt_text(file: ExtractedText) -> str:
    """The text in a fence that is longer than any within, under the file's name: nothing in the file can end it."""
    longest = max((len(run) for run in re.findall(r"`+", file.text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"File {safe_name(file.name)}:\n{fence}\n{file.text.rstrip()}\n{fence}"


def safe_name(name: str) -> str:
    """The last part of a file's name, without folders, control characters and what could break out of a line."""
    name = unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode("utf-8"))
    base = PurePosixPath(name.replace("\\", "/")).name
    base = "".join(c for c in base if unicodedata.category(c)[0] != "C" and c not in '`<>:"|?*\u2028\u2029')
    base = " ".join(base.split()).lstrip(". ")
    if len(base) > _LONGEST_NAME:
        stem, dot, ending = base.rpartition(".")
        ending = dot + ending if stem and len(ending) <= 10 else ""
        base = base[: _LONGEST_NAME - len(ending)] + ending
    return base or "file"


def _image_type(name: str, data: bytes) -> str | None:
    """The media type of an image that can be opened; None for what is no image."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                kind, (width, height) = image.format or "", image.size
                if width * height > _MOST_PIXELS:
                    raise BadRequest(
                        f"{name} has {width:,} by {height:,} pixels, which is too many.", "Make the image smaller."
                    )
                if kind not in _IMAGES:
                    raise BadRequest(f"{name} is an image of the kind {kind}.", "Save it as PNG, JPEG, WebP or GIF.")
                image.load()
    except UnidentifiedImageError:
        return None
    except Image.DecompressionBombError:
        raise BadRequest(f"{name} has too many pixels.", "Make the image smaller.") from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError):
        raise BadRequest(f"{name} is a damaged image.", "Choose another file.") from None
    return _IMAGES[kind]


def _check_pdf(name: str, data: bytes) -> None:
    from core.files.documents import check_pdf

    check_pdf(name, data)


def _pdf(name: str, data: bytes) -> str:
    from core.files.documents import pdf_text

    text = pdf_text(name, data, MOST_CHARACTERS)
    if not text.strip():
        raise BadRequest(f"{name} holds no text: it may be a scan.", "Choose a model that reads PDF files.")
    return text


def _docx(name: str, data: bytes) -> str:
    from core.files.documents import docx_text

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise BadRequest(f"{name} is a damaged archive or document.", "Choose another file.") from None
    if "word/document.xml" not in members:
        raise _unreadable(name, "a table or presentation" if "[Content_Types].xml" in members else "an archive")
    return docx_text(name, data, MOST_CHARACTERS)


def _decoded(name: str, data: bytes) -> str:
    """UTF-8, UTF-16 and UTF-32 with a byte order mark, else Latin-1 if it then reads like text."""
    for mark, encoding in (
        (b"\xff\xfe\x00\x00", "utf-32"),
        (b"\x00\x00\xfe\xff", "utf-32"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
        (b"", "utf-8-sig"),
        (b"", "cp1252"),
        (b"", "latin-1"),
    ):
        if not data.startswith(mark):
            continue
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not _looks_like_text(text, strict=encoding in ("cp1252", "latin-1")):
            break
        return text
    raise _unreadable(name, "no text, image, PDF or Word document")


def _looks_like_text(text: str, *, strict: bool) -> bool:
    sample = text[:65536]
    if "\x00" in sample:
        return False
    controls = sum(1 for c in sample if unicodedata.category(c) == "Cc" and c not in "\t\n\r\f\x1b")
    if controls > len(sample) * (0.001 if strict else 0.02):
        return False
    # Bytes of anything decode as Latin-1; text of the West is mostly letters, and mostly those of ASCII.
    return not strict or sum(1 for c in sample if c.isascii()) > len(sample) * 0.6


def _text(name: str, text: str) -> dict[str, str]:
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    text = text.encode("utf-8", "replace").decode("utf-8")
    if not text.strip():
        raise BadRequest(f"{name} holds no text.", "Choose another file.")
    if len(text) > MOST_CHARACTERS:
        text = f"{text[:MOST_CHARACTERS]}\n[Cut off here: only the first {MOST_CHARACTERS:,} characters were taken.]"
    return {"text": text}


def _unreadable(name: str, kind: str) -> BadRequest:
    return BadRequest(
        f"{name} is {kind}, which cannot be read here.", "Attach text, code, an image, a PDF or a Word document."
    )
