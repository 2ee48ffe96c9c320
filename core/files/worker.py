"""The child's side: a process that reads what strangers send, one thing after the other. Started by `child.py`.

A request is two lengths, a JSON header and the raw bytes of a file. The answer is a byte as soon as the task's
modules are loaded, then a length and a JSON object: `value`, or `refused` (what, fix), or `memory`, or `failed` (the
kind of error); `again` says whether the process is fit for another task. It ends when its input ends, so with its
parent at the latest; while it works, its limits end it.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from core.errors import BadRequest

REQUEST = struct.Struct("!II")
ANSWER = struct.Struct("!I")
BEGUN = b"."
MOST_ANSWER = 8 * 1024 * 1024  # bytes
_LARGE = 256 * 1024 * 1024  # bytes; a process that has grown beyond this is replaced
_SPARE = 2  # seconds of the processor's that the parent's clock is ahead of this one's

# Only what a task needs is imported, because a process that has loaded all of it takes a third more memory.
TASKS: Mapping[str, tuple[str, str]] = {
    "read": ("core.files.attachments", "read"),
    "thumbnail": ("core.files.attachments", "thumbnail"),
    "check_schema": ("core.files.schemas", "check"),
    "misfit": ("core.files.schemas", "misfit"),
    "render": ("core.files.templates", "render"),
}


class Limits:
    """Memory and processor time, by the operating system. Without an effect where it has no such limits."""

    def __init__(self) -> None:
        self._base = _memory()[0]
        try:
            import resource
        except ImportError:  # Windows
            return
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def set(self, seconds: float, memory: int) -> None:
        """`memory` in bytes, beyond what the empty process has."""
        try:
            import resource
        except ImportError:
            return
        used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        self._soft(resource.RLIMIT_CPU, int(used + seconds) + _SPARE)
        if self._base:
            self._soft(resource.RLIMIT_AS, self._base + memory)

    def lift(self) -> None:
        """Memory alone, so that an answer can be written."""
        if self._base:
            import resource

            self._soft(resource.RLIMIT_AS, resource.getrlimit(resource.RLIMIT_AS)[1])

    @staticmethod
    def _soft(limit: int, value: int) -> None:
        import resource

        hard = resource.getrlimit(limit)[1]
        if hard not in (-1, resource.RLIM_INFINITY) and (value == -1 or value > hard):
            value = hard
        resource.setrlimit(limit, (value, hard))


def main() -> None:
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that a library prints may get between the answers
    limits = Limits()
    again = True
    while again and len(lengths := requests.read(REQUEST.size)) == REQUEST.size:
        header, size = REQUEST.unpack(lengths)
        request = json.loads(requests.read(header))
        data = requests.read(size)
        if len(data) < size:
            break
        module, name = TASKS[request["task"]]
        task = getattr(import_module(module), name)
        answers.write(BEGUN)
        answers.flush()
        limits.set(request["seconds"], request["memory"])
        answer = _answer(task, data, request["arguments"])
        limits.lift()
        again = ("value" in answer or "refused" in answer) and _memory()[1] < _LARGE
        written = json.dumps(answer | {"again": again}).encode()
        if len(written) > MOST_ANSWER:
            again = False
            written = json.dumps({"failed": "an answer of that size", "again": False}).encode()
        answers.write(ANSWER.pack(len(written)) + written)
        answers.flush()


def _answer(task: Callable[..., Any], data: bytes, arguments: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {"value": task(data, **arguments)}
    except BadRequest as error:
        return {"refused": [error.what, error.fix]}
    except MemoryError:
        return {"memory": True}
    except Exception as error:
        return {"failed": type(error).__name__}


def _memory() -> tuple[int, int]:
    """Bytes of address space and of memory in use. 0 where the system does not say."""
    try:
        size, resident, *_ = Path("/proc/self/statm").read_text("ascii").split()
    except OSError:
        return 0, 0
    page = os.sysconf("SC_PAGE_SIZE")
    return int(size) * page, int(resident) * page


if __name__ == "__main__":
    main()
