"""Server-sent events out of the pieces that a network read gives."""

from __future__ import annotations


class EventSplitter:
    """Cuts a byte stream into the data of its events, however the network cuts it.

    The text is looked at as bytes, so a character that is split between two reads needs no care; the cost is linear
    in the bytes, also for one event of many megabytes. The format is WHATWG HTML, "Server-sent events": an event ends
    at an empty line, lines end with LF, CR or CRLF, several `data:` lines are joined, a line with a colon first is a
    comment. Event names and ids are not kept: all three wires repeat the type inside the data.
    """

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._tail = b""  # the last byte of what is kept, to find an empty line that is split between two reads
        self._carriage = False  # the last read ended with CR, which may be half of a CRLF
        self._first = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of each event that `chunk` completes."""
        if self._first and chunk:
            self._first = False
            chunk = chunk.removeprefix(b"\xef\xbb\xbf")
        if self._carriage or b"\r" in chunk:
            chunk = self._with_plain_lines(chunk)
        if not chunk:
            return []
        end = (self._tail + chunk).rfind(b"\n\n")
        if end < 0:
            self._parts.append(chunk)
            self._tail = chunk[-1:]
            return []
        end += 2 - len(self._tail)
        self._parts.append(chunk[:end])
        complete = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        rest = chunk[end:]
        self._parts = [rest] if rest else []
        self._tail = rest[-1:]
        return [data for block in complete.split(b"\n\n") if (data := _data(block))]

    def end(self) -> list[bytes]:
        """What is left when the stream has ended: some servers leave out the last empty line."""
        rest = b"".join(self._parts)
        self._parts, self._tail = [], b""
        return [data] if (data := _data(rest)) else []

    def _with_plain_lines(self, chunk: bytes) -> bytes:
        if self._carriage:
            chunk = b"\r" + chunk
        self._carriage = chunk.endswith(b"\r")
        if self._carriage:
            chunk = chunk[:-1]
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _data(block: bytes) -> bytes:
    if block.startswith(b"data: ") and b"\n" not in block:
        return block[6:]
    if block.startswith(b"event: "):
        rest = block.partition(b"\n")[2]
        if rest.startswith(b"data: ") and b"\n" not in rest:
            return rest[6:]
    lines = (line[5:] for line in block.split(b"\n") if line.startswith(b"data:"))
    return b"\n".join(line.removeprefix(b" ") for line in lines)
