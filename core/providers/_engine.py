"""One llama.cpp engine for one *.gguf: an OpenAI-compatible server on loopback, in a process of its own.

The process keeps an engine that crashes or runs out of memory from taking the workbench along, and lets it be freed at
any moment, also while it answers: inside this process that would block for as long as an answer runs, or crash.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from core.errors import ProviderUnavailable, Unreadable
from core.providers._gguf import GgufHead, read_head

SLOTS = 4
_DEMO = re.compile(r"smollm2-135m", re.IGNORECASE)
# What makes a model of 135 million parameters say the least nonsense when nobody has set anything.
# A higher penalty of single tokens drives it away from the words of the question; without any it goes in circles.
_DEMO_SAMPLING: Mapping[str, float] = {
    "temp": 0.2,
    "top_p": 0.9,
    "penalty_repeat": 1.03,
    "dry_multiplier": 0.8,
    "dry_allowed_length": 3,
    "dry_penalty_last_n": 512,
}
_DEMO_MAX_TOKENS = 1024
_MAX_TOKENS = 4096
_MOST_THREADS = 8
_NO_LIBRARY = re.compile(r"([\w.+-]+): cannot open shared object file")  # as the dynamic linker of Linux says it
_SECRET = re.compile(r"^PARLEY_|KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)


def is_demo(path: Path) -> bool:
    """Whether it is the small model that comes with the install."""
    return _DEMO.match(path.name) is not None


def context_of(head: GgufHead, context: int) -> int:
    """The context window of each slot: as set, but no more than the model was trained for."""
    return min(context, head.context) if head.context else context


class Engine:
    """A loaded model. It speaks OpenAI's wire at `url` (with /v1) to whoever has `key`."""

    def __init__(self, process: subprocess.Popen[bytes], address: str, key: str, model: str, context: int) -> None:
        self._process = process
        self.url = f"{address}/v1"
        self.key = key
        self.model = model
        self.context = context  # tokens, of each slot
        atexit.register(self.close)

    @classmethod
    def load(cls, path: Path, *, context: int, slots: int = SLOTS, model: str = "") -> Engine:
        """Load a file; blocks for a second or more. Raises ProviderUnavailable, saying what is wrong with the file."""
        try:
            context = context_of(read_head(path), context)
        except (OSError, ValueError) as error:
            raise unreadable(path, error) from None
        model, key = model or path.stem.lower(), secrets.token_hex(16)
        demo = is_demo(path)
        config = {
            "path": str(path),
            "model": model,
            "key": key,
            "context": context,
            "slots": slots,
            # One core is left to the workbench and the browser: llama.cpp's threads wait for each other in a loop, and
            # become ten times slower when one of them has to share its core.
            "threads": max(1, min(_processors() - 1, _MOST_THREADS)),
            "max_tokens": _DEMO_MAX_TOKENS if demo else _MAX_TOKENS,
            "sampling": dict(_DEMO_SAMPLING) if demo else {},
        }
        process = subprocess.Popen(  # noqa: S603
            # -P: this folder has files with the names of packages, which must not be found before those.
            [sys.executable, "-P", str(Path(__file__).with_name("_engine_process.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: value for name, value in os.environ.items() if not _SECRET.search(name)},
            start_new_session=True,  # Ctrl+C in the terminal is for the workbench, which ends this one in its turn
        )
        answer = _first_answer(process, config)
        if "address" not in answer:
            _end(process)
            said = answer.get("error", "")
            if library := _NO_LIBRARY.search(said):
                raise ProviderUnavailable(
                    f"The engine of the embedded model needs {library[1]}, which this machine does not have.",
                    "Install it (Debian and Ubuntu: `apt-get install libgomp1`), or choose another model."
                    if library[1].startswith("libgomp")
                    else "Install the package that has it, or choose another model.",
                )
            if "ImportError" in said or "ModuleNotFoundError" in said:
                raise ProviderUnavailable(
                    "The engine of the embedded model is not installed or does not run on this machine.",
                    "Run `pip install -r requirements.txt`, or choose another model.",
                )
            raise Unreadable(
                f"The model file {path.name} cannot be loaded: it is damaged, of a kind that this engine does not "
                "know, or too large for this machine's memory.",
                "Replace the file, set a smaller PARLEY_EMBEDDED_CONTEXT, or choose another model.",
            )
        return cls(process, answer["address"], key, model, context)

    @property
    def alive(self) -> bool:
        """False once it is closed or has crashed."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> None:
        """End it at once and free its memory; running answers break off. May be called twice."""
        atexit.unregister(self.close)
        _end(self._process)


def unreadable(path: Path, error: Exception) -> Unreadable:
    """For a file that is no model."""
    why = "cannot be read" if isinstance(error, OSError) else str(error)
    return Unreadable(f"The model file {path.name} {why}.", "Replace the file, or choose another model.")


def _first_answer(process: subprocess.Popen[bytes], config: Mapping[str, object]) -> dict[str, str]:
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(json.dumps(config).encode() + b"\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
    except (OSError, ValueError):
        return {}  # it has ended before it could say anything
    return {str(name): str(value) for name, value in answer.items()}


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
