"""The thread that reads the registry after the start, and then whatever changes in it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import structlog

from core.prompts.registry.index import Index

log = structlog.get_logger()
TICK = 500  # milliseconds between looks at whether to stop
GATHER = 1000  # milliseconds that changes are gathered at most; they are told when 50 ms have passed without one
POLL = 3.0  # seconds between looks at everything where the system cannot tell of changes
RARELY = 60.0  # seconds between looks at everything where it can: some file systems do not tell of all
SHARE = 50  # a look at everything is to take at most this part of the time


class Watch:
    """One thread, from `start()` to `close()`."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._taken = 0.0  # seconds that the last look at everything took
        self.polling = False

    @property
    def running(self) -> bool:
        """Whether what is in memory is all that there will be, or is kept right: not when the thread has died."""
        return self._thread is not None and (self._thread.is_alive() or self._stop.is_set())

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="parley-prompts", daemon=True)
            self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _run(self) -> None:
        logging.getLogger("watchfiles").setLevel(logging.WARNING)
        self._scan()
        self._read()
        while not self._stop.is_set():
            try:
                self.polling = False
                self._listen()
            except Exception as error:  # watchfiles raises what the system says: no inotify, too many folders
                if not self.polling:
                    log.info("prompts.polling", what="The prompts are looked at every few seconds.", error=str(error))
                self.polling = True
                until = time.monotonic() + RARELY
                while time.monotonic() < until and not self._stop.wait(max(POLL, SHARE * self._taken)):
                    self._scan()

    def _read(self) -> None:
        """The newest versions, so that a list does not have to."""
        for look in self._index.prompts():
            if self._stop.is_set():
                return
            try:
                _ = look.entry.latest
            except Exception as error:  # whoever asks for it is told; the thread must live on
                log.info("prompts.read", prompt=look.entry.name, error=type(error).__name__)

    def _scan(self) -> None:
        began = time.monotonic()
        try:
            self._index.scan(self._stop)
        except Exception:  # the thread must live on
            log.exception("prompts.scan")
        self._taken = time.monotonic() - began

    def _listen(self) -> None:
        """Until there are other folders to listen to."""
        from watchfiles import watch  # takes a moment to load, and the command line does not need it

        # Each folder by itself: a watch that goes down by itself follows links, out of the registry.
        generation = self._index.generation
        folders = self._index.paths()
        root = self._index.root.resolve()
        inside = [root / folder.relative_to(self._index.root) for folder in folders]
        changes = watch(
            *inside,
            watch_filter=None,
            debounce=GATHER,
            stop_event=self._stop,
            rust_timeout=TICK,
            yield_on_timeout=True,
            raise_interrupt=False,
            force_polling=False,
            recursive=False,
            ignore_permission_denied=True,
        )
        looked = 0.0
        for found in changes:
            if found and looked:
                self._index.refresh(_names(root, (path for _, path in found), set(inside)))
            elif time.monotonic() - looked > max(RARELY, SHARE * self._taken) or not looked:
                self._scan()  # at first too: something may have changed before the watch stood
                looked = time.monotonic()
            if self._index.generation != generation:
                return


def _names(root: Path, paths: Iterable[str], folders: set[Path]) -> set[str]:
    """The folders in the registry that these paths tell of."""
    found: set[str] = set()
    for path in map(Path, paths):
        for one in (path.parent, path) if path in folders else (path.parent,):
            if one == root:
                found.add("")
            elif one.is_relative_to(root):
                found.add(one.relative_to(root).as_posix())
    return found
