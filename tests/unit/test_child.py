"""Hostile files: each is refused within its limits, the server stays responsive, and the next file is read."""

from __future__ import annotations

import asyncio
import io
import os
import resource
import struct
import subprocess
import sys
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docx
import pytest

from core.errors import BadRequest, ParleyError, ProviderUnavailable, RateLimited
from core.files import attachments
from core.files.child import Child, Unfinished
from core.models.info import Abilities, ModelInfo
from core.services import Services
from core.settings import Settings
from tests.scripted import Scripted
from tests.waiting import wait_until

BLIND = ModelInfo("scripted/blind")
SEES = ModelInfo("scripted/sees", abilities=Abilities(vision=True, pdf=True))
LIMIT = 20 * 1024 * 1024
W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
SLOW: dict[str, Any] = {"data": b'"' + b"a" * 60 + b'!"', "schema": {"pattern": "^(a+)+$"}}  # takes years


@pytest.fixture
def child() -> Iterator[Child]:
    made = Child()
    yield made
    made.close()


def word(body: str, **more: bytes) -> bytes:
    """A Word document with this body, and members besides."""
    plain, made = io.BytesIO(), io.BytesIO()
    docx.Document().save(plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.namelist():
            content = source.read(member)
            if member == "word/document.xml":
                content = f'<w:document xmlns:w="{W}"><w:body>{body}</w:body></w:document>'.encode()
            target.writestr(member, content)
        for member, content in more.items():
            target.writestr(member, content)
    return made.getvalue()


def merged(rows: int, columns: int) -> bytes:
    """A table of which every cell goes on in the row below."""
    cell = "<w:tc><w:tcPr><w:vMerge/></w:tcPr><w:p><w:r><w:t>x</w:t></w:r></w:p></w:tc>"
    return word(f"<w:tbl><w:tblGrid/>{f'<w:tr>{cell * columns}</w:tr>' * rows}</w:tbl>")


def wide(span: int) -> bytes:
    cell = f'<w:tc><w:tcPr><w:gridSpan w:val="{span}"/></w:tcPr><w:p><w:r><w:t>wide</w:t></w:r></w:p></w:tc>'
    return word(f"<w:tbl><w:tblGrid/><w:tr>{cell}</w:tr></w:tbl>")


def pdf(*objects: str | bytes, root: int = 1) -> bytes:
    """A PDF of numbered objects, with a table of where they are."""
    out, places = io.BytesIO(), []
    out.write(b"%PDF-1.7\n")
    for number, one in enumerate(objects, 1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n" % number + (one.encode() if isinstance(one, str) else one) + b"\nendobj\n")
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.writelines(b"%010d 00000 n \n" % place for place in places)
    out.write(b"trailer << /Size %d /Root %d 0 R >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, root, start))
    return out.getvalue()


def page(content: bytes, filters: str = "/FlateDecode") -> bytes:
    return pdf(
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R /Resources << /Font << >> >> >>",
        b"<< /Length %d /Filter %s >>\nstream\n" % (len(content), filters.encode()) + content + b"\nendstream",
    )


def deflated(times: int, block: bytes = b"\0" * 1024**2) -> bytes:
    packer = zlib.compressobj(6)
    return b"".join(packer.compress(block) for _ in range(times)) + packer.flush()


def looping_pdf() -> bytes:
    """Pages that are their own pages, and a table of objects that names itself as the one before."""
    made = pdf("<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 2000000000 >>")
    start = int(made.rsplit(b"startxref\n", 1)[1].split(b"\n")[0])
    return made.replace(b"/Root", b"/Prev %d /Root" % start)


def many_pages() -> bytes:
    """A tree of pages that names the same ones again and again: 10^12 pages in a few hundred bytes."""
    kids = [f"<< /Type /Pages /Count 1000000000 /Kids [{f'{number} 0 R ' * 10}] >>" for number in range(3, 15)]
    return pdf("<< /Type /Catalog /Pages 2 0 R >>", *kids, "<< /Type /Page /MediaBox [0 0 9 9] >>")


def many_operators() -> bytes:
    return page(deflated(16, b"q Q BT (a) Tj ET " * 60_000))


def png(width: int, height: int, rows: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))

    head = struct.pack("!IIBBBBB", width, height, 8, 6, 0, 0, 0)
    data = deflated(1, b"\0" * (rows * (4 * width + 1)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def texts_of_png() -> bytes:
    """A picture of one pixel with a text that unpacks to 300 MB."""
    made = png(1, 1, 1)
    data = b"t\0\0" + deflated(300)
    chunk = struct.pack("!I", len(data)) + b"zTXt" + data + struct.pack("!I", zlib.crc32(b"zTXt" + data))
    return made[:33] + chunk + made[33:]


def crowded_archive() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as target:
        target.writestr("word/document.xml", "<a/>")
        for number in range(6000):
            target.writestr(str(number), "")
    return made.getvalue()


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "docx, nothing but zeros": (lambda: word("", **{"word/media/a.bin": b"\0" * 90 * 1024**2}), "unpacked"),
    "docx, many members": (crowded_archive, "unpacked"),
    "docx, XML of 90 MB": (lambda: word("<w:p/>" * 15_000_000), "unpacked"),
    "docx, deep": (lambda: word("<w:p>" * 100_000), "damaged"),
    "pdf, loops": (looping_pdf, "damaged|without pages|could not be read"),
    "pdf, pages without end": (many_pages, "damaged|could not be read"),
    "pdf, zeros": (lambda: page(deflated(300)), "damaged|could not be read|no text"),
    "pdf, zeros within zeros": (
        lambda: page(zlib.compress(deflated(300)), "[/FlateDecode /FlateDecode]"),
        "damaged|could not be read|no text",
    ),
    "png, many pixels": (lambda: png(60_000, 60_000, 1), "too many"),
    "png, a long text": (texts_of_png, "damaged|could not be read"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_and_the_next_file_is_read(child: Child, name: str) -> None:
    make, sentence = BOMBS[name]
    bomb = make()
    assert len(bomb) < 2 * 1024**2
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for model in (BLIND, SEES) if name.startswith("docx") else (BLIND,):
        with pytest.raises(BadRequest, match=sentence) as raised:
            attachments.prepare("a", bomb, model, LIMIT, child)
        assert raised.value.fix
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30 * 1024  # kB
    assert attachments.prepare("b.txt", b"good", BLIND, LIMIT, child).name == "b.txt"


@pytest.mark.parametrize("make", [lambda: merged(400, 20), lambda: wide(2**31 - 1)], ids=["merged", "wide"])
def test_a_table_of_merged_cells_takes_no_longer_than_another(child: Child, make: Callable[[], bytes]) -> None:
    read = attachments.prepare("a.docx", make(), BLIND, LIMIT, child)
    assert isinstance(read, attachments.ExtractedText)
    assert set(read.text) <= set("wide x|\n")


def test_a_pdf_that_takes_too_long_is_refused(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "SECONDS", 1.0)
    with pytest.raises(BadRequest, match="it takes longer than 1 seconds"):
        attachments.prepare("a.pdf", many_operators(), BLIND, LIMIT, child)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
def test_memory_is_limited(child: Child) -> None:
    large = png(7000, 7000, 7000)  # 196 MB of pixels
    with pytest.raises(Unfinished, match="needs more than 100 MB of memory"):
        child.run("read", large, seconds=10, memory=100 * 1024**2, name="a", takes_pdf=False)
    assert child.run("read", large, seconds=10, name="a", takes_pdf=False) == {"media_type": "image/png"}


def test_a_process_has_no_key_and_goes_on(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    for _ in range(3):
        child.run("check_schema", seconds=5, schema={})
    (pid,) = child.pids
    if sys.platform == "linux":
        assert b"secret" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_a_process_that_died_is_replaced(child: Child) -> None:
    child.run("check_schema", seconds=5, schema={})
    (pid,) = child.pids
    os.kill(pid, 9)
    child.run("check_schema", seconds=5, schema={})
    assert child.pids and child.pids != [pid]


def test_only_so_many_work_and_wait() -> None:
    child = Child(1, waiting=1, longest_wait=30)
    with ThreadPoolExecutor() as threads:
        slow = [threads.submit(child.run, "misfit", seconds=30, **SLOW) for _ in range(2)]
        wait_until(lambda: child._waiting == 1 and child.pids)
        assert len(child.pids) == 1
        with pytest.raises(RateLimited):
            child.run("check_schema", seconds=5, schema={})
        child.close()
        errors = [one.exception() for one in slow]
    assert {type(error) for error in errors} <= {Unfinished, ProviderUnavailable}
    assert child.pids == []
    with pytest.raises(ProviderUnavailable):
        child.run("check_schema", seconds=5, schema={})


def test_nobody_waits_for_ever() -> None:
    child = Child(1, longest_wait=0.05)
    with ThreadPoolExecutor() as threads:
        slow = threads.submit(child.run, "misfit", seconds=30, **SLOW)
        wait_until(lambda: child.pids)
        with pytest.raises(RateLimited):
            child.run("check_schema", seconds=5, schema={})
        child.close()
        assert isinstance(slow.exception(), ParleyError)


def test_who_does_not_want_to_wait_need_not(child: Child) -> None:
    with ThreadPoolExecutor() as threads:
        slow = [threads.submit(child.run, "misfit", seconds=30, **SLOW) for _ in range(2)]
        wait_until(lambda: child._taken == 2)
        with pytest.raises(RateLimited):
            child.run("check_schema", seconds=5, longest_wait=0, schema={})
        assert not any(one.done() for one in slow)
        child.close()


def test_it_runs_from_another_folder_and_ends_with_its_parent(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    source = (
        f"import sys, os; sys.path.insert(0, {str(root)!r})\n"
        "from core.files.child import Child\n"
        "child = Child(); child.run('check_schema', seconds=5, schema={})\n"
        "print(child.pids[0], flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", source], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    pid = int(done.stdout)

    def gone() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except OSError:
            return not _alive(pid)

    wait_until(gone)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_the_event_loop_and_other_threads_go_on(settings: Callable[..., Settings]) -> None:
    services = Services.open(settings(), {"scripted": Scripted()})
    steps, stop = 0, threading.Event()

    def count() -> int:
        turns = 0
        while not stop.wait(0.01):
            turns += 1
        return turns

    try:
        assert services.child.pids == []  # nothing is started before it is needed
        work = asyncio.ensure_future(asyncio.to_thread(services.child.run, "misfit", seconds=1.5, **SLOW))
        turns = asyncio.ensure_future(asyncio.to_thread(count))
        while not work.done():
            await asyncio.sleep(0.01)
            steps += 1
        stop.set()
        with pytest.raises(Unfinished, match="takes longer than"):
            await work
        assert await turns > 20 and steps > 20
    finally:
        await services.close()
    assert services.child.pids == []
