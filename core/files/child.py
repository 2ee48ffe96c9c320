"""The one place where files and schemas of strangers are read: a few child processes that can be ended at any moment.

A file of 77 kB can ask for a minute and a gigabyte, and code that reads it in a thread of the server can be neither
stopped nor limited. Here a task has a time after which its process is killed, and on Linux a limit of memory. The
children get no keys: their environment is empty. They are no sandbox: they run as the same user.

Own code, because neither `concurrent.futures` nor `multiprocessing.Pool` can end a single task.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import structlog

from core.errors import BadRequest, ProviderUnavailable, RateLimited
from core.files.worker import ANSWER, BEGUN, MOST_ANSWER, REQUEST

MOST = 2  # processes
MEMORY = 512 * 1024 * 1024  # bytes that a task may take
MOST_WAITING = 16  # tasks
LONGEST_WAIT = 15.0  # seconds
_START = 30.0  # seconds for a process to start and to load what a task needs
_ROOT = Path(__file__).resolve().parents[2]
# What Python may need to start and to find its libraries.
_NEEDED = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "LD_LIBRARY_PATH", "HOME", "SYSTEMROOT", "APPDATA")

log = structlog.get_logger()


class Unfinished(BadRequest):
    """It could not be read within its limits. `why` completes "it …": "takes longer than 2 seconds"."""

    def __init__(self, why: str) -> None:
        super().__init__(f"This {why}.", "Make it smaller or simpler.")
        self.why = why


class Child:
    """At most `most` processes, started when they are needed and kept warm. Safe from any thread."""

    def __init__(self, most: int = MOST, *, waiting: int = MOST_WAITING, longest_wait: float = LONGEST_WAIT) -> None:
        self._most = most
        self._most_waiting = waiting
        self._longest_wait = longest_wait
        self._changed = threading.Condition()
        self._idle: list[_Process] = []
        self._busy: set[_Process] = set()
        self._taken = 0  # places; a process that is about to start has one, too
        self._waiting = 0
        self._closed = False

    def run(
        self,
        task: str,
        data: bytes = b"",
        *,
        seconds: float,
        memory: int = MEMORY,
        longest_wait: float | None = None,
        **arguments: Any,
    ) -> Any:
        """The JSON value of a task of `worker.TASKS`. Blocks: call it in a thread.

        BadRequest is what the task says of `data`; Unfinished, that it broke a limit or the process. RateLimited when
        too many wait, or no process is free within `longest_wait` seconds. `arguments` are JSON values; RecursionError
        or ValueError if they are not.
        """
        header = json.dumps({"task": task, "seconds": seconds, "memory": memory, "arguments": arguments}).encode()
        with self._place(self._longest_wait if longest_wait is None else longest_wait):
            answer = self._ask(header, data, seconds)
        if "value" in answer:
            return answer["value"]
        if "refused" in answer:
            what, fix = answer["refused"]
            raise BadRequest(str(what), str(fix))
        if "memory" in answer:
            raise Unfinished(f"needs more than {memory // 1024**2} MB of memory")
        if "seconds" in answer:
            raise Unfinished(f"takes longer than {seconds:g} seconds")
        log.warning("child.failed", task=task, error=str(answer.get("failed"))[:100])
        raise Unfinished("breaks the program that reads it")

    def close(self) -> None:
        """End all processes at once, also those that work."""
        with self._changed:
            self._closed = True
            processes = [*self._idle, *self._busy]
            self._idle.clear()
            self._changed.notify_all()
        for process in processes:
            process.end()

    @property
    def pids(self) -> list[int]:
        with self._changed:
            return [process.pid for process in (*self._idle, *self._busy)]

    @contextlib.contextmanager
    def _place(self, longest_wait: float) -> Iterator[None]:
        with self._changed:
            if self._taken >= self._most:
                self._wait(longest_wait)
            self._refuse_closed()
            self._taken += 1
        try:
            yield
        finally:
            with self._changed:
                self._taken -= 1
                self._changed.notify()

    def _wait(self, longest_wait: float) -> None:
        if self._waiting >= self._most_waiting:
            raise _crowded()
        self._waiting += 1
        try:
            free = self._changed.wait_for(lambda: self._closed or self._taken < self._most, longest_wait)
        finally:
            self._waiting -= 1
        if not free:
            raise _crowded()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise ProviderUnavailable("Parley is being stopped.", "Try again when it runs.")

    def _ask(self, header: bytes, data: bytes, seconds: float) -> Mapping[str, Any]:
        """Ask a process that is free; a new one if that has died in the meantime."""
        for _ in range(2):
            process = self._take()
            answer = process.ask(header, data, seconds)
            with self._changed:
                self._busy.discard(process)
                kept = answer is not None and answer.get("again") is True and not self._closed
                if kept:
                    self._idle.append(process)
            if not kept:
                process.end()
            if answer is not None:
                return answer
            with self._changed:
                self._refuse_closed()
        raise ProviderUnavailable(
            "The program that reads files does not start.", "Look at the machine's memory, and try again."
        )

    def _take(self) -> _Process:
        with self._changed:
            self._refuse_closed()
            process = self._idle.pop() if self._idle else None
            if process is not None:
                self._busy.add(process)
                return process
        process = _Process()
        with self._changed:
            self._busy.add(process)
            closed = self._closed
        if closed:
            process.end()
        return process


class _Process:
    """One child."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "core.files.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=_ROOT,  # where -m finds the package, wherever the server was started
            env={name: os.environ[name] for name in _NEEDED if name in os.environ},
            start_new_session=True,  # Ctrl+C in the terminal is for the server, which ends this one in its turn
        )
        self._ending = threading.Lock()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, header: bytes, data: bytes, seconds: float) -> Mapping[str, Any] | None:
        """The answer; {"seconds": …} if it took longer. None if the process was not there to begin."""
        source, answers = self._process.stdin, self._process.stdout
        assert source is not None and answers is not None
        try:
            with self._deadline(_START):
                source.write(REQUEST.pack(len(header), len(data)) + header)
                source.write(data)
                source.flush()
                begun = answers.read(len(BEGUN))
        except (OSError, ValueError):  # it is dead, or ended from another thread
            return None
        if begun != BEGUN:
            return None
        start = time.monotonic()
        try:
            with self._deadline(seconds):
                (length,) = ANSWER.unpack(answers.read(ANSWER.size))
                if length > MOST_ANSWER:
                    return {"failed": "an answer of that size"}
                answer = json.loads(answers.read(length))
        except Exception:  # it broke off; nothing that a child says is trusted
            return {"seconds": True} if time.monotonic() - start >= seconds else {"failed": "it ended"}
        return answer if isinstance(answer, dict) else {"failed": "no answer"}

    @contextlib.contextmanager
    def _deadline(self, seconds: float) -> Iterator[None]:
        """Kill the process unless the block ends in time. A timer, because not every system can wait for a pipe."""
        timer = threading.Timer(seconds, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def end(self) -> None:
        """May be called twice, and while another thread waits for an answer, which then breaks off."""
        with self._ending:
            self._process.kill()
            self._process.wait()
            if self._process.stdin is not None:
                with contextlib.suppress(OSError):
                    self._process.stdin.close()
            if self._process.stdout is not None:
                self._process.stdout.close()


def _crowded() -> RateLimited:
    return RateLimited("Too many files and schemas are being read at the moment.", "Try again in a few seconds.")
