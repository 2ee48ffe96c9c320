"""Text out of PDF and Word files, within limits of size and time and with no trust in their contents.

The libraries that read them raise errors of any kind at damaged or hostile files, so here every error but a lack of
memory means a damaged file. Only for the child process, whose time and memory are limited: no limit here can hold
against every file. Importing this takes a third of a second.
"""

from __future__ import annotations

import io
import logging
import time
import zipfile
from collections.abc import Iterator
from typing import Any

import docx
import pypdf
from docx.table import Table, _Cell

from core.errors import BadRequest

_MOST_UNPACKED = 100 * 1024 * 1024  # bytes of all that a document holds; python-docx reads it all into memory
_MOST_MEMBERS = 5000
_HARMLESS = 10 * 1024 * 1024  # bytes unpacked, whatever the ratio
_HIGHEST_RATIO = 200  # of unpacked to packed bytes; text in tables reaches some 30
_MOST_SECONDS = 8.0  # then what there is by then is taken
_DEEPEST = 4  # tables in tables
_OTHER = "Choose another file."


def check_pdf(name: str, data: bytes) -> None:
    """BadRequest for a PDF that is encrypted, has no page or cannot be read."""
    _pages(name, data)


def pdf_text(name: str, data: bytes, most: int) -> str:
    """The text of the pages, empty for a scan. Stops after `most` characters or 8 seconds, and says so in the text."""
    texts: list[str] = []
    length, end = 0, time.monotonic() + _MOST_SECONDS
    reader = _pages(name, data)
    try:
        count = len(reader.pages)
        for number, page in enumerate(reader.pages, 1):
            text = page.extract_text().strip()
            texts.append(text)
            length += len(text)
            if length > most:
                break
            if number < count and time.monotonic() > end:
                texts.append(f"[Cut off here: only {number:,} of {count:,} pages could be read in time.]")
                break
    except MemoryError:
        raise
    except Exception:
        raise BadRequest(f"{name} is a damaged PDF.", _OTHER) from None
    return "\n\n".join(text for text in texts if text)


def docx_text(name: str, data: bytes, most: int) -> str:
    """Paragraphs and tables in their order, a row of a table as one line. Stops as `pdf_text` does."""
    _check_archive(name, data)
    texts: list[str] = []
    length, end = 0, time.monotonic() + _MOST_SECONDS
    try:
        for line in _lines(docx.Document(io.BytesIO(data)).iter_inner_content(), 0):
            texts.append(line)
            length += len(line)
            if length > most:
                break
            if time.monotonic() > end:
                texts.append("[Cut off here: not all of it could be read in time.]")
                break
    except MemoryError:
        raise
    except Exception:
        raise BadRequest(f"{name} is a damaged Word document.", _OTHER) from None
    return "\n".join(texts)


def _pages(name: str, data: bytes) -> pypdf.PdfReader:
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it comments on every oddity of a file
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        locked = reader.is_encrypted and not _unlocks(reader)
        count = 0 if locked else len(reader.pages)
    except MemoryError:
        raise
    except Exception:
        raise BadRequest(f"{name} is a damaged PDF.", _OTHER) from None
    if locked:
        raise BadRequest(f"{name} is encrypted.", "Save it without a password and attach it again.")
    if not count:
        raise BadRequest(f"{name} is a PDF without pages.", _OTHER)
    return reader


def _unlocks(reader: pypdf.PdfReader) -> bool:
    """Many files are encrypted with an empty password, only to forbid printing."""
    try:
        return bool(reader.decrypt(""))
    except MemoryError:
        raise
    except Exception:  # also where the library for AES is not installed
        return False


def _check_archive(name: str, data: bytes) -> None:
    """BadRequest for a document that is far larger unpacked. zipfile itself never unpacks more than is declared."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
    except MemoryError:
        raise
    except Exception:
        raise BadRequest(f"{name} is a damaged Word document.", _OTHER) from None
    unpacked = sum(member.file_size for member in members)
    too_dense = unpacked > _HARMLESS and unpacked > len(data) * _HIGHEST_RATIO
    if len(members) > _MOST_MEMBERS or unpacked > _MOST_UNPACKED or too_dense:
        raise BadRequest(f"{name} is far too large when it is unpacked.", _OTHER)
    if any(member.flag_bits & 1 for member in members):
        raise BadRequest(f"{name} is encrypted.", "Save it without a password and attach it again.")


def _lines(items: Iterator[Any], depth: int) -> Iterator[str]:
    for item in items:
        if not isinstance(item, Table):
            yield item.text
        elif depth < _DEEPEST:
            yield from (_row(row, depth) for row in item.rows)


def _row(row: Any, depth: int) -> str:
    """The cells as they stand in the file: a merged cell once, where it begins.

    Not `row.cells`, which repeats a cell for each column and row that it covers: a small file can claim any number.
    """
    cells = (_Cell(tc, row) for tc in row._tr.tc_lst)
    return " | ".join(" ".join(_lines(cell.iter_inner_content(), depth + 1)).strip() for cell in cells)
